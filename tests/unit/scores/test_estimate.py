"""Intervals and resamples from block sketches."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from voxrank.scores.cca import read_cca, read_pwcca, read_vci
from voxrank.scores.cka import read_cka
from voxrank.scores.estimate import Estimate, resample
from voxrank.scores.hscore import read_hscore
from voxrank.scores.logme import maximise_evidence, read_logme
from voxrank.scores.rankme import read_rankme
from voxrank.scores.ridge import read_ridge
from voxrank.scores.spectrum import Spectrum
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments


def blocks_of(seed, *, n_blocks=8, size=60, dim=5, classes=3, spread=0.0):
    """Return blocks of samples; `spread` moves each block as a whole, so that its samples are dependent."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(classes, dim))
    parts = []
    for _ in range(n_blocks):
        labels = rng.integers(0, classes, size=size)
        noise = rng.normal(size=(size, dim)) + spread * rng.normal(size=dim)
        moments = Moments.zeros(dim, classes)
        moments.update(torch.from_numpy(means[labels] + noise), labels)
        parts.append(moments)
    return parts


def weighted(parts, weights):
    total = Moments.zeros(parts[0].dim, len(parts[0].square))
    for part, w in zip(parts, weights, strict=True):
        total.merge(part.thinned(w))
    return total


def blocked(parts):
    sketch = BlockedMoments.zeros(parts[0].dim, len(parts[0].square))
    for number, part in enumerate(parts):
        sketch.close_block(number, part)
    return sketch


def score_of(moments):
    return maximise_evidence(Spectrum.of(moments)).score


def test_influence_is_finite_with_fewer_samples_than_dimensions():
    parts = blocks_of(1, n_blocks=4, size=5, dim=40)
    assert np.isfinite(LayerView(blocked(parts)).estimate(read_logme).influence).all()


def test_standard_error_is_that_of_leaving_blocks_out():
    parts = blocks_of(2, n_blocks=20)
    estimate = LayerView(blocked(parts)).estimate(read_logme)
    left_out = [score_of(weighted(parts, np.arange(20) != b)) for b in range(20)]
    jackknife = np.sqrt(19 / 20 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert estimate.standard_error == pytest.approx(jackknife, rel=0.1)


@lru_cache
def simulated(spread):
    """Return data in 10 blocks, drawn repeatedly."""
    sketches = [blocked(blocks_of(s, n_blocks=10, size=100, spread=spread)) for s in range(300)]
    return [LayerView(sketch) for sketch in sketches]


READS = [read_logme, read_hscore, read_ridge, read_cca, read_pwcca, read_vci, read_cka, read_rankme]


@pytest.mark.parametrize("spread", [0.0, 0.7])
@pytest.mark.parametrize("read", READS)
def test_intervals_cover_the_mean_score_of_data_of_the_same_size(read, spread):
    """The nominal coverage is 95 %, also when the samples of a block are dependent."""
    estimates = [view.estimate(read) for view in simulated(spread)]
    truth = np.mean([estimate.value for estimate in estimates])
    covered = [low <= truth <= high for low, high in (estimate.interval() for estimate in estimates)]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_a_single_block_has_no_interval():
    estimate = LayerView(blocked(blocks_of(3, n_blocks=1))).estimate(read_logme)
    assert estimate.interval() is None
    assert resample([estimate], n_resamples=10, seed=0) is None


def test_resamples_are_paired_and_seeded():
    shared = np.array([1.0, -2.0, 0.5, 0.5])
    pair = [Estimate(1.0, shared), Estimate(0.9, shared)]
    values = resample(pair, n_resamples=500, seed=1)
    np.testing.assert_allclose(values[:, 0] - values[:, 1], 0.1, atol=1e-12)
    np.testing.assert_array_equal(values, resample(pair, n_resamples=500, seed=1))
    assert (values != resample(pair, n_resamples=500, seed=2)).any()


def test_the_spread_of_resamples_is_the_standard_error():
    estimate = Estimate(3.0, np.random.default_rng(4).normal(size=10))
    values = resample([estimate], n_resamples=40_000, seed=0)[:, 0]
    assert values.mean() == pytest.approx(3.0, abs=0.05)
    assert values.std() == pytest.approx(estimate.standard_error, rel=0.02)
