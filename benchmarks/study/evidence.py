"""Evidence of joined layers, from Gram matrices between samples.

LogME, ridge regression and similar scores read samples F (n, D) only through K = FFᵀ. Concatenated layers with weights
w have K = Σ w_l² K_l, the sum of theirs. A weighted sum of layers, f = Σ w_l f_l, has K = Σ_ab w_a w_b F_a F_bᵀ. So a
set of layers costs as much as one layer, whatever its dimension. Samples are first standardised layer by layer:
otherwise a layer of large numbers would dominate.

The weights are those of greatest evidence. With targets Y (n, T) about their means, each column Gaussian with the
covariance v·C, C = I + K(w), and v at its best,

    L(w)/nT = −½·ln tr(YᵀC⁻¹Y) − ½·ln|C|/n + const,    ∂/∂C = C⁻¹YYᵀC⁻¹/(2·tr(YᵀC⁻¹Y)) − C⁻¹/(2n):

LogME of all targets with one α and one β, which makes the search smooth and short. LogME itself, with an α and a β for
each target, then judges the result.

Sources: MacKay, "Bayesian Interpolation", 1992; Bach, Lanckriet and Jordan, ICML 2004 (sums of kernels); Yang et al.,
SUPERB, Interspeech 2021, arXiv 2105.01051 (weighted sums of layers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from voxrank.scores.centred import EPSILON
from voxrank.scores.logme import maximise_evidence
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.products import Array

STEPS = 25
"""Number of steps of the search for weights: more steps gain less than LogME can distinguish."""
LOG_WEIGHT = 12.0
"""Maximum logarithm of a weight; the minimum is its negative."""
RIDGES = np.logspace(-6, 0, 10)
"""Candidate strengths, as shares of the sum of K's eigenvalues."""


def standardised(features: NDArray[np.floating]) -> Array:
    """Return (n, D) about the mean, each dimension over its spread; constant dimensions are 0."""
    rows = features.astype(np.float64)
    rows -= rows.mean(axis=0)
    spread = rows.std(axis=0)
    made: Array = np.divide(rows, spread, out=np.zeros_like(rows), where=spread > 1e-9 * spread.max(initial=0.0))
    return made


def one_hot(labels: NDArray[np.int64]) -> Array:
    """Return class ids (n,) as (n, T) about the mean, with T the number of classes that occur."""
    classes, places = np.unique(labels, return_inverse=True)
    made = np.eye(len(classes))[places]
    return np.asarray(made - made.mean(axis=0))


def gram_spectrum(gram: Array, targets: Array) -> Spectrum:
    """Return the spectrum that scores of the moments read, from K in place of the moments.

    Args:
        gram: (n, n) K of samples about their mean.
        targets: (n, T) targets about their mean.
    """
    values, vectors = np.linalg.eigh(gram)
    kept = values > len(values) * EPSILON * max(values[-1], 0.0)
    values, vectors = values[kept], vectors[:, kept]
    count = targets.shape[1]
    return Spectrum(
        n=len(gram),
        eigenvalues=values,
        vectors=np.eye(len(values)),
        mean=np.zeros(len(values)),
        cross=targets.T @ (vectors * np.sqrt(values)),
        weight=np.zeros(count),
        square=(targets**2).sum(axis=0),
        used=np.ones(count, dtype=np.bool_),
        target_gram=targets.T @ targets,
        quartic=float((np.diag(gram) ** 2).sum()),
        rank=len(values),
    )


def gram_evidence(gram: Array, targets: Array) -> float:
    """Return LogME of samples and targets about their means: the mean over targets of the greatest log evidence over n.

    Args:
        gram: (n, n) K.
        targets: (n, T) targets.
    """
    spectrum = gram_spectrum(gram, targets)
    if spectrum.rank:
        return maximise_evidence(spectrum).score
    return float(-(np.log(2 * np.pi * spectrum.square / spectrum.n) + 1).mean() / 2)


def held_out_accuracy(gram: Array, labels: NDArray[np.int64], blocks: NDArray[np.int64]) -> float:
    """Return the accuracy of ridge regression, fitted without a sample's block; exact, from one decomposition.

    With H = K(K + t)⁻¹ + 11ᵀ/n and E the residuals of the whole, those of a block left out are (I − H_BB)⁻¹ E_B. The
    strength t is the one with the smallest sum of their squares.

    Args:
        gram: (n, n) K of samples about their mean.
        labels: (n,) class ids.
        blocks: (n,) blocks that are held out together.
    """
    targets, numbers = one_hot(labels), np.unique(labels, return_inverse=True)[1]
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    if values.sum() == 0:
        return float(np.bincount(numbers).max() / len(numbers))
    projected, best = vectors.T @ targets, (np.inf, 0.0)
    for t in RIDGES * values.sum():
        shrink = values / (values + t)
        left = _left_out(vectors, shrink, targets - (vectors * shrink) @ projected, blocks)
        right = float(((targets - left).argmax(axis=1) == numbers).mean())
        best = min(best, (float((left**2).sum()), -right))
    return -best[1]


def _left_out(vectors: Array, shrink: Array, residuals: Array, blocks: NDArray[np.int64]) -> Array:
    """Return the residuals (n, T) of each block when it is left out."""
    left = np.empty_like(residuals)
    for block in np.unique(blocks):
        rows = blocks == block
        free = np.eye(int(rows.sum())) - (vectors[rows] * shrink) @ vectors[rows].T - 1 / len(rows)
        left[rows] = np.linalg.solve(free + 1e-9 * np.eye(len(free)), residuals[rows])
    return left


def concat_shares(grams: Sequence[Array], targets: Array) -> Array:
    """Return the squared weights w² of concatenated layers at the greatest evidence: (L,), with sum 1.

    Args:
        grams: for each layer, (n, n) K of standardised samples.
        targets: (n, T) targets about their mean.
    """
    n = len(targets)
    sizes = np.array([max(np.trace(gram), np.finfo(np.float64).tiny) / n for gram in grams])
    stack = np.stack([gram / size for gram, size in zip(grams, sizes, strict=True)])

    def loss(logs: Array) -> tuple[float, Array]:
        shares = np.exp(logs)
        value, slope = covariance_evidence(np.eye(n) + np.tensordot(shares, stack, 1), targets)
        return -value, -shares * np.tensordot(stack, slope, 2)

    shares = np.exp(_least(loss, np.full(len(stack), -np.log(len(stack))))) / sizes
    return np.asarray(shares / shares.sum())


def sum_weights(layers: Array, targets: Array) -> Array:
    """Return the weights of the sum of layers at the greatest evidence: (L,), none below 0, with sum 1.

    Args:
        layers: (L, n, D) standardised samples.
        targets: (n, T) targets about their mean.
    """
    n = len(targets)
    stack = layers / np.sqrt(max((layers**2).sum() / len(layers) / n, np.finfo(np.float64).tiny))

    def loss(logs: Array) -> tuple[float, Array]:
        weights, size = _softmax(logs[:-1]), np.exp(logs[-1])
        mixed = np.tensordot(weights, stack, 1)
        gram = mixed @ mixed.T
        value, slope = covariance_evidence(np.eye(n) + size * gram, targets)
        by_weight = 2 * size * np.tensordot(stack, slope @ mixed, 2)
        by_log = weights * (by_weight - weights @ by_weight)
        return -value, -np.append(by_log, size * (slope * gram).sum())

    return _softmax(_least(loss, np.zeros(len(stack) + 1))[:-1])


def covariance_evidence(covariance: Array, targets: Array) -> tuple[float, Array]:
    """Return L/nT, except for a constant, and its gradient (n, n) by C; see the module.

    Args:
        covariance: (n, n) C.
        targets: (n, T) Y.
    """
    n = len(targets)
    factor = cho_factor(covariance, lower=True)
    inverse = cho_solve(factor, np.eye(n))
    solved = inverse @ targets
    power = max(float((targets * solved).sum()), np.finfo(np.float64).tiny)
    value = -np.log(power) / 2 - np.log(np.diag(factor[0])).mean()
    return float(value), solved @ solved.T / (2 * power) - inverse / (2 * n)


def _least(loss: Callable[[Array], tuple[float, Array]], start: Array) -> Array:
    bounds = [(-LOG_WEIGHT, LOG_WEIGHT)] * len(start)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    return np.asarray(found.x, dtype=np.float64)


def _softmax(logs: Array) -> Array:
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum())
