"""Frames take the label at their centre, and are divided into stretches of one segment."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.encoders.base import LayerFrames, Window
from voxrank.extraction.segments import GAPS, label_frames, middle_frames, stretch_means
from voxrank.targets.timeline import UNLABELLED, Timeline

RATE = 50.0


def piece_of(*windows, rate=RATE):
    """Return a piece whose frames are numbered; windows as (owner, start, frames)."""
    made = tuple(Window(owner, start, frames, frames / rate) for owner, start, frames in windows)
    total = sum(window.frames for window in made)
    owners = max(window.owner for window in made) + 1
    lengths = tuple(sum(w.frames for w in made if w.owner == owner) for owner in range(owners))
    return LayerFrames(3, torch.arange(float(total))[:, None].repeat(1, 2), lengths, made)


def test_labelled_frames_are_grouped_into_stretches():
    timelines = [Timeline.of([0.0, 0.04, 0.08], [0.04, 0.08, 0.12], [5, 5, 7]), Timeline.of([0.03], [0.05], [2])]
    found = label_frames(piece_of((0, 0.0, 7), (1, 0.0, 3)), timelines, 0.01, RATE)
    np.testing.assert_array_equal(found.lengths, [2, 2, 2, 1])
    np.testing.assert_array_equal(found.owners, [0, 0, 0, 1])
    np.testing.assert_array_equal(found.classes, [5, 5, 7, 2])
    np.testing.assert_array_equal(found.frames[:, 0], [0, 1, 2, 3, 4, 5, 8])
    assert found.layer == 3


def test_every_segment_has_the_frame_nearest_to_its_middle_whatever_its_length():
    timelines = [Timeline.of([0.0, 0.1, 0.105, 0.11], [0.1, 0.105, 0.11, 0.14], [5, 6, 7, 8])]
    for rate, expected in ((50.0, [2, 5, 5, 6]), (12.5, [0, 1, 1, 1])):
        found = middle_frames(piece_of((0, 0.0, 8), rate=rate), timelines, 0.5 / rate, rate)
        np.testing.assert_array_equal(found.frames, expected)
        np.testing.assert_array_equal(found.classes, [5, 6, 7, 8])
        np.testing.assert_array_equal(found.places, range(4))


def test_a_segment_is_taken_from_the_window_that_holds_its_middle():
    timelines = [
        Timeline.of([0.0], [0.1], [4]),
        Timeline.of([0.0, 0.06, 0.112], [0.06, 0.1, 0.132], [1, UNLABELLED, 3]),
    ]
    found = middle_frames(piece_of((0, 0.0, 5), (1, 0.0, 4), (1, 0.08, 4)), timelines, 0.01, RATE)
    np.testing.assert_array_equal(found.owners, [0, 1, 1])
    np.testing.assert_array_equal(found.classes, [4, 1, 3])
    np.testing.assert_array_equal(found.frames, [2, 6, 11])
    np.testing.assert_array_equal(found.places, [0, 0, 2])


def test_every_gap_before_a_segment_has_one_frame_where_silence_is_a_class():
    timelines = [Timeline.of([0.04, 0.1], [0.06, 0.12], [0, 1])]
    found = middle_frames(piece_of((0, 0.0, 9)), timelines, 0.01, RATE, rest=9)
    np.testing.assert_array_equal(found.classes, [0, 1, 9, 9])
    np.testing.assert_array_equal(found.frames, [2, 5, 0, 4])
    np.testing.assert_array_equal(found.places, [0, 1, GAPS, GAPS + 1])
    assert timelines[0].gaps == 2


def test_no_segment_is_lost_or_taken_twice_where_windows_have_frames_for_less_than_their_length():
    starts = np.arange(0, 2, 0.02)
    timelines = [Timeline.of(starts, starts + 0.02, np.arange(100))]
    windows = (Window(0, 0.0, 49, 1.0), Window(0, 1.0, 49, 1.0))
    piece = LayerFrames(0, torch.zeros(98, 2), (98,), windows)
    found = middle_frames(piece, timelines, 0.0125, RATE)
    np.testing.assert_array_equal(np.sort(found.places), np.arange(100))
    assert found.frames.max() < 98


def test_segments_of_no_class_and_utterances_without_labels_have_no_middle():
    assert not len(middle_frames(piece_of((0, 0.0, 5)), [Timeline.unlabelled()], 0.01, RATE).frames)
    assert not len(middle_frames(piece_of((0, 0.0, 5)), [Timeline.of([0.0], [0.1], [UNLABELLED])], 0.01, RATE).frames)


def test_silence_is_a_class_on_request():
    timelines = [Timeline.of([0.04, 0.08], [0.06, 0.1], [0, UNLABELLED])]
    found = label_frames(piece_of((0, 0.0, 6)), timelines, 0.01, RATE, rest=9)
    np.testing.assert_array_equal(found.classes, [9, 0, 9, 9])
    np.testing.assert_array_equal(found.lengths, [2, 1, 1, 1])
    some = label_frames(piece_of((0, 0.0, 6)), timelines, 0.01, RATE, rest=9, keep_rest=np.arange(6) == 3)
    np.testing.assert_array_equal(some.classes, [0, 9])


def test_a_window_begins_at_its_own_time():
    """Two windows of 0.11 s give five frames each: the second does not begin at the time of frame five."""
    timelines = [Timeline.of([0.0, 0.115], [0.115, 0.3], [0, 1])]
    found = label_frames(piece_of((0, 0.0, 5), (0, 0.11, 5)), timelines, 0.0, RATE)
    np.testing.assert_array_equal(found.lengths, [6, 4])
    np.testing.assert_array_equal(found.classes, [0, 1])


def test_an_offset_moves_labels():
    timeline = Timeline.of([0.0, 0.05], [0.05, 0.2], [0, 1])
    for offset, first in ((0.0, 3), (0.0125, 2), (0.39, 0)):
        found = label_frames(piece_of((0, 0.0, 8)), [timeline], offset, RATE)
        assert (found.classes == 0).any() == (first > 0)
        assert not first or found.lengths[0] == first


def test_audio_without_labels_gives_no_frames():
    found = label_frames(piece_of((0, 0.0, 4)), [Timeline.of([], [], [])], 0.0, RATE)
    assert found.frames.shape == (0, 2)
    assert stretch_means(found, 3) is found


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5))
def test_stretches_are_averaged_in_parts_of_limited_length(lengths, longest):
    ends = np.cumsum(lengths) / RATE
    timeline = Timeline.of(np.append(0, ends[:-1]), ends, np.arange(len(lengths)))
    found = label_frames(piece_of((0, 0.0, sum(lengths))), [timeline], 0.01, RATE)
    np.testing.assert_array_equal(found.lengths, lengths)
    pooled = stretch_means(found, longest)
    counts = [-(-length // longest) for length in lengths]
    np.testing.assert_array_equal(pooled.classes, np.repeat(np.arange(len(lengths)), counts))
    assert len(pooled.frames) == len(pooled.lengths) == len(pooled.owners) == sum(counts)
    if longest >= max(lengths):
        means = [part.mean(0) for part in found.frames.split(lengths)]
        torch.testing.assert_close(pooled.frames, torch.stack(means))


@pytest.mark.parametrize("offset", [0.0, 0.0125])
def test_layers_with_different_frame_rates_share_a_timeline(offset):
    timeline = Timeline.of([0.0, 0.2, 0.5], [0.2, 0.5, 1.0], [0, 1, 2])
    shares = []
    for rate in (25.0, 50.0, 100.0):
        piece = piece_of((0, 0.0, int(rate)))
        found = label_frames(piece, [timeline], offset, rate)
        shares.append(np.bincount(found.classes, found.lengths) / rate)
    np.testing.assert_allclose(shares, [[0.2, 0.3, 0.5]] * 3, atol=0.041)
