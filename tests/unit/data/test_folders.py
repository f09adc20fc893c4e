"""Folders are classes or splits, by their names and by their neighbours."""

import os
from collections import Counter
from itertools import product

import pytest

from voxrank.data.read import read_dataset, read_unlabelled
from voxrank.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes files with these names in a folder."""

    def make(*names):
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"RIFF")
        return tmp_path / "data"

    return make


def in_each(*folders, classes=("zero", "one")):
    return [f"{outer}/{label}/{n}.wav" for n, (outer, label) in enumerate(product(folders, classes))]


def counted(dataset):
    return dict(Counter((one.split, one.label) for one in dataset.utterances))


SPLITS = {
    "train and test": (["train", "test"], "train"),
    "names of other tools": (["Training", "Testing", "Validation"], "training"),
    "LibriSpeech": (["train-clean-100", "dev-clean", "test-clean"], "train-clean-100"),
    "train alone": (["train"], "train"),
    "validation and test": (["val", "test"], "val"),
    "an unknown split that holds the same classes": (["train", "test", "extra"], "train"),
}


@pytest.mark.parametrize(("splits", "used"), SPLITS.values(), ids=SPLITS)
def test_split_folders_around_class_folders_are_not_classes(folder, splits, used):
    dataset = read_dataset(folder(*in_each(*splits)))
    assert counted(dataset) == {(next(s for s in splits if s.lower() == used), label): 1 for label in ("zero", "one")}
    assert (dataset.split, dataset.unused) == (used, 2 * len(splits) - 2)
    assert dataset.notes[0].startswith("the folders are splits, and the folders inside them classes: ")
    assert len(read_dataset(folder(), split="all")) == 2 * len(splits)


def test_split_folders_inside_class_folders_are_not_part_of_the_class(folder):
    dataset = read_dataset(folder(*in_each("zero", "one", classes=("train", "test"))))
    assert counted(dataset) == {("train", "zero"): 1, ("train", "one"): 1}
    assert dataset.notes == ("the folders inside the class folders are splits: 'test' (2 files), 'train' (2 files)",)


def test_a_folder_around_all_splits_or_classes_is_no_class(folder):
    dataset = read_dataset(folder(*in_each("corpus/train", "corpus/test")))
    assert counted(dataset) == {("train", "zero"): 1, ("train", "one"): 1}
    assert dataset.notes[0] == "the folder 'corpus' holds all recordings and is no class"


def test_a_folder_of_audio_inside_each_split_is_no_class(folder):
    dataset = read_dataset(folder("train/audio/zero/0.wav", "train/audio/one/1.wav", "test/audio/2.wav"))
    assert counted(dataset) == {("train", "zero"): 1, ("train", "one"): 1}
    assert (dataset.unused, dataset.skipped) == (1, ())


REFUSED = {
    "splits without classes": (["train/a.wav", "test/b.wav"], "got audio files in folders named after splits"),
    "splits beside classes": (
        [*in_each("train", "test"), "noise/a.wav"],
        "got both: 'test', 'train' beside 'noise'; move one kind elsewhere",
    ),
    "a split or a class": (["train/x/a.wav", "bus/x/b.wav"], "got both: 'train' beside 'bus'"),
    "no folders": (["a.wav", "b.wav"], "found 2 audio files outside of any"),
}


@pytest.mark.parametrize(("names", "message"), REFUSED.values(), ids=REFUSED)
def test_folders_that_may_be_splits_or_classes_are_refused(folder, names, message):
    with pytest.raises(DataError, match=message):
        read_dataset(folder(*names))


def test_a_class_may_have_the_name_of_a_split(folder):
    dataset = read_dataset(folder("train/a.wav", "bus/b.wav", "tram/c.wav"))
    assert dataset.classes == ("bus", "train", "tram")
    assert dataset.notes == ("the folder 'train' is read as a class and not as a split",)


@pytest.mark.parametrize("splits", [(), ("train", "test")], ids=["classes", "splits"])
def test_folders_that_begin_with_an_underscore_are_no_classes(folder, splits):
    names = in_each(*splits) if splits else ["zero/0.wav", "one/1.wav"]
    dataset = read_dataset(folder(*names, "_background_noise_/a.wav", "_background_noise_/b.wav"))
    assert dataset.classes == ("one", "zero")
    assert "folders that begin with an underscore are no classes: '_background_noise_' (2 files)" in dataset.notes


def test_speech_commands_classes_that_begin_with_an_underscore_are_kept(folder):
    dataset = read_dataset(folder("_silence_/a.wav", "_unknown_/b.wav", "yes/c.wav"))
    assert dataset.classes == ("_silence_", "_unknown_", "yes")


def test_links_are_followed_and_circular_links_end(folder, tmp_path):
    data = folder("yes/a.wav", "no/b.wav")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "c.wav").write_bytes(b"RIFF")
    (data / "yes" / "more").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(data / "yes")
    (data / "no" / "self").symlink_to(data / "no")
    (data / "no" / "up").symlink_to(data)
    (data / "no" / "high").symlink_to(tmp_path)
    (data / "maybe").symlink_to(elsewhere / "deep")
    (data / "no" / "d.wav").symlink_to(elsewhere / "deep" / "c.wav")
    dataset = read_dataset(data)
    assert [(one.id, one.label) for one in dataset.utterances] == [
        ("data/maybe/c.wav", "maybe"),
        ("data/no/b.wav", "no"),
        ("data/no/d.wav", "no"),
        ("data/yes/a.wav", "yes"),
        ("data/yes/more/deep/c.wav", "yes"),
    ]
    assert not dataset.skipped


def test_a_folder_with_many_links_to_it_is_entered_once(folder):
    data = folder("yes/a.wav", "no/b.wav")
    for depth in range(40):
        outer, inner = data / "yes" / f"level{depth}", data / "yes" / f"level{depth + 1}"
        outer.mkdir(exist_ok=True)
        for name in ("left", "right"):
            (outer / name).symlink_to(inner)
    assert len(read_dataset(data)) == 2


@pytest.mark.parametrize("ending", [".webm", ".mp4", ".mkv", ".mov", ".m4a", ".3gp", ".WEBA"])
def test_files_with_audio_that_may_be_unreadable_are_utterances(folder, ending):
    dataset = read_dataset(folder("yes/a.wav", "no/b.wav", f"no/c{ending}"))
    assert [one.path.name for one in dataset.utterances] == ["b.wav", f"c{ending}", "a.wav"]


def test_files_with_unknown_endings_are_skipped_and_text_files_are_noted(folder):
    others = ["no/c.xyz", "no/c.txt", "no/d.TXT", "no/e.json", "no/README", "top.wav", "list.csv"]
    dataset = read_dataset(folder("yes/a.wav", "no/b.wav", *others))
    assert {(one.utterance, one.reason) for one in dataset.skipped} == {
        ("data, no/c.xyz", "expected an audio file, got the ending '.xyz'"),
        ("data, top.wav", "expected the file in a folder named after its class"),
    }
    assert dataset.notes == ("files of other kinds are ignored: .txt (2), .csv (1), no ending (1), .json (1)",)


def test_a_folder_that_cannot_be_read_is_skipped(folder, monkeypatch):
    data, scandir = folder("yes/a.wav", "no/b.wav", "no/locked/c.wav"), os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    dataset = read_dataset(data)
    assert [(one.utterance, one.reason) for one in dataset.skipped] == [
        ("data, no/locked", "cannot read the folder: Permission denied")
    ]


def test_split_folders_without_class_folders_are_splits(folder):
    data = folder("train/a.wav", "test/b.wav")
    (data.parent / "times.json").write_text('{"a": [[0, 1, "x"]], "b": [[0, 1, "y"]]}')
    dataset = read_dataset(data, segments=data.parent / "times.json")
    assert [one.id for one in dataset.utterances] == ["data/train/a.wav"]
    assert len(read_unlabelled(data)) == 2
