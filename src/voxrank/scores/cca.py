"""Canonical correlations of samples and targets: CCA, PWCCA and VCI.

Canonical correlations ρ₁ ≥ ρ₂ ≥ … are those of the best matched pairs of directions, one among the samples and one
among the targets (one-hot classes, or values); there are r = min(rank of the samples, rank of the targets) of them.

    CCA   = mean of ρ_j                                                     higher is better
    PWCCA = Σ w_j ρ_j / Σ w_j,  w_j = Σ_i |⟨h_j, x_i⟩|                        higher is better
    VCI   = 1 − tr(S_T⁺ S_B)/rank(S_B) = 1 − mean of ρ_j²                   lower is better

with h_j the canonical variates of the samples (unit length) and x_i their dimensions: w_j is how much of the samples a
variate accounts for. With fewer samples than dimensions every ρ_j is 1 and all three say nothing; the shrinkage
H-score is their cure. Each reads the moments, and costs a (T, T) eigendecomposition.

Sources: Raghu et al., "SVCCA", arXiv 1706.05806; Morcos et al., arXiv 1806.05759 (PWCCA); Pasad et al., arXiv
2211.03929 (on speech); Xu and Liu, "Quantifying the Variability Collapse of Neural Networks", ICML 2023 (VCI).
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.explained import Explained
from voxrank.scores.gradient import Gradient, Reading
from voxrank.scores.spectrum import EPSILON, Spectrum
from voxrank.sketches.products import Array


def read_cca(s: Spectrum) -> Reading:
    """Mean canonical correlation."""
    explained, count = Explained.of(s), _count(s)
    if not count:
        return Reading(0.0, Gradient)
    correlations, variates = _correlations(explained)
    slope = (variates / (2 * correlations * count)) @ variates.T
    return Reading(float(correlations.sum()) / count, lambda: explained.gradient(slope))


def read_pwcca(s: Spectrum) -> Reading:
    """Projection-weighted mean canonical correlation; it has no gradient, for its weights are absolute values."""
    explained = Explained.of(s)
    correlations, variates = _correlations(explained)
    weights = np.abs(s.vectors @ (explained.whitened.T @ variates)).sum(axis=0) / correlations
    return Reading(float(weights @ correlations / weights.sum()) if len(weights) else 0.0, None)


def read_vci(s: Spectrum) -> Reading:
    """Variability collapse index."""
    explained, rank = Explained.of(s), max(s.target_rank, 1)
    slope = -np.eye(len(explained.matrix)) / rank
    return Reading(1 - float(np.trace(explained.matrix)) / rank, lambda: explained.gradient(slope))


def _count(s: Spectrum) -> int:
    return min(s.target_rank, s.rank)


def _correlations(explained: Explained) -> tuple[Array, Array]:
    """The positive canonical correlations (J,) and their variates among the targets (T', J)."""
    squares, variates = np.linalg.eigh(explained.matrix)
    kept = squares > len(squares) * EPSILON
    return np.sqrt(np.minimum(squares[kept], 1.0)), variates[:, kept]
