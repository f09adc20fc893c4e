"""Moments equal their defining sums, for any order and any division."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.sketches.blocks import BlockedMoments, PackedMoments, fold
from voxrank.sketches.moments import Moments, _sums_on_device, sum_runs
from voxrank.sketches.multiplication import DOUBLE_DIM, _on_device, _Task, self_products
from voxrank.sketches.products import Products


def samples(seed, n=30, dim=4, classes=3):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, dim))), rng.integers(0, classes, size=n)


def moments_of(features, targets, n_targets=3):
    result = Moments.zeros(features.shape[1], n_targets, values=targets.ndim == 2)
    result.update(features, targets)
    return result


def products_of(f):
    norms = (f**2).sum(axis=1)
    return Products(len(f), np.zeros(f.shape[1]), f.sum(axis=0), f.T @ f, norms @ f, float(norms @ norms))


def raw(moments):
    """Return the sums of the samples and values about 0."""
    return moments.about(np.zeros(moments.dim)).targets_about(None)


def assert_equal(left, right, **tolerance):
    assert left.n == right.n
    left, right = raw(left), raw(right)
    for name in ("total", "gram", "cross", "target_total", "square"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), **tolerance)
    np.testing.assert_allclose(left.products.cubic, right.products.cubic, **tolerance)
    np.testing.assert_allclose(left.products.quartic, right.products.quartic, **tolerance)
    assert left.values == right.values
    if left.values:
        np.testing.assert_allclose(left.target_gram, right.target_gram, **tolerance)


def test_class_moments_equal_their_definition():
    features, labels = samples(0)
    f, y = features.numpy(), np.eye(3)[labels]
    expected = Moments(products_of(f), y.T @ f, y.sum(0), (y**2).sum(0))
    assert_equal(moments_of(features, labels), expected, atol=1e-12)


def test_value_moments_equal_their_definition():
    features, _ = samples(1)
    f, y = features.numpy(), np.random.default_rng(2).normal(size=(30, 2))
    expected = Moments(products_of(f), y.T @ f, y.sum(0), (y**2).sum(0), y.T @ y)
    assert_equal(moments_of(features, y, n_targets=2), expected, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_runs_that_share_a_target_equal_single_samples(seed, lengths):
    features, _ = samples(seed, n=sum(lengths))
    labels = np.random.default_rng(seed).integers(0, 3, size=len(lengths))
    runs = Moments.zeros(4, 3)
    counts = np.array(lengths)
    runs.add(self_products(features), sum_runs(features, tuple(lengths)), counts, labels)
    assert_equal(runs, moments_of(features, np.repeat(labels, counts)), atol=1e-10)


@given(seed=st.integers(0, 2**32 - 1), cuts=st.tuples(st.integers(0, 30), st.integers(0, 30)))
@settings(max_examples=40, deadline=None)
def test_merge_is_associative_and_chunks_equal_the_whole(seed, cuts):
    features, labels = samples(seed)
    a, b = sorted(cuts)

    def part(start, stop):
        return moments_of(features[start:stop], labels[start:stop])

    left = part(0, a)
    left.merge(part(a, b))
    left.merge(part(b, 30))
    right = part(a, b)
    right.merge(part(b, 30))
    start = part(0, a)
    start.merge(right)
    assert_equal(left, start, atol=1e-11)
    assert_equal(left, moments_of(features, labels), atol=1e-11)


def about_mean(moments):
    """Return all sums in units of the spread, less the mean of samples and values."""
    about = moments.centred()
    return [
        about.centre - 1e6,
        about.gram,
        about.products.cubic,
        about.products.quartic,
        about.cross - np.outer(about.target_total / about.n, about.total),
        about.runs.moved(np.zeros(about.dim)).square if about.runs is not None else 0.0,
    ]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
@pytest.mark.parametrize("values", [False, True])
def test_sums_far_from_zero_merge_in_any_order_to_their_definition(order, values):
    """The first samples are far from the others, so that the centre has to move."""
    rng = np.random.default_rng(20)
    f = rng.normal(size=(90, 4)) + 1e6
    f[:2] -= 500
    y = f[:, :2] + rng.normal(size=(90, 2)) if values else rng.integers(0, 2, 90)
    parts = [moments_of(torch.from_numpy(f[rows]), y[rows], 2) for rows in np.split(np.arange(90), [2, 3, 50])]
    merged = Moments.zeros(4, 2, values=values)
    for place in order:
        merged.merge(parts[place])
    g = f - 1e6
    g, near = g - g.mean(axis=0), g.mean(axis=0)
    z = y - y.mean(axis=0) if values else np.eye(2)[y]
    z = z - z.mean(axis=0)
    by_definition = products_of(g)
    expected = [near, by_definition.gram, by_definition.cubic, by_definition.quartic, z.T @ g, 0.0]
    for found, wanted in zip(about_mean(merged), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def test_the_centre_moves_only_where_it_is_far_from_the_data():
    near, far = (moments_of(*samples(seed)) for seed in (1, 2))
    centre = near.centre.copy()
    near.merge(far)
    np.testing.assert_array_equal(near.centre, centre)
    lone = moments_of(samples(3)[0][:1] + 1000, np.zeros(1, dtype=np.int64))
    lone.merge(near)
    np.testing.assert_allclose(lone.centre, lone.mean, rtol=1e-12)


@pytest.mark.parametrize("unit", [2.0**-90, 1.0, 2.0**50])
def test_products_in_single_precision_neither_overflow_nor_underflow(unit):
    f = np.random.default_rng(21).normal(size=(60, DOUBLE_DIM + 1)).astype(np.float32)
    found, expected = (
        self_products(torch.from_numpy(np.float32(unit) * f)).about_mean(),
        products_of(f - f.mean(axis=0)),
    )
    np.testing.assert_allclose(found.gram / unit**2, expected.gram, atol=1e-4)
    np.testing.assert_allclose(found.cubic / unit**3, expected.cubic, rtol=1e-3, atol=1e-1)
    assert found.quartic / unit**4 == pytest.approx(expected.quartic, rel=1e-5)


@pytest.mark.parametrize("dim", [3, DOUBLE_DIM + 1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_show_in_the_sums_without_a_warning(dim, bad):
    samples = torch.ones(8, dim)
    samples[2, 1] = bad
    products = Products.zeros(dim)
    for part in (samples[:4], samples[4:], samples):
        products.merge(self_products(part))
    assert not np.isfinite(products.mean[1])


def test_merging_into_empty_moments_changes_nothing():
    features, labels = samples(3)
    merged = Moments.zeros(4, 3)
    merged.merge(moments_of(features, labels))
    assert_equal(merged, moments_of(features, labels), rtol=0, atol=0)


def test_single_precision_keeps_small_directions_beside_a_large_mean():
    """The dimensions are at 100 ± 0.1: an uncentred product in single precision loses their differences."""
    single = torch.from_numpy((100 + 0.1 * np.random.default_rng(4).normal(size=(5000, 6))).astype(np.float32))
    wide = single.numpy().astype(np.float64)
    exact = np.linalg.eigvalsh(wide.T @ wide)
    found = self_products(single).about(np.zeros(6)).gram
    np.testing.assert_allclose(np.linalg.eigvalsh(found), exact, rtol=1e-6)
    assert not np.allclose(np.linalg.eigvalsh((single.T @ single).double().numpy()), exact, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [5, DOUBLE_DIM + 1])
@pytest.mark.parametrize("values", [False, True])
def test_the_accelerator_computes_the_products_of_the_host(dtype, dim, values):
    rng = np.random.default_rng(9)
    f = torch.from_numpy(3 + rng.normal(size=(5000, dim))).to(dtype)  # two parts
    y = rng.normal(size=(5000, 2)) if values else rng.integers(0, 2, 5000)
    centre = f[:100].mean(dim=0)
    there, here = _on_device(f, y, 2, centre), _Task(f, y, 2, centre.numpy()).multiply("strips")
    assert there.products.n == here.products.n
    np.testing.assert_allclose(there.products.quartic, here.products.quartic, rtol=1e-5)
    np.testing.assert_allclose(there.products.gram, here.products.gram, rtol=1e-5, atol=2e-2)
    np.testing.assert_allclose(there.products.cubic, here.products.cubic, rtol=1e-4, atol=2)
    np.testing.assert_allclose(there.products.total, here.products.total, rtol=1e-5, atol=2e-2)
    np.testing.assert_allclose(there.cross, here.cross, rtol=1e-5, atol=2e-2)
    np.testing.assert_allclose(
        there.cross, (np.eye(2)[y] if not values else y).T @ (f - centre).double().numpy(), atol=2e-2
    )


def test_shares_of_the_cores_add_up(monkeypatch):
    f = torch.from_numpy(np.random.default_rng(10).normal(size=(5000, 7)))
    whole = self_products(f)
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        np.testing.assert_allclose(self_products(f).gram, whole.gram, rtol=1e-12)
        np.testing.assert_allclose(self_products(f).about(np.zeros(7)).gram, (f.T @ f).numpy(), rtol=1e-10, atol=1e-9)


def test_a_run_sums_the_same_in_any_batch():
    features = torch.from_numpy(np.random.default_rng(5).normal(size=(50, 6)).astype(np.float32))
    alone = sum_runs(features[20:33], (13,))
    np.testing.assert_array_equal(sum_runs(features, (20, 13, 17))[1], alone[0])
    there = _sums_on_device(torch.split(features, [20, 13, 17]))
    np.testing.assert_allclose(there, sum_runs(features, (20, 13, 17)), rtol=1e-12, atol=1e-12)


def test_packed_moments_are_unpacked_to_single_precision():
    features, labels = samples(6)
    moments = moments_of(features, labels)
    assert_equal(PackedMoments.pack(moments).unpack(), moments, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cut", [0, 12, 30])
def test_packed_moments_join_as_their_samples_do(cut):
    features, labels = samples(9)
    features[:cut] += 5
    parts = [PackedMoments.pack(moments_of(features[rows], labels[rows])) for rows in (slice(cut), slice(cut, None))]
    joined, whole = parts[0].joined(parts[1]), PackedMoments.pack(moments_of(features, labels))
    assert joined.n == whole.n
    assert joined.quartic == pytest.approx(whole.quartic, rel=1e-5)
    for name in ("mean", "triangle", "cubic", "cross", "target_total", "square"):
        found, expected = getattr(joined, name), getattr(whole, name)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))


def test_folding_gives_the_inner_product_with_a_packed_block():
    features, labels = samples(8)
    packed = PackedMoments.pack(moments_of(features, labels))
    matrix = np.random.default_rng(8).normal(size=(4, 4))
    matrix += matrix.T
    centred = features.numpy() - features.numpy().mean(axis=0)
    assert fold(matrix) @ packed.triangle == pytest.approx(np.sum(matrix * (centred.T @ centred)), rel=1e-5)


def test_blocks_add_up_to_an_exact_total():
    features, labels = samples(7)
    blocked = BlockedMoments.zeros(4, 3)
    for start in range(0, 30, 6):
        blocked.close_block(start % 12, moments_of(features[start : start + 6], labels[start : start + 6]))
    assert_equal(blocked.total, moments_of(features, labels), atol=1e-12)
    parts = [block.unpack() for block in blocked]
    assert [part.n for part in parts] == [18, 12]
    assert sum(part.about(np.zeros(4)).gram for part in parts) == pytest.approx(
        raw(blocked.total).gram, rel=1e-5, abs=1e-5
    )


def runs_of(runs):
    """Return moments of a list of runs (m, D), with one class each."""
    moments = Moments.zeros(runs[0].shape[1], len(runs))
    lengths = tuple(len(run) for run in runs)
    samples = torch.from_numpy(np.concatenate(runs))
    moments.add(self_products(samples), sum_runs(samples, lengths), np.array(lengths), np.arange(len(runs)))
    return moments


def test_inflation_is_the_summed_autocorrelation():
    """The inflation is the sum of pairs within a run, over the squares: the autocorrelation of every lag."""
    rng = np.random.default_rng(10)
    runs = [rng.normal(size=(m, 3)).cumsum(axis=0) + 50 for m in (5, 9, 30)]
    mean = np.concatenate(runs).mean(axis=0)
    pairs = sum(((run - mean) @ (run - mean).T).sum() for run in runs)
    assert runs_of(runs).inflation() == pytest.approx(pairs / sum(((run - mean) ** 2).sum() for run in runs), rel=1e-9)


def test_inflation_is_right_for_alike_independent_and_repeated_samples():
    rng = np.random.default_rng(11)
    alike = [np.repeat(rng.normal(size=(1, 3)), 8, axis=0) for _ in range(20)]
    independent = [rng.normal(size=(8, 3)) for _ in range(2000)]
    walks = [rng.normal(size=(8, 3)).cumsum(axis=0) for _ in range(20)]
    assert runs_of(alike).inflation() == pytest.approx(8, rel=1e-9)
    assert runs_of(independent).inflation() == pytest.approx(1, abs=0.1)
    twice = runs_of([np.repeat(run, 2, axis=0) for run in walks])
    assert twice.inflation() == pytest.approx(2 * runs_of(walks).inflation(), rel=1e-9)


def test_inflation_adds_up_over_merges_and_is_one_without_runs():
    rng = np.random.default_rng(12)
    runs = [rng.normal(size=(m, 3)).cumsum(axis=0) for m in (5, 9, 30)]
    merged, whole = runs_of(runs), runs_of([*runs, *runs])
    merged.merge(runs_of(runs))
    assert merged.inflation() == pytest.approx(whole.inflation(), rel=1e-9)
    features, labels = samples(3)
    assert moments_of(features, labels).inflation() == 1
    assert Moments.zeros(3, 2).inflation() == 1
