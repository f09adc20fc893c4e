"""The order of candidates: by one score, or by several together."""

import numpy as np
import pytest

from voxrank.ranking.resampling import Column, beats, best_of_each, probability_best
from voxrank.scores.estimate import Estimate


def column(values, influences=None, *, higher=True, seed=0):
    influences = np.zeros((len(values), 0)) if influences is None else np.asarray(influences, dtype=float)
    estimates = [Estimate(float(v), i) for v, i in zip(values, influences, strict=True)]
    return Column.of(estimates, higher_is_better=higher, seed=seed)


def values(found):
    return [value.value for value in found.values]


def test_order_follows_the_direction_and_keeps_the_order_of_equal_values():
    assert column([1, 3, 3, 2]).order() == [1, 2, 3, 0]
    assert column([1, 3, 3, 2], higher=False).order() == [0, 3, 1, 2]


def test_combined_is_the_mean_share_of_candidates_that_score_lower():
    up, down = column([0.1, 5, 3, 3]), column([9, 1, 2, 4], higher=False)
    # Numbers of the 3 others that lie below: 0, 3, 1.5, 1.5 by the first score, and 0, 3, 2, 1 by the second, where
    # lower is better.
    assert values(Column.combined([up, down])) == pytest.approx([0, 1, 3.5 / 6, 2.5 / 6])


def test_combined_keeps_the_order_of_a_single_score():
    scores = np.random.default_rng(0).normal(size=9)
    assert Column.combined([column(scores)]).order() == column(scores).order()


def test_combined_of_a_single_candidate_is_1():
    assert values(Column.combined([column([3.0]), column([1.0])])) == [1]


def test_combined_does_not_depend_on_the_unit_of_a_score():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 6))
    assert values(Column.combined([column(a), column(b)])) == values(
        Column.combined([column(np.exp(5 * a)), column(b)])
    )


def test_resamples_of_a_combination_are_paired():
    """The second score moves against the first in every resample, so that their mean rank never changes."""
    rng = np.random.default_rng(2)
    influence = rng.normal(size=(2, 8))
    both = Column.combined([column([0, 0], influence), column([0, 0], -influence)])
    np.testing.assert_allclose(both.resampled, 0.5)
    alone = Column.combined([column([0, 0], influence)])
    assert alone.resampled.std() > 0.4


def test_interval_of_a_combination_holds_its_value_and_most_resamples():
    rng = np.random.default_rng(3)
    found = Column.combined([column(rng.normal(size=5), rng.normal(size=(5, 10))) for _ in range(2)])
    for place, value in enumerate(found.values):
        assert 0 <= value.low <= value.value <= value.high <= 1
        inside = (found.resampled[:, place] >= value.low) & (found.resampled[:, place] <= value.high)
        assert inside.mean() >= 0.95


def test_combined_has_no_interval_where_a_score_has_none():
    both = Column.combined([column([1, 2], np.ones((2, 4))), column([1, 2])])
    assert both.resampled is None
    assert both.values[0].low is None
    assert beats(both, ["a", "b"], ["b", "a"]) is None
    assert probability_best(both, ["a", "b"]) == {}


def test_shares_of_resamples_add_up_and_ties_are_shared():
    tied = column([1, 1, 0], np.zeros((3, 4)))
    assert probability_best(tied, ["a", "b", "b"]) == {"a": 0.5, "b": 0.5}
    clear = column([1, 2, 3], np.zeros((3, 4)), higher=False)
    assert probability_best(clear, ["a", "b", "b"]) == {"a": 1, "b": 0}
    assert beats(clear, ["a", "b", "b"], ["a", "b"]) == ((0, 1), (0, 0))


def test_each_model_takes_the_place_of_its_best_layer():
    assert best_of_each([3, 2, 0, 1], ["a", "b", "a", "a"]) == [3, 1]
