"""LogME refuses what it cannot score."""

import numpy as np
import pytest

from voxrank.errors import OptionError
from voxrank.scores import LogME

FEATURES = np.random.default_rng(0).normal(size=(20, 3))
LABELS = np.arange(20) % 2


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (FEATURES[0], LABELS, r"expected features of shape \(samples, dimensions\), got \(3,\)"),
        (np.empty((0, 3)), LABELS[:0], r"expected features of shape \(samples, dimensions\), got \(0, 3\)"),
        (FEATURES, LABELS[:5], "expected 20 targets, one for each sample, got an array of shape"),
        (np.where(FEATURES > 1, np.nan, FEATURES), LABELS, "the features hold NaN or infinite values"),
        (FEATURES, np.where(LABELS, np.nan, 0.0), "the targets hold NaN or infinite values"),
    ],
)
def test_bad_arrays_are_refused(features, labels, message):
    with pytest.raises(OptionError, match=message):
        LogME().fit(features, labels)


def test_a_single_class_is_refused():
    fitted = LogME().fit(FEATURES, np.zeros(20, dtype=int))
    with pytest.raises(OptionError, match=r"expected at least two classes, got only 0; one class ranks nothing"):
        _ = fitted.score_


def test_a_score_that_is_not_fitted_is_refused():
    with pytest.raises(OptionError, match=r"LogME has seen no samples; call fit"):
        _ = LogME().score_


def test_parts_of_different_dimensions_are_refused():
    fitted = LogME().fit(FEATURES, LABELS)
    with pytest.raises(OptionError, match=r"expected \(dimensions, targets\) \(3, 2\) as before, got \(2, 2\)"):
        fitted.partial_fit(FEATURES[:, :2], LABELS)


def test_regression_and_classification_cannot_be_merged():
    regression = LogME(regression=True).fit(FEATURES, LABELS)
    with pytest.raises(OptionError, match="cannot merge"):
        LogME().fit(FEATURES, LABELS).merge(regression)


def test_predict_refuses_features_of_another_dimension():
    fitted = LogME().fit(FEATURES, LABELS)
    with pytest.raises(OptionError, match="expected features of 3 numbers as in fit, got 2"):
        fitted.predict(FEATURES[:, :2])


def test_fit_discards_earlier_data_and_partial_fit_keeps_them():
    twice = LogME().fit(FEATURES, LABELS).fit(FEATURES, LABELS).score_
    assert twice == LogME().fit(FEATURES, LABELS).score_
    grown = LogME().fit(FEATURES, LABELS).partial_fit(FEATURES + 1, LABELS).score_
    assert grown != twice


def test_a_class_with_one_example_is_scored():
    labels = LABELS.copy()
    labels[0] = 2
    assert np.isfinite(LogME().fit(FEATURES, labels).score_)


def test_integer_and_half_precision_features_are_taken():
    whole = np.random.default_rng(1).integers(-5, 5, size=(20, 3))
    expected = LogME().fit(whole.astype(float), LABELS).score_
    assert LogME().fit(whole, LABELS).score_ == expected
    assert LogME().fit(whole.astype(np.float16), LABELS).score_ == expected


def test_classes_may_be_strings():
    names = np.array(["no", "yes"])
    fitted = LogME().fit(FEATURES, names[LABELS])
    assert fitted.score_ == LogME().fit(FEATURES, LABELS).score_
    assert set(fitted.predict(FEATURES)) <= {"no", "yes"}
