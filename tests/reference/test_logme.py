"""LogME against the closed form, the fixed-point iteration and published facts."""

import numpy as np
import pytest

import logme_reference as reference
from voxrank.scores import LogME


def classification(n, dim, classes, seed=0, separation=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, dim)) + separation * rng.normal(size=(classes, dim))[labels], labels


def fixed_point_score(features, targets):
    scores = [reference.dense_evidence(features, y, *reference.fixed_point(features, y)) for y in targets.T]
    return np.mean(scores)


@pytest.mark.parametrize(("n", "dim", "classes"), [(60, 5, 2), (300, 40, 3), (500, 64, 10), (2000, 16, 4)])
def test_classification_equals_fixed_point_and_dense_evidence(n, dim, classes):
    features, labels = classification(n, dim, classes)
    expected = fixed_point_score(features, reference.one_hot(labels))
    assert LogME().fit(features, labels).score_ == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n_targets", [1, 3])
def test_regression_equals_fixed_point_and_dense_evidence(n_targets):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, 20))
    values = features @ rng.normal(size=(20, n_targets)) + rng.normal(size=(400, n_targets))
    expected = fixed_point_score(features, values)
    given = values[:, 0] if n_targets == 1 else values
    assert LogME(regression=True).fit(features, given).score_ == pytest.approx(expected, abs=1e-9)


def test_fewer_samples_than_dimensions_equals_dense_evidence():
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(40, 120)), np.arange(40) % 2
    expected = np.mean([reference.best_dense_evidence(features, y) for y in reference.one_hot(labels).T])
    assert LogME().fit(features, labels).score_ == pytest.approx(expected, abs=1e-9)


def test_noise_with_fewer_samples_than_dimensions_is_not_rewarded():
    """Published code gives +12.19 for this shape, since the D - k empty directions do not cancel."""
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(200, 768)), rng.integers(0, 4, size=200)
    assert LogME().fit(features, labels).score_ < 0
    evidence = [reference.dense_evidence(features, y, 768.0 * 8, 1 / np.var(y)) for y in reference.one_hot(labels).T]
    assert LogME().fit(features, labels).score_ >= np.mean(evidence)


def test_rank_deficient_features_equal_dense_evidence():
    rng = np.random.default_rng(4)
    base, labels = classification(300, 6, 3)
    features = base @ rng.normal(size=(6, 15))
    expected = np.mean([reference.best_dense_evidence(features, y) for y in reference.one_hot(labels).T])
    assert LogME().fit(features, labels).score_ == pytest.approx(expected, abs=1e-9)


def test_constant_features_equal_dense_evidence():
    labels = np.arange(90) % 3
    features = np.full((90, 4), 2.5)
    expected = np.mean([reference.best_dense_evidence(features, y) for y in reference.one_hot(labels).T])
    assert LogME().fit(features, labels).score_ == pytest.approx(expected, abs=1e-9)


def test_zero_features_give_the_evidence_of_no_features():
    """F = 0 leaves only the noise: L/n = -(ln(2 pi y'y / n) + 1)/2."""
    labels = np.arange(90) % 3
    expected = -(np.log(2 * np.pi / 3) + 1) / 2
    assert LogME().fit(np.zeros((90, 4)), labels).score_ == pytest.approx(expected, abs=1e-12)


def test_posterior_mean_is_ridge_at_the_best_ratio():
    features, labels = classification(200, 10, 3, separation=0.5)
    targets = reference.one_hot(labels)
    weights = []
    for y in targets.T:
        alpha, beta = reference.fixed_point(features, y)
        weights.append(np.linalg.solve(features.T @ features + alpha / beta * np.eye(10), features.T @ y))
    fresh = np.random.default_rng(5).normal(size=(50, 10))
    predicted = LogME(regression=True).fit(features, targets).predict(fresh)
    np.testing.assert_allclose(predicted, fresh @ np.array(weights).T, rtol=1e-6, atol=1e-9)
    labelled = LogME().fit(features, labels).predict(fresh)
    np.testing.assert_array_equal(labelled, predicted.argmax(axis=1))
