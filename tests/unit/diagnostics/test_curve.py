"""A curve's steps are scores of parts of the data."""

import numpy as np
import pytest
import torch

from voxrank.diagnostics.curve import ModelGrowth, draws, learning_curve, values_of_parts
from voxrank.scores import LogME
from voxrank.scores.logme import read_logme
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments


def logme(spectrum):
    return read_logme(spectrum).value


def test_each_step_contains_the_blocks_of_the_step_before():
    assert draws(range(10)) == [
        [[0], [3], [6]],
        [[0, 1], [3, 4], [6, 7]],
        [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [6, 7, 8, 9, 0]],
    ]
    assert draws([7, 2]) == [[[2], [7]]]
    assert draws([5]) == []
    assert all(set(small) < set(large) for small, large in zip(*draws(range(40))[:2], strict=True))


@pytest.mark.parametrize("values", [False, True])
def test_values_are_the_scores_of_the_blocks_of_a_step(values):
    rng = np.random.default_rng(0)
    x, at = (rng.normal(size=(300, 6)) + 3).astype(np.float32), np.arange(300) % 10
    y = x[:, :2] + rng.normal(size=(300, 2)) if values else rng.integers(0, 3, 300)
    moments = BlockedMoments.zeros(6, 2 if values else 3, values=values)
    for block in range(10):
        part = Moments.zeros(6, 2 if values else 3, values=values)
        part.update(torch.from_numpy(x[at == block]), y[at == block])
        moments.close_block(block, part)
    found = values_of_parts(moments, range(10), logme)
    for value, step in zip(found, draws(range(10)), strict=True):
        parts = [np.isin(at, blocks) for blocks in step]
        expected = np.mean([LogME(regression=values).fit(x[part], y[part]).score_ for part in parts])
        assert value == pytest.approx(expected, rel=1e-4)


def test_parts_without_two_classes_have_no_value():
    moments = BlockedMoments.zeros(2, 2)
    for block in range(4):
        part = Moments.zeros(2, 2)
        part.update(torch.randn(9, 2, generator=torch.Generator().manual_seed(block)), np.full(9, block % 2))
        moments.close_block(block, part)
    first, second = values_of_parts(moments, [0, 1, 2, 3, 4], logme)[:1], values_of_parts(moments, [0, 1, 2, 3], logme)
    assert first == [None]
    assert second[0] is None
    assert second[1] is not None


GROWN = [
    ModelGrowth("a", 1, (0.1, 0.5, 0.6), 0.7),
    ModelGrowth("b", 2, (0.3, 0.4, 0.8), 0.9),
    ModelGrowth("c", "mean", (0.2, 0.3, 0.1), 0.0),
]
SECONDS = dict.fromkeys(range(10), 10.0)


def test_the_time_from_which_the_ranking_is_stable_is_found():
    curve = learning_curve("logme", GROWN, SECONDS, higher_is_better=True)
    assert curve.seconds == (10, 20, 50, 100)
    assert [(one.model, one.layer, one.values) for one in curve.models] == [
        ("b", 2, (0.3, 0.4, 0.8, 0.9)),
        ("a", 1, (0.1, 0.5, 0.6, 0.7)),
        ("c", "mean", (0.2, 0.3, 0.1, 0.0)),
    ]
    assert curve.spearman == pytest.approx((0.5, 0.5, 1, 1))
    assert curve.held_from_s == 50  # b came first at 10 s, but not at 20 s
    turned = learning_curve("vci", GROWN, SECONDS, higher_is_better=False)
    assert [one.model for one in turned.models] == ["c", "a", "b"]
    assert turned.held_from_s == 20


def test_two_models_have_no_spearman_and_missing_steps_are_left_out():
    curve = learning_curve("logme", GROWN[:2], SECONDS, higher_is_better=True)
    assert curve.spearman == (None,) * 4
    missing = [ModelGrowth("a", 1, (None, 0.5, 0.6), 0.7), GROWN[1]]
    assert learning_curve("logme", missing, SECONDS, higher_is_better=True).seconds == (20, 50, 100)
    assert learning_curve("logme", [ModelGrowth("a", 1, (), 0.7)], {0: 5.0}, higher_is_better=True) is None
