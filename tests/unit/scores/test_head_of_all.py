"""Heads that are fitted to all data equal discriminants that are fitted without the block, and are better."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from voxrank.scores.accuracy import estimate_accuracy
from voxrank.scores.head import predict_classes
from voxrank.scores.head_of_all import log_odds, predict_classes_by_all
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import Sample, content_keys


def samples(n=3000, dim=40, classes=5, seed=0, apart=1.0):
    rng = np.random.default_rng(seed)
    labels, blocks = rng.integers(classes, size=n), rng.integers(6, size=n)
    x = apart * rng.normal(size=(classes, dim))[labels] + rng.normal(size=(n, dim)) * np.linspace(0.1, 9, dim) + 3
    return x.astype(np.float32), labels, blocks


def moments_of(x, labels, blocks, classes=5):
    moments = BlockedMoments.zeros(x.shape[1], classes)
    for block in np.unique(blocks):
        part = Moments.zeros(x.shape[1], classes)
        part.update(torch.from_numpy(x[blocks == block]), labels[blocks == block])
        moments.close_block(int(block), part)
    return moments


def view_of(x, labels, blocks, kept):
    sample = Sample.empty(kept, x.shape[1])
    sample.update(torch.from_numpy(x), content_keys(torch.from_numpy(x)), np.arange(len(x)), blocks)
    return LayerView(moments_of(x, labels, blocks), sample, labels)


def test_log_odds_are_those_of_a_discriminant_of_the_other_data():
    x, labels, blocks = samples()
    own, ridge = blocks == 2, 50.0
    moments = moments_of(x, labels, blocks)
    remaining = moments.total.without(moments.blocks[2].unpack())
    kept = np.ones(x.shape[1], dtype=bool)
    known, (found,) = log_odds(x[own].astype(float), remaining, kept, [np.full(x.shape[1], ridge)])
    train, of_train = x[~own].astype(float), labels[~own]
    means = np.array([train[of_train == c].mean(axis=0) for c in range(5)]) - train.mean(axis=0)
    within = sum(np.cov(train[of_train == c].T, bias=True) * (of_train == c).sum() for c in range(5))
    weights = np.linalg.solve(within + ridge * np.eye(x.shape[1]), means.T)
    expected = (len(train) - 5) * ((x[own] - train.mean(axis=0)) @ weights - np.einsum("cd,dc->c", means, weights) / 2)
    np.testing.assert_array_equal(known, np.arange(5))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * abs(expected).max())


def test_all_data_give_a_better_head_than_the_sample():
    x, labels, blocks = (one[:4000] for one in samples(n=6000, dim=120, apart=0.15))
    more, of_more, _ = samples(n=6000, dim=120, apart=0.15)
    reached = (
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, labels).score(more[4000:], of_more[4000:])
    )
    by_all = estimate_accuracy(view_of(x, labels, blocks, kept=600)).value
    first = np.random.default_rng(0).permutation(4000)[:600]
    alone = estimate_accuracy(view_of(x[first], labels[first], blocks[first], kept=601)).value
    assert alone < by_all
    assert abs(by_all - reached) < abs(alone - reached)


def test_a_sample_that_holds_all_data_is_predicted_by_its_own_heads():
    x, labels, blocks = samples(n=400)
    view = view_of(x, labels, blocks, kept=400)
    own = predict_classes(view.sampled.features, view.sampled.rows, view.sampled.folds, 5)
    np.testing.assert_array_equal(view.held_out_classes.log_likelihood, own.log_likelihood)


def test_a_class_of_one_block_is_an_error_there():
    x, labels, blocks = samples()
    labels = np.where(labels == 4, 0, labels)
    labels[blocks == 1] = np.where(np.arange((blocks == 1).sum()) % 2, 4, labels[blocks == 1])
    held_out = view_of(x, labels, blocks, kept=500).held_out_classes
    assert (held_out.predicted[held_out.true == 4] != 4).all()
    assert np.isfinite(held_out.log_likelihood).all()


@pytest.mark.filterwarnings("error")
def test_constant_features_leave_the_heads_of_the_sample():
    x, labels, blocks = samples()
    view = view_of(np.ones_like(x), labels, blocks, kept=500)
    frames = view.sampled
    own = predict_classes(frames.features, frames.rows, frames.folds, 5)
    assert predict_classes_by_all(view.moments, frames.features, frames.blocks, own) is own


def test_a_constant_feature_changes_nothing():
    x, labels, blocks = samples()
    more = np.concatenate([x, np.full((len(x), 1), 7.0, dtype=np.float32)], axis=1)
    views = [view_of(one, labels, blocks, kept=3001 - 1).held_out_classes for one in (x, more)]
    assert abs(views[0].log_likelihood.mean() - views[1].log_likelihood.mean()) < 1e-6


def test_a_sample_without_variation_keeps_its_own_heads():
    x, labels, blocks = samples()
    view = view_of(np.ones_like(x), labels, blocks, kept=500)
    frames = view.sampled
    own = predict_classes(frames.features, frames.rows, frames.folds, 5)
    assert own.ridge == 0
    assert predict_classes_by_all(moments_of(x, labels, blocks), frames.features, frames.blocks, own) is own
