"""Shrinkage H-score: how far the class means lie apart, measured by the spread of the samples.

    H = tr(Σ_α⁻¹ (1 − α) Σ_z),   Σ_α = (1 − α) Σ + α (tr Σ/D) I,

with Σ = S/n the covariance of the samples, Σ_z that of what the targets explain of them (of the class means), and α
the intensity of Ledoit and Wolf,

    α = (n Q − tr S²)/(n (tr S² − (tr S)²/D)) within [0, 1],   Q = Σ‖f − μ‖⁴.

It lies between 0 and the number of classes less one. Higher is better. Reads the moments; costs nothing beyond their
eigendecomposition.

Sources: Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019;
Ibrahim et al., "Newer is not always better", arXiv 2110.06893; Ledoit and Wolf, J. Multivariate Analysis 88, 2004.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.explained import Explained
from voxrank.scores.gradient import Gradient, Reading
from voxrank.scores.spectrum import Spectrum


def shrinkage(s: Spectrum) -> float:
    """Ledoit and Wolf's α, from 0 to 1."""
    squares, spread = _squares(s)
    if spread <= 0:
        return 0.0
    return float(np.clip((s.n * s.quartic - squares) / (s.n * spread), 0.0, 1.0))


def read_hscore(s: Spectrum) -> Reading:
    """The score of a spectrum and its gradient."""
    alpha = shrinkage(s)
    if alpha == 1 or not s.rank:
        return Reading(0.0, Gradient)
    explained = Explained.of(s, alpha / (1 - alpha) * float(s.eigenvalues.mean()))
    return Reading(float(np.trace(explained.matrix)), lambda: _gradient(explained, alpha))


def _squares(s: Spectrum) -> tuple[float, float]:
    """Tr S², and by how much it exceeds that of a round S with the same trace."""
    squares, trace = float((s.eigenvalues**2).sum()), float(s.eigenvalues.sum())
    return squares, squares - trace**2 / len(s.eigenvalues)


def _gradient(explained: Explained, alpha: float) -> Gradient:
    s, dim = explained.spectrum, len(explained.spectrum.mean)
    identity = np.eye(len(explained.matrix))
    trace, (squares, spread) = float(s.eigenvalues.sum()), _squares(s)
    by_ridge = explained.by_ridge()
    diagonal = np.full(dim, by_ridge * alpha / (1 - alpha) / dim)  # by tr S, and below by tr S²: in the basis V
    quartic = by_n = 0.0
    if 0 < alpha < 1:
        by_alpha = by_ridge * trace / dim / (1 - alpha) ** 2
        quartic = by_alpha / spread
        by_n = by_alpha * squares / (s.n**2 * spread)
        diagonal += by_alpha * alpha * 2 * trace / (dim * spread)
        diagonal -= by_alpha * (1 / (s.n * spread) + alpha / spread) * 2 * s.eigenvalues
    return explained.gradient(identity, by_eigenvalues=diagonal, quartic=quartic, n=by_n)
