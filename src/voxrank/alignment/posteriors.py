"""Timelines from CTC posteriors, for the aligners `ctc` and `head`.

A CTC model marks a unit in a frame or two, and the frames between units as blank. The blank frames after a unit belong
to it until the next unit begins. Quiet frames are silence where the transcript allows a pause.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxrank.alignment.base import Transcript
from voxrank.alignment.frames import Framed
from voxrank.targets.ctc import BLANK, align
from voxrank.targets.timeline import Timeline

Array = NDArray[np.float64]


def log_softmax(logits: NDArray[np.floating]) -> Array:
    """Return (T, C) log probabilities in double precision."""
    wide = logits.astype(np.float64)
    return np.asarray(wide - np.logaddexp.reduce(wide, axis=1, keepdims=True))


def posterior_timeline(
    log_probs: Array,
    symbols: NDArray[np.int64],
    owners: NDArray[np.int64],
    blank: int,
    frames: Framed,
    transcript: Transcript,
) -> Timeline:
    """Return the timeline of the units of a transcript.

    Args:
        log_probs: (T, C) log probabilities.
        symbols: (S,) columns of the units and of the word delimiters, in order.
        owners: (S,) index of the unit of each symbol; `BLANK` for word delimiters.
        blank: column of the blank.
        frames: the frames.
        transcript: the transcript, of L units.

    Raises:
        UtteranceError: the transcript has more units than frames.
    """
    alignment = align(log_probs, symbols, blank=blank)
    units = np.append(owners, BLANK)[alignment.tokens]
    last, filled = BLANK, units.copy()
    for t, unit in enumerate(units):
        if unit != BLANK:
            last = unit
        elif last != BLANK and not (frames.quiet[t] and transcript.pauses[last + 1]):
            filled[t] = last
        else:
            last = BLANK if last == BLANK or frames.quiet[t] else last
    return _timeline(filled, frames, transcript)


def _timeline(units: NDArray[np.int64], frames: Framed, transcript: Transcript) -> Timeline:
    """Return the timeline in seconds of frames labelled with units, each unit in one run."""
    middles = (frames.centres[1:] + frames.centres[:-1]) / 2
    bounds = np.concatenate([[0.0], middles, [max(transcript.item.seconds, frames.centres[-1])]])
    spoken = np.flatnonzero(units != BLANK)
    order = np.arange(len(transcript.labels))
    first = spoken[np.searchsorted(units[spoken], order, side="left")]
    last = spoken[np.searchsorted(units[spoken], order, side="right") - 1]
    return Timeline(bounds[first], bounds[last + 1], transcript.labels)
