"""Every score accepts input that it can convert, and refuses everything else with a one-line OptionError."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from voxrank.errors import OptionError
from voxrank.scores import (
    ESTIMATORS,
    FrechetDistance,
    LogME,
    SampledScore,
    SlicedWasserstein,
    TSNEDistance,
    get_score,
)

N, DIM = 60, 4
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % 3
FEATURES = RNG.normal(size=(N, DIM)) + RNG.normal(size=(3, DIM))[LABELS]
VALUES = FEATURES[:, :1] + RNG.normal(size=(N, 1))
FOR_VALUES = [name for name in ESTIMATORS if "regression" in get_score(name).tasks]
FOR_CLASSES = [name for name in ESTIMATORS if name not in FOR_VALUES]
DISTANCES = [FrechetDistance, SlicedWasserstein, TSNEDistance]


def objects(*items):
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made


def spoilt(value, dtype=float):
    made = FEATURES.astype(dtype)
    made[3, 1] = value
    return made


BAD_FEATURES = {
    "none": (None, r"expected features that are real numbers, got objects|expected features of shape"),
    "a number": (1.0, r"expected features of shape \(samples, dimensions\), got \(\)"),
    "one dimension": (FEATURES[:, 0], r"expected features of shape \(samples, dimensions\), got \(60,\)"),
    "three dimensions": (FEATURES[:, None], r"expected features of shape .* got \(60, 1, 4\)"),
    "no samples": (FEATURES[:0], r"expected features of shape .* got \(0, 4\)"),
    "no dimensions": (FEATURES[:, :0], r"expected features of shape .* got \(60, 0\)"),
    "NaN": (spoilt(np.nan), "the features hold NaN or infinite values; drop those samples first"),
    "infinite": (spoilt(-np.inf, np.float32), "the features hold NaN or infinite values"),
    "NaN in half precision": (torch.tensor(spoilt(np.nan)).bfloat16(), "the features hold NaN or infinite values"),
    "an object that is missing": (spoilt(None, object), "the features hold NaN or infinite values"),
    "text": (FEATURES.astype(str), "expected features that are real numbers, got text; convert them"),
    "text among objects": (spoilt("1.5", object), "expected features that are real numbers, got objects"),
    "an object": (spoilt({}, object), "expected features that are real numbers, got objects"),
    "complex": (FEATURES + 1j, "expected features that are real numbers, got complex numbers"),
    "a complex tensor": (torch.tensor(FEATURES + 1j), "expected features that are real numbers, got complex numbers"),
    "dates": (FEATURES.astype("datetime64[s]"), "expected features that are real numbers, got dates"),
    "ragged": ([[1.0, 2.0], [3.0]], "expected features as an array, got a list that does not convert to one"),
    "a sparse matrix": (sparse.csr_array(FEATURES), "expected features as a dense array, got a sparse one"),
    "a sparse tensor": (torch.tensor(FEATURES).to_sparse(), "expected features as a dense array, got a sparse one"),
    "a tensor without numbers": (torch.empty(N, DIM, device="meta"), "expected features as an array, got a Tensor"),
    "masked": (np.ma.masked_greater(FEATURES, 1), "the features hold masked values; drop those samples first"),
    "huge": (1e80 * FEATURES, r"expected features up to 1e\+70, got .*e\+80; rescale them"),
    "tiny": (1e-80 * FEATURES, "expected features that differ by 1e-70 or more, got .*e-80; rescale them"),
}
BAD_LABELS = {
    "none": (None, r"expected 60 targets, one for each sample, got an array of shape \(\)"),
    "too few": (LABELS[:-1], r"expected 60 targets, one for each sample, got an array of shape \(59,\)"),
    "two columns": (np.stack([LABELS, LABELS], axis=1), r"expected 60 targets, .* got an array of shape \(60, 2\)"),
    "missing": (objects(*["a", None] * 30), r"the targets hold missing values \(None or NaN\)"),
    "missing in a list": (["a", None] * 30, r"the targets hold missing values \(None or NaN\)"),
    "NaN": (np.where(LABELS, np.nan, 1.0), "the targets hold NaN or infinite values"),
    "NaN among text": (objects(*["a", float("nan")] * 30), r"the targets hold missing values \(None or NaN\)"),
    "text and numbers": (["a", 1] * 30, "expected targets of one kind, got numbers and text; make them all"),
    "text and numbers as objects": (objects(*["a", 1] * 30), "expected targets of one kind, got numbers and text"),
    "objects": (objects(*[{}, {}] * 30), "expected targets that are numbers or text, got objects"),
    "complex": (LABELS + 1j, "expected targets that are numbers or text, got complex numbers"),
    "dates": (LABELS.astype("datetime64[s]"), "expected targets that are numbers or text, got dates"),
    "one class": (np.zeros(N, dtype=int), "expected at least two classes, got only 0; one class ranks nothing"),
}
BAD_VALUES = {
    "none": (None, "expected targets that are real numbers, got objects|expected 60 targets"),
    "too few": (VALUES[:-1], r"expected 60 targets, one for each sample, got an array of shape \(59, 1\)"),
    "no columns": (VALUES[:, :0], r"expected 60 targets, one for each sample, got an array of shape \(60, 0\)"),
    "three dimensions": (VALUES[:, None], r"expected 60 targets, .* got an array of shape \(60, 1, 1\)"),
    "NaN": (np.where(VALUES > 0, np.nan, VALUES), "the targets hold NaN or infinite values"),
    "missing": ([1.0, None] * 30, "the targets hold NaN or infinite values"),
    "text": (["1", "2"] * 30, "expected targets that are real numbers, got text"),
    "complex": (VALUES + 1j, "expected targets that are real numbers, got complex numbers"),
    "huge": (1e80 * VALUES, r"expected targets up to 1e\+70, got"),
    "constant": (np.full(N, 3.0), "expected values that differ between samples, got a single value; nothing to pred"),
    "constant but for rounding": (np.full(N, 0.1) * 3, "expected values that differ between samples"),
    "constant columns": (np.full((N, 2), [1e8, 0.0]), "expected values that differ between samples"),
}


def refused(call, message):
    with pytest.raises(OptionError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def scored(name, features, targets, **options):
    made: Any = ESTIMATORS[name](**options)
    return made.fit(features, targets).score_


@pytest.mark.parametrize("case", BAD_FEATURES)
def test_bad_features_are_refused(case):
    features, message = BAD_FEATURES[case]
    for name in ESTIMATORS:
        refused(partial(scored, name, features, LABELS), message)


@pytest.mark.parametrize("case", [case for case in BAD_FEATURES if case not in {"tiny", "three dimensions"}])
def test_a_distance_refuses_bad_features_on_either_side(case):
    features, message = BAD_FEATURES[case]
    for distance in DISTANCES:
        refused(partial(distance().fit, features, FEATURES), message.replace("features", ".*features"))
        refused(partial(distance().fit, FEATURES, features), message.replace("features", ".*features"))


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels_are_refused(case):
    labels, message = BAD_LABELS[case]
    for name in ESTIMATORS:
        refused(partial(scored, name, FEATURES, labels), message)


@pytest.mark.parametrize("case", BAD_VALUES)
def test_bad_values_are_refused(case):
    values, message = BAD_VALUES[case]
    for name in FOR_VALUES:
        refused(partial(scored, name, FEATURES, values, regression=True), message)


@pytest.mark.parametrize("name", FOR_CLASSES)
def test_a_score_of_classes_refuses_values(name):
    refused(lambda: scored(name, FEATURES, VALUES, regression=True), "needs? classes, and the targets are values")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_single_sample_is_refused(name):
    refused(lambda: scored(name, FEATURES[:1], LABELS[:1]), "expected at least two classes")
    if name in FOR_VALUES:
        refused(lambda: scored(name, FEATURES[:1], VALUES[:1], regression=True), "expected values that differ")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_refused_input_does_not_change_the_score(name):
    made: Any = ESTIMATORS[name]().fit(FEATURES, LABELS)
    expected = scored(name, FEATURES, LABELS)
    refused(lambda: made.partial_fit(FEATURES[:, :2], LABELS + 7), r"expected \(dimensions, targets\) \(4, 3\) as")
    refused(lambda: made.partial_fit(FEATURES, LABELS.astype(str)), "expected labels that are numbers as before, got")
    refused(lambda: made.merge(ESTIMATORS[name]().fit(FEATURES, LABELS.astype(str))), "expected labels that are num")
    refused(lambda: made.merge(ESTIMATORS[name]().fit(FEATURES[:, :2], LABELS + 7)), r"expected \(dimensions, targ")
    refused(lambda: made.merge(None), "expected another score to merge with, got a NoneType")
    assert made.score_ == expected
    assert made.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (LABELS[:-1], "expected 60 groups, one for each sample, got an array of shape"),
        (["a", None] * 30, r"the groups hold missing values \(None or NaN\)"),
        (["a", 1] * 30, "expected groups of one kind, got numbers and text"),
    ],
)
@pytest.mark.parametrize("name", [name for name, score in ESTIMATORS.items() if issubclass(score, SampledScore)])
def test_bad_groups_are_refused(name, groups, message):
    made: Any = ESTIMATORS[name]()
    refused(lambda: made.fit(FEATURES, LABELS, groups), message)


def test_a_limit_of_zero_samples_is_refused():
    kind: Any = ESTIMATORS["knn"]
    refused(lambda: kind(max_samples=0), "expected max_samples of at least 1, got 0")


HALF = torch.tensor(FEATURES).bfloat16().half().double().numpy()  # numbers that both half precisions represent exactly
GOOD_FEATURES = {
    "a list": lambda: HALF.tolist(),
    "a list of tensors": lambda: list(torch.tensor(HALF, requires_grad=True)),
    "float16": lambda: HALF.astype(np.float16),
    "float32": lambda: HALF.astype(np.float32),
    "big-endian": lambda: HALF.astype(">f4"),
    "extended precision": lambda: HALF.astype(np.longdouble),
    "objects": lambda: HALF.astype(object),
    "in another order of memory": lambda: np.asfortranarray(HALF),
    "read backwards": lambda: HALF[::-1][::-1],
    "a mask of nothing": lambda: np.ma.MaskedArray(HALF),
    "a tensor": lambda: torch.tensor(HALF),
    "bfloat16": lambda: torch.tensor(HALF).bfloat16(),
    "half precision": lambda: torch.tensor(HALF).half(),
    "a tensor that requires its gradient": lambda: torch.tensor(HALF, requires_grad=True).float(),
}


@pytest.mark.parametrize("case", GOOD_FEATURES)
def test_all_containers_of_numbers_are_accepted(case):
    for name in ESTIMATORS:
        found = scored(name, GOOD_FEATURES[case](), LABELS)
        assert found == pytest.approx(scored(name, HALF, LABELS), rel=1e-12), name
    for distance in DISTANCES[:2]:
        found = distance().fit(GOOD_FEATURES[case](), HALF + 1).score_
        assert found == pytest.approx(distance().fit(HALF, HALF + 1).score_, rel=1e-6), distance


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64])
def test_integers_and_booleans_are_accepted(dtype):
    whole = RNG.integers(0, 3, size=(N, DIM)).astype(dtype)
    assert scored("logme", whole, LABELS) == scored("logme", whole.astype(float), LABELS)
    assert scored("logme", torch.tensor(whole.astype(np.int64)), LABELS) == scored("logme", whole.astype(int), LABELS)


NAMES = np.array(["no", "yes", "maybe"])[LABELS]
GOOD_LABELS = {
    "a list of text": NAMES.tolist(),
    "text as objects": NAMES.astype(object),
    "bytes": NAMES.astype("S5"),
    "numbers as objects": LABELS.astype(object),
    "whole floats": LABELS.astype(float),
    "a tensor": torch.tensor(LABELS),
    "a list of tensors": list(torch.tensor(LABELS)),
    "a tensor of half precision": torch.tensor(LABELS).bfloat16(),
    "unsigned": LABELS.astype(np.uint8),
}


@pytest.mark.parametrize("case", GOOD_LABELS)
def test_labels_of_any_kind_are_accepted(case):
    assert LogME().fit(FEATURES, GOOD_LABELS[case]).score_ == pytest.approx(LogME().fit(FEATURES, LABELS).score_)


def test_values_of_any_kind_are_accepted():
    expected = scored("ridge", FEATURES, VALUES, regression=True)
    for values in (VALUES[:, 0], VALUES.tolist(), VALUES.astype(object), torch.tensor(VALUES, requires_grad=True)):
        assert scored("ridge", FEATURES, values, regression=True) == expected


def test_pandas_data_frames_are_accepted():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(FEATURES)
    assert scored("logme", frame, pandas.Series(NAMES)) == scored("logme", FEATURES, NAMES)
    assert scored("logme", frame, pandas.Categorical(NAMES)) == scored("logme", FEATURES, NAMES)
    refused(lambda: scored("logme", frame.where(frame < 1), NAMES), "the features hold NaN or infinite values")
    refused(lambda: scored("logme", frame.assign(name=NAMES), NAMES), "expected features that are real numbers")
    missing = pandas.Series(np.where(LABELS, NAMES, None), dtype="string")
    refused(lambda: scored("logme", frame, missing), r"the targets hold missing values")
    whole = pandas.Series(np.where(LABELS, LABELS, None), dtype="Int64")
    refused(lambda: scored("logme", frame, whole), r"the targets hold (missing|NaN or infinite) values")


def test_a_constant_column_among_values_does_not_change_the_score():
    both = np.column_stack([VALUES, np.full(N, 1e6)])
    for name in ("hscore", "ridge", "cca", "pwcca", "vci", "cka", "knn", "loo"):
        found, expected = (scored(name, FEATURES, values, regression=True) for values in (both, VALUES))
        assert found == pytest.approx(expected, rel=1e-9), name


def test_published_logme_of_zeros_is_refused():
    refused(lambda: LogME(compat="published").fit(0 * FEATURES, LABELS).score_, "gives no finite number for these")
