"""Scores of the moments against their definitions on the samples, and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge

from voxrank.scores import CCA, CKA, PWCCA, VCI, HScore, LogME, RankMe, RidgeR2
from voxrank.scores.ridge import best_ridge
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.moments import Moments

SHAPES = [(300, 8, 3), (500, 40, 10), (60, 30, 2)]


def data(n, dim, classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    scales = np.geomspace(0.1, 10, dim)
    return (rng.normal(size=(n, dim)) + rng.normal(size=(classes, dim))[labels]) * scales + 5, labels


def values(n, dim, n_targets, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, dim)) * np.geomspace(0.1, 10, dim) + 5
    return features, features @ rng.normal(size=(dim, n_targets)) + rng.normal(size=(n, n_targets))


def one_hot(labels):
    return (labels[:, None] == np.unique(labels)).astype(float)


def centred(x):
    return x - x.mean(axis=0)


def class_means(features, labels):
    return np.stack([features[labels == c].mean(axis=0) for c in labels])


def canonical(x, y):
    """Return correlations and the samples' variates, by QR and SVD."""
    qx = np.linalg.svd(centred(x), full_matrices=False)[0][:, : np.linalg.matrix_rank(centred(x))]
    uy, sy, _ = np.linalg.svd(centred(y), full_matrices=False)
    u, s, _ = np.linalg.svd(qx.T @ uy[:, sy > 1e-9 * sy[0]], full_matrices=False)
    return s, qx @ u


@pytest.mark.parametrize("shape", SHAPES)
def test_hscore_is_that_of_ledoit_and_wolf(shape):
    x, labels = data(*shape)
    fitted = LedoitWolf().fit(x)
    between = np.cov(class_means(x, labels).T, bias=True)
    expected = np.trace(np.linalg.solve(fitted.covariance_, (1 - fitted.shrinkage_) * between))
    assert HScore().fit(x, labels).score_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [*SHAPES, (30, 50, 3)])
def test_ridge_is_generalised_cross_validation(shape):
    x, labels = data(*shape)
    y = centred(one_hot(labels))
    moments = Moments.zeros(x.shape[1], shape[2])
    moments.update(torch.from_numpy(x), labels)
    t = best_ridge(Spectrum.of(moments))
    xc = centred(x)

    def gcv(t):
        hat = xc @ np.linalg.solve(xc.T @ xc + t * np.eye(x.shape[1]), xc.T) + 1 / len(x)
        return len(x) * np.sum((y - hat @ y) ** 2) / (len(x) - np.trace(hat)) ** 2

    null = len(x) * np.sum(y**2) / (len(x) - 1) ** 2
    assert RidgeR2().fit(x, labels).score_ == pytest.approx(1 - gcv(t) / null, rel=1e-8)
    assert gcv(t) <= min(gcv(t * factor) for factor in (0.5, 0.9, 1.1, 2)) * (1 + 1e-9)
    weights = Ridge(alpha=t).fit(x, y).coef_
    assert np.sum((y - centred(x) @ weights.T) ** 2) == pytest.approx(
        np.sum((y - xc @ np.linalg.solve(xc.T @ xc + t * np.eye(x.shape[1]), xc.T @ y)) ** 2)
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_cca_and_vci_are_computed_from_canonical_correlations(shape):
    x, labels = data(*shape)
    rho, _ = canonical(x, one_hot(labels))
    assert CCA().fit(x, labels).score_ == pytest.approx(rho.mean(), rel=1e-8)
    total, between = np.cov(x.T, bias=True), np.cov(class_means(x, labels).T, bias=True)
    expected = 1 - np.trace(np.linalg.pinv(total) @ between) / (shape[2] - 1)
    assert VCI().fit(x, labels).score_ == pytest.approx(expected, rel=1e-8)
    assert VCI().fit(x, labels).score_ == pytest.approx(1 - np.mean(rho**2), rel=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_pwcca_equals_its_definition(shape):
    x, labels = data(*shape)
    rho, variates = canonical(x, one_hot(labels))
    weights = np.abs(variates.T @ centred(x)).sum(axis=1)[: len(rho)]
    assert PWCCA().fit(x, labels).score_ == pytest.approx(weights @ rho / weights.sum(), rel=1e-7)


def test_values_that_repeat_each_other_count_once():
    x, y = values(200, 6, 2)
    rho, _ = canonical(x, y)
    doubled = np.hstack([y, y[:, :1]])
    for target in (y, doubled):
        assert CCA(regression=True).fit(x, target).score_ == pytest.approx(rho.mean(), rel=1e-7)
        assert VCI(regression=True).fit(x, target).score_ == pytest.approx(1 - np.mean(rho**2), abs=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_cka_equals_its_definition(shape):
    x, labels = data(*shape)
    xc, yc = centred(x), centred(one_hot(labels))
    expected = np.sum((xc.T @ yc) ** 2) / np.linalg.norm(xc.T @ xc) / np.linalg.norm(yc.T @ yc)
    assert CKA().fit(x, labels).score_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_rankme_equals_its_definition(shape):
    x, labels = data(*shape)
    sigma = np.linalg.svd(centred(x), compute_uv=False)
    share = sigma / sigma.sum()
    assert RankMe().fit(x, labels).score_ == pytest.approx(np.exp(-share @ np.log(share)), rel=1e-8)


@pytest.mark.parametrize("score", [HScore, RidgeR2, CCA, PWCCA, VCI, CKA])
def test_classes_as_columns_of_values_score_alike(score):
    x, labels = data(300, 8, 3)
    as_classes, as_values = score().fit(x, labels).score_, score(regression=True).fit(x, one_hot(labels)).score_
    assert as_values == pytest.approx(as_classes, rel=1e-8)


@pytest.mark.parametrize("score", [HScore, RidgeR2, CCA, PWCCA, VCI, CKA, RankMe])
def test_neither_the_mean_nor_the_unit_matters(score):
    x, labels = data(300, 8, 3)
    assert score().fit(1000 * x + 77, labels).score_ == pytest.approx(score().fit(x, labels).score_, rel=1e-7)


@pytest.mark.parametrize("score", [LogME, HScore, RidgeR2, CCA, VCI, CKA, RankMe])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_single_precision_changes_a_score_by_a_few_millionths_at_most(score, offset):
    x, labels = data(3000, 320, 10)
    single = (x + offset).astype(np.float32)
    expected = score().fit(single.astype(np.float64), labels).score_
    assert score().fit(single, labels).score_ == pytest.approx(expected, rel=3e-6)
