"""Work is done ahead, in order, within bounds, and stops on request."""

import threading

import pytest

from voxrank._support.threads import prefetch

WAIT_S = 200
"""Maximum wait for threads in seconds, sufficient on a busy machine."""


def test_results_come_in_order_at_any_speed():
    others = threading.Event()

    def slow_first(n):
        if n == 0:
            assert others.wait(WAIT_S)
        if n == 5:
            others.set()
        return n * n

    assert list(prefetch(range(20), slow_first, threads=4, ahead=5)) == [(n, n * n) for n in range(20)]


def test_at_most_the_given_number_of_items_is_begun_ahead(wait_until):
    begun, most = [], 0
    for taken, _ in enumerate(prefetch(range(30), begun.append, threads=4, ahead=3), start=1):
        wait_until(lambda: len(begun) >= min(30, taken + 3))  # noqa: B023
        most = max(most, len(begun) - taken)
    assert most == 3
    assert len(begun) == 30


def test_threads_work_at_the_same_time():
    both = threading.Barrier(2, timeout=WAIT_S)
    assert len(list(prefetch(range(4), lambda _: both.wait(), threads=2, ahead=2))) == 4


def test_an_error_is_raised_at_its_item_and_threads_end():
    def fail_at_two(n):
        if n == 2:
            raise ValueError("two")
        return n

    taken = []
    items = prefetch(range(5), fail_at_two, threads=2, ahead=2)
    with pytest.raises(ValueError, match="two"):
        taken.extend(n for n, _ in items)
    assert not [t for t in threading.enumerate() if t.name.startswith("voxrank-prefetch")]


def test_closing_cancels_items_that_were_not_begun():
    begun = []
    items = prefetch(range(1000), begun.append, threads=1, ahead=2)
    next(items)
    items.close()
    assert len(begun) <= 3  # the consumed item, and two ahead
    assert not [t for t in threading.enumerate() if t.name.startswith("voxrank-prefetch")]


def test_no_items_give_no_results():
    assert list(prefetch([], str, threads=1, ahead=1)) == []
