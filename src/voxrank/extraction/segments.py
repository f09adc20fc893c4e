"""Frames of a layer as segments: the means of equal segments, and the frames with a label in stretches of one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.config import Hertz, Seconds
from voxrank.encoders.base import LayerFrames
from voxrank.targets.timeline import ROUNDING_S, UNLABELLED, Timeline

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
        places: (R,) number of the segment in its utterance, the same for every layer of every model; for a gap before a
            segment, `GAPS` and the number of that segment.
    """

    frames: Ids
    owners: Ids
    classes: Ids
    places: Ids


GAPS = 2**40
"""Number of the first gap between segments, above that of any segment."""


def middle_frames(
    piece: LayerFrames, timelines: Sequence[Timeline], offset: Seconds, frame_rate: Hertz, *, rest: int = UNLABELLED
) -> Middles:
    """Return the frames in the middle of the segments, and where `rest` is a class of the gaps between them.

    A segment that is shorter than a frame has one, too. Segments and gaps belong to the window that holds their middle.
    A gap at the end of the audio is not counted, as its end is not known here. The arguments are those of
    `label_frames`.
    """
    parts: list[tuple[Ids, Ids, Ids, Ids]] = [(np.zeros(0, dtype=np.int64),) * 4]
    begin = 0
    for window in piece.windows:
        timeline = timelines[window.owner]
        middles, classes, places = _middles(timeline, rest)
        inside = (middles >= window.start) & (middles < window.start + window.seconds)
        if window.frames:
            nearest = np.rint((middles[inside] - window.start - offset) * frame_rate)
            frames = begin + np.clip(nearest, 0, window.frames - 1).astype(np.int64)
            parts.append((frames, np.full(len(frames), window.owner), classes[inside], places[inside]))
        begin += window.frames
    return Middles(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _middles(timeline: Timeline, rest: int) -> tuple[NDArray[np.float64], Ids, Ids]:
    """Return the time, the class and the place of the middle of every segment with a class, and of every gap."""
    labelled = np.flatnonzero(timeline.symbols != UNLABELLED)
    middles = (timeline.starts + timeline.ends)[labelled] / 2
    if rest == UNLABELLED:
        return middles, timeline.symbols[labelled], labelled
    ends = np.append(0.0, timeline.ends[:-1])
    gaps = np.flatnonzero(timeline.starts - ends > ROUNDING_S)
    times = np.append(middles, (timeline.starts + ends)[gaps] / 2)
    classes = np.append(timeline.symbols[labelled], np.full(len(gaps), rest))
    return times, classes, np.append(labelled, GAPS + gaps)


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
