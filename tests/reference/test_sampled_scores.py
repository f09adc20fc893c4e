"""Scores of single samples against scikit-learn, brute force and the published formulas."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor, NearestCentroid

from voxrank.errors import OptionError
from voxrank.scores import GBC, KNN, NearestClassMean, TransRate
from voxrank.scores import LeaveOneOut as LeaveOneOutScore
from voxrank.scores.ridge import best_ridge
from voxrank.scores.separation import gbc, transrate
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.groups import BLOCKS, LIMIT
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import utterance_key


def data(n=240, dim=8, classes=4, separation=0.7, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.normal(size=(n, dim)) + separation * rng.normal(size=(classes, dim))[labels]
    return features.astype(np.float32).astype(np.float64), labels, rng.integers(0, 5, n)


def test_nearest_class_mean_equals_scikit_learn_with_groups_held_out():
    x, labels, groups = data()
    predicted = cross_val_predict(NearestCentroid(), x, labels, groups=groups, cv=GroupKFold(5))
    got = NearestClassMean().fit(x, labels, groups).score_
    assert got == pytest.approx(np.mean(predicted == labels), abs=1e-12)


def by_parts(score, x, labels, groups):
    """Return a score fitted in three parts that share groups, and merged; the first lacks classes of the last."""
    parts = np.split(np.argsort(labels, kind="stable"), [80, 160])
    first = score().partial_fit(x[parts[1]], labels[parts[1]], groups[parts[1]])
    first.partial_fit(x[parts[0]], labels[parts[0]], groups[parts[0]])
    return first.merge(score().fit(x[parts[2]], labels[parts[2]], groups[parts[2]]))


def test_nearest_class_mean_equals_scikit_learn_with_utterances_held_out():
    x, labels, _ = data(dim=300)
    groups = np.array([f"utterance {i // 2}" for i in range(len(x))])
    predicted = cross_val_predict(NearestCentroid(), x, labels, groups=groups, cv=LeaveOneGroupOut())
    expected = pytest.approx(np.mean(predicted == labels), abs=1e-12)
    names = np.array(["d", "a", "c", "b"])[labels]
    assert NearestClassMean().fit(x, labels, groups).score_ == expected
    assert NearestClassMean().fit(x.astype(np.float32), names, groups).score_ == expected
    assert by_parts(NearestClassMean, x, names, groups).score_ == expected


def test_nearest_class_mean_holds_out_blocks_where_groups_are_too_many():
    x, labels, _ = data(n=LIMIT + 100, dim=2)
    names = [f"u{i}" for i in range(len(x))]
    blocks = np.array([utterance_key(name) for name in names]).view(np.int64) % BLOCKS
    predicted = cross_val_predict(NearestCentroid(), x, labels, groups=blocks, cv=LeaveOneGroupOut())
    score, expected = partial(NearestClassMean, max_samples=len(x)), pytest.approx(np.mean(predicted == labels))
    assert score().fit(x, labels, names).score_ == expected
    assert by_parts(score, x, labels, np.array(names)).score_ == expected


@pytest.mark.parametrize("score", [KNN, NearestClassMean, LeaveOneOutScore, GBC, TransRate])
def test_thousands_of_groups_take_little_memory(score):
    """A (D, D) matrix for each of these groups would be 2.6 GB."""
    n, dim = 5000, 256
    x = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    labels, groups = np.arange(n) % 7, [f"u{i}" for i in range(n)]
    tracemalloc.start()
    value = score(max_samples=300).fit(x, labels, groups).score_
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.isfinite(value)
    assert peak < 48e6


@pytest.mark.parametrize("score", [KNN, NearestClassMean, LeaveOneOutScore, GBC, TransRate])
def test_parts_that_share_groups_and_classes_merge(score):
    x, labels, groups = data()
    assert by_parts(score, x, labels, groups).score_ == pytest.approx(score().fit(x, labels, groups).score_, rel=1e-9)


def test_groups_of_another_number_than_samples_are_refused():
    x, labels, groups = data()
    for wrong in (groups[:-1], groups[:, None]):
        with pytest.raises(OptionError, match=r"expected 240 groups, one for each sample, got an array of shape"):
            KNN().fit(x, labels, wrong)


@pytest.mark.parametrize("held_out", [True, False])
def test_neighbours_equal_brute_force(held_out):
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


def test_neighbours_of_values_equal_scikit_learn():
    x, _, _ = data(separation=0)
    y = x[:, :1] + 0.1 * x[:, 1:2]
    z = x - x.mean(axis=0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    predicted = cross_val_predict(KNeighborsRegressor(5), z, y, cv=LeaveOneOut())
    expected = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)
    assert KNN(regression=True).fit(x, y).score_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("values", [False, True])
def test_the_leave_one_out_score_equals_fits_without_each_sample(values):
    import torch

    x, labels, _ = data(n=60)
    y = np.column_stack([x[:, 0] + 0.3 * x[:, 3] ** 2]) if values else np.eye(4)[labels]
    moments = Moments.zeros(8, y.shape[1], values=True)
    moments.update(torch.from_numpy(x), y)
    t = best_ridge(Spectrum.of(moments))
    rows = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        # the hat matrix of the whole keeps the mean of the whole, as a fit with an unpenalised constant does
        design = np.column_stack([np.ones(len(x)), x])
        penalty = t * np.diag([0.0] + [1.0] * 8)
        w = np.linalg.solve(design[rest].T @ design[rest] + penalty, design[rest].T @ y[rest])
        rows.append(design[i] @ w)
    predicted = np.array(rows)
    if values:
        expected = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean(axis=0)) ** 2)
        assert LeaveOneOutScore(regression=True).fit(x, y).score_ == pytest.approx(expected, rel=1e-8)
    else:
        expected = np.mean(predicted.argmax(axis=1) == labels)
        assert LeaveOneOutScore().fit(x, labels).score_ == pytest.approx(expected, abs=1e-12)


def test_transrate_equals_its_definition():
    x, labels, _ = data()
    z = x - x.mean(axis=0)

    def rate(z):
        return 0.5 * np.linalg.slogdet(np.eye(8) + z.T @ z / (len(z) * 1e-4))[1]

    expected = rate(z) - np.mean([rate(z[labels == c]) for c in range(4)])
    assert transrate(x, labels, scaled=False) == pytest.approx(expected, rel=1e-10)
    unit = np.sqrt((z**2).mean())
    assert TransRate().fit(x, labels).score_ == pytest.approx(transrate(x / unit, labels, scaled=False), rel=1e-6)


def test_gbc_equals_its_definition():
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


def test_a_sample_of_the_data_scores_nearly_as_all_data():
    x, labels, groups = data(n=6000, separation=0.6)
    whole, some = (KNN(max_samples=k).fit(x, labels, groups).score_ for k in (6000, 1500))
    assert some == pytest.approx(whole, abs=0.06)
