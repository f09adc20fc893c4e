"""What is heard when: stretches of time with a symbol each, and the frames that they cover.

A timeline is in seconds, so that models of any frame rate share it. A frame takes the symbol at its centre: frame i of
a layer with r frames a second has its centre at (i + ½)/r seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.config import Hertz
from voxrank.errors import UtteranceError
from voxrank.targets.ctc import Alignment

UNLABELLED = -1
ROUNDING_S = 1e-6
"""By how much stretches may overlap."""


@dataclass(frozen=True)
class Timeline:
    """Stretches of one utterance, in order of time and apart from each other.

    Attributes:
        starts: (S,) seconds.
        ends: (S,) seconds, each after its start and not after the next.
        symbols: (S,) numbers of symbols.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    symbols: NDArray[np.int64]

    @classmethod
    def of(cls, starts: ArrayLike, ends: ArrayLike, symbols: ArrayLike) -> Self:
        """Checked, and put in order of time.

        Raises:
            UtteranceError: a stretch ends before it starts, lies before the beginning, or overlaps another.
        """
        begin, end = np.asarray(starts, dtype=np.float64), np.asarray(ends, dtype=np.float64)
        if not (np.isfinite(begin).all() and np.isfinite(end).all()):
            raise UtteranceError("expected segments with finite times")
        wrong = np.flatnonzero((begin < 0) | (end <= begin))
        if len(wrong):
            raise UtteranceError(
                f"expected segments from 0 s on that end after their start, got {_shown(begin, end, wrong[0])}"
            )
        order = np.argsort(begin, kind="stable")
        begin, end = begin[order], end[order]
        over = np.flatnonzero(begin[1:] < end[:-1] - ROUNDING_S)
        if len(over):
            raise UtteranceError(
                f"expected segments apart from each other, got {_shown(begin, end, over[0])} "
                f"and {_shown(begin, end, over[0] + 1)}"
            )
        end[:-1] = np.minimum(end[:-1], begin[1:])
        return cls(begin, end, np.asarray(symbols, dtype=np.int64)[order])

    @classmethod
    def of_alignment(cls, alignment: Alignment, labels: ArrayLike, frame_rate: Hertz) -> Self:
        """Where an alignment puts each label; what is blank has no stretch."""
        spans = alignment.spans / frame_rate
        return cls(spans[:, 0], spans[:, 1], np.asarray(labels, dtype=np.int64))

    def frames(self, n_frames: int, frame_rate: Hertz, *, rest: int = UNLABELLED) -> NDArray[np.int64]:
        """(n_frames,) the symbol at each frame's centre; `rest` where there is none."""
        centres = (np.arange(n_frames) + 0.5) / frame_rate
        place = np.searchsorted(self.starts, centres, side="right") - 1
        inside = (place >= 0) & (centres < np.append(self.ends, -np.inf)[place])
        return np.where(inside, np.append(self.symbols, rest)[place], rest)


def _shown(starts: NDArray[np.float64], ends: NDArray[np.float64], place: int) -> str:
    return f"{starts[place]:g}-{ends[place]:g} s"
