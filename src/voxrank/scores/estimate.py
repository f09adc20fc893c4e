"""A score with its uncertainty, from block sketches, without a second pass.

The method is the infinitesimal jackknife. Give block b the weight w_b, and let U_b = ∂score/∂w_b at w = 1. To first
order, a resample of the blocks with multiplicities w has the score

    score + Σ_b (w_b − 1)(U_b − Ū).

The variance over resamples is B/(B−1) · Σ_b (U_b − Ū)², and any number of resamples costs one small matrix product.
Scores of several candidates on the same blocks are resampled together (paired).

For a strongly nonlinear score, the values with each block left out are better (`Estimate.of_left_out`). There the first
order underestimates the spread where blocks differ much. The left-out values overestimate it, but by less.
Sources: Efron, "Jackknife-after-bootstrap standard errors and influence functions", JRSS B 54, 1992; Efron and Stein,
"The jackknife estimate of variance", Annals of Statistics 9, 1981.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from voxrank._support.ranks import student_quantile

CONFIDENCE = 0.95
"""Confidence of the intervals."""


@dataclass(frozen=True)
class Estimate:
    """A score, with its derivatives by the weight of each block.

    Attributes:
        value: the score of all data.
        influence: (B,) ∂score/∂w_b, or its counterpart from left-out values; empty without blocks.
        widening: factor of the width of the interval. With 1, it is the confidence interval of the score. With
            √(1 + 1/s), it is the interval of the score of other data of the same kind, s times as many.
        bounds: least and greatest possible score, which the interval does not pass.
    """

    value: float
    influence: NDArray[np.float64]
    widening: float = 1.0
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @classmethod
    def of_left_out(cls, value: float, left_out: NDArray[np.float64]) -> Self:
        """Build an estimate from the scores with each block left out in turn (B,); its variance is the jackknife's."""
        blocks = len(left_out)
        return cls(value, -(blocks - 1) / blocks * (left_out - left_out.mean()))

    def less(self, other: Estimate) -> Estimate:
        """Return the difference from a score of the same blocks, with its confidence interval."""
        return Estimate(self.value - other.value, self.influence - other.influence)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Return the ends of the two-sided interval (Student's t, B − 1 degrees); None below two blocks.

        The interval contains `value`, which lies within `bounds`.
        """
        blocks = len(self.influence)
        if blocks < 2:
            return None
        half_width = student_quantile((1 + confidence) / 2, blocks - 1) * self.standard_error * self.widening
        low, high = self.bounds
        return max(self.value - half_width, low), min(self.value + half_width, high)

    @property
    def standard_error(self) -> float:
        """Standard error √(B/(B−1) · Σ_b (U_b − Ū)²)."""
        blocks = len(self.influence)
        centred = self.influence - self.influence.mean()
        return float(np.sqrt(blocks / (blocks - 1) * (centred**2).sum()))


def resample(estimates: list[Estimate], *, n_resamples: int, seed: int) -> NDArray[np.float64] | None:
    """Draw paired resamples of several scores of the same blocks.

    Blocks are drawn with replacement. Deviations are multiplied by √(B/(B−1)), the small-sample correction.

    Returns:
        (n_resamples, len(estimates)); None below two blocks.
    """
    influence = np.array([e.influence for e in estimates])
    blocks = influence.shape[1]
    if blocks < 2:
        return None
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=n_resamples)
    centred = influence - influence.mean(axis=1, keepdims=True)
    deviations = (weights - 1.0) @ centred.T * np.sqrt(blocks / (blocks - 1))
    values: NDArray[np.float64] = np.array([e.value for e in estimates]) + deviations
    return values
