"""Fisher's discriminant ratio: the distance between the classes, divided by their width.

    J = B/W,   B = Σ_c n_c ‖μ_c − μ‖²,   W = Σ ‖f − μ_c‖² = T − B,   T = Σ ‖f − μ‖²

It is computed from the moments: T is the trace of the scatter, and n_c (μ_c − μ) is the class's row of centred cross
products. With S = B/(T − B),

    ∂J/∂B = T/W²,   ∂J/∂T = −B/W²,

and B and T are sums over the moments about μ, which gives the gradient below. The intervals follow from the gradient,
without a second pass. Higher is better. Source: Fisher, "The use of multiple measurements in taxonomic problems", 1936.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores import Gradient, MomentScore, Reading, Spectrum, of_moments

LEAST = 1e-12
"""Minimum W, as a share of T; smaller values are rounding errors."""


def read_fisher(s: Spectrum) -> Reading:
    """Return the ratio and its gradient with respect to the moments."""
    counts = s.weight * np.sqrt(s.n)
    means = s.own_cross / counts[:, None]  # means of the classes, about the mean of all
    distances = np.sum(means**2, axis=1)
    between = float(counts @ distances)
    within = max(s.trace - between, LEAST * s.trace)
    if within == 0:  # constant features
        return Reading(0.0, gradient=Gradient)

    def gradient() -> Gradient:
        by_between, by_total = s.trace / within**2, -between / within**2
        cross, square = np.zeros((len(s.used), s.dim)), np.zeros(len(s.used))
        cross[s.used] = 2 * by_between * means
        square[s.used] = -by_between * distances
        return Gradient(gram=by_total * np.eye(s.dim), cross=cross, square=square, centre=s.mean)

    return Reading(between / within, gradient=gradient)


class Fisher(MomentScore):
    """Fisher's ratio with the interface of scikit-learn: fit, partial_fit, merge, score_."""

    read = staticmethod(read_fisher)


SCORE = of_moments("fisher", "Fisher", read_fisher, tasks=("classification", "segmentation", "transcription"))
"""The score to which the entry point refers. It is only for classes."""
