"""Linear centred kernel alignment (CKA) of samples and targets.

    CKA = ‖FᵀY‖² / (‖FᵀF‖ ‖YᵀY‖),   F and Y about their means, Frobenius norms.

From 0 to 1; higher is better. It does not change with rotation or with one factor on all dimensions, and weighs
directions by their size: large, useless directions lower it. Reads the moments; costs nothing beyond sums over them.

Source: Kornblith et al., "Similarity of Neural Network Representations Revisited", arXiv 1905.00414.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.gradient import Gradient, Reading, about_mean
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.products import Array


def read_cka(s: Spectrum) -> Reading:
    """The score of a spectrum and its gradient."""
    scatter = float(np.sqrt((s.eigenvalues**2).sum()))
    targets = _target_scatter(s)
    size = float(np.linalg.norm(targets))
    if scatter == 0 or size == 0:
        return Reading(0.0, Gradient)
    value = float((s.cross**2).sum()) / (scatter * size)
    return Reading(value, lambda: _gradient(s, value, scatter, targets))


def _target_scatter(s: Spectrum) -> Array:
    """(T, T) Σ (y − ȳ)(y − ȳ)ᵀ."""
    if s.target_gram is not None:
        return s.target_gram
    scatter: Array = np.diag(s.target_mean * s.n) - np.outer(s.weight, s.weight)
    return scatter


def _gradient(s: Spectrum, value: float, scatter: float, targets: Array) -> Gradient:
    size = float(np.linalg.norm(targets))
    gram = -value / scatter**2 * (s.vectors * s.eigenvalues) @ s.vectors.T
    cross = 2 / (scatter * size) * s.cross @ s.vectors.T
    by_targets = -value / size**2 * targets
    if s.target_gram is not None:
        return about_mean(s, gram=gram, cross=cross, target_gram=by_targets)
    mean = s.target_mean
    counts = np.diag(by_targets) - 2 * by_targets @ mean  # of Σ (y − ȳ)(y − ȳ)ᵀ with ȳ held
    return about_mean(s, gram=gram, cross=cross, counts=counts, n=float(mean @ by_targets @ mean))
