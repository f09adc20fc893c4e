"""Segments are equal and as few as possible, and their means are those of their frames."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.encoders.base import LayerFrames
from voxrank.extraction.segments import segment_frames, segment_means


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 17), min_size=1, max_size=6), longest=st.integers(1, 9))
def test_each_utterance_is_divided_into_segments_of_similar_length(lengths, longest):
    if not sum(lengths):
        return
    frames = torch.from_numpy(np.random.default_rng(0).normal(size=(sum(lengths), 3)).astype(np.float32))
    pooled = segment_means(LayerFrames(2, frames, tuple(lengths)), longest)
    counts = [-(-length // longest) for length in lengths]
    assert pooled.layer == 2
    assert pooled.lengths == tuple(counts)
    for means, run in zip(torch.split(pooled.frames, counts), torch.split(frames, lengths), strict=True):
        bounds = [len(run) * i // max(len(means), 1) for i in range(len(means) + 1)]
        sizes = np.diff(bounds)
        assert not len(means) or (sizes.max() <= longest and sizes.max() - sizes.min() <= 1)
        for mean, start, end in zip(means, bounds, bounds[1:], strict=False):
            torch.testing.assert_close(mean, run[start:end].mean(0))


def test_segments_of_one_frame_equal_the_frames():
    frames = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    pooled = segment_means(LayerFrames(0, frames, (3, 0, 4)), 1)
    torch.testing.assert_close(pooled.frames, frames, rtol=0, atol=0)
    assert pooled.lengths == (3, 0, 4)


def test_means_equal_values_computed_by_hand():
    frames = torch.arange(10, dtype=torch.float32).reshape(5, 2)
    pooled = segment_means(LayerFrames(0, frames, (5,)), 3)
    torch.testing.assert_close(pooled.frames, torch.tensor([[1.0, 2.0], [6.0, 7.0]]))  # frames 0-1, then 2-4


@pytest.mark.parametrize(
    ("seconds", "rate", "frames"), [(0.2, 50, 10), (0.2, 100, 20), (0.2, 12.5, 2), (0.01, 12.5, 1)]
)
def test_the_number_of_frames_in_a_segment_follows_from_the_rate(seconds, rate, frames):
    assert segment_frames(seconds, rate) == frames
