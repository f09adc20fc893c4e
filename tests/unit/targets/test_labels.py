"""Utterance labels and values become targets."""

from pathlib import Path

import numpy as np
import pytest

from voxrank.data.utterance import Utterance
from voxrank.errors import DataError
from voxrank.targets.labels import remarks, utterance_targets


def labelled(labels):
    return [Utterance(id=str(i), path=Path("x"), label=label) for i, label in enumerate(labels)]


def valued(values):
    return [Utterance(id=str(i), path=Path("x"), value=value) for i, value in enumerate(values)]


def test_classes_are_numbered_in_order_of_name():
    targets = utterance_targets(labelled(["yes", "no", "yes"]), "classification")
    assert targets.names == ("no", "yes")
    assert targets.count == 2
    np.testing.assert_array_equal(targets.rows, [1, 0, 1])


def test_values_are_standardised():
    targets = utterance_targets(valued([1.0, 3.0, 8.0]), "regression")
    assert targets.rows.shape == (3, 1)
    assert targets.rows.mean() == pytest.approx(0, abs=1e-15)
    assert targets.rows.std() == pytest.approx(1)


def test_a_single_class_is_refused():
    with pytest.raises(DataError, match="expected at least two classes to tell apart, found 'yes'"):
        utterance_targets(labelled(["yes", "yes"]), "classification")


def test_a_single_value_is_refused():
    with pytest.raises(DataError, match="found a single value; nothing to predict"):
        utterance_targets(valued([2.0, 2.0]), "regression")


def test_transcripts_are_refused_with_advice():
    with pytest.raises(DataError, match="add a label or value column, or name one with --target"):
        utterance_targets(labelled(["a"]), "transcription")


def test_classes_with_one_utterance_are_remarked_on():
    assert not remarks(utterance_targets(labelled(["a", "a", "b", "b"]), "classification"))
    (line,) = remarks(utterance_targets(labelled(["a", "a", "b", "c", "d", "e"]), "classification"))
    assert line.startswith("one utterance only in 'b', 'c', 'd' and 1 more: ")
    assert not remarks(utterance_targets(valued([1.0, 2.0]), "regression"))


def test_several_labels_are_columns_of_0_and_1():
    sets = [("a", "x"), ("a", "b", "x"), ("x",), ("b", "x")]
    several = [Utterance(id=str(i), path=Path("x"), labels=labels) for i, labels in enumerate(sets)]
    targets = utterance_targets(several, "multilabel")
    assert targets.names == ("a", "b")
    np.testing.assert_array_equal(targets.rows, [[1, 0], [1, 1], [0, 0], [0, 1]])
    assert remarks(targets) == ["'x' is in every utterance and is left out"]
    assert remarks(utterance_targets(several[:3], "multilabel"))[1].startswith("one utterance only in 'b': ")
    with pytest.raises(DataError, match="found none; nothing to predict"):
        utterance_targets(several[2:3], "multilabel")
