"""What scores read of one layer, with what they share found once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from voxrank.scores.estimate import Estimate
from voxrank.scores.gradient import Gradient, influence
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments


@dataclass(frozen=True)
class LayerView:
    """One layer's sketches.

    Attributes:
        moments: second moments in blocks.
    """

    moments: BlockedMoments

    @cached_property
    def spectrum(self) -> Spectrum:
        """The one eigendecomposition that all scores of the moments share."""
        return Spectrum.of(self.moments.total)

    def estimate(self, value: float, gradient: Gradient) -> Estimate:
        """A score of the moments, with its influence by the blocks."""
        return Estimate(value, influence(gradient, self.moments))
