"""The front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from voxrank.report.page.trade_off import front

VALUES = st.integers(0, 4).map(float)


def test_the_front_equals_known_fronts():
    assert front([], []) == []
    assert front([1], [1]) == [True]
    assert front([3, 2, 1], [1, 2, 3]) == [True, True, True]
    assert front([3, 2, 2], [3, 2, 3]) == [True, False, False]
    assert front([1, 1], [1, 1]) == [True, True]


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12))
def test_every_pair_off_the_front_is_beaten_by_a_pair_on_it(pairs):
    on = front([a for a, _ in pairs], [b for _, b in pairs])
    ahead = [pair for pair, is_on in zip(pairs, on, strict=True) if is_on]
    assert max(pairs) in ahead
    for pair, is_on in zip(pairs, on, strict=True):
        beaten = any(other[0] >= pair[0] and other[1] >= pair[1] and other != pair for other in ahead)
        assert beaten != is_on
