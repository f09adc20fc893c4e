"""Lists of labels are lists in every notation."""

import csv
import json

import pytest

from voxrank.data.labels import MAX_LIST_CHARACTERS, written_list
from voxrank.data.read import read_dataset
from voxrank.errors import UtteranceError

WRITTEN = {
    "Python": ("['a', 'b']", ["a", "b"]),
    "Python with both quotes": ("[\"it's\", 'b']", ["it's", "b"]),
    "JSON": ('["a", "b"]', ["a", "b"]),
    "NumPy": ("['a' 'b']", ["a", "b"]),
    "NumPy over lines": ("['a'\n 'b']", ["a", "b"]),
    "a tuple": ("('a', 'b')", ["a", "b"]),
    "a tuple of one": ("('a',)", ["a"]),
    "a set": ("{'a', 'b'}", ["a", "b"]),
    "Postgres": ("{a,b}", ["a", "b"]),
    "Postgres with quotes": ('{"a b",c}', ["a b", "c"]),
    "bare names": ("[a, b]", ["a", "b"]),
    "numbers": ("[1, 2]", [1, 2]),
    "NumPy's numbers": ("[1. 0. 1.]", [1.0, 0.0, 1.0]),
    "nothing": ("[]", []),
    "a name in brackets": ("[noise]", None),
    "names in brackets": ("[noise], [cough]", None),
    "a name in braces": ("{breath}", None),
    "a name in parentheses": ("(laughs)", None),
    "names in parentheses": ("(a, b)", None),
    "a file's name": ("[1].wav", None),
    "a bracket": ("[", None),
    "a name": ("a", None),
}


@pytest.mark.parametrize(("text", "items"), WRITTEN.values(), ids=WRITTEN)
def test_lists_of_labels_are_read_in_every_notation(text, items):
    assert written_list(text) == items


@pytest.mark.parametrize("text", ["['a', b]", "['a'", "[['a']]", '{"a": 1}', "['a';'b']", "['a" + 60 * "b"])
def test_a_list_that_cannot_be_read_is_refused_in_one_line(text):
    with pytest.raises(UtteranceError, match=r'expected a list of labels such as \["a", "b"\], got '):
        written_list(text)


def test_a_list_that_is_too_long_is_refused():
    with pytest.raises(UtteranceError, match="expected a list of at most 100,000 characters, got"):
        written_list(f"[{'[' * MAX_LIST_CHARACTERS}]")


def read(folder, column, *cells):
    path = folder / "m.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", column), *((f"{n}.wav", cell) for n, cell in enumerate(cells))])
    return read_dataset(path)


def test_lists_written_in_cells_give_several_labels(tmp_path):
    dataset = read(tmp_path, "labels", "['b', 'a']", "['a']", "[]", "['a")
    assert [one.labels for one in dataset.utterances] == [("a", "b"), ("a",), ()]
    assert [one.reason for one in dataset.skipped] == ['expected a list of labels such as ["a", "b"], got [\'a']
    assert dataset.notes == ("the column 'labels' holds lists: an utterance may have several labels",)


def test_lists_in_the_label_column_give_several_labels(tmp_path):
    dataset = read(tmp_path, "label", "['b', 'a']", "['a']")
    assert (dataset.task, [one.labels for one in dataset.utterances]) == ("multilabel", [("a", "b"), ("a",)])
    assert dataset.notes == ("the column 'label' holds lists: an utterance may have several labels",)


def test_lists_of_one_label_each_give_one_label(tmp_path):
    dataset = read(tmp_path, "label", "['b']", "['a']")
    assert (dataset.task, dataset.classes) == ("classification", ("a", "b"))
    assert dataset.notes == ("the lists in the column 'label' hold one label each",)


def test_a_list_among_plain_labels_is_skipped(tmp_path):
    dataset = read(tmp_path, "label", "a", "b", "['a', 'b']", "[noise]")
    assert [one.label for one in dataset.utterances] == ["a", "b", "[noise]"]
    assert [one.reason for one in dataset.skipped] == ["expected one label in the column 'label', got a list of 2"]


def test_labels_separated_by_bars_are_noted(tmp_path):
    dataset = read(tmp_path, "labels", "dog|cat", "bird")
    assert dataset.classes == ("bird", "cat", "dog")
    assert dataset.notes == ("labels in the column 'labels' are separated by '|'",)


def test_vectors_of_zero_and_one_are_read_as_indices_of_labels(tmp_path):
    path = tmp_path / "m.jsonl"
    rows = [{"path": "a", "labels": [0, 1, 1]}, {"path": "b", "labels": [1, 0, 0]}, {"path": "c", "labels": [0, 0, 0]}]
    path.write_text("\n".join(map(json.dumps, rows)))
    dataset = read_dataset(path)
    assert [one.labels for one in dataset.utterances] == [("1", "2"), ("0",), ()]
    assert "vectors of 0 and 1" in dataset.notes[0]


def test_labels_that_differ_in_letter_case_are_noted(tmp_path):
    dataset = read(tmp_path, "label", "Yes", "yes", "no")
    assert dataset.classes == ("Yes", "no", "yes")
    assert dataset.notes == ("labels that differ in letter case alone are different classes: 'Yes' and 'yes'",)
