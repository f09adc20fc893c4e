"""Scores of single samples against scikit-learn, brute force and the published formulas."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor, NearestCentroid

from voxrank.scores import GBC, KNN, NearestClassMean, TransRate
from voxrank.scores import LeaveOneOut as LeaveOneOutScore
from voxrank.scores.ridge import best_ridge
from voxrank.scores.separation import gbc, transrate
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.moments import Moments


def data(n=240, dim=8, classes=4, separation=0.7, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.normal(size=(n, dim)) + separation * rng.normal(size=(classes, dim))[labels]
    return features.astype(np.float32).astype(np.float64), labels, rng.integers(0, 5, n)


def test_nearest_class_mean_is_scikit_learns_with_groups_held_out():
    x, labels, groups = data()
    predicted = cross_val_predict(NearestCentroid(), x, labels, groups=groups, cv=GroupKFold(5))
    got = NearestClassMean().fit(x, labels, groups).score_
    assert got == pytest.approx(np.mean(predicted == labels), abs=1e-12)


@pytest.mark.parametrize("held_out", [True, False])
def test_neighbours_by_brute_force(held_out):
    x, labels, groups = data()
    z = x - x.mean(axis=0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    right = 0
    for i in range(len(x)):
        others = groups != groups[i] if held_out else np.arange(len(x)) != i
        order = np.flatnonzero(others)[np.argsort(-(z[others] @ z[i]), kind="stable")][:5]
        votes = np.bincount(labels[order], minlength=4).astype(float)
        votes[labels[order[0]]] += 1e-9
        right += votes.argmax() == labels[i]
    got = KNN().fit(x, labels, groups if held_out else None).score_
    assert got == pytest.approx(right / len(x), abs=1 / len(x) + 1e-12)


def test_neighbours_of_values_are_scikit_learns():
    x, _, _ = data(separation=0)
    y = x[:, :1] + 0.1 * x[:, 1:2]
    z = x - x.mean(axis=0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    predicted = cross_val_predict(KNeighborsRegressor(5), z, y, cv=LeaveOneOut())
    expected = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)
    assert KNN(regression=True).fit(x, y).score_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("values", [False, True])
def test_leave_one_out_by_leaving_one_out(values):
    import torch

    x, labels, _ = data(n=60)
    y = np.column_stack([x[:, 0] + 0.3 * x[:, 3] ** 2]) if values else np.eye(4)[labels]
    moments = Moments.zeros(8, y.shape[1], values=True)
    moments.update(torch.from_numpy(x), y)
    t = best_ridge(Spectrum.of(moments))
    predicted = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        # the hat matrix of the whole keeps the mean of the whole: fit with an unpenalised constant
        design = np.column_stack([np.ones(len(x)), x])
        penalty = t * np.diag([0.0] + [1.0] * 8)
        w = np.linalg.solve(design[rest].T @ design[rest] + penalty, design[rest].T @ y[rest])
        predicted.append(design[i] @ w)
    predicted = np.array(predicted)
    if values:
        expected = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean(axis=0)) ** 2)
        assert LeaveOneOutScore(regression=True).fit(x, y).score_ == pytest.approx(expected, rel=1e-8)
    else:
        expected = np.mean(predicted.argmax(axis=1) == labels)
        assert LeaveOneOutScore().fit(x, labels).score_ == pytest.approx(expected, abs=1e-12)


def test_transrate_by_its_definition():
    x, labels, _ = data()
    z = x - x.mean(axis=0)

    def rate(z):
        return 0.5 * np.linalg.slogdet(np.eye(8) + z.T @ z / (len(z) * 1e-4))[1]

    expected = rate(z) - np.mean([rate(z[labels == c]) for c in range(4)])
    assert transrate(x, labels, scaled=False) == pytest.approx(expected, rel=1e-10)
    unit = np.sqrt((z**2).mean())
    assert TransRate().fit(x, labels).score_ == pytest.approx(transrate(x / unit, labels, scaled=False), rel=1e-6)


def test_gbc_by_its_definition():
    x, labels, _ = data()
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                a, b = x[labels == i], x[labels == j]
                va, vb = a.var(axis=0), b.var(axis=0)
                middle = (va + vb) / 2
                distance = np.sum((a.mean(0) - b.mean(0)) ** 2 / middle) / 8
                distance += 0.5 * np.log(np.prod(middle) / np.sqrt(np.prod(va) * np.prod(vb)))
                total -= np.exp(-distance)
    assert gbc(x, labels) == pytest.approx(total, rel=1e-4)
    assert np.isfinite(GBC().fit(x, labels).score_)


def test_few_samples_stand_for_many():
    x, labels, groups = data(n=6000, separation=0.6)
    whole, some = (KNN(max_samples=k).fit(x, labels, groups).score_ for k in (6000, 1500))
    assert some == pytest.approx(whole, abs=0.06)
