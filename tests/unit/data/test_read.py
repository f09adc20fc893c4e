"""Manifests and folders become the utterances they describe."""

import csv
import io
import json

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxrank.data.names import tidied
from voxrank.data.read import read_dataset
from voxrank.errors import DataError

written = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=12)
words = written.map(tidied).filter(bool)
names = words.filter(lambda name: not {"/", "\\"} & set(name) and name != ".")
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
rows = st.lists(
    st.fixed_dictionaries({"path": paths, "label": words, "speaker": words}),
    min_size=1,
    max_size=8,
    unique_by=lambda r: r["path"],
)
in_one_folder = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_of(dataset):
    return [{"path": u.id, "label": u.label, "speaker": u.speaker} for u in dataset.utterances]


@given(content=rows, delimiter=st.sampled_from([",", "\t"]))
@in_one_folder
def test_tables_are_read_as_written(tmp_path, content, delimiter):
    table = io.StringIO()
    writer = csv.DictWriter(table, ["path", "label", "speaker"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(content)
    path = tmp_path / ("m.csv" if delimiter == "," else "m.tsv")
    path.write_text(table.getvalue(), encoding="utf-8-sig", newline="")
    assert rows_of(read_dataset(path)) == content


@given(content=rows)
@in_one_folder
def test_json_lines_are_read_as_written(tmp_path, content):
    path = tmp_path / "m.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in content), encoding="utf-8")
    assert rows_of(read_dataset(path)) == content


@given(content=st.binary(max_size=200), suffix=st.sampled_from([".csv", ".tsv", ".jsonl"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_dataset_or_one_clear_line(tmp_path, content, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    try:
        read_dataset(path)
    except DataError as error:
        assert "\n" not in str(error).replace(str(path), "")  # noqa: PT017


def write(folder, text, name="m.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_relative_paths_start_at_the_folder_of_the_manifest(tmp_path):
    (utterance,) = read_dataset(write(tmp_path, "path,label\nclips/a.wav,x\n")).utterances
    assert utterance.path == tmp_path / "clips" / "a.wav"
    (absolute,) = read_dataset(write(tmp_path, "path,label\n/data/a.wav,x\n")).utterances
    assert str(absolute.path) == "/data/a.wav"


def test_task_follows_from_the_columns(tmp_path):
    tasks = {
        "path,label,value,text\na,x,1,t\n": ("classification", "label"),
        "path,value,text\na,1.5,t\n": ("regression", "value"),
        "path,text\na,hello\n": ("transcription", "text"),
    }
    for text, expected in tasks.items():
        dataset = read_dataset(write(tmp_path, text))
        assert (dataset.task, dataset.target) == expected
    assert read_dataset(write(tmp_path, "path,value\na,1.5\n")).utterances[0].value == 1.5


def test_any_column_can_be_the_target(tmp_path):
    path = write(tmp_path, "path,label,speaker\na,x,s1\nb,x,s2\n")
    assert read_dataset(path, target="speaker").classes == ("s1", "s2")
    assert read_dataset(path, target="speaker").target == "speaker"


def test_training_rows_are_used_unless_another_split_is_given(tmp_path):
    path = write(tmp_path, "path,label,split\na,x,train\nb,y,test\nc,y,train\n")
    assert [u.id for u in read_dataset(path).utterances] == ["a", "c"]
    assert read_dataset(path).split == "train"
    assert [u.id for u in read_dataset(path, split="test").utterances] == ["b"]
    assert len(read_dataset(path, split="all")) == 3
    without = write(tmp_path, "path,label,split\na,x,one\nb,y,two\n", "other.csv")
    assert len(read_dataset(without)) == 2
    assert read_dataset(without).split == "all"


def test_offset_and_duration_of_a_nemo_manifest_are_read(tmp_path):
    row = {"audio_filepath": "a.wav", "label": "x", "offset": 1.5, "duration": 2.0}
    (utterance,) = read_dataset(write(tmp_path, json.dumps(row), "m.json" + "l")).utterances
    assert (utterance.start, utterance.end) == (1.5, 3.5)
    assert utterance.id == "a.wav [1.5-3.5]"
    whole = {"audio_filepath": "a.wav", "label": "x", "duration": 2.0}
    (utterance,) = read_dataset(write(tmp_path, json.dumps(whole), "n.jsonl")).utterances
    assert utterance.end is None


def test_stretches_of_one_file_are_separate_utterances(tmp_path):
    dataset = read_dataset(write(tmp_path, "path,label,start,end\na,x,0,1\na,y,1,2\na,x,0,1\n"))
    assert [u.id for u in dataset.utterances] == ["a [0-1]", "a [1-2]"]
    assert len(dataset.skipped) == 1


def test_stretches_hours_into_a_file_have_different_ids(tmp_path):
    dataset = read_dataset(write(tmp_path, "path,label,start,end\na,x,10800.01,10800.51\na,y,10800.03,10800.53\n"))
    assert [u.id for u in dataset.utterances] == ["a [10800.01-10800.51]", "a [10800.03-10800.53]"]


@pytest.mark.parametrize("start", ["start", "offset"])
def test_duration_after_a_start_gives_the_end(tmp_path, start):
    (utterance,) = read_dataset(write(tmp_path, f"path,label,{start},duration\na,x,0.1,0.2\n")).utterances
    assert (utterance.start, utterance.end) == (0.1, 0.3)


def test_backslashes_separate_folders_unless_a_file_name_has_them(tmp_path):
    path = write(tmp_path, "path,label\nclips\\a.wav,x\n")
    assert read_dataset(path).utterances[0].path == tmp_path / "clips" / "a.wav"
    odd = tmp_path / "clips\\a.wav"
    if odd.parent == tmp_path:  # not on Windows
        odd.touch()
        assert read_dataset(path).utterances[0].path == odd


@pytest.mark.parametrize("train", ["Train", "TRAIN", " train "])
def test_training_rows_are_found_in_any_spelling_of_the_split(tmp_path, train):
    path = write(tmp_path, f"path,label,split\na,x,{train}\nb,y,test\nc,y,{train}\n")
    assert [u.id for u in read_dataset(path).utterances] == ["a", "c"]
    assert len(read_dataset(path, split="ALL")) == 3


def test_splits_may_be_numbers(tmp_path):
    rows = [{"path": "a", "label": "x", "split": 1}, {"path": "b", "label": "y", "split": 2}]
    path = write(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl")
    assert [u.id for u in read_dataset(path, split="2").utterances] == ["b"]


def test_names_of_folders_are_the_classes(tmp_path):
    for name in ("yes/a.wav", "yes/deep/b.flac", "no/c.ogg", "no/.hidden.wav", "no/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            (tmp_path / name).write_text("x")
        else:
            soundfile.write(tmp_path / name, np.zeros(1600), 16_000)
    dataset = read_dataset(tmp_path)
    assert {(u.path.name, u.label) for u in dataset.utterances} == {
        ("a.wav", "yes"),
        ("b.flac", "yes"),
        ("c.ogg", "no"),
    }
    assert dataset.task == "classification"
    assert all(u.path.is_file() for u in dataset.utterances)


def test_files_of_formats_that_cannot_be_decoded_are_utterances(tmp_path):
    for name in ("yes/a.m4a", "no/b.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert [u.path.name for u in read_dataset(tmp_path).utterances] == ["b.wav", "a.m4a"]


def test_the_fingerprint_depends_on_rows_and_target_only(tmp_path):
    path = write(tmp_path, "path,label,speaker\na,x,s\nb,y,t\n")
    moved = tmp_path / "moved"
    moved.mkdir()
    again = write(moved, "path,label,speaker\na,x,s\nb,y,t\n")
    changed = write(tmp_path, "path,label,speaker\na,x,s\nb,x,t\n", "c.csv")
    first = read_dataset(path).fingerprint()
    assert first == read_dataset(again).fingerprint()
    assert first != read_dataset(changed).fingerprint()
    assert first != read_dataset(path, target="speaker").fingerprint()


@pytest.mark.parametrize("value", ["nan", "inf", "x"])
def test_values_must_be_finite_numbers(tmp_path, value):
    dataset = read_dataset(write(tmp_path, f"path,value\na,1\nb,{value}\n"))
    assert len(dataset) == len(dataset.skipped) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", 'path,labels\na.wav,"dog, cat,dog"\nb.wav,bird\nc.wav,\n'),
        ("m.csv", "path,labels\na.wav,dog; cat;\nb.wav,bird\nc.wav,\n"),
        ("m.tsv", "path\tlabels\na.wav\tcat,dog\nb.wav\tbird\nc.wav\t\n"),
    ],
)
def test_cells_may_hold_several_labels(tmp_path, name, text):
    dataset = read_dataset(write(tmp_path, text, name))
    assert (dataset.task, dataset.target, dataset.classes) == ("multilabel", "labels", ("bird", "cat", "dog"))
    assert [u.labels for u in dataset.utterances] == [("cat", "dog"), ("bird",)]
    assert [s.reason for s in dataset.skipped] == ["the column 'labels' is empty"]


def test_labels_with_commas_are_separated_by_semicolons(tmp_path):
    text = 'path,labels\na.wav,"speech, babble;dog"\nb.wav,"speech, babble"\n'
    assert read_dataset(write(tmp_path, text)).classes == ("dog", "speech, babble")


def test_lists_of_labels_are_read(tmp_path):
    rows = [{"path": "a", "labels": ["dog", "cat"]}, {"path": "b", "labels": []}, {"path": "c", "labels": [["x"]]}]
    dataset = read_dataset(write(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl"))
    assert [u.labels for u in dataset.utterances] == [("cat", "dog"), ()]
    assert [s.reason for s in dataset.skipped] == ["expected text or a number in the column 'labels', got list"]
    other = read_dataset(write(tmp_path, "\n".join(map(json.dumps, rows[:1])), "m.jsonl"))
    assert dataset.fingerprint() != other.fingerprint()


def test_other_columns_are_kept_on_request(tmp_path):
    path = write(tmp_path, "path,label,speaker,gender,age\na,x,s, f ,30\nb,y,t,,\n")
    plain, dataset = read_dataset(path), read_dataset(path, besides=["gender", "age", "speaker"])
    assert [u.others for u in plain.utterances] == [None, None]
    assert [u.others for u in dataset.utterances] == [
        (("gender", "f"), ("age", "30"), ("speaker", "s")),
        (("speaker", "t"),),
    ]
    assert dataset.fingerprint() == plain.fingerprint()
    assert dataset.cells("gender") == ["f", None]
    assert plain.cells("speaker") == ["s", "t"]
    with pytest.raises(
        DataError, match=r"m.csv: there is no column 'gendr' to probe layers for; did you mean gender\?"
    ):
        read_dataset(path, besides=["gendr"])
    with pytest.raises(DataError, match="no utterance has a cell in a column 'gender'; known: label, speaker"):
        plain.cells("gender")


def test_a_cell_that_is_not_text_is_read_as_empty(tmp_path):
    rows = [{"path": "a", "label": "x", "noise": [1]}, {"path": "b", "label": "y", "noise": 3}]
    path = write(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl")
    dataset = read_dataset(path, besides=["noise"])
    assert dataset.cells("noise") == [None, "3"]


def test_a_path_that_is_no_utf8_is_refused_before_anything_is_read():
    with pytest.raises(DataError, match=r"expected a path in UTF-8, got 'd\\udcff.csv'; rename it"):
        read_dataset("d\udcff.csv")
