"""LogME as in published code, including its faults, for comparison with older tables.

- The fixed-point iteration on α and β starts at 1. It takes at most 11 rounds, or stops when their ratio moves by less
  than 0.1 %. 10⁻⁵ is added to both denominators.
- The evidence keeps D/2·ln α beside only min(n, D) eigenvalues.
- Every class id up to the largest counts as a class.

Therefore the score depends on the unit of the features, rewards n < D, and is inflated by ids without samples.

Source: the algorithm of You et al., arXiv 2102.11005, as in the authors' code (reimplemented here).
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.centred import EPSILON
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array

ROUNDS = 11
"""Maximum number of rounds."""
TOLERANCE = 1e-3
"""Relative change of α/β at which the iteration stops."""
ADDED = 1e-5
"""Constant that is added to denominators."""
LEAST_SINGULAR = 1e-10
"""Threshold of singular values where n exceeds D. They are the square roots of the singular values of FᵀF."""


def published_logme(moments: Moments, empty_classes: int = 0) -> float:
    """Compute the published score from moments.

    Where n exceeds D, published code decomposes FᵀF. Linearly dependent columns then have singular values of about 10⁻⁸
    of the largest instead of 0, by rounding, and are mostly kept. This function keeps them, too.

    Args:
        moments: moments of the samples.
        empty_classes: number of class ids below the largest that no sample has.
    """
    n, dim = moments.n, moments.dim
    raw = moments.about(np.zeros(dim)).targets_about(None)
    _, sigma, vectors = np.linalg.svd(raw.gram)
    kept = np.sqrt(sigma) > LEAST_SINGULAR if n > dim else np.arange(dim) < n
    sigma, along = sigma[kept], (raw.cross @ vectors[kept].T) ** 2
    reached = sigma > dim * EPSILON * sigma[:1]
    power = np.divide(along, sigma, out=np.zeros_like(along), where=reached)
    columns = [(x2, float(square - x2.sum())) for x2, square in zip(power, raw.square, strict=True)]
    columns += [(np.zeros_like(sigma), 0.0)] * empty_classes
    return float(np.mean([_evidence(x2, rest, sigma, n, dim) for x2, rest in columns]))


def _evidence(x2: Array, rest: float, sigma: Array, n: float, dim: int) -> float:
    alpha = beta = 1.0
    length = error = 0.0
    for _ in range(ROUNDS):
        ratio = np.float64(alpha / beta)  # a NumPy scalar, because it may be a divisor when it is 0
        gamma = float((sigma / (sigma + ratio)).sum())
        length = float((sigma * x2 / (ratio + sigma) ** 2).sum())
        error = float((x2 / (1 + sigma / ratio) ** 2).sum()) + rest
        alpha, beta = gamma / (length + ADDED), (n - gamma) / (error + ADDED)
        if abs(alpha / beta - ratio) / ratio <= TOLERANCE:
            break
    evidence = dim * np.log(alpha) + n * np.log(beta) - np.log(alpha + beta * sigma).sum()
    evidence -= beta * error + alpha * length + n * np.log(2 * np.pi)
    return float(evidence) / (2 * n)
