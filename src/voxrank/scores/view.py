"""What scores read of one layer, with what they share found once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate
from voxrank.scores.gradient import Reading, influence
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.products import Array
from voxrank.sketches.sample import Sample

Read = Callable[[Spectrum], Reading]


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
class LayerView:
    """One layer's sketches.

    Attributes:
        moments: in blocks.
        sample: a bounded sample of the layer's frames; None where no score asked for it.
        targets: one row for each `Sample.rows`: class ids (U,) or values (U, T).
        weight: how much of an independent sample each sample of the moments is worth.
    """

    moments: BlockedMoments
    sample: Sample | None = None
    targets: NDArray[Any] | None = None
    weight: float = 1.0

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

    def estimate(self, read: Read) -> Estimate:
        """A score of the moments, with its influence by the blocks."""
        reading = read(self.spectrum)
        if reading.gradient is None:
            return self._left_out(read, reading.value)
        return Estimate(reading.value, self.weight * influence(reading.gradient(), self.moments))

    def _left_out(self, read: Read, value: float) -> Estimate:
        """Influence by leaving out one block after another, an eigendecomposition each."""
        total, blocks = self.moments.total, list(self.moments)
        if len(blocks) < 2:
            return Estimate(value, np.zeros(len(blocks)))
        left = [read(Spectrum.of(total.without(block.unpack())).thinned(self.weight)).value for block in blocks]
        return Estimate.of_left_out(value, np.array(left))
