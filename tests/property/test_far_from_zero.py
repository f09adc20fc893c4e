"""Scores of features (and values) that are far from 0, or very large or very small.

A feature far from 0 has been rounded already. The reference is therefore the score of the same rounded features less
the offset, which is an exact subtraction.
"""

import math
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np
import pytest
import torch

from voxrank.scores import (
    ESTIMATORS,
    FrechetDistance,
    LogME,
    SampledScore,
    SlicedWasserstein,
    Spectrum,
    get_score,
    score_names,
)
from voxrank.scores.logme import read_logme
from voxrank.scores.sliced import paired_steps
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import Sample

N, DIM, K, BLOCKS = 200, 8, 4, 5
LABELS = np.arange(N) % K
GROUPS = np.arange(N) // (N // BLOCKS)
INVARIANT = [name for name in ESTIMATORS if name != "logme"]
OF_MOMENTS = [name for name in INVARIANT if not get_score(name).sampled]
OF_VALUES = [name for name in INVARIANT if "regression" in get_score(name).tasks]


def features(dim=DIM, n=N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) + rng.normal(size=(K, dim))[np.arange(n) % K]


def values(x):
    return x[:, :2] + np.random.default_rng(1).normal(size=(len(x), 2))


def score(name, x, targets=LABELS, **options):
    made: Any = ESTIMATORS[name](**options)
    extra = (np.arange(len(x)) // (len(x) // BLOCKS),) if isinstance(made, SampledScore) else ()
    return made.fit(x, targets, *extra).score_


def close(value, tolerance=1e-9):
    return pytest.approx(value, rel=tolerance, abs=tolerance)


def test_every_score_is_tried_here():
    assert {*INVARIANT, "logme", "frechet", "swd", "tsne"} == set(score_names())


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("name", INVARIANT)
def test_a_score_of_doubles_does_not_depend_on_the_offset(name, offset):
    x = features() + offset
    assert score(name, x) == close(score(name, x - offset))


@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("name", INVARIANT)
def test_a_score_of_singles_is_that_of_the_same_numbers_as_doubles(name, offset):
    x = (features() + offset).astype(np.float32)
    assert score(name, x) == close(score(name, x.astype(np.float64) - offset))


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e6])
@pytest.mark.parametrize("name", OF_MOMENTS)
def test_products_in_single_precision_keep_a_millionth_far_from_zero(name, offset):
    x = (features(dim=320, n=900) + offset).astype(np.float32)
    labels = np.arange(900) % K
    assert score(name, x, labels) == close(score(name, x.astype(np.float64) - offset, labels), 5e-6)


@pytest.mark.parametrize("offset", [1e4, 1e8])
@pytest.mark.parametrize("name", OF_VALUES)
def test_regression_does_not_depend_on_the_offset_of_features_or_values(name, offset):
    x = features() + offset
    y = values(x - offset) + offset
    expected = score(name, x - offset, y - offset, regression=True)
    assert score(name, x, y, regression=True) == close(expected)


@pytest.mark.parametrize("unit", [1e-60, 1e-8, 1e8, 1e60])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_unit_of_doubles_does_not_matter(name, unit):
    x = features() + 1
    assert score(name, unit * x) == close(score(name, x))


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
@pytest.mark.parametrize("name", ["logme", "hscore", "ridge", "cka"])
def test_the_unit_of_singles_of_many_dimensions_does_not_matter(name, unit):
    x = features(dim=300, n=400).astype(np.float32)
    labels = np.arange(400) % K
    assert score(name, np.float32(unit) * x, labels) == close(score(name, x, labels), 1e-6)


@pytest.mark.parametrize(
    ("dtype", "offset", "remarked"), [(np.float32, 1e2, 0), (np.float32, 1e6, 1), (float, 1e8, 0), (float, 1e14, 1)]
)
def test_features_with_a_spread_below_their_rounding_are_remarked_on_once(dtype, offset, remarked, caplog):
    made = LogME().fit((features() + offset).astype(dtype), LABELS)
    assert made.score_ == made.score_
    assert caplog.text.count("times their spread, so that their own rounding hides more than 0.001 of it") == remarked


def far_apart():
    """Return features far from 0, class after class; the first sample is far from all others."""
    order = np.argsort(LABELS, kind="stable")
    x = features()[order] + 10 * LABELS[order, None] + 1e6
    x[0] -= 1e3
    return x, LABELS[order]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_order_and_division_do_not_matter_where_the_first_samples_are_far(name):
    x, labels = far_apart()
    whole = score(name, x, labels)
    parts = np.split(np.arange(N), [1, 30, 31, 90])
    for order in (parts, parts[::-1]):
        chunked: Any = ESTIMATORS[name]()
        merged: Any = ESTIMATORS[name]()
        for rows in order:
            extra = (GROUPS[rows],) if isinstance(chunked, SampledScore) else ()
            chunked.partial_fit(x[rows], labels[rows], *extra)
            merged.merge(ESTIMATORS[name]().fit(x[rows], labels[rows], *extra))
        assert chunked.score_ == close(whole)
        assert merged.score_ == close(whole)


def view_of(x, *, weight=1.0):
    """Return a layer in blocks, each of two parts."""
    sketch, sample = BlockedMoments.zeros(DIM, K), Sample.empty(N, DIM, np.float64)
    for rows in np.split(np.arange(N), 2 * BLOCKS):
        block, part = int(GROUPS[rows[0]]), Moments.zeros(DIM, K)
        part.update(torch.from_numpy(x[rows]), LABELS[rows])
        sketch.close_block(block, part)
        sample.update(torch.from_numpy(x[rows]), rows.astype(np.uint64), rows, block)
    return LayerView(sketch, sample, LABELS, weight=weight)


@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize("name", INVARIANT)
def test_neither_value_nor_influence_depends_on_the_offset(name, weight):
    x = features() + 1e7
    found, expected = (get_score(name).estimate(view_of(each, weight=weight)) for each in (x, x - 1e7))
    assert found.value == close(expected.value)
    np.testing.assert_allclose(found.influence, expected.influence, rtol=1e-5, atol=1e-6)


def exact_logme(x, columns):
    """Return LogME of two dimensions in exact fractions, with the best t by golden section."""
    first, second = ([Fraction(value) for value in column] for column in x.T.tolist())
    n, total = len(x), 0.0
    a, b, d = (sum(map(mul, *pair)) for pair in ((first, first), (first, second), (second, second)))
    for column in columns.T.tolist():
        y = list(map(Fraction, column))
        p, q, yy = (sum(map(mul, y, other)) for other in (first, second, y))

        def evidence(log_t, p=p, q=q, yy=yy):
            t = Fraction(math.exp(log_t))
            determinant = (a + t) * (d + t) - b * b
            residual = yy - (p * p * (d + t) - 2 * p * q * b + q * q * (a + t)) / determinant
            return -math.log(2 * math.pi * residual / n) / 2 - 0.5 - math.log(determinant / t**2) / (2 * n)

        low, high, ratio = -15.0, 60.0, (math.sqrt(5) - 1) / 2
        for _ in range(60):
            left, right = high - ratio * (high - low), low + ratio * (high - low)
            low, high = (left, high) if evidence(left) < evidence(right) else (low, right)
        total += evidence((low + high) / 2)
    return total / columns.shape[1]


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6, 1e8])
def test_logme_far_from_zero_is_the_evidence_in_exact_arithmetic(offset):
    x, labels = features(dim=2)[:40] + offset, LABELS[:40]
    assert LogME().fit(x, labels).score_ == pytest.approx(exact_logme(x, np.eye(K)[labels]), abs=1e-9)


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_logme_of_values_far_from_zero_is_the_evidence_in_exact_arithmetic(offset):
    x = features(dim=2)[:40]
    y = values(x) + np.array([offset, 0])
    assert LogME(regression=True).fit(x + 3, y).score_ == pytest.approx(exact_logme(x + 3, y), abs=1e-9)
    assert LogME(regression=True).fit(x + offset, y).score_ == pytest.approx(exact_logme(x + offset, y), abs=1e-9)


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_the_influence_of_blocks_on_logme_is_its_derivative_far_from_zero(offset):
    x = features() + offset
    parts = []
    for block in range(BLOCKS):
        part = Moments.zeros(DIM, K)
        part.update(torch.from_numpy(x[block == GROUPS]), LABELS[block == GROUPS])
        parts.append(part)

    def weighted(block, weight):
        total = Moments.zeros(DIM, K)
        for number, part in enumerate(parts):
            total.merge(part.thinned(weight) if number == block else part)
        return read_logme(Spectrum.of(total)).value

    slopes = [(weighted(block, 1 + 1e-4) - weighted(block, 1 - 1e-4)) / 2e-4 for block in range(BLOCKS)]
    np.testing.assert_allclose(view_of(x).estimate(read_logme).influence, slopes, rtol=1e-3, atol=1e-6)


SOURCE, TARGET = features(seed=3), features(seed=4)[:150] + 0.2


@pytest.mark.parametrize(("distance", "tolerance"), [(FrechetDistance, 1e-9), (SlicedWasserstein, 1e-6)])
@pytest.mark.parametrize("offset", [1e3, 1e6, 1e8])
def test_a_distance_does_not_depend_on_the_offset_of_both_sets(distance, tolerance, offset):
    source, target = SOURCE + offset, TARGET + offset
    expected = distance().fit(source - offset, target - offset).score_
    assert distance().fit(source, target).score_ == pytest.approx(expected, rel=tolerance)
    parts = [distance().partial_fit(source[i::2], target[i::2]) for i in range(2)]
    assert parts[0].merge(parts[1]).score_ == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("distance", "power"), [(FrechetDistance, 2), (SlicedWasserstein, 1)])
@pytest.mark.parametrize("unit", [1e-25, 1e-8, 1e8, 1e25])
def test_a_distance_is_proportional_to_the_unit(distance, power, unit):
    expected = distance().fit(SOURCE, TARGET).score_ * unit**power
    assert distance().fit(unit * SOURCE, unit * TARGET).score_ == pytest.approx(expected, rel=1e-6)
    assert distance().partial_fit(unit * SOURCE, unit * TARGET).score_ == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("offset", "unit"), [(1e8, 1.0), (0.0, 1e-30), (0.0, 1e30)])
def test_embedded_and_projected_samples_keep_their_precision(offset, unit):
    source, target = unit * SOURCE + offset, unit * TARGET + offset
    (pair,) = paired_steps(source, target)
    found = (pair.source.astype(float)[:, None] - pair.target[None, :5]) * pair.unit
    expected = (source - offset)[:, None] - (target - offset)[None, :5]
    np.testing.assert_allclose(found, expected, atol=1e-5 * unit)
