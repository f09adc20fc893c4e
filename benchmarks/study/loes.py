"""LOES as a rival: its score of one layer, with labels and without (arXiv 2605.23033, ICML 2026).

The method takes one model and chooses k of its layers. The first one has the least

    mean squared error of a ridge regression on its own training data + 1 − isotropy,

and without labels the least 1 − isotropy, with isotropy the mean of the eigenvalues of the covariance over their
standard deviation. That is a score of a layer, by which layers of several models can be compared as well. The figures
follow the published code (github.com/arnesh2212/loes): ridge 0.001, weight 1. Both names can be used after
`register`.
"""

from __future__ import annotations

import numpy as np

from voxrank.scores.estimate import Estimate
from voxrank.scores.registry import register_score, score_names
from voxrank.scores.score import Score
from voxrank.scores.view import LayerView
from voxrank.sketches.products import Array

NAMES = ("loes", "loes-label-free")
RIDGE = 1e-3
LEAST_EIGENVALUE = 1e-6


def register() -> None:
    """Make the scores known by name."""
    if NAMES[0] in score_names():
        return
    for name, estimate, summary in ((NAMES[0], _with_labels, "LOES"), (NAMES[1], _label_free, "LOES without labels")):
        register_score(Score(name, name, higher_is_better=True, estimate=estimate, sampled=True, summary=summary))


def isotropy(features: Array) -> float:
    """Return the mean of the eigenvalues (m, D → D) of the covariance over their standard deviation."""
    x = features - features.mean(axis=0)
    eigenvalues = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    padded = np.zeros(max(x.shape[1] if x.shape[1] <= 512 else 0, len(eigenvalues)))
    padded[: len(eigenvalues)] = eigenvalues
    padded = np.maximum(padded, LEAST_EIGENVALUE)
    return float(padded.mean() / (padded.std() + LEAST_EIGENVALUE))


def training_error(features: Array, targets: Array) -> float:
    """Return the mean squared error of ridge regression of targets (m, K) on features (m, D) that it was fitted to."""
    x, y = features - features.mean(axis=0), targets - targets.mean(axis=0)
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    kept = singular**2 / (singular**2 + RIDGE)
    return float(((y - (left * kept) @ (left.T @ y)) ** 2).mean())


def _with_labels(view: LayerView) -> Estimate:
    frames = view.sampled
    error = training_error(frames.features, frames.targets)
    return Estimate(isotropy(frames.features) - 1 - error, np.zeros(len(view.moments.blocks)))


def _label_free(view: LayerView) -> Estimate:
    return Estimate(isotropy(view.sampled.features) - 1, np.zeros(len(view.moments.blocks)))
