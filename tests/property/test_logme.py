"""Properties of LogME: changes of the input on which it must not depend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.scores import LogME

seeds = st.integers(0, 2**32 - 1)


def data(seed, n=120, dim=7, classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    return rng, rng.normal(size=(n, dim)) + rng.normal(size=(classes, dim))[labels], labels


def score(features, labels):
    return LogME().fit(features, labels).score_


@given(seed=seeds, scale=st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_the_unit_of_the_features_does_not_matter(seed, scale):
    _, features, labels = data(seed)
    assert score(features * scale, labels) == pytest.approx(score(features, labels), abs=1e-9)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_a_rotation_of_the_features_does_not_matter(seed):
    rng, features, labels = data(seed)
    rotation = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    assert score(features @ rotation, labels) == pytest.approx(score(features, labels), abs=1e-9)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_the_order_of_samples_and_the_names_of_classes_do_not_matter(seed):
    rng, features, labels = data(seed)
    order = rng.permutation(len(labels))
    names = rng.permutation([3, 17, 100, 41])
    assert score(features[order], names[labels[order]]) == pytest.approx(score(features, labels), abs=1e-12)


@given(seed=seeds, cuts=st.lists(st.integers(1, 119), max_size=4))
@settings(max_examples=30, deadline=None)
def test_chunked_equals_whole_even_when_classes_come_late(seed, cuts):
    _, features, labels = data(seed)
    order = np.argsort(labels, kind="stable")  # one class after another
    chunked = LogME()
    for part in np.split(order, sorted(set(cuts))):
        chunked.partial_fit(features[part], labels[part])
    assert chunked.score_ == pytest.approx(score(features, labels), abs=1e-11)
    np.testing.assert_array_equal(chunked.classes_, np.unique(labels))


@given(seed=seeds, cut=st.integers(1, 119))
@settings(max_examples=30, deadline=None)
def test_merge_equals_whole_in_either_order(seed, cut):
    _, features, labels = data(seed)
    order = np.argsort(labels, kind="stable")
    first, second = order[:cut], order[cut:]
    left = LogME().fit(features[first], labels[first])
    right = LogME().fit(features[second], labels[second])
    whole = score(features, labels)
    assert LogME().merge(left).merge(right).score_ == pytest.approx(whole, abs=1e-11)
    assert LogME().merge(right).merge(left).score_ == pytest.approx(whole, abs=1e-11)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_dimensions_that_are_always_zero_change_nothing(seed):
    _, features, labels = data(seed)
    padded = np.hstack([features, np.zeros((len(features), 5))])
    assert score(padded, labels) == pytest.approx(score(features, labels), abs=1e-9)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_single_precision_features_agree_with_double(seed):
    _, features, labels = data(seed)
    single = features.astype(np.float32)
    assert score(single, labels) == pytest.approx(score(single.astype(np.float64), labels), rel=1e-12)


@given(seed=seeds, slope=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_unit_of_a_regression_target_shifts_the_score_by_its_logarithm(seed, slope):
    rng, features, _ = data(seed)
    values = features @ rng.normal(size=7) + rng.normal(size=len(features))
    plain = LogME(regression=True).fit(features, values).score_
    assert LogME(regression=True).fit(features, slope * values).score_ == pytest.approx(plain - np.log(slope), abs=1e-9)


def test_better_separated_classes_score_higher():
    rng, features, labels = data(0)
    offsets = rng.normal(size=(4, 7))[labels]
    scores = [score(features + strength * offsets, labels) for strength in (0, 1, 2, 4)]
    assert scores == sorted(scores)
