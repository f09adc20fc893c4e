"""RankMe: the effective number of directions that the samples use. It reads no labels.

    RankMe = exp(−Σ p_i ln p_i),   p_i = σ_i/Σσ,   σ_i² = λ_i the eigenvalues of the scatter about the mean.

RankMe lies between 1 and D. Higher counts as better, which holds among models of the same training, but not necessarily
between families. It reads the moments, and costs nothing beyond their eigendecomposition.

Source: Garrido et al., "RankMe", arXiv 2210.02885 (which does not centre: hidden states of speech models have one
constant direction that would outweigh the others).
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.estimator import MomentScore
from voxrank.scores.gradient import Gradient, Reading
from voxrank.scores.score import of_moments
from voxrank.scores.spectrum import Spectrum


def read_rankme(s: Spectrum) -> Reading:
    """Read RankMe and its gradient from a spectrum."""
    if not s.rank:
        return Reading(1.0, Gradient)
    sigma = np.sqrt(s.eigenvalues[s.eigenvalues > 0])
    share = sigma / sigma.sum()
    return Reading(float(np.exp(-(share @ np.log(share)))), lambda: _gradient(s))


def _gradient(s: Spectrum) -> Gradient:
    positive = s.eigenvalues > 0
    sigma = np.sqrt(s.eigenvalues[positive])
    share = sigma / sigma.sum()
    entropy = -float(share @ np.log(share))
    diagonal = np.zeros(len(s.eigenvalues))
    diagonal[positive] = -np.exp(entropy) * (np.log(share) + entropy) / (2 * sigma * sigma.sum())
    return Gradient(gram=(s.vectors * diagonal) @ s.vectors.T, centre=s.mean)


class RankMe(MomentScore):
    """Effective rank of the features, which reads no labels; higher is better (`voxrank.scores.rankme`)."""

    read = staticmethod(read_rankme)


SCORE = of_moments(
    "rankme",
    "RankMe",
    read_rankme,
    estimator=RankMe,
    summary="effective rank; reads no labels",
)
