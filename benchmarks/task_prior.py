"""Odds that a model which was not tried is better than those that were, from published results of other tasks.

The prior of a new task is a mixture: a Gaussian around each published task, with a covariance between the models.
The covariance is the one over the published tasks, shrunk towards independent models:

    K = (ν v I + Z Zᵀ)/(ν + T),   z | task t ~ N(μ + √(1 − h²)(z_t − μ), h² K)

Z holds the centred columns of the T tasks, each standardised; μ is the shrunk mean of the models and v their variance.
h = 1 gives a single Gaussian; a small h copies the nearest tasks. The user's scores have another scale than the table.
They are an affine function of z with noise, y = a + s(z + ε): a has a wide Gaussian prior, and log s a flat one on a
grid. Both are integrated out, so that the scores need no scale. Everything is in closed form and nothing is drawn.

`docs/next-model.md` measures it on tasks that are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from voxrank.errors import OptionError

Array = NDArray[np.float64]

OFFSET_VARIANCE = 100.0
"""Prior variance of the offset a, in the unit of the standardised results: wide against their variance of 1."""
SCALES = np.geomspace(0.25, 32.0, 15)
"""Grid of s, in units of the standard deviation of the scores."""
NEGLIGIBLE = 1e-5
"""Weight of a part of the posterior, as a share of the largest one, below which it is left out."""
COMPLETIONS = 10
"""Rounds in which missing results are replaced by their expectation, and the covariance is computed anew."""
JITTER = 1e-9
"""Added to the diagonal of covariances, so that models with equal results can be told apart."""


@dataclass(frozen=True)
class PriorSettings:
    """Settings of the prior.

    Attributes:
        strength: ν, the weight of independent models, in tasks.
        mean_strength: number of tasks that average results add to the mean of each model.
        width: h, the width of the Gaussian around each task; 1 for a single Gaussian.
        noise: variance of ε, in the unit of the standardised results.
    """

    strength: float = 10.0
    mean_strength: float = 3.0
    width: float = 0.6
    noise: float = 0.05


@dataclass(frozen=True)
class TaskPrior:
    """The prior of the standardised results of n models on a new task: a mixture of C Gaussians of equal weight.

    Attributes:
        means: (C, n) means.
        covariance: (n, n) covariance of every Gaussian.
        noise: variance of the noise of a score.
    """

    means: Array
    covariance: Array
    noise: float

    def of_models(self, indices: NDArray[np.int64]) -> TaskPrior:
        """Return the prior of some of the models."""
        return TaskPrior(self.means[:, indices], self.covariance[np.ix_(indices, indices)], self.noise)


@dataclass(frozen=True)
class Outlook:
    """The expected place of each of n models; the values of models that were tried say nothing.

    Attributes:
        result: (n,) expected standardised result, relative to the best model that was tried.
        odds: (n,) probability of being better than the best model that was tried.
        gain: (n,) expected improvement over it, 0 where the model is worse; in the unit of the scores.
    """

    result: Array
    odds: Array
    gain: Array


def fit_prior(table: ArrayLike, settings: PriorSettings, alike: Array | None = None) -> TaskPrior:
    """Fit the prior to published results.

    Args:
        table: (n, T) results of n models on T tasks, each in its unit; higher is better, NaN for none.
        settings: settings of the prior.
        alike: (n, n) kernel of the models in place of I, with 1 on the diagonal.

    Returns:
        The prior of standardised results.

    Raises:
        OptionError: fewer than two tasks are given, or a task has the same result for all models.
    """
    results = standardised(table)
    known = ~np.isnan(results)
    filled = np.where(known, results, 0.0)
    n_tasks = filled.shape[1]
    alike = np.eye(len(filled)) if alike is None else alike
    for _ in range(1 if known.all() else COMPLETIONS):
        mean = filled.sum(axis=1) / (n_tasks + settings.mean_strength)
        centred = filled - mean[:, None]
        covariance = settings.strength * np.mean(centred**2) * alike + centred @ centred.T
        covariance /= settings.strength + n_tasks
        filled = _completed(filled, known, mean, covariance)
    covariance += JITTER * np.eye(len(covariance))
    keep = np.sqrt(max(1 - settings.width**2, 0.0))
    around = filled if keep else filled[:, :1]
    means = mean[:, None] + keep * (around - mean[:, None])
    return TaskPrior(means.T, settings.width**2 * covariance, settings.noise)


def standardised(table: ArrayLike) -> Array:
    """Return each task's results with mean 0 and variance 1 over the models that have one, (n, T).

    Raises:
        OptionError: fewer than two tasks are given, or a task has the same result for all models.
    """
    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise OptionError(f"expected results (models, tasks) of two tasks or more, got shape {values.shape}; add tasks")
    deviation = np.nanstd(values, axis=0)
    if not (deviation > 0).all():
        raise OptionError("expected tasks on which models differ, got one result for all of them; leave that task out")
    scaled: Array = (values - np.nanmean(values, axis=0)) / deviation
    return scaled


def outlook(prior: TaskPrior, tried: Sequence[int], scores: ArrayLike) -> Outlook:
    """Predict all models from the scores of those that were tried.

    Args:
        prior: prior of n models.
        tried: k indices of models.
        scores: (k,) their scores on the user's task, in any unit, higher is better.

    Returns:
        What to expect of each model.

    Raises:
        OptionError: no model was tried, or scores and models differ in number.
    """
    y, seen = np.asarray(scores, dtype=np.float64), np.asarray(tried, dtype=np.int64)
    if y.shape != seen.shape or not len(seen) or not np.isfinite(y).all():
        raise OptionError(
            f"expected a finite score for each tried model, got {y.shape} for {seen.shape}; give one each"
        )
    parts = _posterior(prior, seen, y)
    best = int(seen[y.argmax()])
    covariance = prior.covariance - prior.covariance[:, seen] @ parts.gains
    deviation = np.sqrt(np.maximum(np.diag(covariance) + covariance[best, best] - 2 * covariance[:, best], JITTER))
    differences = parts.means - parts.means[:, best, None]
    ratio = differences / deviation
    better = ndtr(ratio)
    density = np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
    improvement = parts.scales[:, None] * (differences * better + deviation * density)
    return Outlook(*(parts.weights @ values for values in (differences, better, improvement)))


def _completed(filled: Array, known: NDArray[np.bool_], mean: Array, covariance: Array) -> Array:
    """Return the table with what is missing replaced by its expectation, given the rest of the task."""
    complete = filled.copy()
    for task in np.flatnonzero(~known.all(axis=0)):
        there, missing = known[:, task], ~known[:, task]
        own = covariance[np.ix_(there, there)] + JITTER * np.eye(int(there.sum()))
        rest = np.linalg.solve(own, filled[there, task] - mean[there])
        complete[missing, task] = mean[missing] + covariance[np.ix_(missing, there)] @ rest
    return complete


@dataclass(frozen=True)
class _Posterior:
    """The parts of the posterior that are not negligible: scales (P,), weights (P,), means (P, n), and gains (k, n)."""

    scales: Array
    weights: Array
    means: Array
    gains: Array


def _posterior(prior: TaskPrior, seen: NDArray[np.int64], y: Array) -> _Posterior:
    """Return the posterior: a part for each Gaussian of the prior and each scale."""
    own = prior.covariance[np.ix_(seen, seen)] + prior.noise * np.eye(len(seen)) + OFFSET_VARIANCE
    inverse = np.linalg.inv(own)
    spread = float(y.std())
    scales = SCALES * spread if spread > 0 else SCALES
    residuals = ((y - y.mean()) / scales[:, None])[None] - prior.means[:, None, seen]
    exponents = -0.5 * ((residuals @ inverse) * residuals).sum(axis=2) - len(y) * np.log(scales)
    weights = np.exp(exponents - exponents.max())
    tasks, of_scales = np.nonzero(weights > NEGLIGIBLE)
    kept = weights[tasks, of_scales]
    gains: Array = inverse @ prior.covariance[seen]
    means = prior.means[tasks] + residuals[tasks, of_scales] @ gains
    return _Posterior(scales[of_scales], kept / kept.sum(), means, gains)
