"""TransRate and GBC: the separation of classes, as volumes or as normal distributions. They need classes.

    TransRate = R(Z) − mean over classes of R(Z_c),   R(Z) = ½ ln det(I + ZᵀZ/(n ε)),   Z about the mean of all
    GBC = −Σ_{i≠j} exp(−D_B(i, j)),   D_B = ⅛ Σ_d (μ_i − μ_j)²/σ̄² + ½ Σ_d ln(σ̄²/(σ_i σ_j)),   σ̄² = (σ_i² + σ_j²)/2

GBC uses diagonal covariances after projection on the 64 principal directions. TransRate depends on the unit of the
features. Here Z is first divided by a number, so that its dimensions have variance 1 on average. Higher is better for
both. They read a bounded `Sample`, because second moments of every class would take K·D² numbers for each layer.

Sources: Huang et al., "Frustratingly Easy Transferability Estimation", arXiv 2106.09545; Pándy et al.,
"Transferability Estimation using Bhattacharyya Class Separability", arXiv 2111.12780.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate
from voxrank.scores.sampled import SampledScore
from voxrank.scores.score import CLASSES, Score
from voxrank.scores.view import LayerView
from voxrank.sketches.products import Array

EPSILON = 1e-4
"""Distortion of TransRate, as published."""
DIRECTIONS = 64
"""Number of principal directions for GBC."""
VARIANCE_FLOOR = 1e-6
"""Constant added to class variances, relative to the mean variance of all samples. A class seen once has variance 0."""


def transrate(features: Array, labels: NDArray[np.int64], *, epsilon: float = EPSILON, scaled: bool = True) -> float:
    """Compute TransRate of samples (n, D) with class ids (n,)."""
    z = features - features.mean(axis=0)
    z -= z.mean(axis=0)  # removes what rounding left of a large mean
    spread = np.sqrt((z**2).mean())
    if scaled and spread > 0:
        z = z / spread
    rates = [_coding_rate(z[labels == c], epsilon) for c in np.unique(labels)]
    return _coding_rate(z, epsilon) - float(np.mean(rates))


def _coding_rate(z: Array, epsilon: float) -> float:
    product = z.T @ z if z.shape[0] > z.shape[1] else z @ z.T
    factor = np.linalg.cholesky(np.eye(len(product)) + product / (len(z) * epsilon))
    return float(np.log(np.diag(factor)).sum())


def gbc(features: Array, labels: NDArray[np.int64]) -> float:
    """Compute GBC of projected samples (n, D) with class ids (n,)."""
    classes = np.unique(labels)
    floor = VARIANCE_FLOOR * max(float(features.var(axis=0).mean()), np.finfo(np.float64).tiny)
    means = np.array([features[labels == c].mean(axis=0) for c in classes])
    variances = np.array([features[labels == c].var(axis=0) for c in classes]) + floor
    mean_variances = (variances[:, None] + variances[None]) / 2
    distance = ((means[:, None] - means[None]) ** 2 / mean_variances).sum(axis=2) / 8
    distance += (np.log(mean_variances) - (np.log(variances)[:, None] + np.log(variances)[None]) / 2).sum(axis=2) / 2
    overlap = np.exp(-distance)
    return float(-(overlap.sum() - np.trace(overlap)))


def estimate_transrate(view: LayerView) -> Estimate:
    """Estimate TransRate from the sample."""
    return _estimate_left_out(view, view.sampled.features, transrate)


def estimate_gbc(view: LayerView) -> Estimate:
    """Estimate GBC from the sample, on the principal directions of all frames."""
    s = view.spectrum
    return _estimate_left_out(view, (view.sampled.features - s.mean) @ s.vectors[:, -DIRECTIONS:], gbc)


def _estimate_left_out(
    view: LayerView, features: Array, measure: Callable[[Array, NDArray[np.int64]], float]
) -> Estimate:
    """Estimate a measure of the sample, with its influence from leaving out each block in turn."""
    frames = view.sampled
    if not frames.classes:
        raise OptionError("GBC and TransRate need classes, and the targets are values; leave them out")
    labels, blocks = frames.targets.argmax(axis=1), sorted(view.moments.blocks)
    value = measure(features, labels)
    if len(blocks) < 2:
        return Estimate(value, np.zeros(len(blocks)))
    masks = [frames.blocks != b for b in blocks]
    left_out = [measure(features[mask], labels[mask]) if mask.any() else value for mask in masks]
    return Estimate.of_left_out(value, np.array(left_out))


class GBC(SampledScore):
    """Gaussian Bhattacharyya class separability; higher is better (`voxrank.scores.separation`)."""

    estimate = staticmethod(estimate_gbc)


class TransRate(SampledScore):
    """TransRate; higher is better (`voxrank.scores.separation`)."""

    estimate = staticmethod(estimate_transrate)


SCORES = (
    Score(
        "gbc",
        "GBC",
        GBC.higher_is_better,
        estimate_gbc,
        sampled=True,
        tasks=CLASSES,
        estimator=GBC,
        summary="how little the classes overlap as normal distributions",
    ),
    Score(
        "transrate",
        "TransRate",
        TransRate.higher_is_better,
        estimate_transrate,
        sampled=True,
        tasks=CLASSES,
        estimator=TransRate,
        summary="coding rate of all frames minus that within classes",
    ),
)
