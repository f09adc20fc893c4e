"""Data sets that are Python objects."""

import pickle
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import voxrank
from voxrank.data.audio import decode
from voxrank.data.sources import HeldAudio
from voxrank.errors import DataError

RATE = 16_000


class Items(Dataset):
    """A map-style data set of a function's results for each clip."""

    def __init__(self, clips, make):
        self.clips, self.make, self.n_reads = clips, make, 0

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        self.n_reads += 1
        return self.make(self.clips[index])


def as_speech_commands(clip):
    return torch.from_numpy(clip.samples)[None], clip.rate, clip.label, clip.speaker, 0


def as_dict(clip):
    return {
        "waveform": torch.from_numpy(clip.samples),
        "sample_rate": clip.rate,
        "label": clip.label,
        "speaker": clip.speaker,
    }


def as_hub_dict(clip):
    audio = {"array": clip.samples.astype(np.float64), "sampling_rate": clip.rate, "path": None}
    return {"audio": audio, "emotion": clip.label, "speaker_id": clip.speaker}


@pytest.mark.parametrize("make", [as_speech_commands, as_dict, as_hub_dict])
def test_items_are_ranked_as_the_manifest(clips, ranked_as_tones, make):
    ranked_as_tones(Items(clips, make))


def table_of_paths(clips):
    return pd.DataFrame({"path": [str(c.path) for c in clips]})


def table_of_samples(clips):
    return pd.DataFrame({"audio": [c.samples for c in clips], "sampling_rate": [c.rate for c in clips]})


def table_of_bytes(clips):
    return pd.DataFrame({"audio": [{"bytes": c.path.read_bytes()} for c in clips]})


@pytest.mark.parametrize("make", [table_of_paths, table_of_samples, table_of_bytes])
def test_tables_are_ranked_as_the_manifest(clips, ranked_as_tones, make):
    table = make(clips).assign(label=[c.label for c in clips], speaker=[c.speaker for c in clips])
    ranked_as_tones(table)


def test_a_table_gives_the_utterances_of_its_manifest(tones, clips):
    table = pd.read_csv(tones)
    table["path"] = [str(c.path) for c in clips]
    data, manifest = voxrank.read_dataset(table), voxrank.read_dataset(tones)
    assert data.format == "pandas table"
    for ours, theirs in zip(data.utterances, manifest.utterances, strict=True):
        assert (ours.path, ours.label, ours.speaker) == (theirs.path, theirs.label, theirs.speaker)


def test_cells_of_pandas_types_are_read(clips):
    table = table_of_paths(clips[:4]).assign(
        value=pd.array([1, 2, None, 4], dtype="Int64"),
        start=np.array([0.0, 0.05, 0.0, np.nan], dtype=np.float32),
        speaker=pd.Categorical(["a", "b", None, "a"]),
        split="train",
    )
    data = voxrank.read_dataset(table)
    assert [(u.value, u.start, u.speaker) for u in data.utterances] == [
        (1.0, 0.0, "a"),
        (2.0, pytest.approx(0.05), "b"),
        (4.0, 0.0, "a"),
    ]
    assert [s.reason for s in data.skipped] == ["the column 'value' is empty"]


def test_relative_paths_start_at_the_working_folder(clips, monkeypatch):
    monkeypatch.chdir(clips[0].path.parent)
    table = pd.DataFrame({"path": [clips[0].path.name], "label": ["x"]})
    assert len(decode(voxrank.read_dataset(table).utterances[0], RATE)) == len(clips[0].samples)


def test_items_are_not_kept_and_are_pickled_with_their_own_audio(clips):
    items = Items(clips, as_speech_commands)
    data = voxrank.read_dataset(items)
    assert items.n_reads == 36
    utterance = data.utterances[7]
    assert isinstance(utterance.audio, HeldAudio)
    sent = pickle.dumps(utterance)
    assert len(sent) < 2 * clips[7].samples.nbytes
    np.testing.assert_array_equal(decode(pickle.loads(sent), RATE), clips[7].samples)


def test_parts_of_a_tuple_can_be_named_by_their_position(clips):
    items = Items(clips, lambda c: (torch.from_numpy(c.samples), c.rate, c.label, c.speaker, "noisy", 4))
    assert voxrank.read_dataset(items).task == "classification"
    assert voxrank.read_dataset(items, target="speaker").classes == ("s0", "s1", "s2", "s3")
    assert voxrank.read_dataset(items, target="item4").classes == ("noisy",)
    assert voxrank.read_dataset(items, target="item5").classes == ("4",)
    spoken = voxrank.read_dataset(items, target="text")
    assert (spoken.task, spoken.utterances[0].text) == ("transcription", "low")


def tuples(make, count=12):
    return [(np.full(4000, 0.1, dtype=np.float32), RATE, *make(number)) for number in range(count)]


LAYOUTS = {
    "IEMOCAP": (
        lambda n: (f"Ses01_{n}", ("ang", "hap")[n % 2], f"Ses0{n % 3}F"),
        ("classification", "label", {"ang", "hap"}, {"Ses00F", "Ses01F", "Ses02F"}),
        "label is item3 of the tuples ('ang', 'hap'), speaker is item4 of the tuples ('Ses00F', 'Ses01F', 'Ses02F')",
    ),
    "names of files": (
        lambda n: (f"clips/{n}.wav", ("ang", "hap")[n % 2]),
        ("classification", "label", {"ang", "hap"}, {None}),
        "label is item3 of the tuples ('ang', 'hap'), item2 holds names of files or of items",
    ),
    "SPEECHCOMMANDS": (
        lambda n: (("yes", "no")[n % 2], f"hash{n % 3}", n % 2),
        ("classification", "label", {"yes", "no"}, {"hash0", "hash1", "hash2"}),
        "label is item2 of the tuples ('yes', 'no'), speaker is item3",
    ),
    "LIBRISPEECH": (
        lambda n: (f"word number {n}", n % 3, n % 4, n),
        ("transcription", "text", {f"word number {n}" for n in range(12)}, {"0", "1", "2"}),
        "text is item2 of the tuples",
    ),
    "VoxCeleb": (
        lambda n: (n % 3, f"id1/abc/{n}.wav"),
        ("classification", "label", {"0", "1", "2"}, {None}),
        "label is item2 of the tuples",
    ),
    "COMMONVOICE": (
        lambda n: ({"client_id": "anna", "path": "x.mp3", "sentence": f"word {n}"},),
        ("transcription", "text", {f"word {n}" for n in range(12)}, {"anna"}),
        "text is the column 'sentence', speaker is the column 'client_id'",
    ),
    "values": (lambda n: (n / 7,), ("regression", "value", {n / 7 for n in range(12)}, {None}), "value is item2"),
}


@pytest.mark.parametrize(("make", "expected", "note"), LAYOUTS.values(), ids=LAYOUTS)
def test_parts_of_tuples_are_recognised_by_their_values(make, expected, note):
    data = voxrank.read_dataset(tuples(make))
    found = {getattr(one, data.target) for one in data.utterances}
    assert (data.task, data.target, found, {one.speaker for one in data.utterances}) == expected
    assert note in data.notes[0]


def test_a_rate_beside_the_name_of_a_file_is_no_label():
    data = voxrank.read_dataset([(f"{n}.wav", RATE, ("yes", "no")[n % 2]) for n in range(12)])
    assert data.classes == ("no", "yes")


def test_names_of_files_alone_are_no_labels():
    with pytest.raises(DataError, match=r"expected a column 'label'.*found: sample_rate, item2, path"):
        voxrank.read_dataset(tuples(lambda n: (f"{n}.wav",)))


def test_tuples_whose_label_cannot_be_known_are_refused():
    """FluentSpeechCommands has the speaker before the transcript, the action, the object and the place."""
    spoken = tuples(lambda n: (f"s{n % 3}/{n}.wav", f"s{n % 3}", f"words {n}", "ab"[n % 2], "cd"[n % 2], "ef"[n % 2]))
    with pytest.raises(DataError, match="one part of the tuples that may be the label, got several: item3"):
        voxrank.read_dataset(spoken)
    assert voxrank.read_dataset(spoken, target="item5").classes == ("a", "b")


def test_the_sample_rate_of_a_data_set_is_used_for_all_items(clips):
    waveforms = torch.stack([torch.from_numpy(c.samples[:3000]) for c in clips])
    items: Any = TensorDataset(waveforms, torch.tensor([n % 3 for n in range(36)]))
    items.sample_rate = RATE
    data = voxrank.read_dataset(items)
    assert data.classes == ("0", "1", "2")
    np.testing.assert_array_equal(decode(data.utterances[4], RATE), clips[4].samples[:3000])


def test_named_tuples_and_lists_are_read(clips):
    class Heard(NamedTuple):
        samples: np.ndarray
        sr: int
        label: str

    data = voxrank.read_dataset([Heard(c.samples, c.rate, c.label) for c in clips])
    assert data.classes == ("high", "low", "middle")
    data = voxrank.read_dataset([{"path": c.path, "label": c.label} for c in clips])
    assert [u.path for u in data.utterances] == [c.path for c in clips]


def test_only_an_item_that_fails_is_skipped(clips):
    def make(clip):
        if clip is clips[3]:
            raise KeyError("no such clip")
        return as_dict(clip)

    data = voxrank.read_dataset(Items(clips, make))
    assert len(data) == 35
    assert [(s.utterance, s.reason) for s in data.skipped] == [
        ("row 3", "the data set raised KeyError: 'no such clip'")
    ]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"label": "x"}, "expected audio in one of audio, waveform, array or path, found: label"),
        (
            {"audio": np.zeros(1000), "label": "x"},
            "expected the rate of the samples, found none; name it 'sampling_rate'",
        ),
        ({"audio": {"a": 1}, "label": "x"}, "expected audio with bytes, path or array, got the keys a"),
        ({"audio": object(), "label": "x"}, "expected a file, bytes or samples, got object"),
        ({"audio": None, "label": "x"}, "expected a file, bytes or samples, got NoneType"),
        (("x",), "expected a dict, or a tuple of audio, rate and label, got tuple"),
        (7, "expected a dict, or a tuple of audio, rate and label, got int"),
    ],
)
def test_items_without_usable_audio_are_refused(item, reason):
    with pytest.raises(DataError) as caught:
        voxrank.read_dataset([item])
    assert reason in str(caught.value)


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(1000), RATE, "x"

    def __len__(self):
        return 10


@pytest.mark.parametrize(
    "data", [Endless(), iter([1]), {"a": 1}, {1, 2}, b"x", 7, None], ids=lambda x: type(x).__name__
)
def test_data_without_numbered_items_is_refused(data):
    with pytest.raises(DataError, match="expected a path, a table, or a data set with a length and numbered items"):
        voxrank.read_dataset(data)


def test_an_empty_list_is_refused():
    with pytest.raises(DataError, match="list: expected at least one usable row, found none"):
        voxrank.read_dataset([])


def test_column_names_that_come_twice_are_refused(clips):
    table = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="DataFrame: expected different column names, got one more than once"):
        voxrank.read_dataset(table)


def test_source_data_may_be_an_object(tones, clips):
    found = voxrank.rank(tones, ["logmel"], source=Items(clips, as_dict), scores=["logme", "frechet"])
    assert found.layers[0].scores["frechet"].value == pytest.approx(0, abs=1e-3)
