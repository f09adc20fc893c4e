"""The study's evidence of joined layers, against LogME of the features, brute force, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from study.evidence import (
    concat_shares,
    covariance_evidence,
    gram_evidence,
    held_out_accuracy,
    one_hot,
    standardised,
    sum_weights,
)
from voxrank.scores.logme import maximise_evidence
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.moments import Moments

CLASSES = 4


def layers(n: int, dims: tuple[int, ...], informative: tuple[bool, ...], seed: int = 0):
    """Return labels, and standardised samples of layers with and without information about them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    made = []
    for dim, knows in zip(dims, informative, strict=True):
        means = rng.standard_normal((CLASSES, dim)) * (1.5 if knows else 0.0)
        made.append(standardised(means[labels] + rng.standard_normal((n, dim))))
    return labels, made


def logme_of(samples: np.ndarray, targets: np.ndarray) -> float:
    """Return LogME from the moments, as for any layer."""
    moments = Moments.zeros(samples.shape[1], targets.shape[1], values=True)
    moments.update(torch.from_numpy(samples), targets)
    return maximise_evidence(Spectrum.of(moments)).score


@pytest.mark.parametrize(("n", "dims"), [(60, (5, 7)), (24, (40, 30, 8))], ids=["n above D", "n below D"])
def test_concatenated_layers_have_the_sum_of_the_grams(n: int, dims: tuple[int, ...]) -> None:
    labels, parts = layers(n, dims, (True,) * len(dims))
    weights = np.linspace(0.5, 2, len(dims))
    gram = sum(w**2 * part @ part.T for w, part in zip(weights, parts, strict=True))
    whole = np.concatenate([w * part for w, part in zip(weights, parts, strict=True)], axis=1)
    assert gram_evidence(gram, one_hot(labels)) == pytest.approx(logme_of(whole, one_hot(labels)), abs=1e-9)


def test_a_sum_of_layers_has_the_gram_of_the_sum() -> None:
    labels, parts = layers(40, (9, 9, 9), (True, False, True))
    weights = np.array([0.2, 0.5, 0.3])
    joint = np.array([[a @ b.T for b in parts] for a in parts])
    gram = np.einsum("a,b,abij->ij", weights, weights, joint)
    mixed = np.tensordot(weights, np.stack(parts), 1)
    assert gram_evidence(gram, one_hot(labels)) == pytest.approx(logme_of(mixed, one_hot(labels)), abs=1e-9)


def test_evidence_is_the_greatest_of_a_gaussian_found_by_brute_force() -> None:
    labels, (samples,) = layers(16, (3,), (True,))
    targets, gram = one_hot(labels), samples @ samples.T

    def loss(logs: np.ndarray, column: int) -> float:
        covariance = np.exp(-logs[1]) * np.eye(16) + np.exp(-logs[0]) * gram
        return -float(multivariate_normal(np.zeros(16), covariance).logpdf(targets[:, column])) / 16

    options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 10_000}
    best = [
        -minimize(loss, np.zeros(2), (column,), method="Nelder-Mead", options=options).fun for column in range(CLASSES)
    ]
    assert gram_evidence(gram, targets) == pytest.approx(np.mean(best), abs=1e-9)


def test_more_dimensions_may_lower_the_evidence() -> None:
    labels, (good, noise) = layers(80, (6, 60), (True, False))
    targets = one_hot(labels)
    assert gram_evidence(good @ good.T + noise @ noise.T, targets) < gram_evidence(good @ good.T, targets)
    assert gram_evidence(2 * good @ good.T, targets) == pytest.approx(gram_evidence(good @ good.T, targets), abs=1e-12)


def test_samples_without_information_have_the_evidence_of_the_mean() -> None:
    labels, (samples,) = layers(20, (3,), (True,))
    targets = one_hot(labels)
    expected = -(np.log(2 * np.pi * targets.var(axis=0)) + 1).mean() / 2
    assert gram_evidence(np.zeros((20, 20)), targets) == pytest.approx(expected)
    assert gram_evidence(1e-30 * samples @ samples.T, targets) == pytest.approx(
        gram_evidence(samples @ samples.T, targets), abs=1e-9
    )
    assert held_out_accuracy(np.zeros((20, 20)), labels, np.arange(20) // 5) == 1 / CLASSES


def test_the_gradient_is_that_of_finite_differences() -> None:
    labels, (samples,) = layers(10, (3,), (True,))
    covariance = np.eye(10) + samples @ samples.T / 3
    direction = np.random.default_rng(1).standard_normal((10, 10))
    direction = direction + direction.T
    ahead, behind = (covariance_evidence(covariance + step * direction, one_hot(labels))[0] for step in (1e-6, -1e-6))
    slope = covariance_evidence(covariance, one_hot(labels))[1]
    assert (slope * direction).sum() == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


def profiled(gram: np.ndarray, targets: np.ndarray) -> float:
    """Return the evidence by which weights are chosen, at the best size of the Gram matrix."""
    sizes = np.exp(np.linspace(-12, 12, 241))
    return max(covariance_evidence(np.eye(len(targets)) + size * gram, targets)[0] for size in sizes)


def test_weights_of_concatenated_layers_are_the_best_of_a_grid() -> None:
    labels, parts = layers(60, (6, 9), (True, True))
    targets, grams = one_hot(labels), [part @ part.T for part in parts]
    shares = concat_shares(grams, targets)
    found = profiled(shares[0] * grams[0] + shares[1] * grams[1], targets)
    tried = [profiled(s * grams[0] + (1 - s) * grams[1], targets) for s in np.linspace(0, 1, 21)]
    assert shares.sum() == pytest.approx(1)
    assert found >= max(tried) - 1e-4


def test_weights_of_a_sum_are_the_best_of_a_grid() -> None:
    labels, parts = layers(60, (7, 7), (True, True))
    targets, stack = one_hot(labels), np.stack(parts)
    weights = sum_weights(stack, targets)

    def value(mixing: np.ndarray) -> float:
        mixed = np.tensordot(mixing, stack, 1)
        return profiled(mixed @ mixed.T, targets)

    assert weights.sum() == pytest.approx(1)
    assert value(weights) >= max(value(np.array([s, 1 - s])) for s in np.linspace(0, 1, 21)) - 1e-4


def test_a_layer_of_noise_gets_no_weight() -> None:
    labels, parts = layers(80, (8, 8, 8), (False, True, False))
    targets = one_hot(labels)
    assert concat_shares([part @ part.T for part in parts], targets)[1] > 0.95
    assert sum_weights(np.stack(parts), targets)[1] > 0.8


def test_held_out_accuracy_is_that_of_ridge_regression_without_each_block() -> None:
    labels, (samples,) = layers(60, (5,), (True,), seed=3)
    samples += np.random.default_rng(4).standard_normal(samples.shape) * 1.5
    samples = standardised(samples)
    blocks = np.random.default_rng(5).integers(0, 6, 60)
    targets = np.eye(CLASSES)[labels]
    best = (np.inf, 0.0)
    for t in np.logspace(-6, 0, 10) * np.trace(samples @ samples.T):
        wrong, right = 0.0, 0
        for block in range(6):
            held = blocks == block
            mean, offset = targets[~held].mean(axis=0), samples[~held].mean(axis=0)
            rows = samples[~held] - offset
            weights = np.linalg.solve(rows.T @ rows + t * np.eye(5), rows.T @ (targets[~held] - mean))
            predicted = (samples[held] - offset) @ weights + mean
            wrong += ((targets[held] - predicted) ** 2).sum()
            right += int(((predicted - targets.mean(axis=0)).argmax(axis=1) == labels[held]).sum())
        best = min(best, (wrong, -right / 60))
    assert 0.3 < -best[1] < 1
    assert held_out_accuracy(samples @ samples.T, labels, blocks) == pytest.approx(-best[1], abs=1e-9)


def test_constant_dimensions_stay_at_zero() -> None:
    rows = np.stack([np.arange(5.0), np.full(5, 3.0)], axis=1)
    found = standardised(rows)
    assert found[:, 1].tolist() == [0.0] * 5
    assert found[:, 0].std() == pytest.approx(1)
    assert (standardised(np.full((4, 2), 7.0)) == 0).all()
