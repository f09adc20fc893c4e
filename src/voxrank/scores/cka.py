"""Linear centred kernel alignment (CKA) of samples and targets.

    CKA = ‖FᵀY‖² / (‖FᵀF‖ ‖YᵀY‖),   F and Y about their means, Frobenius norms.

CKA lies between 0 and 1; higher is better. It is invariant to rotation and to a common scale of all dimensions. It
weights directions by their size, so that large, useless directions lower it. It reads the moments, and costs nothing
beyond sums over them.

Source: Kornblith et al., "Similarity of Neural Network Representations Revisited", arXiv 1905.00414.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.centred import Centred
from voxrank.scores.estimator import MomentScore
from voxrank.scores.gradient import Reading
from voxrank.scores.score import of_moments
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.products import Array


def read_cka(s: Spectrum) -> Reading:
    """Read CKA from a spectrum, with the function for the data without a block."""
    return Reading(cka(s), left_out=cka)


def cka(x: Centred) -> float:
    """Compute CKA."""
    norm_product = float(np.sqrt(x.squares) * np.linalg.norm(_target_scatter(x)))
    return float((x.cross**2).sum()) / norm_product if norm_product else 0.0


def _target_scatter(x: Centred) -> Array:
    """Return (T, T) Σ (y − ȳ)(y − ȳ)ᵀ."""
    if x.target_gram is not None:
        return x.target_gram
    scatter: Array = np.diag(x.target_mean * x.n) - np.outer(x.weight, x.weight)
    return scatter


class CKA(MomentScore):
    """Linear centred kernel alignment with the targets; higher is better (`voxrank.scores.cka`)."""

    read = staticmethod(read_cka)


SCORE = of_moments(
    "cka",
    "CKA",
    read_cka,
    estimator=CKA,
    summary="linear centred kernel alignment with the targets",
)
