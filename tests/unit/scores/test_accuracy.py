"""Scores of held-out heads: their values, their influence, and their ties with scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from voxrank.errors import OptionError
from voxrank.scores.accuracy import (
    average_precision,
    estimate_accuracy,
    estimate_balanced,
    estimate_likelihood,
    estimate_map,
    estimate_r2,
)
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import Sample, content_keys

OF_CLASSES = (estimate_accuracy, estimate_balanced, estimate_likelihood, estimate_r2, estimate_map)


def samples(n=300, dim=10, classes=4, blocks=6, apart=0.8, seed=0):
    """Return features, classes and blocks; each block moves its samples as a speaker does."""
    rng = np.random.default_rng(seed)
    labels, at = rng.integers(0, classes, n), rng.integers(0, blocks, n)
    x = rng.normal(size=(n, dim)) + apart * rng.normal(size=(classes, dim))[labels] + rng.normal(size=(blocks, dim))[at]
    return x.astype(np.float32), labels, at


def view_of(x, targets, at):
    values = targets.ndim == 2
    n_targets = targets.shape[1] if values else targets.max() + 1
    moments = BlockedMoments.zeros(x.shape[1], n_targets, values=values)
    for block in np.unique(at):
        part = Moments.zeros(x.shape[1], n_targets, values=values)
        part.update(torch.from_numpy(x[at == block]), targets[at == block])
        moments.close_block(int(block), part)
    sample = Sample.empty(10_000, x.shape[1])
    sample.update(torch.from_numpy(x), content_keys(x), np.arange(len(x)), at)
    return LayerView(moments, sample, targets)


def test_accuracy_is_near_that_of_logistic_regression_on_groups_not_seen():
    x, labels, at = samples(n=600)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    expected = cross_val_score(model, x, labels, groups=at, cv=LeaveOneGroupOut()).mean()
    assert estimate_accuracy(view_of(x, labels, at)).value == pytest.approx(expected, abs=0.03)


def test_a_voice_that_stands_for_a_class_does_not_help():
    """Features name the speaker, and nearly every speaker says one word: a head for words knows no new speaker."""
    rng = np.random.default_rng(0)
    at = np.repeat(np.arange(8), 40)
    labels = np.where(rng.random(320) < 0.9, at % 2, 1 - at % 2)
    x = (10 * np.eye(8, 30)[at] + rng.normal(size=(320, 30))).astype(np.float32)
    assert estimate_accuracy(view_of(x, labels, at)).value < 0.65
    assert estimate_accuracy(view_of(x, labels, np.arange(320) % 8)).value > 0.85


def test_balanced_accuracy_is_that_of_scikit_learn():
    x, labels, at = samples()
    labels[labels == 3] = 0
    view = view_of(x, labels, at)
    held_out = view.held_out_classes
    expected = balanced_accuracy_score(held_out.true, held_out.predicted)
    assert estimate_balanced(view).value == pytest.approx(expected)
    assert estimate_balanced(view).value < estimate_accuracy(view).value


@pytest.mark.parametrize("estimate", OF_CLASSES)
def test_influence_has_a_value_for_each_block_and_sums_to_nothing(estimate):
    x, labels, at = samples()
    found = estimate(view_of(x, labels, at))
    assert found.influence.shape == (6,)
    assert found.influence.sum() == pytest.approx(0, abs=1e-9)
    low, high = found.interval()
    assert low < found.value < high


def test_the_influence_of_a_mean_is_its_derivative_by_the_weight_of_a_block():
    x, labels, at = samples()
    view = view_of(x, labels, at)
    right = view.held_out_classes.predicted == view.held_out_classes.true
    own = view.sampled.blocks == 2
    step = 1e-6
    weights = np.where(own, 1 + step, 1.0)
    changed = (weights * right).sum() / weights.sum()
    assert estimate_accuracy(view).influence[2] == pytest.approx((changed - right.mean()) / step, rel=1e-4)


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties):
    rng = np.random.default_rng(1)
    labels, scores = rng.random(200) < 0.3, rng.normal(size=200)
    scores = np.round(scores, 1) if ties else scores
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))


def test_average_precision_without_a_true_label_is_not_known():
    assert average_precision(np.zeros(3, dtype=bool), np.arange(3.0)) is None


def test_labels_that_are_easier_to_order_have_a_higher_mean_average_precision():
    x, labels, at = samples(n=400, apart=1.5)
    sets = np.stack([labels % 2, labels > 1], axis=1).astype(float)
    shuffled = np.random.default_rng(0).permutation(sets)
    assert estimate_map(view_of(x, sets, at)).value > estimate_map(view_of(x, shuffled, at)).value + 0.2


def test_r2_of_noise_is_near_zero_and_that_of_a_map_is_near_one():
    x, _, at = samples(n=500, apart=0.0)
    weights = np.random.default_rng(2).normal(size=(10, 1))
    assert estimate_r2(view_of(x, (x @ weights).astype(float), at)).value > 0.99
    assert abs(estimate_r2(view_of(x, np.random.default_rng(3).normal(size=(500, 1)), at)).value) < 0.1


@pytest.mark.parametrize("estimate", [estimate_accuracy, estimate_balanced, estimate_likelihood, estimate_map])
def test_values_have_no_accuracy(estimate):
    x, _, at = samples()
    with pytest.raises(OptionError, match="needs classes, and the targets are values; name r2 instead"):
        estimate(view_of(x, np.random.default_rng(0).normal(size=(300, 1)), at))


def test_data_in_one_block_have_a_value_without_an_interval():
    x, labels, _ = samples()
    found = estimate_accuracy(view_of(x, labels, np.zeros(300, dtype=int)))
    assert found.value > 0.5
    assert found.interval() is None


def test_the_interval_holds_the_accuracy_of_a_test_on_a_quarter_as_many_speakers():
    rng, covered = np.random.default_rng(5), []
    for _ in range(60):
        centres = rng.normal(size=(3, 8))
        speakers = 1.5 * rng.normal(size=(50, 8))
        at, labels = np.repeat(np.arange(50), 12), np.arange(600) % 3
        x = (1.2 * centres[labels] + speakers[at] + rng.normal(size=(600, 8))).astype(np.float32)
        train = at < 40
        low, high = estimate_accuracy(view_of(x[train], labels[train], at[train] % 10)).interval()
        head = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x[train], labels[train])
        covered.append(low <= head.score(x[~train], labels[~train]) <= high)
    assert np.mean(covered) >= 0.9


def test_the_interval_of_an_accuracy_stays_within_what_is_possible():
    x, labels, at = samples(apart=2.0)
    low, high = estimate_accuracy(view_of(x, labels, at)).interval()
    assert 0 <= low < high == 1
