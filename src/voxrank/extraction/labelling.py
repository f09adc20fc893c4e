"""Frames → those that have a label, in stretches of one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.config import Hertz, Seconds
from voxrank.encoders.base import LayerFrames
from voxrank.extraction.pooling import segment_means
from voxrank.targets.timeline import UNLABELLED, Timeline

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Stretches:
    """Frames of a piece that have a label.

    Attributes:
        layer: as the piece's.
        frames: (n, D), utterance by utterance, in order of time.
        lengths: (R,) frames of each stretch: consecutive frames with one segment's label.
        owners: (R,) the utterance of the batch that each belongs to.
        classes: (R,) its label.
    """

    layer: int
    frames: torch.Tensor
    lengths: Ids
    owners: Ids
    classes: Ids


def label_frames(
    piece: LayerFrames,
    timelines: Sequence[Timeline],
    offset: Seconds,
    frame_rate: Hertz,
    *,
    rest: int = UNLABELLED,
    keep_rest: NDArray[np.bool_] | None = None,
) -> Stretches:
    """The frames that have a label.

    Args:
        piece: of a batch, with its windows.
        timelines: of each utterance of the batch, with class ids; `UNLABELLED` for stretches that have none.
        offset: of the first frame's centre in a window.
        frame_rate: of the layer.
        rest: the class of frames outside all stretches, or `UNLABELLED`.
        keep_rest: (n,) which of the piece's frames may be `rest`; None: all.
    """
    windows = piece.windows
    owners = np.repeat([window.owner for window in windows], [window.frames for window in windows]).astype(np.int64)
    places = np.concatenate(
        [
            timelines[window.owner].places(window.start + offset + np.arange(window.frames) / frame_rate)
            for window in windows
        ]
    )
    classes = np.full(len(places), rest)
    for owner in np.unique(owners):
        own = owners == owner
        classes[own] = np.append(timelines[owner].symbols, rest)[places[own]]
    if keep_rest is not None:
        classes[(places == UNLABELLED) & ~keep_rest] = UNLABELLED
    kept = np.flatnonzero(classes != UNLABELLED)
    frames = piece.frames
    if len(kept) < len(classes):
        frames = frames.index_select(0, torch.from_numpy(kept).to(frames.device))
    first = _changes(kept, owners[kept], places[kept])
    lengths = np.diff(np.append(first, len(kept)))
    return Stretches(piece.layer, frames, lengths, owners[kept][first], classes[kept][first])


def _changes(*columns: Ids) -> Ids:
    """Where a new stretch begins: the first column does not go on, or another one changes."""
    frames, *others = columns
    new = np.ones(len(frames), dtype=np.bool_)
    new[1:] = np.diff(frames) != 1
    for column in others:
        new[1:] |= np.diff(column) != 0
    return np.flatnonzero(new)


def stretch_means(stretches: Stretches, longest: int) -> Stretches:
    """The mean of each stretch in place of its frames; one of more than `longest` frames is cut into equal parts."""
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
