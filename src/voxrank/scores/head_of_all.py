"""Linear discriminants that are fitted to all data of the other blocks, where the data are more than the sample.

`voxrank.scores.head` fits and tests heads within a bounded sample. With more data, a head that has seen only the sample
is worse than the one that a user will train. The moments of the blocks hold the means and the scatter of all data, so
that the discriminant of `voxrank.scores.head` follows from them, and the sample only tests it:

    a_c(x) = (n − K) [(x − μ)ᵀ A d_c − ½ d_cᵀ A d_c],   A = (W + tV)⁻¹,

with n, K, the mean μ, the class means μ + d_c and the scatter W within classes of all data outside the block of x, and
V the diagonal matrix of the variances of the features, which stands for standardised features. The ridge t grows with n
from the best one for the sample, or is a tenth of that, whichever predicts the sample better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.linalg import LinAlgError
from scipy import linalg

from voxrank.scores.head import ROUNDING, HeldOutClasses, Ids, calibrated
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array

RIDGE_FACTORS = (1.0, 0.1)
"""Factors of the ridge that was best for the sample, which are tried: more data need a smaller one."""


def predict_classes_by_all(
    moments: BlockedMoments, features: Array, blocks: Ids, found: HeldOutClasses
) -> HeldOutClasses:
    """Predict the class of every sample by a head that was fitted to all data but its block.

    Args:
        moments: moments of all data, with classes as targets.
        features: (m, D) the samples.
        blocks: (m,) block of each sample; there are at least two.
        found: predictions by heads that were fitted to samples alone.

    Returns:
        The predictions of the new heads, or `found` where those are worse.
    """
    total = moments.total
    variance = np.diagonal(total.centred().gram) / total.n
    largest = np.maximum(abs(features).max(axis=0), np.sqrt(variance))
    varies = np.sqrt(variance) > ROUNDING * largest
    if not found.ridge or not varies.any():
        return found
    n_classes = len(total.square)
    odds = np.zeros((len(RIDGE_FACTORS), len(features), n_classes))
    shares = np.zeros((len(features), n_classes))
    for block in np.unique(blocks).tolist():
        own = blocks == block
        remaining = total.without(moments.blocks[block].unpack())
        shares[own] = remaining.square / remaining.n
        ridges = [factor * found.ridge * remaining.n * variance[varies] for factor in RIDGE_FACTORS]
        known, found_odds = log_odds(features[own][:, varies], remaining, varies, ridges)
        odds[:, np.flatnonzero(own)[:, None], known] = found_odds
    with np.errstate(divide="ignore"):
        log_shares = np.log(shares)
    of_all = (
        calibrated(one, log_shares, found.true, factor * found.ridge)
        for one, factor in zip(odds, RIDGE_FACTORS, strict=True)
    )
    tried = [found, *of_all]
    return max(tried, key=lambda one: float(one.log_likelihood.mean()))


def log_odds(features: Array, moments: Moments, kept: Array, ridges: Sequence[Array | float]) -> tuple[Ids, Array]:
    """Return the classes (k,) that the moments hold, and their log odds (ridges, m, k) for features (m, D)."""
    counts, centred = moments.square, moments.centred()
    known = np.flatnonzero(counts > 0)
    centres = centred.cross[known][:, kept] / counts[known, None]
    within = centred.gram[np.ix_(kept, kept)] - (centres.T * counts[known]) @ centres
    offsets, freedom = features - centred.centre[kept], max(moments.n - len(known), 1)
    odds = []
    for ridge in ridges:
        weights = solve_regularised(within, ridge, centres.T)
        odds.append(freedom * (offsets @ weights - (centres.T * weights).sum(axis=0) / 2))
    return known, np.array(odds)


def solve_regularised(matrix: Array, ridge: Array | float, right: Array) -> Array:
    """Compute (M + T)⁻¹ B for a diagonal matrix T, which is multiplied by 100 until M + T is positive definite."""
    while True:
        regular = matrix.copy()
        np.einsum("ii->i", regular)[:] += ridge
        try:
            factor = linalg.cho_factor(regular, overwrite_a=True, check_finite=False)
        except LinAlgError:
            ridge = 100 * ridge
        else:
            return np.asarray(linalg.cho_solve(factor, right, check_finite=False))
