"""Test rows choose no model unless the user asks for it, under any names of splits."""

import json

import pytest

from voxrank.data.read import read_dataset
from voxrank.data.splits import part_of
from voxrank.errors import DataError


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (
            "train",
            ["train", "Train", "TRAIN", "train.100", "train-clean-100", "training", "trn", "bal_train", "TrainSet"],
        ),
        ("train", ["train_nodev", "train_si284", "dev-train", "trainval", "train2", "TrainClean100"]),
        ("validation", ["dev", "valid", "val", "validation", "Dev-Clean", "dev.other", "train_dev", "test_dev93"]),
        ("test", ["test", "test.clean", "testing", "eval", "evaluation", "test-other", "tst-COMMON", "dev_test"]),
        (None, ["", None, "fold1", "0", "trainspotting", "latest", "contest", "devil", "a", "validated", "other"]),
    ],
)
def test_names_of_splits_give_their_part(part, names):
    assert [(name, part_of(name)) for name in names] == [(name, part) for name in names]


def rows_of(tmp_path, *splits, column="split"):
    rows = [{"path": f"{number}.wav", "label": "ab"[number % 2], column: split} for number, split in enumerate(splits)]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


DEFAULTS = {
    "one training split": (
        ["train.100", "train.100", "test"],
        [0, 1],
        "train.100",
        "'train.100' (2) are used, and 'test'",
    ),
    "several training splits": (["train.100", "train.360", "dev", "test"], [0, 1], "train.100+train.360", "are used"),
    "training": (["training", "testing"], [0], "training", "rows of 'training' (1) are used, and 'testing' (1) not"),
    "train beside others": (["train", "train.extra", "test"], [0], "train", ""),
    "no training rows": (["dev", "test"], [0], "dev", "rows of 'dev' (1) are used, and 'test' (1) not"),
    "unknown beside test": (["a", "b", "test"], [0, 1], "a+b", "'a' (1), 'b' (1) are used, and 'test' (1) not"),
    "rows without a split": (["", "", "test"], [0, 1], "none", "rows of no split (2) are used, and 'test' (1) not"),
    "only test rows": (["test", "eval"], [0, 1], "all", "every row is of a test split ('test' (1), 'eval' (1))"),
    "only unknown": (["fold1", "fold2"], [0, 1], "all", "every row is used ('fold1' (1), 'fold2' (1))"),
    "only training rows": (["train.100", "train.100"], [0, 1], "train.100", ""),
    "no splits": (["", ""], [0, 1], "all", ""),
}


@pytest.mark.parametrize(("splits", "used", "name", "note"), DEFAULTS.values(), ids=DEFAULTS)
def test_training_rows_are_used_by_default_and_the_choice_is_noted(tmp_path, splits, used, name, note):
    dataset = read_dataset(rows_of(tmp_path, *splits))
    assert [one.id for one in dataset.utterances] == [f"{number}.wav" for number in used]
    assert (dataset.split, dataset.unused) == (name, len(splits) - len(used))
    assert note in " ".join(dataset.notes)
    assert bool(note) == bool(dataset.notes)
    again = read_dataset(rows_of(tmp_path, *splits), split=dataset.split)
    assert again.utterances == dataset.utterances


def test_a_part_can_be_requested_by_its_usual_name(tmp_path):
    path = rows_of(tmp_path, "train-clean-100", "train-other-500", "test-clean", "test-other")
    dataset = read_dataset(path, split="test")
    assert [one.id for one in dataset.utterances] == ["2.wav", "3.wav"]
    assert dataset.notes == ("no split is called 'test': rows of 'test-clean' (1), 'test-other' (1) are used",)
    assert len(read_dataset(path, split="train-clean-100+test-clean")) == 2
    with pytest.raises(DataError, match=r"no row has the split 'dev'; known: all, test-clean, test-other, train-clean"):
        read_dataset(path, split="dev")


@pytest.mark.parametrize("column", ["Split", "subset", "set", "Partition", "data_split"])
def test_a_column_whose_cells_name_parts_is_the_split(tmp_path, column):
    dataset = read_dataset(rows_of(tmp_path, "train", "train", "test", column=column))
    assert (len(dataset), dataset.split, dataset.unused) == (2, "train", 1)
    assert dataset.utterances[0].split == "train"
    assert dataset.notes == (f"split is the column {column!r}",)


def test_files_in_split_folders_are_noted_without_a_split_column(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,label\nx/train/a.wav,a\nx/train/b.wav,b\nx\\test\\c.wav,a\nd.wav,b\n")
    dataset = read_dataset(path)
    assert (len(dataset), dataset.split) == (4, "all")
    assert dataset.notes == ("files lie in folders named after splits ('train' (2), 'test' (1)): every row is used",)
    path.write_text("path,label\n/data/test/a.wav,a\n/data/test/b.wav,b\n")
    assert read_dataset(path).notes == ()


def test_a_column_whose_cells_name_no_parts_is_not_the_split(tmp_path):
    dataset = read_dataset(rows_of(tmp_path, "train", "drawing", "test", column="set"))
    assert (len(dataset), dataset.split, dataset.notes) == (3, "all", ())
