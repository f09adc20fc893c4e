"""Ridge regression's share of explained variance, cross-validated in closed form.

    R² = 1 − GCV(t)/GCV(∞),   GCV(t) = n·RSS(t)/(n − df(t))²,   df(t) = 1 + Σᵢ λᵢ/(λᵢ + t),

at the ridge t that is best for all targets together; RSS is summed over the target columns (one-hot classes, or
values), and GCV(∞) is that of a model of the means alone. Generalised cross-validation estimates the error on unseen
samples from sums alone; at most 1, higher is better, 0 where the samples say nothing. Reads the moments; costs nothing
beyond their eigendecomposition.

Sources: Golub, Heath and Wahba, Technometrics 21, 1979; arXiv 2312.00656 (ridge error as a transferability score).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from voxrank.scores.gradient import Gradient, Reading, about_mean
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.products import Array

LOG_GRID = np.linspace(np.log(1e-12), np.log(1e6), 91)
"""Where GCV is first looked at: ln of t over the largest eigenvalue."""


def best_ridge(s: Spectrum) -> float:
    """The t that minimises GCV."""
    logs = LOG_GRID + np.log(s.eigenvalues[-1])
    values = [_error(s, t) for t in np.exp(logs)]
    place = int(np.argmin(values))
    low, high = logs[max(place - 1, 0)], logs[min(place + 1, len(logs) - 1)]
    found = minimize_scalar(lambda x: _error(s, float(np.exp(x))), bounds=(low, high), method="bounded")
    return float(np.exp(found.x if found.fun < values[place] else logs[place]))


def read_ridge(s: Spectrum) -> Reading:
    """The score of a spectrum and its gradient."""
    if not s.rank or s.square.sum() <= 0:
        return Reading(0.0, Gradient)
    t = best_ridge(s)
    return Reading(1 - _error(s, t), lambda: _gradient(s, t))


def _error(s: Spectrum, t: float) -> float:
    """GCV(t)/GCV(∞)."""
    freedom = s.n - 1 - float((s.eigenvalues / (s.eigenvalues + t)).sum())
    if freedom <= 0:  # where samples are worth fewer independent ones than there are dimensions
        return np.inf
    return _residual(s, t) / float(s.square.sum()) * ((s.n - 1) / freedom) ** 2


def _residual(s: Spectrum, t: float) -> float:
    """RSS(t), a sum of positive terms."""
    return float(np.maximum(s.unreached, 0.0).sum() + (s.power @ (t / (s.eigenvalues + t)) ** 2).sum())


def _gradient(s: Spectrum, t: float) -> Gradient:
    """By the moments, t held at its best, where it does not matter to first order."""
    inverse = 1 / (s.eigenvalues + t)
    total, residual = float(s.square.sum()), _residual(s, t)
    freedom = s.n - 1 - float((s.eigenvalues * inverse).sum())
    factor = ((s.n - 1) / freedom) ** 2
    by_residual, by_freedom = -factor / total, 2 * residual / total * factor / freedom
    moved: Array = s.cross * inverse
    twice = (moved * inverse).T @ moved
    of_residual = moved.T @ moved + t * (twice + twice.T)  # of −tr(c q(S) cᵀ), q = (S + t)⁻¹ + t(S + t)⁻²
    of_residual *= by_residual
    of_residual.flat[:: len(of_residual) + 1] -= by_freedom * t * inverse**2
    gram = s.vectors @ of_residual @ s.vectors.T
    cross = by_residual * -2 * (s.cross * (inverse + t * inverse**2)) @ s.vectors.T
    square = np.full(len(s.square), by_residual + residual / total**2 * factor)
    n = by_freedom - 2 * residual / total * (s.n - 1) / freedom**2
    return about_mean(s, gram=gram, cross=cross, square=square, n=n)
