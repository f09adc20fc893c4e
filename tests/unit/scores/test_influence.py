"""A score's influence is its derivative by the weight of each block, or the effect of leaving the block out."""

import numpy as np
import pytest
import torch

from voxrank.scores.cca import read_cca, read_pwcca, read_vci
from voxrank.scores.cka import read_cka
from voxrank.scores.gradient import Reading
from voxrank.scores.hscore import read_hscore
from voxrank.scores.logme import read_logme
from voxrank.scores.rankme import read_rankme
from voxrank.scores.remainder import Whole
from voxrank.scores.ridge import read_ridge
from voxrank.scores.spectrum import Spectrum
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments

SMOOTH = [read_logme, read_rankme]
REFITTED = [read_hscore, read_cca, read_pwcca, read_vci, read_cka]
LEFT_OUT = [*REFITTED, read_ridge]


def parts(*, values, n_blocks=5, size=60, dim=7, mean=2.0, change=lambda x: x):
    """Return blocks of samples; `change` transforms the features (n, D)."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n_blocks):
        labels = rng.integers(0, 3, size)
        x = mean + rng.normal(size=(size, dim)) * np.geomspace(0.3, 3, dim) + 0.5 * rng.normal(size=dim)
        x += rng.normal(size=(3, dim))[labels]
        y = x[:, :2] + rng.normal(size=(size, 2)) if values else labels
        moments = Moments.zeros(dim, 2 if values else 3, values=values)
        moments.update(torch.from_numpy(change(x)), y)
        made.append(moments)
    return made


def weighted(moments, weights):
    first = moments[0]
    total = Moments.zeros(first.dim, len(first.square), values=first.values)
    for m, w in zip(moments, weights, strict=True):
        total.merge(m.thinned(w))
    return total


def blocked(moments):
    sketch = BlockedMoments.zeros(moments[0].dim, len(moments[0].square), values=moments[0].values)
    for number, part in enumerate(moments):
        sketch.close_block(number, part)
    return sketch


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
@pytest.mark.parametrize("read", SMOOTH)
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_influence_is_the_derivative_of_the_score(read, values, mean):
    made = parts(values=values, mean=mean)
    influence = LayerView(blocked(made)).estimate(read).influence
    step = 1e-4
    for b in range(len(made)):
        up, down = np.ones(len(made)), np.ones(len(made))
        up[b], down[b] = 1 + step, 1 - step
        high, low = (read(Spectrum.of(weighted(made, w))).value for w in (up, down))
        assert influence[b] == pytest.approx((high - low) / (2 * step), rel=2e-3, abs=2e-5)


def without(made, number, share=1.0):
    weights = np.ones(len(made))
    weights[number] -= share
    left = weighted(made, weights)
    left.products.n = int(left.n) if left.n == int(left.n) else left.n
    return Spectrum.of(left)


def jackknife(left):
    n = len(left)
    return np.sqrt((n - 1) / n * np.sum((left - np.mean(left)) ** 2))


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
@pytest.mark.parametrize("read", LEFT_OUT)
@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_remainder_scores_as_the_data_without_the_block(read, values, mean, share):
    made = parts(values=values, mean=mean)
    sketch = blocked(made)
    spectrum = Spectrum.of(sketch.total)
    whole, left_out = Whole.of(sketch.total, spectrum), read(spectrum).left_out
    for number, block in sketch.blocks.items():
        expected = left_out(without(made, number, share))
        assert left_out(whole.without(block, share=share)) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
@pytest.mark.parametrize("read", [read_hscore, read_ridge, read_cka])
def test_the_remainder_is_right_with_fewer_samples_than_dimensions(read, values):
    made = parts(values=values, size=5, dim=40)
    sketch = blocked(made)
    spectrum = Spectrum.of(sketch.total)
    whole, left_out = Whole.of(sketch.total, spectrum), read(spectrum).left_out
    for number, block in sketch.blocks.items():
        expected = left_out(without(made, number))
        assert left_out(whole.without(block)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def constant(x):
    return np.where(np.arange(x.shape[1]) < 2, 7.0, x)


def repeated(x):
    return x[:, [0, *range(x.shape[1] - 1)]]


def normalised(x):
    return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def unequal(x):
    return x * np.where(np.arange(x.shape[1]) == 3, 1000.0, 1.0)


@pytest.mark.parametrize("change", [constant, repeated, normalised, unequal])
@pytest.mark.parametrize("read", REFITTED)
@pytest.mark.parametrize("size", [60, 15])
def test_the_standard_error_is_that_of_refitting_without_each_block(read, change, size):
    made = parts(values=False, size=size, change=change)
    left = [read(without(made, number)).value for number in range(len(made))]
    assert LayerView(blocked(made)).estimate(read).standard_error == pytest.approx(jackknife(left), rel=1e-5)


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
def test_a_fixed_ridge_changes_the_standard_error_by_a_few_percent(values):
    made = parts(values=values)
    left = [read_ridge(without(made, number)).value for number in range(len(made))]
    assert LayerView(blocked(made)).estimate(read_ridge).standard_error == pytest.approx(jackknife(left), rel=0.03)


@pytest.mark.parametrize("read", LEFT_OUT)
def test_a_class_in_a_single_block_is_left_out_with_it(read):
    made = parts(values=False)
    labels = np.arange(60) % 4
    only = Moments.zeros(7, 4)
    only.update(torch.from_numpy(np.random.default_rng(1).normal(size=(60, 7)) + labels[:, None]), labels)
    made = [m.spread(np.arange(3), 4) for m in made] + [only]
    sketch = blocked(made)
    spectrum = Spectrum.of(sketch.total)
    left_out = read(spectrum).left_out
    left = left_out(Whole.of(sketch.total, spectrum).without(sketch.blocks[5]))
    assert left == pytest.approx(left_out(without(made, 5)), rel=1e-6)


@pytest.mark.parametrize("read", [read_cca, read_pwcca, read_vci])
def test_blocks_that_the_rank_needs_are_left_out_by_half(read):
    """Without any whole block the score would be at its limit, with an interval of zero width."""
    made = parts(values=False, size=6, dim=25)
    value = read(Spectrum.of(blocked(made).total)).value
    half = [value + 2 * (read(without(made, number, 0.5)).value - value) for number in range(len(made))]
    estimate = LayerView(blocked(made)).estimate(read)
    assert estimate.standard_error == pytest.approx(jackknife(half), rel=1e-4)
    assert estimate.standard_error > 1e-3


@pytest.mark.parametrize("read", [read_cca, read_pwcca, read_vci])
def test_a_score_at_its_limit_has_no_standard_error(read):
    estimate = LayerView(blocked(parts(values=False, size=5, dim=40))).estimate(read)
    assert estimate.value == pytest.approx(round(estimate.value), abs=1e-9)
    assert estimate.standard_error < 1e-6


@pytest.mark.parametrize("read", LEFT_OUT)
def test_influence_is_right_for_a_block_with_nearly_all_samples(read):
    """The rest, two samples of one class, explains nothing."""
    made = parts(values=False, n_blocks=2)
    few = Moments.zeros(7, 3)
    few.update(torch.from_numpy(np.random.default_rng(1).normal(size=(2, 7))), np.zeros(2, dtype=np.int64))
    made[0].merge(made.pop())
    assert np.isfinite(LayerView(blocked([*made, few])).estimate(read).influence).all()


@pytest.mark.parametrize("read", LEFT_OUT)
def test_features_without_information_have_zero_influence(read):
    estimate = LayerView(blocked(parts(values=False, change=np.zeros_like))).estimate(read)
    np.testing.assert_array_equal(estimate.influence, 0)


@pytest.mark.parametrize("read", REFITTED)
def test_influence_is_right_where_scatter_is_singular_in_single_precision(read):
    """A feature repeats another up to a difference below the precision of the blocks."""

    def nearly_repeated(x):
        return repeated(x) + 1e-6 * x[:, -1:] * (np.arange(x.shape[1]) == 0)

    exact, near = (LayerView(blocked(parts(values=False, change=change))) for change in (repeated, nearly_repeated))
    assert near.estimate(read).standard_error == pytest.approx(exact.estimate(read).standard_error, rel=0.01)


def test_without_a_gradient_or_a_remainder_the_score_is_read_again():
    def read(spectrum):
        return Reading(float(np.log(spectrum.eigenvalues).sum()))

    made = parts(values=False)
    left = [read(without(made, number)).value for number in range(len(made))]
    assert LayerView(blocked(made)).estimate(read).standard_error == pytest.approx(jackknife(left), rel=1e-4)


@pytest.mark.parametrize("read", [*SMOOTH, *REFITTED])
def test_influence_of_weighted_samples_is_that_of_thinned_samples(read):
    moments, weight = parts(values=False), 0.4
    view = LayerView(blocked(moments), weight=weight)
    thin = LayerView(blocked([m.thinned(weight) for m in moments]))
    found, expected = view.estimate(read), thin.estimate(read)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    np.testing.assert_allclose(found.influence, expected.influence, rtol=1e-3, atol=1e-5)
