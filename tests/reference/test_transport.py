"""Distances between source and target against closed forms, SciPy and brute force."""

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from voxrank.errors import OptionError
from voxrank.scores import FrechetDistance, SlicedWasserstein, TSNEDistance
from voxrank.sketches.projections import draw_directions


def two_sets(n=60, m=45, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), 0.7 + 1.3 * rng.normal(size=(m, dim))


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 45), (7, 100)])
def test_the_1_wasserstein_distance_equals_that_of_scipy(n, m):
    source, target = two_sets(n, m)
    directions = draw_directions(5, 9, seed=3)
    expected = np.mean([stats.wasserstein_distance(source @ d, target @ d) for d in directions])
    got = SlicedWasserstein(p=1, projections=directions).fit(source, target).score_
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 45), (6, 8)])
def test_the_2_wasserstein_distance_equals_that_of_repeated_samples(n, m):
    source, target = two_sets(n, m)
    directions = draw_directions(5, 9, seed=3)
    common = np.lcm(n, m)
    a, b = np.repeat(source, common // n, axis=0), np.repeat(target, common // m, axis=0)
    powers = [np.mean((np.sort(a @ d) - np.sort(b @ d)) ** 2) for d in directions.astype(float)]
    got = SlicedWasserstein(p=2, projections=directions).fit(source, target).score_
    assert got == pytest.approx(np.sqrt(np.mean(powers)), rel=1e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_the_distance_equals_that_of_pot(p):
    source, target = two_sets()
    directions = draw_directions(5, 30, seed=2).astype(float)
    expected = ot.sliced_wasserstein_distance(source, target, p=p, projections=directions.T)
    assert SlicedWasserstein(p=p, projections=directions).fit(source, target).score_ == pytest.approx(
        expected, rel=1e-5
    )


def test_a_shift_has_a_closed_form():
    """After all samples move by v, W_2 along θ is |θᵀv|, and the mean of (θᵀv)² over the sphere is ‖v‖²/D."""
    source, _ = two_sets()
    v = np.array([3.0, -1.0, 0.5, 2.0, 1.0])
    swd = SlicedWasserstein(n_projections=20_000, directions="orthogonal", seed=1).fit(source, source + v)
    assert swd.score_ == pytest.approx(np.linalg.norm(v) / np.sqrt(5), rel=1e-3)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_the_distance_is_symmetric_and_proportional_to_the_scale(seed, scale):
    source, target = two_sets(seed=seed)
    swd = SlicedWasserstein(n_projections=10)
    value = swd.fit(source, target).score_
    assert swd.fit(target, source).score_ == pytest.approx(value, rel=1e-6)
    assert swd.fit(source, source[::-1]).score_ == pytest.approx(0, abs=1e-6)
    assert swd.fit(scale * source, scale * target).score_ == pytest.approx(scale * value, rel=1e-5)
    assert swd.fit(np.repeat(source, 3, axis=0), target).score_ == pytest.approx(value, rel=1e-5)


def test_time_steps_are_compared_one_by_one():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(40, 6, 4)), rng.normal(size=(30, 6, 4)) + np.arange(6)[:, None]
    swd = SlicedWasserstein(n_projections=20)
    steps = [swd.fit(source[:, t], target[:, t]).score_ for t in range(6)]
    assert swd.fit(source, target).score_ == pytest.approx(np.mean(steps), rel=1e-6)


def test_parts_merge_into_the_whole():
    source, target = two_sets(500, 400)
    whole = SlicedWasserstein(n_projections=7).fit(source, target).score_
    left = SlicedWasserstein(n_projections=7).partial_fit(source[:123]).partial_fit(target=target[:80])
    right = SlicedWasserstein(n_projections=7).partial_fit(source[123:], target[80:])
    assert left.merge(right).score_ == pytest.approx(whole, rel=1e-5)
    assert left.rank_error_ == 0


def test_the_seed_decides_the_directions():
    source, target = two_sets()
    assert SlicedWasserstein(seed=1).fit(source, target).score_ == SlicedWasserstein(seed=1).fit(source, target).score_
    assert SlicedWasserstein(seed=1).fit(source, target).score_ != SlicedWasserstein(seed=2).fit(source, target).score_


def test_the_frechet_distance_equals_its_formula():
    source, target = two_sets(500, 400)
    mean = source.mean(0) - target.mean(0)
    a, b = np.cov(source.T, bias=True), np.cov(target.T, bias=True)
    expected = mean @ mean + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert FrechetDistance().fit(source, target).score_ == pytest.approx(expected, rel=1e-9)
    left = FrechetDistance().partial_fit(source[:77]).partial_fit(target=target)
    assert left.merge(FrechetDistance().partial_fit(source[77:])).score_ == pytest.approx(expected, rel=1e-9)
    assert FrechetDistance().fit(source, source).score_ == pytest.approx(0, abs=1e-9)


def test_the_tsne_distance_is_larger_for_sets_that_are_far():
    rng = np.random.default_rng(0)
    source, near = rng.normal(size=(2, 80, 4))
    far, close = (TSNEDistance(seed=1).fit(source, near + shift).score_ for shift in (20, 0))
    assert far > 3 * close
    assert TSNEDistance(seed=1).fit(source, near).score_ == close


def test_tsne_works_with_a_single_dimension_and_with_constant_features():
    rng = np.random.default_rng(0)
    source, near = rng.normal(size=(2, 60, 1))
    far, close = (TSNEDistance().fit(source, near + shift).score_ for shift in (20, 0))
    assert far > 3 * close
    for value in (0.0, 1.0):
        assert TSNEDistance().fit(np.full((9, 4), value), np.full((7, 4), value)).score_ == 0


WRONG = {
    "dimensions": (lambda: SlicedWasserstein().fit(np.ones((3, 2)), np.ones((3, 4))), "of the same dimensions"),
    "NaN": (lambda: SlicedWasserstein().fit(np.full((3, 2), np.nan), np.ones((3, 2))), "NaN or infinite"),
    "order": (lambda: SlicedWasserstein(p=0), "expected p and n_projections of at least 1"),
    "kind": (lambda: SlicedWasserstein(directions="uniform"), "gaussian or orthogonal, got 'uniform'"),
    "projections": (
        lambda: SlicedWasserstein(projections=np.eye(3)).fit(np.ones((4, 2)), np.ones((4, 2))),
        "expected projections of 2 numbers",
    ),
    "no target": (lambda: SlicedWasserstein().partial_fit(np.ones((3, 2))).score_, "needs source and target"),
    "other seed": (
        lambda: (
            SlicedWasserstein(seed=1)
            .partial_fit(np.ones((3, 2)))
            .merge(SlicedWasserstein(seed=2).partial_fit(np.ones((3, 2))))
        ),
        "the same directions in both",
    ),
    "Fréchet without target": (
        lambda: FrechetDistance().partial_fit(np.ones((3, 2))).score_,
        "needs source and target",
    ),
    "t-SNE of two": (lambda: TSNEDistance().fit(np.ones((1, 2)), np.ones((1, 2))), "at least 4 samples"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_requests_are_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()
