"""Distances of a layer's sketches: closed forms, values without a block, intervals, empty blocks."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from voxrank.scores import FrechetDistance, SlicedWasserstein
from voxrank.scores.estimate import Estimate
from voxrank.scores.frechet import estimate_frechet
from voxrank.scores.sliced import estimate_swd
from voxrank.scores.view import LayerView, SourceView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.projections import BLOCK_LIMIT, Quantiles, project, shared_directions

N_DIRECTIONS = 50
DISTANCES = {"swd": (estimate_swd, SlicedWasserstein), "frechet": (estimate_frechet, FrechetDistance)}


def moments(samples):
    made = Moments.zeros(samples.shape[1], 1)
    if len(samples):
        made.update(torch.from_numpy(samples), np.zeros(len(samples), dtype=np.int64))
    return made


def projected(samples):
    made = Quantiles(BLOCK_LIMIT)
    if len(samples):
        projected = project(torch.from_numpy(samples), N_DIRECTIONS)
        made.add(projected.values, projected.origin)
    return made


def source_view(source):
    return SourceView(moments(source), None, projected(source))


def view(source, parts, sketches=None):
    """Return a layer's sketches of the source, which may exist already, and of the target's blocks."""
    blocks = BlockedMoments.zeros(source.shape[1], 1)
    for number, part in enumerate(parts):
        blocks.close_block(number, moments(part))
    kept = {number: projected(part) for number, part in enumerate(parts)}
    return LayerView(blocks, projections=kept, source=sketches or source_view(source))


def draw_parts(rng, n_blocks, size, dim, *, spread=0.0, shift=0.0):
    return [rng.normal(size=(size, dim)) + spread * rng.normal(size=dim) + shift for _ in range(n_blocks)]


def test_a_shift_has_a_closed_form_and_grows_with_its_length():
    """After a move by v, W_2 along θ is |θᵀv| and F² is ‖v‖²; without a move, both are 0."""
    rng = np.random.default_rng(0)
    parts = draw_parts(rng, 4, 25, 6)
    whole, v = np.concatenate(parts), rng.normal(size=6)
    along = np.sqrt(np.mean((shared_directions(6, N_DIRECTIONS).numpy() @ v) ** 2))
    for length in (0, 0.5, 1, 4):
        moved = view(whole + length * v, parts)
        assert estimate_swd(moved).value == pytest.approx(length * along, rel=1e-5, abs=1e-6)
        assert estimate_frechet(moved).value == pytest.approx(length**2 * v @ v, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("n", "dim"), [(200, 6), (60, 100)])
@pytest.mark.parametrize("name", DISTANCES)
def test_influence_is_that_of_fitting_again_without_each_block(name, n, dim):
    estimate, fitted = DISTANCES[name]
    rng = np.random.default_rng(1)
    source, parts = rng.normal(size=(150, dim)), draw_parts(rng, 10, n // 10, dim, spread=0.3)

    def fit(kept):
        return fitted().fit(source, np.concatenate(kept)).score_

    rests = np.array([fit(parts[:i] + parts[i + 1 :]) for i in range(10)])
    expected = Estimate.of_left_out(fit(parts), rests)
    got = estimate(view(source, parts))
    assert got.value == pytest.approx(expected.value, rel=1e-5)
    np.testing.assert_allclose(got.influence, expected.influence, atol=2e-3 * np.abs(expected.influence).max())


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("filled", [1, 2])
def test_a_block_without_usable_utterances_is_left_out(name, filled):
    """An empty block has no influence; with a single other block, there is nothing to leave out."""
    estimate, fitted = DISTANCES[name]
    rng = np.random.default_rng(2)
    source, parts = rng.normal(size=(30, 4)), draw_parts(rng, filled, 9, 4)
    found = estimate(view(source, [*parts, np.zeros((0, 4))]))
    assert found.value == pytest.approx(fitted().fit(source, np.concatenate(parts)).score_, rel=1e-5)
    assert len(found.influence) == filled + 1
    assert (np.abs(found.influence[:filled]).max() > 0.01) == (filled > 1)


def test_frechet_is_never_below_zero():
    """Rounding makes the distance of data from themselves positive or negative, for fewer samples than dimensions."""
    rng = np.random.default_rng(3)
    scale = np.exp(rng.normal(size=200))
    whole = rng.normal(size=(50, 200)) * scale
    assert 0 <= estimate_frechet(view(whole, [whole])).value < 1e-3
    for seed in range(5):
        samples = np.random.default_rng(seed).normal(size=(30, 60)) * 100
        assert FrechetDistance().fit(samples, samples).score_ >= 0


@lru_cache
def simulated(spread):
    """Return targets in 10 blocks, drawn repeatedly with one source."""
    rng = np.random.default_rng(4)
    source = rng.normal(size=(400, 3))
    sketches = source_view(source)
    return [view(source, draw_parts(rng, 10, 20, 3, spread=spread, shift=0.3), sketches) for _ in range(120)]


@pytest.mark.parametrize("spread", [0.0, 0.7])
@pytest.mark.parametrize("name", DISTANCES)
def test_intervals_cover_the_mean_score_of_data_of_the_same_size(name, spread):
    """The nominal coverage is 95 %, for a given source; two standard errors of the simulation are 4 %."""
    estimate, _ = DISTANCES[name]
    found = [estimate(one) for one in simulated(spread)]
    truth = np.mean([one.value for one in found])
    covered = [low <= truth <= high for low, high in (one.interval() for one in found)]
    assert 0.89 <= np.mean(covered) <= 0.99
