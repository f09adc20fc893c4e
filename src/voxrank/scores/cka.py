"""Linear centred kernel alignment (CKA) of samples and targets.

    CKA = ‖FᵀY‖² / (‖FᵀF‖ ‖YᵀY‖),   F and Y about their means, Frobenius norms.

From 0 to 1; higher is better. It does not change with rotation or with one factor on all dimensions, and weighs
directions by their size: large, useless directions lower it. Reads the moments; costs nothing beyond sums over them.

Source: Kornblith et al., "Similarity of Neural Network Representations Revisited", arXiv 1905.00414.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.centred import Centred
from voxrank.scores.gradient import Reading
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.products import Array


def read_cka(s: Spectrum) -> Reading:
    """The score of a spectrum, and of what is left without a block."""
    return Reading(cka(s), left_out=cka)


def cka(x: Centred) -> float:
    """The score."""
    size = float(np.sqrt(x.squares) * np.linalg.norm(_target_scatter(x)))
    return float((x.cross**2).sum()) / size if size else 0.0


def _target_scatter(x: Centred) -> Array:
    """(T, T) Σ (y − ȳ)(y − ȳ)ᵀ."""
    if x.target_gram is not None:
        return x.target_gram
    scatter: Array = np.diag(x.target_mean * x.n) - np.outer(x.weight, x.weight)
    return scatter
