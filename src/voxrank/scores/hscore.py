"""Shrinkage H-score: the distance between the class means, relative to the spread of the samples.

    H = tr(Σ_α⁻¹ (1 − α) Σ_z),   Σ_α = (1 − α) Σ + α (tr Σ/D) I,

Here Σ = S/n is the covariance of the samples, and Σ_z the covariance of their part that the targets explain (of the
class means). α is the intensity of Ledoit and Wolf,

    α = (n Q − tr S²)/(n (tr S² − (tr S)²/D)) within [0, 1],   Q = Σ‖f − μ‖⁴.

The score lies between 0 and the number of classes less one. Higher is better. It reads the moments, and costs nothing
beyond their eigendecomposition.

Sources: Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019;
Ibrahim et al., "Newer is not always better", arXiv 2110.06893; Ledoit and Wolf, J. Multivariate Analysis 88, 2004.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.centred import Centred
from voxrank.scores.estimator import MomentScore
from voxrank.scores.gradient import Reading
from voxrank.scores.score import of_moments
from voxrank.scores.spectrum import Spectrum


def shrinkage(x: Centred) -> float:
    """Return the shrinkage intensity α of Ledoit and Wolf, from 0 to 1."""
    spread = x.squares - x.trace**2 / x.dim  # tr S² less that of an isotropic S with the same trace
    if spread <= 0:
        return 0.0
    return float(np.clip((x.n * x.quartic - x.squares) / (x.n * spread), 0.0, 1.0))


def hscore(x: Centred) -> float:
    """Compute the H-score."""
    alpha = shrinkage(x)
    if alpha == 1 or not x.rank:
        return 0.0
    return float(np.trace(x.explained(alpha / (1 - alpha) * x.trace / x.dim)))


def read_hscore(s: Spectrum) -> Reading:
    """Read the H-score from a spectrum, with the function for the data without a block."""
    return Reading(hscore(s), left_out=hscore)


class HScore(MomentScore):
    """Shrinkage H-score; higher is better (`voxrank.scores.hscore`)."""

    read = staticmethod(read_hscore)


SCORE = of_moments(
    "hscore",
    "H-score",
    read_hscore,
    estimator=HScore,
    summary="spread between class means, measured by a shrunk covariance",
)
