"""Hugging Face data sets, saved by the library `datasets`."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pytest
from datasets import Audio, ClassLabel, DatasetDict, Features, List, Value

import voxrank
import voxrank._support.packages
from voxrank.data import hub
from voxrank.data.audio import decode
from voxrank.data.hub import ArrowRow
from voxrank.data.sources import HeldAudio, digest_of_audio
from voxrank.errors import DataError

RATE = 16_000


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


@pytest.fixture
def tones_set(clips):
    """Return the tones in memory, each row with the bytes of its file."""
    return (
        datasets.Dataset.from_dict(
            {
                "audio": [{"bytes": c.path.read_bytes(), "path": f"{c.name}.wav"} for c in clips],
                "emotion": [c.label for c in clips],
                "speaker_id": [int(c.speaker[1:]) for c in clips],
            }
        )
        .cast_column("audio", Audio())
        .cast_column("emotion", ClassLabel(names=["low", "middle", "high"]))
    )


@pytest.fixture
def saved(tmp_path, tones_set):
    tones_set.save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_folder_is_ranked_as_the_manifest(saved, ranked_as_tones):
    ranked_as_tones(saved)


def test_an_object_is_ranked_as_the_manifest(tones_set, ranked_as_tones):
    ranked_as_tones(tones_set)


def test_columns_are_found_by_type_and_name(saved):
    data = voxrank.read_dataset(saved)
    assert (data.format, data.task, data.target) == ("Hugging Face data set (saved folder)", "classification", "label")
    assert data.classes == ("high", "low", "middle")
    assert data.notes == ("label is the column 'emotion', speaker is the column 'speaker_id'",)
    assert {u.speaker for u in data.utterances} == {"0", "1", "2", "3"}
    assert voxrank.read_dataset(saved, target="speaker_id").classes == ("0", "1", "2", "3")


def test_rows_of_a_folder_are_pickled_by_their_location(saved, clips, run_python):
    utterance = voxrank.read_dataset(saved).utterances[5]
    assert isinstance(utterance.audio, ArrowRow)
    sent = pickle.dumps(utterance.audio)
    assert len(sent) < 700
    code = (
        "import sys, pickle; from voxrank.data.sources import digest_of_audio;"
        "print(digest_of_audio(pickle.loads(bytes.fromhex(sys.argv[1]))))"
    )
    found = run_python("-c", code, sent.hex(), check=True, cwd="/")
    assert found.stdout.strip() == digest_of_audio(clips[5].path)


def test_rows_in_memory_are_pickled_with_their_own_bytes(tones_set, clips):
    utterance = voxrank.read_dataset(tones_set).utterances[5]
    assert isinstance(utterance.audio, HeldAudio)
    sent = pickle.dumps(utterance)
    assert len(sent) < clips[5].path.stat().st_size + 1000
    np.testing.assert_array_equal(decode(pickle.loads(sent), RATE), clips[5].samples)


def test_training_rows_are_read_unless_another_split_is_given(tmp_path, tones_set):
    both = DatasetDict({"test": tones_set.select(range(24, 36)), "train": tones_set.select(range(24))})
    both.save_to_disk(tmp_path / "both")
    for source in (tmp_path / "both", both):
        data = voxrank.read_dataset(source)
        assert (len(data), data.split) == (24, "train")
        assert data.utterances[3].id == "train/3"
        assert voxrank.read_dataset(source, split="test").utterances[0].id == "test/0"
        assert len(voxrank.read_dataset(source, split="all")) == 36


def test_all_training_splits_of_librispeech_are_read(tones_set):
    names = {"train.100": range(12), "train.360": range(12, 24), "validation": [24], "test": range(25, 36)}
    data = voxrank.read_dataset(DatasetDict({name: tones_set.select(rows) for name, rows in names.items()}))
    assert (len(data), data.split, data.unused) == (24, "train.100+train.360", 12)
    assert (
        "rows of 'train.100' (12), 'train.360' (12) are used, and 'validation' (1), 'test' (11) not" in data.notes[-1]
    )


def content(utterance):
    with utterance.audio.open() as file:
        return file.read()


@pytest.mark.parametrize("again", ["in place", "anew"])
def test_a_folder_that_is_saved_again_is_read_again(tmp_path, tones_set, clips, again):
    source = tmp_path / "saved"
    for order in (range(36), range(35, -1, -1)):
        if again == "anew":
            shutil.rmtree(source, ignore_errors=True)
        tones_set.select(order).save_to_disk(source)
        for utterance, place in zip(voxrank.read_dataset(source).utterances, order, strict=True):
            assert utterance.label == clips[place].label
            assert content(utterance) == clips[place].path.read_bytes()


def test_rows_of_a_changed_folder_are_read_from_the_present_file(tmp_path, tones_set, clips):
    """This includes a split from which nothing was read when the folder was opened."""
    source = tmp_path / "both"
    DatasetDict({"train": tones_set.select([0, 1]), "test": tones_set.select([2, 3])}).save_to_disk(source)
    first, _, second, _ = voxrank.read_dataset(source, split="all").utterances
    assert content(first) == clips[0].path.read_bytes()
    tones_set.select([20, 21, 22]).save_to_disk(source / "test")
    assert content(second) == clips[20].path.read_bytes()
    assert content(first) == clips[0].path.read_bytes()


def counted(monkeypatch, name):
    calls = []
    load = getattr(datasets, name)
    monkeypatch.setattr(datasets, name, lambda *args, **options: calls.append(args) or load(*args, **options))
    return calls


def test_a_folder_of_many_splits_is_opened_once(tmp_path, tones_set, monkeypatch):
    parts = {f"part{number}": tones_set.select(range(number * 6, number * 6 + 6)) for number in range(6)}
    DatasetDict(parts).save_to_disk(tmp_path / "many")
    utterances = voxrank.read_dataset(tmp_path / "many", split="all").utterances
    calls = counted(monkeypatch, "load_from_disk")
    for number in range(36):  # a row of each split in turn
        content(utterances[number % 6 * 6 + number // 6])
    assert len(calls) == 1


def test_only_a_few_data_sets_are_kept_open(tmp_path, tones_set, monkeypatch):
    utterances = []
    for number in range(hub.PLACES + 1):
        tones_set.select([number]).save_to_disk(tmp_path / str(number))
        utterances += voxrank.read_dataset(tmp_path / str(number)).utterances
    calls = counted(monkeypatch, "load_from_disk")
    for used in (*utterances[:-1], utterances[0], utterances[-1], utterances[0]):
        content(used)
    assert len(calls) == hub.PLACES + 1
    content(utterances[1])  # least recently used, and so closed
    assert len(calls) == hub.PLACES + 2


@pytest.fixture
def silent_hub(saved, monkeypatch):
    """Simulate a hub that does not answer; opening downloaded data lets two threads meet, if possible."""
    calls, met = [], threading.Event()

    def load(name, *_, **__):
        calls.append((name, datasets.config.HF_HUB_OFFLINE))
        if len(calls) % 2:
            met.wait(0.3)
        else:
            met.set()
            time.sleep(0.3)  # the other thread finishes before
        return datasets.load_from_disk(saved)

    def time_out(*_, **__):
        raise TimeoutError

    for switch in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(switch, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "dataset_info", time_out)
    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def switches():
    return datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE


def test_two_threads_that_need_the_same_data_set_open_it_once(silent_hub, clips):
    utterances = voxrank.read_dataset("hf://owner/missed").utterances
    silent_hub.clear()
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(content, utterances[:2])) == [clip.path.read_bytes() for clip in clips[:2]]
    assert silent_hub == [("owner/missed", True)]
    assert switches() == (False, False)


def test_two_threads_that_read_data_sets_restore_the_network_settings(silent_hub):
    with ThreadPoolExecutor(2) as threads:
        read = list(threads.map(voxrank.read_dataset, ["hf://owner/one", "hf://owner/two"]))
    assert [len(data) for data in read] == [36, 36]
    assert [offline for _, offline in silent_hub] == [True, True]
    assert switches() == (False, False)


def test_selected_rows_are_read_in_their_order(tones_set, clips):
    chosen = tones_set.select([30, 2, 17])
    data = voxrank.read_dataset(chosen)
    for utterance, place in zip(data.utterances, (30, 2, 17), strict=True):
        assert utterance.label == clips[place].label
        np.testing.assert_array_equal(decode(utterance, RATE), clips[place].samples)


def test_rows_that_name_files_are_read_from_the_files(clips):
    named = datasets.Dataset.from_dict({"audio": [str(c.path) for c in clips], "label": [c.label for c in clips]})
    data = voxrank.read_dataset(named.cast_column("audio", Audio()))
    assert [u.path for u in data.utterances] == [c.path for c in clips]
    assert all(u.audio is None for u in data.utterances)


def test_rows_of_samples_are_read_as_they_are(clips):
    rows = datasets.Dataset.from_dict(
        {
            "array": [c.samples for c in clips[:4]],
            "sampling_rate": [c.rate for c in clips[:4]],
            "label": [c.label for c in clips[:4]],
        },
        features=Features({"array": List(Value("float32")), "sampling_rate": Value("int32"), "label": Value("string")}),
    )
    for utterance, clip in zip(voxrank.read_dataset(rows).utterances, clips[:4], strict=True):
        np.testing.assert_array_equal(decode(utterance, RATE), clip.samples)


def data_set_with(clips, **columns):
    features = {name: feature for name, (feature, _) in columns.items()}
    rows = {name: cells for name, (_, cells) in columns.items()}
    table = {"audio": [{"bytes": c.path.read_bytes(), "path": None} for c in clips[: len(next(iter(rows.values())))]]}
    found = datasets.Dataset.from_dict(table | rows).cast_column("audio", Audio())
    return found.cast(Features(features | {"audio": Audio()}))


def test_labels_of_one_class_each_are_classes(clips):
    data = voxrank.read_dataset(data_set_with(clips, labels=(ClassLabel(names=["a", "b"]), [1, 0])))
    assert (data.task, [u.label for u in data.utterances]) == ("classification", ["b", "a"])


def test_lists_of_classes_are_multilabel(clips):
    data = voxrank.read_dataset(data_set_with(clips, labels=(List(ClassLabel(names=["a", "b"])), [[1, 0], []])))
    assert (data.task, [u.labels for u in data.utterances]) == ("multilabel", [("a", "b"), ()])


@pytest.mark.parametrize("target", [None, "label", "value"])
def test_a_label_of_floats_is_a_number(clips, target):
    data = voxrank.read_dataset(data_set_with(clips, label=(Value("float32"), [0.5, 2.0])), target=target)
    assert (data.task, [u.value for u in data.utterances]) == ("regression", [0.5, 2.0])


@pytest.mark.parametrize("target", [None, "sentence", "text"])
def test_sentences_are_transcripts(clips, target):
    columns = {"sentence": (Value("string"), ["so", "be it"]), "gender": (Value("string"), ["f", "m"])}
    data = voxrank.read_dataset(data_set_with(clips, **columns), target=target)
    assert (data.task, [u.text for u in data.utterances]) == ("transcription", ["so", "be it"])


def test_rows_with_an_unknown_class_or_without_audio_are_skipped(clips):
    found = data_set_with(clips, label=(ClassLabel(names=["a", "b"]), [1, -1, 0]))
    table = found.with_format("arrow")[:]
    audio = pa.array([None, None, table["audio"][2].as_py()], type=table.schema.field("audio").type)
    data = voxrank.read_dataset(datasets.Dataset(table.set_column(table.column_names.index("audio"), "audio", audio)))
    assert [u.id for u in data.utterances] == ["row/2"]
    assert [s.reason for s in data.skipped] == ["the column 'audio' is empty"] * 2
    assert voxrank.read_dataset(found).skipped[0].reason == "the column 'label' is empty"


def test_a_second_column_of_audio_is_noted(clips):
    found = data_set_with(clips, label=(Value("string"), ["a"])).add_column("noise", [clips[0].path.read_bytes()])
    found = found.cast_column("noise", Audio())
    assert voxrank.read_dataset(found).notes == ("audio is the column 'audio' (also there: audio, noise)",)


def test_an_error_names_the_columns_when_none_holds_audio():
    with pytest.raises(DataError, match="expected a column of audio, found: label; cast one to Audio"):
        voxrank.read_dataset(datasets.Dataset.from_dict({"label": ["a"]}))


def test_a_streaming_data_set_is_refused(tones_set):
    with pytest.raises(DataError, match="expected a data set with numbered rows, got a streaming one"):
        voxrank.read_dataset(tones_set.to_iterable_dataset())


def test_audio_is_not_decoded_by_the_library(saved, monkeypatch):
    monkeypatch.setattr(Audio, "decode_example", lambda *_: pytest.fail("decoded"))
    for utterance in voxrank.read_dataset(saved).utterances[:2]:
        decode(utterance, RATE)


def test_labels_are_read_without_the_audio(tmp_path, clips):
    """Rows of 64 MB of audio are distinguished in far less memory."""
    size = 4 << 20
    rows = {"audio": [{"bytes": bytes(size), "path": "a.wav"}] * 16, "label": ["a"] * 16}
    datasets.Dataset.from_dict(rows).cast_column("audio", Audio()).save_to_disk(tmp_path / "big")
    before = pa.total_allocated_bytes()
    most = [0]
    iterate = datasets.Dataset.iter

    def watched(self, *args, **options):
        for table in iterate(self, *args, **options):
            most[0] = max(most[0], pa.total_allocated_bytes() - before)
            yield table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.Dataset, "iter", watched)
        assert len(voxrank.read_dataset(tmp_path / "big")) == 16
    assert most[0] < size


def test_a_folder_that_is_damaged_is_refused(saved):
    (saved / "state.json").write_text("{}")
    with pytest.raises(DataError, match="expected a folder that save_to_disk wrote, got KeyError"):
        voxrank.read_dataset(saved)


def test_an_error_names_the_extra_when_datasets_is_missing(saved, monkeypatch):
    monkeypatch.setattr(voxrank._support.packages, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"needs the extra hub; run: pip install 'voxrank\[hub\]'"):
        voxrank.read_dataset(saved)


def test_downloaded_data_sets_are_read_without_a_network(tmp_path, tones_set):
    """Downloaded data are read; other ids are refused in one line."""
    source = tmp_path / "name"
    source.mkdir()
    tones_set.select(range(30)).to_parquet(source / "train-00000.parquet")
    tones_set.select(range(30, 36)).to_parquet(source / "test-00000.parquet")
    cache = tmp_path / "home" / "datasets"
    datasets.load_dataset(str(source), cache_dir=str(cache))
    shutil.move(cache / "name", cache / "owner___name")  # as data of the hub would be stored

    def inspect(name):
        command = [sys.executable, "-W", "error", "-m", "voxrank", "inspect", name, "--json"]
        nowhere = "http://127.0.0.1:9"  # the hub receives one request, and does not answer
        own = {"HF_ENDPOINT": nowhere, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | own, check=False)

    found = inspect("owner/name")
    facts = json.loads(found.stdout)
    assert (facts["data"], facts["format"]) == ("owner/name", "Hugging Face data set (hub)")
    assert (facts["utterances"], facts["split"], facts["speakers"]) == (30, "train", 4)
    assert facts["classes"] == {"high": 10, "low": 10, "middle": 10}
    missing = inspect("hf://owner/other@main#en")
    assert missing.returncode == 2
    [line] = missing.stderr.strip().splitlines()
    assert "no such file or folder: hf://owner/other@main#en, and the Hugging Face hub gives no data set" in line
    assert line.endswith("check the name and the network")
