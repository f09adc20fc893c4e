"""Share of the variance that ridge regression explains, cross-validated in closed form.

    R² = 1 − GCV(t)/GCV(∞),   GCV(t) = n·RSS(t)/(n − df(t))²,   df(t) = 1 + Σᵢ λᵢ/(λᵢ + t),

The ridge t is the best for all targets together. RSS is summed over the target columns (one-hot classes, or values),
and GCV(∞) is the error of a model of the means alone. Generalised cross-validation estimates the error on unseen
samples from sums alone. The score is at most 1, and 0 where the samples have no information; higher is better. It reads
the moments, and costs nothing beyond their eigendecomposition.

Sources: Golub, Heath and Wahba, Technometrics 21, 1979; arXiv 2312.00656 (ridge error as a transferability score).
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.centred import Centred
from voxrank.scores.estimator import MomentScore
from voxrank.scores.gradient import Gradient, Reading
from voxrank.scores.score import of_moments
from voxrank.scores.spectrum import Spectrum

LOG_GRID = np.linspace(np.log(1e-12), np.log(1e6), 91)
"""Grid on which GCV is evaluated first: ln of t over the largest eigenvalue."""
FREE = 0.01
"""Minimum share of residual degrees of freedom when a block is left out.

In single precision, a smaller residual cannot be distinguished from 0.
"""


def best_ridge(s: Spectrum) -> float:
    """Return the t that minimises GCV."""
    from scipy.optimize import minimize_scalar  # its import takes an eighth of a second

    logs = LOG_GRID + np.log(s.eigenvalues[-1])
    values = [_relative_gcv(s, t) for t in np.exp(logs)]
    best = int(np.argmin(values))
    low, high = logs[max(best - 1, 0)], logs[min(best + 1, len(logs) - 1)]
    result = minimize_scalar(lambda x: _relative_gcv(s, float(np.exp(x))), bounds=(low, high), method="bounded")
    return float(np.exp(result.x if result.fun < values[best] else logs[best]))


def read_ridge(s: Spectrum) -> Reading:
    """Read R² from a spectrum, with the function for the data without a block.

    That function keeps t fixed, because the error near the best t hardly depends on t.
    """
    if not s.rank or s.square.sum() <= 0:
        return Reading(0.0, Gradient)
    t = best_ridge(s)
    raised = _raised_ridge(s, t)
    return Reading(1 - _relative_gcv(s, t), left_out=lambda remainder: 1 - _relative_gcv(remainder, raised))


def _relative_gcv(x: Centred, t: float) -> float:
    """Return GCV(t)/GCV(∞); 1 where the targets do not vary."""
    total = float(x.square.sum())
    if total <= 0:
        return 1.0
    residual, degrees = x.fit(t)
    residual_degrees = x.n - 1 - degrees
    if residual_degrees <= 0:  # the effective number of samples may be below the dimension
        return np.inf
    return residual / total * ((x.n - 1) / residual_degrees) ** 2


def _raised_ridge(s: Spectrum, t: float) -> float:
    """Return t times the smallest power of 2 that leaves the share `FREE` of residual degrees of freedom."""
    while s.n - 1 - s.fit(t)[1] < FREE * (s.n - 1):
        t *= 2
    return t


class RidgeR2(MomentScore):
    """Cross-validated R² of ridge regression; higher is better (`voxrank.scores.ridge`)."""

    read = staticmethod(read_ridge)


SCORE = of_moments(
    "ridge",
    "ridge R²",
    read_ridge,
    estimator=RidgeR2,
    summary="variance that ridge regression explains, cross-validated in closed form (GCV)",
)
