"""What scores read of one layer, with what they share found once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray

from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate
from voxrank.scores.gradient import LeftOut, Reading, influence
from voxrank.scores.remainder import FLOORS, Remainder, Whole
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array
from voxrank.sketches.projections import Quantiles
from voxrank.sketches.sample import Sample

Read = Callable[[Spectrum], Reading]

REMAINDER_BYTES = 64 * 2**20
"""Of a layer, without each of its blocks, that are kept for the next score: ten blocks of 1,280 dimensions."""


@dataclass(frozen=True)
class SampledFrames:
    """A layer's sampled frames with their targets.

    Attributes:
        features: (m, D) float64.
        targets: (m, T): one-hot over all classes, or values.
        blocks: (m,) the block of each.
        classes: whether the targets are classes.
    """

    features: Array
    targets: Array
    blocks: NDArray[np.int64]
    classes: bool


@dataclass(frozen=True)
class SourceView:
    """The same layer's sketches of the source data, without blocks.

    Attributes:
        moments: of all of it.
        sample: some of its samples; None where no score asked for it.
        projections: its samples along the shared directions; None where no score asked for them.
    """

    moments: Moments
    sample: Sample | None = None
    projections: Quantiles | None = None


@dataclass(frozen=True)
class LayerView:
    """One layer's sketches.

    Attributes:
        moments: in blocks.
        sample: a bounded sample of the layer's frames; None where no score asked for it.
        targets: one row for each `Sample.rows`: class ids (U,) or values (U, T).
        weight: how much of an independent sample each sample of the moments is worth.
        projections: block → its samples along the shared directions; None where no score asked for them.
        source: of the data that the model was pre-trained on; None where there are none.
    """

    moments: BlockedMoments
    sample: Sample | None = None
    targets: NDArray[Any] | None = None
    weight: float = 1.0
    projections: dict[int, Quantiles] | None = None
    source: SourceView | None = None

    @cached_property
    def sampled(self) -> SampledFrames:
        """The sample with its targets.

        Raises:
            OptionError: no sample was kept.
        """
        if self.sample is None or self.targets is None:
            raise OptionError("expected a sample of frames, got none; ask for this score when the data are encoded")
        rows = self.targets[self.sample.rows]
        classes = rows.ndim == 1
        targets = np.eye(len(self.moments.total.square))[rows] if classes else np.asarray(rows, dtype=np.float64)
        return SampledFrames(self.sample.features.astype(np.float64), targets, self.sample.blocks, classes)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The one eigendecomposition that all scores of the moments share."""
        return Spectrum.of(self.moments.total).thinned(self.weight)

    def left_out(self, value: Callable[[Sequence[int]], float]) -> Estimate:
        """A score that is found for any of the blocks, of all of them and without each in turn.

        Args:
            value: numbers of blocks → the score of their data.
        """
        blocks = sorted(self.moments.blocks)
        whole = value(blocks)
        if sum(block.n > 0 for block in self.moments) < 2:  # a model may be able to use nothing of a block
            return Estimate(whole, np.zeros(len(blocks)))
        rests = [[other for other in blocks if other != block] for block in blocks]
        return Estimate.of_left_out(whole, np.array([value(rest) for rest in rests]))

    def estimate(self, read: Read) -> Estimate:
        """A score of the moments, with its influence by the blocks."""
        reading = read(self.spectrum)
        if reading.gradient is not None:
            return Estimate(reading.value, self.weight * influence(reading.gradient(), self.moments))
        if len(self.moments.blocks) < 2:
            return Estimate(reading.value, np.zeros(len(self.moments.blocks)))
        return Estimate.of_left_out(reading.value, self._left_out(read, reading))

    def _left_out(self, read: Read, reading: Reading) -> Array:
        """The score without each block: (B,)."""
        if reading.left_out is not None:
            blocks = sorted(self.moments.blocks)
            for floor in FLOORS:
                with suppress(LinAlgError):
                    return np.array([self._without(number, reading, reading.left_out, floor) for number in blocks])
        total = self.moments.total
        rests = (Spectrum.of(total.without(block.unpack())).thinned(self.weight) for block in self.moments)
        return np.array([read(rest).value for rest in rests])

    def _without(self, number: int, reading: Reading, left_out: LeftOut, floor: float) -> float:
        """The score without a block, or as far beyond the score without half of it as that is from the score of all."""
        block, least = self.moments.blocks[number], self.spectrum.rank if reading.unridged else 0
        share = 1.0 if self.moments.total.n - block.n - 1 > least else 0.5
        left = left_out(self._remainder(number, share, floor))
        return reading.value + (left - reading.value) / share

    def _remainder(self, number: int, share: float, floor: float) -> Remainder:
        """The data without so much of a block, which scores share while it takes little memory."""
        key = (number, share, floor)
        if key in self._remainders:
            return self._remainders[key]
        made = self._whole.without(self.moments.blocks[number], share=share * self.weight, floor=floor)
        if (len(self._remainders) + 1) * made.triangle.nbytes <= REMAINDER_BYTES:
            self._remainders[key] = made
        return made

    @cached_property
    def _remainders(self) -> dict[tuple[int, float, float], Remainder]:
        return {}

    @cached_property
    def _whole(self) -> Whole:
        total = self.moments.total
        return Whole.of(total if self.weight == 1 else total.thinned(self.weight), self.spectrum)
