"""Fisher's discriminant ratio: how far the classes lie apart, over how wide they are.

    J = B/W,   B = Σ_c n_c ‖μ_c − μ‖²,   W = Σ ‖f − μ_c‖² = T − B,   T = Σ ‖f − μ‖²

It is read from the moments: T is the trace of the scatter, and n_c (μ_c − μ) the class's row of centred cross products.
With S = B/(T − B),

    ∂J/∂B = T/W²,   ∂J/∂T = −B/W²,

and B and T are sums over the moments about μ, which gives the gradient below; from it follow the intervals, without a
second pass. Higher is better. Source: Fisher, "The use of multiple measurements in taxonomic problems", 1936.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores import Gradient, MomentScore, Reading, Spectrum, of_moments

LEAST = 1e-12
"""Of T: a W below it is rounding."""


def read_fisher(s: Spectrum) -> Reading:
    """The ratio, and how it moves with the moments."""
    counts = s.weight * np.sqrt(s.n)
    means = s.own_cross / counts[:, None]  # of the classes, about the mean of all
    distances = np.sum(means**2, axis=1)
    between = float(counts @ distances)
    within = max(s.trace - between, LEAST * s.trace)
    if within == 0:  # features that never change
        return Reading(0.0, gradient=Gradient)

    def gradient() -> Gradient:
        by_between, by_total = s.trace / within**2, -between / within**2
        cross, square = np.zeros((len(s.used), s.dim)), np.zeros(len(s.used))
        cross[s.used] = 2 * by_between * means
        square[s.used] = -by_between * distances
        return Gradient(gram=by_total * np.eye(s.dim), cross=cross, square=square, centre=s.mean)

    return Reading(between / within, gradient=gradient)


class Fisher(MomentScore):
    """The same in the manner of scikit-learn: fit, partial_fit, merge, score_."""

    read = staticmethod(read_fisher)


SCORE = of_moments("fisher", "Fisher", read_fisher, tasks=("classification", "segmentation", "transcription"))
"""Named by the entry point. It is for classes alone."""
