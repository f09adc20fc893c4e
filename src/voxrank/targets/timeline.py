"""Timelines: intervals of one symbol each, and the symbols of frames.

A timeline is in seconds, so that models of any frame rate share it. A frame takes the symbol at its centre, which
`Encoder.offsets` gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.config import Seconds
from voxrank.errors import UtteranceError

if TYPE_CHECKING:
    from voxrank.targets.ctc import Alignment

UNLABELLED = -1
ROUNDING_S = 1e-6
"""Maximum overlap of intervals, in seconds."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The labelled intervals (stretches) of one utterance, in order of time and without overlap.

    Attributes:
        starts: (S,) start times in seconds.
        ends: (S,) end times in seconds, each after its start and not after the next start.
        symbols: (S,) symbol numbers.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    symbols: NDArray[np.int64]

    @classmethod
    def of(cls, starts: ArrayLike, ends: ArrayLike, symbols: ArrayLike) -> Self:
        """Check the stretches and sort them by time.

        Raises:
            UtteranceError: a stretch ends before it starts, lies before the beginning, or overlaps another.
        """
        begin, end = np.asarray(starts, dtype=np.float64), np.asarray(ends, dtype=np.float64)
        if not (np.isfinite(begin).all() and np.isfinite(end).all()):
            raise UtteranceError("expected segments with finite times")
        invalid = np.flatnonzero((begin < 0) | (end <= begin))
        if len(invalid):
            raise UtteranceError(
                f"expected segments from 0 s on that end after their start, got {_shown(begin, end, invalid[0])}"
            )
        order = np.argsort(begin, kind="stable")
        begin, end = begin[order], end[order]
        overlaps = np.flatnonzero(begin[1:] < end[:-1] - ROUNDING_S)
        if len(overlaps):
            raise UtteranceError(
                f"expected segments apart from each other, got {_shown(begin, end, overlaps[0])} "
                f"and {_shown(begin, end, overlaps[0] + 1)}"
            )
        end[:-1] = np.minimum(end[:-1], begin[1:])
        return cls(begin, end, np.asarray(symbols, dtype=np.int64)[order])

    @classmethod
    def unlabelled(cls) -> Self:
        """Return the timeline of an utterance that has no label and no silence: one unlabelled stretch covers it."""
        return cls(np.array([0.0]), np.array([np.inf]), np.array([UNLABELLED], dtype=np.int64))

    @classmethod
    def of_alignment(cls, alignment: Alignment, labels: ArrayLike, centres: ArrayLike, seconds: Seconds) -> Self:
        """Build a timeline from an alignment, with one stretch per label; blank frames have no stretch.

        Args:
            alignment: alignment of T frames.
            labels: (L,) symbols of the labels.
            centres: (T,) centres of the frames in seconds; frames meet midway between their centres.
            seconds: end of the last frame.
        """
        centres_s = np.asarray(centres, dtype=np.float64)
        bounds = np.concatenate([[0.0], (centres_s[1:] + centres_s[:-1]) / 2, [max(seconds, centres_s[-1])]])
        spans = bounds[alignment.spans]
        return cls(spans[:, 0], spans[:, 1], np.asarray(labels, dtype=np.int64))

    @property
    def gaps(self) -> int:
        """Number of gaps before the stretches."""
        return int((self.starts - np.append(0.0, self.ends[:-1]) > ROUNDING_S).sum())

    def indices(self, times: ArrayLike) -> NDArray[np.int64]:
        """Return the index of the stretch at each time, (n,) → (n,); `UNLABELLED` if there is none."""
        times_s = np.asarray(times, dtype=np.float64)
        index = np.searchsorted(self.starts, times_s, side="right") - 1
        inside = (index >= 0) & (times_s < np.append(self.ends, -np.inf)[index])
        return np.where(inside, index, UNLABELLED)

    def at(self, times: ArrayLike, *, rest: int = UNLABELLED) -> NDArray[np.int64]:
        """Return the symbol at each time, (n,) → (n,); `rest` if there is none."""
        return np.append(self.symbols, rest)[self.indices(times)]

    def jittered(self, rng: np.random.Generator, by: Seconds) -> Timeline:
        """Return a copy with every boundary moved by -`by`, 0 or `by` at random; stretches that vanish are removed."""
        bounds, indices = np.unique(np.concatenate([self.starts, self.ends]), return_inverse=True)
        moved = np.maximum.accumulate(np.maximum(bounds + rng.integers(-1, 2, len(bounds)) * by, 0.0))[indices]
        starts, ends = moved[: len(self.starts)], moved[len(self.starts) :]
        is_kept = ends > starts
        return Timeline(starts[is_kept], ends[is_kept], self.symbols[is_kept])

    def cut(self, start: Seconds, end: Seconds) -> Timeline:
        """Return the part between two times, with times relative to the first."""
        is_inside = (self.ends > start) & (self.starts < end)
        starts, ends = np.maximum(self.starts[is_inside], start), np.minimum(self.ends[is_inside], end)
        return Timeline(starts - start, ends - start, self.symbols[is_inside])


def _shown(starts: NDArray[np.float64], ends: NDArray[np.float64], index: int) -> str:
    return f"{starts[index]:g}-{ends[index]:g} s"
