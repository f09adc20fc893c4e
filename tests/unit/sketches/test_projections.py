"""Quantiles of projections: exact while they fit, within the stated bound beyond."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.sketches.projections import Quantiles, draw_directions, project, shared_directions


@pytest.mark.parametrize("orthogonal", [False, True])
def test_directions_are_unit_vectors_spread_evenly(orthogonal):
    drawn = draw_directions(6, 6000, seed=0, orthogonal=orthogonal).astype(float)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(drawn.T @ drawn / 6000, np.eye(6) / 6, atol=0.01)
    assert np.abs(drawn.mean(axis=0)).max() < 0.02
    if orthogonal:
        np.testing.assert_allclose(drawn[:6] @ drawn[:6].T, np.eye(6), atol=1e-6)


def test_all_values_are_kept_while_they_fit():
    values = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    kept = Quantiles(64)
    kept.add(values[:, :20])
    kept.add(values[:, 20:])
    ordered, weights = kept.weighted()
    np.testing.assert_array_equal(ordered, np.sort(values, axis=1))
    assert (weights == 1).all()
    assert kept.rank_error == 0


@pytest.mark.parametrize("shape", ["random", "ascending", "descending", "equal"])
def test_ranks_stay_within_the_bound(shape):
    n, limit = 40_000, 512
    row = np.random.default_rng(1).normal(size=n).astype(np.float32)
    row = {"random": row, "ascending": np.sort(row), "descending": -np.sort(-row), "equal": np.ones_like(row)}[shape]
    left, right = Quantiles(limit), Quantiles(limit)
    for i in range(0, n, 300):
        (left if i < n // 3 else right).add(row[None, i : i + 300])
    left.merge(right)
    values, weights = left.weighted()
    assert left.n == n
    assert abs(int(weights.sum()) - n) == 0
    assert 0 < left.rank_error <= np.log2(n / limit) / limit * 2
    whole = np.sort(row)
    for value, rank in zip(values[0], np.cumsum(weights[0]), strict=True):
        low, high = np.searchsorted(whole, value, "left"), np.searchsorted(whole, value, "right")
        assert (
            low - left.rank_error * n <= rank <= max(high, n if shape == "equal" else 0) + left.rank_error * n + 2**12
        )


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=7), seed=st.integers(0, 999), data=st.data())
@settings(max_examples=40, deadline=None)
def test_parts_merge_in_any_order_while_all_values_are_kept(sizes, seed, data):
    values = np.random.default_rng(seed).normal(size=(2, sum(sizes) + 1)).astype(np.float32)
    parts = []
    for part in np.split(values, np.cumsum(sizes), axis=1):
        parts.append(Quantiles(64))
        parts[-1].add(part)
    parts.append(Quantiles(64))  # of an empty shard
    whole = Quantiles.together(data.draw(st.permutations(parts)))
    ordered, weights = whole.weighted()
    np.testing.assert_array_equal(ordered, np.sort(values, axis=1))
    assert (weights == 1).all()
    assert whole.n == values.shape[1]


def test_memory_is_that_of_the_values_kept():
    """Compressed values are freed, rather than kept alive by a view of the rest."""
    kept = Quantiles(64)
    for part in np.random.default_rng(2).normal(size=(40, 3, 50)).astype(np.float32):
        kept.add(part)
        alive = sum((level if level.base is None else level.base).nbytes for level in kept.levels)
        assert alive <= 3 * 64 * 4 * (1 + np.ceil(np.log2(max(kept.n / 64, 1))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_of_samples_far_from_zero_keep_their_digits(dtype):
    far = (torch.randn(300, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1e6).to(dtype)
    expected = np.sort(shared_directions(6, 5).double().numpy() @ (far.double().numpy() - 1e6).T, axis=1)
    origin = 1e6 * shared_directions(6, 5).double().numpy().sum(axis=1)
    parts = [Quantiles(1000) for _ in range(3)]
    for part, samples in zip(parts, far.split(100), strict=True):
        for some in samples.split(30):
            projected = project(some, 5)
            part.add(projected.values, projected.origin)
    values, weights = Quantiles.together(parts).weighted(origin)
    assert (weights == 1).all()
    np.testing.assert_allclose(values, expected, atol=2e-6)
