"""Stretches of time become labels of frames at any rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxrank.errors import UtteranceError
from voxrank.targets.ctc import align
from voxrank.targets.timeline import UNLABELLED, Timeline


def centres(n_frames, frame_rate):
    return (np.arange(n_frames) + 0.5) / frame_rate


def test_a_frame_takes_the_symbol_at_its_centre():
    timeline = Timeline.of([0.03, 0.0, 0.1], [0.06, 0.03, 0.12], [7, 5, 9])
    none = UNLABELLED
    np.testing.assert_array_equal(timeline.at(centres(7, 50)), [5, 7, 7, none, none, 9, none])
    np.testing.assert_array_equal(timeline.indices(centres(7, 50)), [0, 1, 1, none, none, 2, none])
    np.testing.assert_array_equal(timeline.at(centres(4, 25), rest=0), [5, 0, 9, 0])
    np.testing.assert_array_equal(timeline.at(centres(3, 100)), [5, 5, 5])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.sampled_from([12.5, 25.0, 50.0, 100.0, 86.1]))
def test_each_symbol_gets_its_share_of_frames(lengths, rate):
    ends = np.cumsum(lengths) / 50
    timeline = Timeline.of(ends - np.array(lengths) / 50, ends, np.arange(len(lengths)))
    frames = timeline.at(centres(int(ends[-1] * rate) + 3, rate))
    counts = np.bincount(frames[frames >= 0], minlength=len(lengths))
    assert (np.abs(counts - np.array(lengths) / 50 * rate) <= 1 + 1e-9).all()
    assert (np.diff(frames[frames >= 0]) >= 0).all()


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.0125, 0.39])
def test_an_alignment_is_read_back_at_its_own_frames(offset):
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(5), 80))
    labels = np.array([1, 2, 2, 4, 3])
    found = align(log_probs, labels)
    when = offset + np.arange(80) / 50
    timeline = Timeline.of_alignment(found, labels, when, 1.6)
    np.testing.assert_array_equal(timeline.at(when, rest=0), found.symbols(labels, 0))


def test_an_alignment_reaches_from_the_first_sample_to_the_last():
    found = align(np.log(np.full((4, 2), 0.5)), [1])
    timeline = Timeline.of_alignment(found, [1], [0.0, 0.02, 0.04, 0.06], 0.079)
    assert (timeline.starts[0], timeline.ends[-1]) == (0.0, 0.079)


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_a_part_of_a_timeline_has_the_same_symbols(start, length):
    timeline = Timeline.of([0.1, 0.4, 0.9], [0.4, 0.7, 1.2], [3, 1, 2])
    times = np.linspace(0, length, 50, endpoint=False)
    part = timeline.cut(start, start + length)
    apart = (np.abs(times[:, None] + start - np.array([0.1, 0.4, 0.7, 0.9, 1.2])) > 1e-9).all(axis=1)
    np.testing.assert_array_equal(part.at(times)[apart], timeline.at(times + start)[apart])


def test_segments_that_touch_except_for_rounding_are_joined():
    timeline = Timeline.of([0.0, 0.3 - 1e-9], [0.1 + 0.2, 0.5], [1, 2])
    assert timeline.ends[0] == timeline.starts[1]


def test_a_timeline_without_segments_is_unlabelled():
    np.testing.assert_array_equal(Timeline.of([], [], []).at(centres(3, 50)), [UNLABELLED] * 3)


BAD = {
    "overlap": ([0.0, 0.5], [0.6, 1.0], "apart from each other, got 0-0.6 s and 0.5-1 s"),
    "backwards": ([1.0], [0.5], "end after their start, got 1-0.5 s"),
    "empty": ([1.0], [1.0], "end after their start, got 1-1 s"),
    "before the beginning": ([-0.1], [1.0], "from 0 s on .* got -0.1-1 s"),
    "not a number": ([np.nan], [1.0], "finite times"),
}


@pytest.mark.parametrize(("starts", "ends", "message"), BAD.values(), ids=BAD)
def test_impossible_segments_are_refused(starts, ends, message):
    with pytest.raises(UtteranceError, match=message):
        Timeline.of(starts, ends, np.zeros(len(starts)))
