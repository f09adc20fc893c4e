"""Views of one layer's sketches, which scores read. Results that scores share are computed once."""

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
from voxrank.scores.head import HeldOutClasses, can_test, deal_folds, one_hot, predict_classes, predict_values
from voxrank.scores.head_of_all import predict_classes_by_all
from voxrank.scores.remainder import FLOORS, Remainder, Whole
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array
from voxrank.sketches.projections import Quantiles
from voxrank.sketches.sample import Sample

Read = Callable[[Spectrum], Reading]

REMAINDER_BYTES = 64 * 2**20
"""Maximum size of a layer's cached remainders, in bytes: enough for ten blocks of 1,280 dimensions."""


@dataclass(frozen=True)
class SampledFrames:
    """A layer's sampled frames with their targets.

    Attributes:
        features: (m, D) float64.
        rows: (m,) class ids, or (m, T) values.
        n_targets: T, the number of classes or values.
        blocks: (m,) the block of each sample.
        folds: (m,) the fold with which each sample is held out: its block, or without blocks its utterance.
    """

    features: Array
    rows: NDArray[Any]
    n_targets: int
    blocks: NDArray[np.int64]
    folds: NDArray[np.int64]

    @property
    def classes(self) -> bool:
        """True if the targets are classes."""
        return self.rows.ndim == 1

    @cached_property
    def targets(self) -> Array:
        """The targets (m, T): one-hot over all classes, or values."""
        if not self.classes:
            return np.asarray(self.rows, dtype=np.float64)
        return one_hot(self.rows, self.n_targets)


@dataclass(frozen=True)
class SourceView:
    """The sketches of a layer on the source data, without blocks.

    Attributes:
        moments: moments of all source data.
        sample: a bounded sample of frames; None where no score needs it.
        projections: samples along the shared directions; None where no score needs them.
    """

    moments: Moments
    sample: Sample | None = None
    projections: Quantiles | None = None


@dataclass(frozen=True)
class LayerView:
    """The sketches of one layer.

    Attributes:
        moments: moments of the layer's frames, in blocks.
        sample: a bounded sample of the layer's frames; None where no score needs it.
        targets: targets that `Sample.rows` index: class ids (U,) or values (U, T).
        weight: number of independent samples that each sample of the moments is worth.
        projections: block → its samples along the shared directions; None where no score needs them.
        source: sketches of the source data, which the model was pre-trained on; None where there are none.
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
        rows, blocks = self.targets[self.sample.rows], self.sample.blocks
        columns = (np.unique(keys, return_inverse=True)[1] for keys in (self.sample.utterances, self.sample.keys))
        folds = deal_folds(blocks, *columns, classes=rows if rows.ndim == 1 else None)
        return SampledFrames(
            self.sample.features.astype(np.float64), rows, len(self.moments.total.square), blocks, folds
        )

    def sums_by_block(self, values: Array) -> Array:
        """Return the sum over the samples of each block (B,) of values (m,) of the samples."""
        owners = self.sampled.blocks
        return np.array([values[owners == block].sum() for block in sorted(self.moments.blocks)])

    @cached_property
    def held_out_classes(self) -> HeldOutClasses | None:
        """Predictions for the sample by linear heads that were not fitted to its folds; None where targets are values.

        The errors are those of `sampled`.
        """
        frames = self.sampled
        if not frames.classes:
            return None
        found = predict_classes(frames.features, frames.rows, frames.folds, frames.n_targets)
        if not self._is_part or not can_test(frames.blocks, frames.rows):
            return found
        return predict_classes_by_all(self.moments, frames.features, frames.blocks, found)

    @property
    def _is_part(self) -> bool:
        """True if the data are more than the sample."""
        sample = self.sample
        return sample is not None and len(sample) == sample.size < self.moments.total.n

    @cached_property
    def held_out_values(self) -> Array:
        """Predictions (m, T) for the sample by ridge regression that was not fitted to its folds.

        The errors are those of `sampled`.
        """
        return predict_values(self.sampled.features, self.sampled.targets, self.sampled.folds)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The eigendecomposition that all scores of the moments share."""
        return Spectrum.of(self.moments.total).thinned(self.weight)

    def left_out(self, value: Callable[[Sequence[int]], float]) -> Estimate:
        """Estimate a score from its value on all blocks and its values with each block left out.

        Args:
            value: function of block numbers that returns the score of their data.
        """
        blocks = sorted(self.moments.blocks)
        whole = value(blocks)
        if sum(block.n > 0 for block in self.moments) < 2:  # a model may be unable to use any data of a block
            return Estimate(whole, np.zeros(len(blocks)))
        remaining = [[number for number in blocks if number != block] for block in blocks]
        return Estimate.of_left_out(whole, np.array([value(numbers) for numbers in remaining]))

    def estimate(self, read: Read) -> Estimate:
        """Estimate a score of the moments, with its influence by block."""
        reading = read(self.spectrum)
        if reading.gradient is not None:
            return Estimate(reading.value, self.weight * influence(reading.gradient(), self.moments))
        if len(self.moments.blocks) < 2:
            return Estimate(reading.value, np.zeros(len(self.moments.blocks)))
        return Estimate.of_left_out(reading.value, self._left_out_values(read, reading))

    def _left_out_values(self, read: Read, reading: Reading) -> Array:
        """Return the score without each block: (B,)."""
        if reading.left_out is not None:
            blocks = sorted(self.moments.blocks)
            for floor in FLOORS:
                with suppress(LinAlgError):
                    return np.array(
                        [self._value_without(number, reading, reading.left_out, floor) for number in blocks]
                    )
        total = self.moments.total
        remaining = (Spectrum.of(total.without(block.unpack())).thinned(self.weight) for block in self.moments)
        return np.array([read(spectrum).value for spectrum in remaining])

    def _value_without(self, number: int, reading: Reading, left_out: LeftOut, floor: float) -> float:
        """Return the score without a block, or a linear extrapolation from the score without half of the block."""
        block, min_samples = self.moments.blocks[number], self.spectrum.rank if reading.unridged else 0
        share = 1.0 if self.moments.total.n - block.n - 1 > min_samples else 0.5
        value = left_out(self._remainder(number, share, floor))
        return reading.value + (value - reading.value) / share

    def _remainder(self, number: int, share: float, floor: float) -> Remainder:
        """Return the data without this share of a block, cached for other scores up to `REMAINDER_BYTES`."""
        key = (number, share, floor)
        if key in self._remainders:
            return self._remainders[key]
        remainder = self._whole.without(self.moments.blocks[number], share=share * self.weight, floor=floor)
        if (len(self._remainders) + 1) * remainder.triangle.nbytes <= REMAINDER_BYTES:
            self._remainders[key] = remainder
        return remainder

    @cached_property
    def _remainders(self) -> dict[tuple[int, float, float], Remainder]:
        return {}

    @cached_property
    def _whole(self) -> Whole:
        total = self.moments.total
        return Whole.of(total if self.weight == 1 else total.thinned(self.weight), self.spectrum)
