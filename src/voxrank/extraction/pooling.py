"""Pooling of frames to the means of segments."""

from __future__ import annotations

import numpy as np
import torch

from voxrank.config import Hertz, Seconds
from voxrank.encoders.base import LayerFrames


def segment_frames(segment_s: Seconds, frame_rate: Hertz) -> int:
    """Return the number of frames in the longest segment, at least one."""
    return max(1, round(segment_s * frame_rate))


def segment_means(piece: LayerFrames, longest: int) -> LayerFrames:
    """Pool segments to their means. The frames of each utterance are cut into the fewest equal segments.

    Args:
        piece: frames of a batch.
        longest: maximum number of frames in a segment. Lengths of an utterance's segments differ by at most one.

    Returns:
        The means in place of frames, one for each segment.
    """
    lengths = np.array(piece.lengths)
    counts = -(-lengths // longest)
    sizes = np.concatenate(
        [np.diff(np.arange(k + 1) * m // k) if k else [] for m, k in zip(lengths, counts, strict=True)]
    )
    device_sizes = torch.from_numpy(sizes.astype(np.int64)).to(piece.frames.device)
    segment_ids = torch.repeat_interleave(device_sizes)
    sums = piece.frames.new_zeros(len(sizes), piece.frames.shape[1]).index_add_(0, segment_ids, piece.frames)
    return LayerFrames(piece.layer, sums / device_sizes[:, None], tuple(counts.tolist()))
