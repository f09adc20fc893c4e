"""Sums by group and class equal their definition, for any order, division and number of groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.sketches.groups import BLOCKS, GroupSums


def data(seed, n=60, groups=12, classes=4):
    rng = np.random.default_rng(seed)
    keys = rng.integers(-(2**63), 2**63 - 1, groups)
    return rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, classes, n), keys[rng.integers(0, groups, n)]


def by_definition(samples, classes, groups):
    return {
        (group, label): (there.sum(), samples[there].sum(axis=0, dtype=np.float64))
        for group in np.unique(groups).tolist()
        for label in range(classes.max() + 1)
        if (there := (groups == group) & (classes == label)).any()
    }


def assert_holds(sums, expected):
    pairs = list(zip(sums.groups.tolist(), sums.classes.tolist(), strict=True))
    assert pairs == sorted(expected)
    assert sums.counts.tolist() == [expected[pair][0] for pair in pairs]
    found = sums.about(np.zeros(3)).sums
    np.testing.assert_allclose(found, [expected[pair][1] for pair in pairs], atol=1e-12)


@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 60), max_size=4), limit=st.sampled_from([1, 20, 500]))
@settings(max_examples=40, deadline=None)
def test_order_division_and_merging_do_not_matter(seed, cuts, limit):
    samples, classes, groups = data(seed)
    expected = by_definition(samples, classes, groups)
    if len(expected) > limit:
        expected = by_definition(samples, classes, groups % BLOCKS)
    order = np.random.default_rng(seed + 1).permutation(60)
    merged, chunked = GroupSums.empty(3, limit), GroupSums.empty(3, limit)
    for part in np.split(order, sorted(cuts)):
        one = GroupSums.empty(3, limit)
        one.add(samples[part], classes[part], groups[part])
        merged.merge(one)
        chunked.add(samples[part], classes[part], groups[part])
    for sums in (merged, chunked):
        assert_holds(sums, expected)
        assert sums.dealt == (limit < 500)


@pytest.mark.parametrize("limit", [1, 500])
def test_a_group_is_found_with_the_samples_left_out_with_it(limit):
    samples, classes, groups = data(0)
    sums = GroupSums.empty(3, limit)
    sums.add(samples, classes, groups)
    blocks = sums.blocks_of(groups)
    for group, block in zip(groups, blocks, strict=True):
        there = blocks == block
        assert there[groups == group].all()
        pairs = sums.pairs_of(block)
        assert sums.classes[pairs].tolist() == np.unique(classes[there]).tolist()
        found = sums.about(np.zeros(3)).sums[pairs].sum(axis=0)
        np.testing.assert_allclose(found, samples[there].sum(axis=0, dtype=float), atol=1e-12)
    assert sums.pairs_of(12345) == slice(*[np.searchsorted(sums.groups, 12345)] * 2)
    np.testing.assert_allclose(
        sums.about(np.zeros(3)).class_sums(4)[2], samples[classes == 2].sum(axis=0, dtype=float), atol=1e-12
    )


def test_memory_is_bounded_by_the_classes_beyond_the_limit():
    sums = GroupSums.empty(3, limit=100)
    sums.add(*data(1, n=20_000, groups=20_000))
    assert sums.sums.shape == (BLOCKS * 4, 3)


def test_sums_far_from_zero_keep_their_digits():
    samples, classes, groups = data(0)
    samples = samples.astype(float)
    near, parts = GroupSums.empty(3), [GroupSums.empty(3) for _ in range(2)]
    near.add(samples + 1e8 - 1e8, classes, groups)
    for i, part in enumerate(parts):
        part.add(samples[i::2] + 1e8, classes[i::2], groups[i::2])
    parts[0].merge(parts[1])
    found, expected = parts[0].about(np.full(3, 1e8)), near.about(np.zeros(3))
    assert found.counts.tolist() == expected.counts.tolist()
    np.testing.assert_allclose(found.sums, expected.sums, atol=1e-12)
