"""The ratio agrees with its definition, meets voxrank's contract for scores, and its gradient is correct."""

import numpy as np
import pytest
import torch

from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.testing.scores import check_score
from voxrank_example.fisher import SCORE, Fisher

CLASSES = 3


def data(n=300, dim=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    return rng.normal(size=(n, dim)) + 2 * rng.normal(size=(CLASSES, dim))[labels] + 5, labels


def ratio(features, labels, weights=None):
    """Return the ratio by its definition, with weighted samples."""
    w = np.ones(len(labels)) if weights is None else weights
    one_hot = np.eye(CLASSES)[labels] * w[:, None]
    means = one_hot.T @ features / one_hot.sum(0)[:, None]
    between = one_hot.sum(0) @ np.sum((means - w @ features / w.sum()) ** 2, axis=1)
    return between / (w @ np.sum((features - means[labels]) ** 2, axis=1))


def in_blocks(features, labels, blocks):
    sketch = BlockedMoments.zeros(features.shape[1], CLASSES)
    for block in np.unique(blocks):
        moments = Moments.zeros(features.shape[1], CLASSES)
        moments.update(torch.from_numpy(features[blocks == block]), labels[blocks == block])
        sketch.close_block(int(block), moments)
    return LayerView(sketch)


def test_battery():
    check_score(Fisher)


def test_it_is_its_definition():
    features, labels = data()
    assert Fisher().fit(features, labels).score_ == pytest.approx(ratio(features, labels), rel=1e-9)


def test_its_influence_is_the_derivative_by_the_weight_of_each_block():
    features, labels = data()
    blocks = np.arange(len(labels)) % 5
    estimate = SCORE.estimate(in_blocks(features, labels, blocks))
    assert estimate.value == pytest.approx(ratio(features, labels), rel=1e-9)
    step = 1e-5
    for block in range(5):
        up, down = (np.where(blocks == block, 1 + change, 1.0) for change in (step, -step))
        slope = (ratio(features, labels, up) - ratio(features, labels, down)) / (2 * step)
        assert estimate.influence[block] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_a_class_without_samples_changes_nothing():
    features, labels = data()
    sketch = BlockedMoments.zeros(features.shape[1], CLASSES + 1)
    for block in range(3):
        moments = Moments.zeros(features.shape[1], CLASSES + 1)
        moments.update(torch.from_numpy(features[block::3]), labels[block::3])
        sketch.close_block(block, moments)
    found, expected = SCORE.estimate(LayerView(sketch)), SCORE.estimate(in_blocks(features, labels, np.arange(300) % 3))
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    np.testing.assert_allclose(found.influence, expected.influence, rtol=1e-6)
