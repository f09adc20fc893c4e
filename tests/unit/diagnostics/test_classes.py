"""Classes are predicted from other blocks, and equal refitting exactly."""

import numpy as np
import pytest
import torch

from voxrank.diagnostics.classes import LEAST_RIDGE, class_views, held_out_classes
from voxrank.results.details import ClassView
from voxrank.scores.ridge import best_ridge
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import Sample, content_keys


def random_samples(seed=0, n=240, dim=12, classes=5, blocks=4, apart=1.0, offset=50.0):
    rng = np.random.default_rng(seed)
    ids, at = rng.integers(0, classes, n), rng.integers(0, blocks, n)
    x = rng.normal(size=(n, dim)) * rng.uniform(0.2, 3, dim) + apart * rng.normal(size=(classes, dim))[ids] + offset
    return x.astype(np.float32), ids, at


def sketched(x, ids, at, classes=5, kept=10_000):
    whole = BlockedMoments.zeros(x.shape[1], classes)
    for block in np.unique(at):
        part = Moments.zeros(x.shape[1], classes)
        part.update(torch.from_numpy(x[at == block]), ids[at == block])
        whole.close_block(int(block), part)
    sample = Sample.empty(kept, x.shape[1])
    sample.update(torch.from_numpy(x), content_keys(x), np.arange(len(x)), at)
    return whole, sample


def refitted(x, ids, at, ridge, classes=5):
    """Predict classes by the formula, from the features of other blocks."""
    found = np.empty(len(x), dtype=int)
    for block in np.unique(at):
        rest, own = x[at != block].astype(float), x[at == block].astype(float)
        labels = ids[at != block]
        present = [c for c in range(classes) if (labels == c).any()]
        means = np.array([rest[labels == c].mean(axis=0) for c in present])
        about = rest - means[np.searchsorted(present, labels)]
        inverse = np.linalg.inv(about.T @ about + ridge * np.eye(x.shape[1]))
        gaps = own[:, None] - means[None]
        found[at == block] = np.array(present)[np.einsum("ncd,de,nce->nc", gaps, inverse, gaps).argmin(axis=1)]
    return found


@pytest.mark.parametrize(("n", "dim"), [(240, 12), (60, 40)])
def test_predicted_classes_equal_refitting(n, dim):
    x, ids, at = random_samples(n=n, dim=dim, apart=12 / dim)
    moments, sample = sketched(x, ids, at)
    spectrum = Spectrum.of(moments.total)
    ridge = max(best_ridge(spectrum), LEAST_RIDGE * spectrum.eigenvalues[-1])
    expected = refitted(x, ids, at, ridge)[sample.rows]
    assert 0.2 < (expected == ids[sample.rows]).mean() < 1
    np.testing.assert_array_equal(held_out_classes(moments, sample), expected)


def test_predictions_do_not_depend_on_the_order_of_samples():
    x, ids, at = random_samples(seed=1)
    order = np.random.default_rng(0).permutation(len(x))
    one = held_out_classes(*sketched(x, ids, at, kept=50))
    moments, sample = sketched(x[order], ids[order], at[order], kept=50)
    np.testing.assert_array_equal(held_out_classes(moments, sample), one)


def test_a_class_in_only_one_block_is_never_predicted():
    x, ids, at = random_samples(seed=2, apart=9.0)
    at[ids == 4] = 3
    moments, sample = sketched(x, ids, at)
    views = class_views("abcde", ids[sample.rows], held_out_classes(moments, sample))
    assert (views[0].name, views[0].recall) == ("e", 0)
    assert all(view.recall > 0.9 for view in views[1:])


def test_rare_classes_have_the_recall_of_frequent_classes():
    rng = np.random.default_rng(3)
    ids = (np.arange(2000) % 50 == 0).astype(int)
    x = (rng.normal(size=(2000, 4)) + 1.5 * ids[:, None]).astype(np.float32)
    moments, sample = sketched(x, ids, np.arange(2000) % 7, classes=2)
    views = {view.name: view for view in class_views("ab", ids[sample.rows], held_out_classes(moments, sample))}
    assert views["b"].recall == pytest.approx(views["a"].recall, abs=0.12)
    assert views["b"].samples == 40


def test_one_block_or_constant_features_give_no_predictions():
    x, ids, at = random_samples()
    assert held_out_classes(*sketched(x, ids, np.zeros_like(at))) is None
    assert held_out_classes(*sketched(np.ones_like(x), ids, at)) is None


def test_classes_are_listed_by_increasing_recall():
    true = np.array([0, 0, 0, 0, 1, 1, 2])
    taken = np.array([1, 1, 2, 0, 1, 1, 0])
    assert class_views(("a", "b", "c", "d"), true, taken) == (
        ClassView("c", 1, 0.0, (("a", 1.0),)),
        ClassView("a", 4, 0.25, (("b", 0.5), ("c", 0.25))),
        ClassView("b", 2, 1.0, ()),
    )
