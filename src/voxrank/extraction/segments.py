"""Frames of a layer as segments: the means of equal segments, and the frames with a label in stretches of one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.config import Hertz, Seconds
from voxrank.encoders.base import LayerFrames
from voxrank.targets.timeline import UNLABELLED, Timeline

Ids = NDArray[np.int64]


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


@dataclass(frozen=True)
class Stretches:
    """The frames of a piece that have a label, in stretches.

    A stretch holds consecutive frames with the label of one segment.

    Attributes:
        layer: index of the layer.
        frames: (n, D) frames, utterance by utterance, in order of time.
        lengths: (R,) number of frames of each stretch.
        owners: (R,) utterance of the batch that each stretch belongs to.
        classes: (R,) label of each stretch.
    """

    layer: int
    frames: torch.Tensor
    lengths: Ids
    owners: Ids
    classes: Ids


@dataclass(frozen=True)
class Middles:
    """The frames nearest to the middles of segments: one for each segment, whatever its length and the frame rate.

    Attributes:
        frames: (R,) positions in a piece.
        owners: (R,) utterance of the batch that each segment belongs to.
        classes: (R,) label of each segment.
        places: (R,) number of the segment in its utterance, the same for every layer of every model; for a gap between
            segments, `GAPS` and its time in milliseconds.
    """

    frames: Ids
    owners: Ids
    classes: Ids
    places: Ids


GAPS = 2**40
"""Least number of a gap between segments, above that of any segment."""


def middle_frames(
    piece: LayerFrames, timelines: Sequence[Timeline], offset: Seconds, frame_rate: Hertz, *, rest: int = UNLABELLED
) -> Middles:
    """Return the frames in the middle of the segments, and where `rest` is a class of the gaps between them.

    A segment that is shorter than a frame has one, too. The arguments are those of `label_frames`.
    """
    found: list[tuple[Ids, int, Ids, Ids]] = []
    begin = 0
    for window in piece.windows:
        timeline = timelines[window.owner]
        middles = (timeline.starts + timeline.ends) / 2 - window.start
        inside = (middles >= 0) & (middles < window.frames / frame_rate) & (timeline.symbols != UNLABELLED)
        places = np.flatnonzero(inside)
        frames = np.clip(np.rint((middles[places] - offset) * frame_rate), 0, window.frames - 1).astype(np.int64)
        found.append((begin + frames, window.owner, timeline.symbols[places], places))
        if rest != UNLABELLED:
            times = window.start + offset + np.arange(window.frames) / frame_rate
            silent = np.flatnonzero(timeline.indices(times) == UNLABELLED)
            first = _changes(silent)
            gaps = silent[(first + np.append(first[1:], len(silent))) // 2]
            places = GAPS + np.rint(1000 * times[gaps]).astype(np.int64)
            found.append((begin + gaps, window.owner, np.full(len(gaps), rest), places))
        begin += window.frames
    owners = np.concatenate([np.full(len(frames), owner) for frames, owner, _, _ in found])
    positions, classes, places = (np.concatenate([row[index] for row in found]) for index in (0, 2, 3))
    return Middles(positions, owners, classes, places)


def label_frames(
    piece: LayerFrames,
    timelines: Sequence[Timeline],
    offset: Seconds,
    frame_rate: Hertz,
    *,
    rest: int = UNLABELLED,
    keep_rest: NDArray[np.bool_] | None = None,
) -> Stretches:
    """Return the frames that have a label.

    Args:
        piece: piece of a batch, with its windows.
        timelines: timeline of each utterance of the batch, with class ids; `UNLABELLED` for segments without a class.
        offset: centre of the first frame of a window, in seconds.
        frame_rate: frame rate of the layer.
        rest: class of frames outside all segments, or `UNLABELLED`.
        keep_rest: (n,) which frames of the piece may be `rest`; None for all.
    """
    windows = piece.windows
    owners = np.repeat([window.owner for window in windows], [window.frames for window in windows]).astype(np.int64)
    segment_indices = np.concatenate(
        [
            timelines[window.owner].indices(window.start + offset + np.arange(window.frames) / frame_rate)
            for window in windows
        ]
    )
    classes = np.full(len(segment_indices), rest)
    for owner in np.unique(owners):
        mask = owners == owner
        classes[mask] = np.append(timelines[owner].symbols, rest)[segment_indices[mask]]
    if keep_rest is not None:
        classes[(segment_indices == UNLABELLED) & ~keep_rest] = UNLABELLED
    labelled = np.flatnonzero(classes != UNLABELLED)
    frames = piece.frames
    if len(labelled) < len(classes):
        frames = frames.index_select(0, torch.from_numpy(labelled).to(frames.device))
    first = _changes(labelled, owners[labelled], segment_indices[labelled])
    lengths = np.diff(np.append(first, len(labelled)))
    return Stretches(piece.layer, frames, lengths, owners[labelled][first], classes[labelled][first])


def _changes(*columns: Ids) -> Ids:
    """Return the starts of stretches: places where the first column is not consecutive, or another column changes."""
    frames, *others = columns
    new = np.ones(len(frames), dtype=np.bool_)
    new[1:] = np.diff(frames) != 1
    for column in others:
        new[1:] |= np.diff(column) != 0
    return np.flatnonzero(new)


def stretch_means(stretches: Stretches, longest: int) -> Stretches:
    """Pool each stretch to its mean; a stretch of more than `longest` frames is cut into equal parts."""
    if not len(stretches.lengths):
        return stretches
    pooled = segment_means(LayerFrames(0, stretches.frames, tuple(stretches.lengths.tolist())), longest)
    return Stretches(
        stretches.layer,
        pooled.frames,
        np.ones(len(pooled.frames), dtype=np.int64),
        np.repeat(stretches.owners, pooled.lengths),
        np.repeat(stretches.classes, pooled.lengths),
    )
