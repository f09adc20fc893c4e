"""Stretches of time → frames of any rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxrank.errors import UtteranceError
from voxrank.targets.ctc import align
from voxrank.targets.timeline import UNLABELLED, Timeline


def test_a_frame_takes_the_symbol_at_its_centre():
    timeline = Timeline.of([0.03, 0.0, 0.1], [0.06, 0.03, 0.12], [7, 5, 9])
    np.testing.assert_array_equal(timeline.frames(7, 50), [5, 7, 7, UNLABELLED, UNLABELLED, 9, UNLABELLED])
    np.testing.assert_array_equal(timeline.frames(4, 25, rest=0), [5, 0, 9, 0])
    np.testing.assert_array_equal(timeline.frames(3, 100), [5, 5, 5])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.sampled_from([12.5, 25.0, 50.0, 100.0, 86.1]))
def test_each_symbol_gets_its_share_of_frames(lengths, rate):
    ends = np.cumsum(lengths) / 50
    timeline = Timeline.of(ends - np.array(lengths) / 50, ends, np.arange(len(lengths)))
    frames = timeline.frames(int(ends[-1] * rate) + 3, rate)
    counts = np.bincount(frames[frames >= 0], minlength=len(lengths))
    assert (np.abs(counts - np.array(lengths) / 50 * rate) <= 1).all()
    assert (np.diff(frames[frames >= 0]) >= 0).all()


def test_an_alignment_comes_back_at_its_own_rate():
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(5), 80))
    labels = np.array([1, 2, 2, 4, 3])
    found = align(log_probs, labels)
    timeline = Timeline.of_alignment(found, labels, 50.0)
    np.testing.assert_array_equal(timeline.frames(80, 50.0, rest=0), found.symbols(labels, 0))


def test_stretches_that_touch_but_for_rounding():
    timeline = Timeline.of([0.0, 0.3 - 1e-9], [0.1 + 0.2, 0.5], [1, 2])
    assert timeline.ends[0] == timeline.starts[1]


def test_no_stretches():
    np.testing.assert_array_equal(Timeline.of([], [], []).frames(3, 50), [UNLABELLED] * 3)


BAD = {
    "overlap": ([0.0, 0.5], [0.6, 1.0], "apart from each other, got 0-0.6 s and 0.5-1 s"),
    "backwards": ([1.0], [0.5], "end after their start, got 1-0.5 s"),
    "empty": ([1.0], [1.0], "end after their start, got 1-1 s"),
    "before the beginning": ([-0.1], [1.0], "from 0 s on .* got -0.1-1 s"),
    "not a number": ([np.nan], [1.0], "finite times"),
}


@pytest.mark.parametrize(("starts", "ends", "message"), BAD.values(), ids=BAD)
def test_segments_that_cannot_be(starts, ends, message):
    with pytest.raises(UtteranceError, match=message):
        Timeline.of(starts, ends, np.zeros(len(starts)))
