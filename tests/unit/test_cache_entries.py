"""Cached sums of several shards merge to those of a single shard."""

import numpy as np
import pytest
import torch

from voxrank.cache.entries import Stored, StoredLayer, moments_of, together
from voxrank.sketches.blocks import upper
from voxrank.sketches.moments import Moments, sum_runs
from voxrank.sketches.multiplication import self_products


def sums_of(runs, classes=None):
    """Return moments of runs of frames, each with a separate class unless it is named."""
    samples, lengths = torch.from_numpy(np.concatenate(runs)), tuple(len(run) for run in runs)
    labels = np.arange(len(runs)) if classes is None else np.array(classes)
    moments = Moments.zeros(samples.shape[1], len(runs) if classes is None else 3)
    moments.add(self_products(samples), sum_runs(samples, lengths), np.array(lengths), labels)
    return moments


def stored(moments, key):
    layer = StoredLayer(
        moments.cross,
        moments.square.astype(np.int64),
        moments.centre,
        upper(moments.gram),
        moments.products.cubic,
        moments.products.quartic,
        moments.runs,
    )
    return Stored([f"{key}{place}" for place in range(len(moments.square))], {"4": layer})


@pytest.mark.parametrize("timed", [False, True])
def test_entries_of_frames_far_from_zero_join_to_their_sums(timed):
    rng = np.random.default_rng(0)
    runs = [
        rng.normal(size=(length, 3)).astype(np.float32) + np.float32(1e4 + 300 * i)
        for i, length in enumerate((4, 7, 5, 9))
    ]
    classes = [0, 2, 2, 1]
    named = [classes[:2], classes[2:]] if timed else [None, None]
    parts = [stored(sums_of(own, of), key) for own, of, key in zip((runs[:2], runs[2:]), named, "ab", strict=True)]
    joined = moments_of(together(parts, timed=timed).layers["4"], None).centred()
    expected = sums_of(runs, classes if timed else None).centred()
    assert joined.n == 25
    assert joined.inflation() == pytest.approx(expected.inflation(), rel=1e-9)
    for name in ("centre", "gram", "cross", "square"):
        np.testing.assert_allclose(getattr(joined, name), getattr(expected, name), rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(joined.products.cubic, expected.products.cubic, rtol=1e-9, atol=1)
    assert joined.products.quartic == pytest.approx(expected.products.quartic, rel=1e-9)


def test_means_are_stored_unchanged():
    means = np.random.default_rng(1).normal(size=(2, 5, 3)) + 1e6
    parts = [Stored(list("abcde"), {"4": StoredLayer(own, np.ones(5, dtype=np.int64))}) for own in means]
    np.testing.assert_array_equal(together(parts, timed=False).layers["4"].sums, np.concatenate(means))
