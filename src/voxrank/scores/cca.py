"""Canonical correlations of samples and targets: CCA, PWCCA and VCI.

Canonical correlations ρ₁ ≥ ρ₂ ≥ … are those of the best matched pairs of directions, one among the samples and one
among the targets (one-hot classes, or values); there are r = min(rank of the samples, rank of the targets) of them.

    CCA   = mean of ρ_j                                                     higher is better
    PWCCA = Σ w_j ρ_j / Σ w_j,  w_j = Σ_i |⟨h_j, x_i⟩|                        higher is better
    VCI   = 1 − tr(S_T⁺ S_B)/rank(S_B) = 1 − mean of ρ_j²                   lower is better

Here h_j are the canonical variates of the samples (unit length), and x_i their dimensions. The weight w_j measures how
much of the samples a variate accounts for. With fewer samples than dimensions every ρ_j is 1, and all three scores are
uninformative; use the shrinkage H-score instead. Each score reads the moments, and costs a (T, T) eigendecomposition.

Sources: Raghu et al., "SVCCA", arXiv 1706.05806; Morcos et al., arXiv 1806.05759 (PWCCA); Pasad et al., arXiv
2211.03929 (on speech); Xu and Liu, "Quantifying the Variability Collapse of Neural Networks", ICML 2023 (VCI).
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.centred import EPSILON, Centred
from voxrank.scores.estimator import MomentScore
from voxrank.scores.gradient import Reading
from voxrank.scores.score import of_moments
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.eigen import eigh
from voxrank.sketches.products import Array


def read_cca(s: Spectrum) -> Reading:
    """Read the mean canonical correlation."""
    return Reading(_cca(s), left_out=_cca, unridged=True)


def read_pwcca(s: Spectrum) -> Reading:
    """Read the projection-weighted mean canonical correlation."""
    return Reading(_pwcca(s), left_out=_pwcca, unridged=True)


def read_vci(s: Spectrum) -> Reading:
    """Read the variability collapse index."""
    return Reading(_vci(s), left_out=_vci, unridged=True)


def _cca(x: Centred) -> float:
    count = min(x.target_rank, x.rank)
    return float(_correlations(x)[0].sum()) / count if count else 0.0


def _pwcca(x: Centred) -> float:
    correlations, variates = _correlations(x)
    weights = np.abs((x.root @ x.own_cross).T @ variates).sum(axis=0) / correlations
    return float(weights @ correlations / weights.sum()) if len(weights) else 0.0


def _vci(x: Centred) -> float:
    return 1 - float(np.trace(x.correlated)) / max(x.target_rank, 1)


def _correlations(x: Centred) -> tuple[Array, Array]:
    """Return the positive canonical correlations (J,), J ≤ the target rank, and their variates of the targets."""
    squares, variates = eigh(x.correlated)
    positive = squares > len(squares) * EPSILON
    positive[: len(squares) - x.target_rank] = False  # rounding
    return np.sqrt(np.minimum(squares[positive], 1.0)), variates[:, positive]


class CCA(MomentScore):
    """Mean canonical correlation with the targets; higher is better (`voxrank.scores.cca`)."""

    read = staticmethod(read_cca)


class PWCCA(MomentScore):
    """Projection-weighted canonical correlation with the targets; higher is better (`voxrank.scores.cca`)."""

    read = staticmethod(read_pwcca)


class VCI(MomentScore):
    """Variability collapse index; lower is better (`voxrank.scores.cca`)."""

    higher_is_better = False
    read = staticmethod(read_vci)


SCORES = (
    of_moments(
        "cca",
        "CCA",
        read_cca,
        estimator=CCA,
        summary="mean canonical correlation with the targets",
    ),
    of_moments(
        "pwcca",
        "PWCCA",
        read_pwcca,
        estimator=PWCCA,
        summary="mean canonical correlation, weighted by how much of the features each accounts for",
    ),
    of_moments(
        "vci",
        "VCI",
        read_vci,
        higher_is_better=VCI.higher_is_better,
        estimator=VCI,
        summary="share of the variance within classes, whitened",
    ),
)
