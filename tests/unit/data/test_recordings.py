"""Recordings are found by every unique name, and never by a name that two of them share."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from voxrank.data.read import read_dataset
from voxrank.data.recording_keys import RecordingNames
from voxrank.data.recordings import RecordingIndex
from voxrank.data.timed import _SegmentFolder
from voxrank.errors import DataError, UtteranceError

HERE = Path("/data/corpus")


def names_of(path, **columns):
    return RecordingNames.of(path, columns, None)


def found(names, paths, place="all.ctm", folder=HERE):
    """Return the matching name of each path; None if there is none, "refused" if two match."""
    recordings = [names_of(path) for path in paths]
    index = RecordingIndex(names, recordings, folder, Path(place))

    def of(recording):
        try:
            match = index.find(recording)
        except UtteranceError:
            return "refused"
        return None if match is None else match.name

    return {path: of(recording) for path, recording in zip(paths, recordings, strict=True)}


SPEAKERS = ["spk1/0.wav", "spk2/0.wav"]
SPELLINGS = {
    "slash": "{0}/0",
    "hyphen": "{0}-0",
    "underscore": "{0}_0",
    "two underscores": "{0}__0",
    "ending": "{0}/0.wav",
    "another ending": "{0}/0.flac",
    "more folders": "wavs/{0}/0",
    "whole path": "/data/corpus/{0}/0.wav",
    "whole path, no ending": "/data/corpus/{0}/0",
    "path of another machine": "/home/anna/{0}/0.wav",
    "this folder": "./{0}/0.wav",
    "backslashes": "C:\\corpus\\{0}\\0.wav",
    "escaped": "{0}%2F0.wav",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_files_of_the_same_name_are_distinguished_by_their_folders(spelling):
    names = [spelling.format(speaker) for speaker in ("spk1", "spk2")]
    assert found(names, SPEAKERS) == dict(zip(SPEAKERS, names, strict=True))
    upper = ["SPK1/0.WAV", "SPK2/0.WAV"]
    assert found(names, upper) == dict(zip(upper, names, strict=True))
    assert found(names[:1], SPEAKERS) in (
        {SPEAKERS[0]: names[0], SPEAKERS[1]: "refused"},
        {SPEAKERS[0]: names[0], SPEAKERS[1]: None},
    )


PLACES = {
    "relative": SPEAKERS,
    "absolute": ["/data/corpus/spk1/0.wav", "/data/corpus/spk2/0.wav"],
    "deeper": ["train/a/spk1/0.wav", "train/a/spk2/0.wav"],
    "elsewhere": ["/mnt/spk1/0.wav", "/mnt/spk2/0.wav"],
    "backslashes": ["spk1\\0.wav", "spk2\\0.wav"],
}


@pytest.mark.parametrize("paths", PLACES.values(), ids=PLACES)
def test_a_name_of_two_recordings_is_refused_for_both(paths):
    assert found(["0"], paths) == dict.fromkeys(paths, "refused")
    assert found(["spk1/0"], paths) == {paths[0]: "spk1/0", paths[1]: "refused"}
    assert found(["spk1-0", "spk2-0"], paths) == {paths[0]: "spk1-0", paths[1]: "spk2-0"}


@pytest.mark.parametrize("place", ["spk1.ctm", "times/spk1", "SPK1.json"])
def test_a_segment_file_may_have_the_name_of_the_recordings_folder(place):
    assert found(["0"], SPEAKERS, place) == {SPEAKERS[0]: "0", SPEAKERS[1]: "refused"}


UNIQUE = {
    "bare name": (["0"], ["spk1/0.wav"], ["0"]),
    "bare name of a nested file": (["spk1/0"], ["wavs/0.wav"], ["spk1/0"]),
    "dots": (["a.b", "a.c"], ["a.b.wav", "a.c.wav"], ["a.b", "a.c"]),
    "dots and no ending": (["rec.1", "rec.2"], ["rec.1", "rec.2"], ["rec.1", "rec.2"]),
    "audio's ending": (["a.wav", "a.flac"], ["a.wav", "a.flac"], ["a.wav", "a.flac"]),
    "two endings": (["a"], ["a.wav", "a.flac"], ["refused", "refused"]),
    "spaces": (["a_b", "c"], ["a b.wav", "c.wav"], ["a_b", "c"]),
    "spaces and underscores": (["a%20b.wav", "a_b.wav"], ["a b.wav", "a_b.wav"], ["a%20b.wav", "a_b.wav"]),
    "spaces or underscores": (["a_b"], ["x/a b.wav", "y/a_b.wav"], ["refused", "a_b"]),
    "percent signs": (["a%20b", "a_b"], ["a%20b.wav", "a b.wav"], ["a%20b", "refused"]),
    "upper case": (["FCJF0/SA1"], ["fcjf0/sa1.wav"], ["FCJF0/SA1"]),
    "two cases": (["a", "A"], ["a.wav", "A.wav"], ["a", "A"]),
    "one of two cases": (["sa1"], ["x/Sa1.wav", "y/SA1.wav"], ["refused", "refused"]),
    "names of the data's own folder": (["0"], ["0.wav", "spk1/0.wav"], ["0", "refused"]),
    "several names": (["a/0", "b/0"], ["c/0.wav"], ["refused"]),
    "another speaker's folder": (["spk2/0", "spk1/1"], ["spk1/0.wav", "spk2/1.wav"], ["refused", "refused"]),
    "a folder that names have": (["spk1/1", "0"], ["spk1/0.wav", "spk1/1.wav"], ["refused", "spk1/1"]),
    "folders of other kinds": (
        ["train/tg/0", "train/tg/1"],
        ["train/wav/0.wav", "train/wav/1.wav"],
        ["train/tg/0", "train/tg/1"],
    ),
    "nothing alike": (["spk1-0", "x"], ["0.wav"], [None]),
    "one path twice": (
        ["0"],
        ["spk1/0.wav", "./spk1/0.wav", "spk1/../spk1/0.wav", "/data/corpus/spk1/0.wav"],
        ["0"] * 4,
    ),
    "accents": (["cafe\u0301"], ["caf\xe9.wav"], ["cafe\u0301"]),
    "accents in folders": (
        ["Ame\u0301lie/0", "Zoe\u0308/0"],
        ["Am\xe9lie/0.wav", "Zo\xeb/0.wav"],
        ["Ame\u0301lie/0", "Zoe\u0308/0"],
    ),
}


@pytest.mark.parametrize(("names", "paths", "expected"), UNIQUE.values(), ids=UNIQUE)
def test_a_recording_is_found_by_its_unique_name(names, paths, expected):
    assert list(found(names, paths).values()) == expected


def write_ctm(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} 1 0 0.2 {label}\n{name} 1 0.2 0.2 z\n" for name, label in names.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def labels(dataset):
    return {utterance.id: utterance.segments[0].label for utterance in dataset.utterances}


def write_rows(folder, rows, name="m.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


IDS = {
    "utterance": ({"utt_id": "A"}, {"utt_id": "B"}),
    "recording": ({"recording": "A"}, {"recording": "B"}),
    "any case": ({"utterance_id": "a"}, {"utterance_id": "b"}),
}


@pytest.mark.parametrize(("first", "second"), IDS.values(), ids=IDS)
def test_recordings_are_found_by_the_ids_of_their_rows(tmp_path, first, second):
    rows = [{"path": "spk1/0.wav"} | first, {"path": "spk2/0.wav"} | second]
    path = write_ctm(tmp_path / "all.ctm", {"A": "x", "B": "y"})
    dataset = read_dataset(write_rows(tmp_path, rows), segments=path)
    assert labels(dataset) == {"spk1/0.wav": "x", "spk2/0.wav": "y"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"b": "y", "c": "z", "e": "w"}, {"b.wav": "z", "d.wav": "w"}),
        ({"1": "x", "b": "y", "d": "z"}, {"1.wav": "x", "d.wav": "z"}),
    ],
    ids=["ids", "files"],
)
def test_an_id_that_is_the_name_of_another_file_is_ambiguous(tmp_path, names, expected):
    rows = [{"path": "1.wav", "utt_id": "b"}, {"path": "b.wav", "utt_id": "c"}, {"path": "d.wav", "utt_id": "e"}]
    path = write_ctm(tmp_path / "all.ctm", names)
    dataset = read_dataset(write_rows(tmp_path, rows), segments=path)
    assert labels(dataset) == expected
    assert len(dataset.utterances) + len(dataset.skipped) == 3


def test_a_row_whose_file_and_id_name_different_segments_is_skipped(tmp_path):
    rows = [{"path": "a.wav", "utt_id": "u1"}, {"path": "b.wav", "utt_id": "u2"}]
    path = write_ctm(tmp_path / "all.ctm", {"a": "x", "u1": "y", "b": "z"})
    dataset = read_dataset(write_rows(tmp_path, rows), segments=path)
    assert labels(dataset) == {"b.wav": "z"}
    [skipped] = dataset.skipped
    assert skipped.reason == "its file names the segments 'a' in all.ctm, and its id names 'u1'; rename one"


def test_ids_that_are_row_numbers_are_not_names(tmp_path):
    rows = [{"path": "1.wav", "id": "0"}, {"path": "0.wav", "id": "1"}]
    path = write_ctm(tmp_path / "all.ctm", {"0": "x", "1": "y"})
    assert labels(read_dataset(write_rows(tmp_path, rows), segments=path)) == {"1.wav": "y", "0.wav": "x"}


def test_parts_of_a_file_share_its_segments(tmp_path):
    rows = [{"path": "long.wav", "start": start, "end": start + 0.2, "utt_id": f"u{start}"} for start in (0, 0.2)]
    path = write_ctm(tmp_path / "all.ctm", {"long": "x"})
    dataset = read_dataset(write_rows(tmp_path, rows), segments=path)
    assert [utterance.segments for utterance in dataset.utterances] == [dataset.utterances[0].segments] * 2
    assert dataset.notes == ()


def test_times_under_the_id_of_a_part_are_relative_to_its_start(tmp_path):
    rows = [
        {"path": "long.wav", "start": 4, "end": 4.4, "utt_id": "u1"},
        {"path": "long.wav", "start": 8, "utt_id": "u2"},
    ]
    path = write_ctm(tmp_path / "all.ctm", {"u1": "x", "u2": "y"})
    dataset = read_dataset(write_rows(tmp_path, rows), segments=path)
    assert [utterance.segments[0].start for utterance in dataset.utterances] == [4.0, 8.0]
    assert dataset.notes == ("segments named after an utterance are read in seconds from its start",)
    path.write_text("u1 1 4.0 0.2 x\nu1 1 4.2 0.2 y\nu2 1 0.1 0.1 y\n")
    dataset = read_dataset(write_rows(tmp_path, rows), segments=path)
    assert [utterance.segments[0].start for utterance in dataset.utterances] == [4.0, 8.1]


def test_rows_of_other_splits_make_a_name_ambiguous_too(tmp_path):
    rows = [{"path": "spk1/0.wav", "split": "train"}, {"path": "spk2/0.wav", "split": "test"}]
    path = write_ctm(tmp_path / "all.ctm", {"0": "x"})
    with pytest.raises(
        DataError, match=r"the name '0' in all\.ctm may stand for several recordings of the data, such as"
    ):
        read_dataset(write_rows(tmp_path, rows), segments=path)


def test_names_are_compared_only_within_one_file_of_segments(tmp_path):
    write_ctm(tmp_path / "a.ctm", {"0": "x"})
    write_ctm(tmp_path / "b.ctm", {"0": "y"})
    rows = [{"path": f"{speaker}/0.wav", "segments": f"{name}.ctm"} for speaker, name in (("spk1", "a"), ("spk2", "b"))]
    assert labels(read_dataset(write_rows(tmp_path, rows))) == {"spk1/0.wav": "x", "spk2/0.wav": "y"}
    for row in rows:
        row["segments"] = "./a.ctm"
    with pytest.raises(DataError, match="may stand for several recordings"):
        read_dataset(write_rows(tmp_path, rows))


LAYOUTS = {
    "per speaker": ["spk1/0.TextGrid", "spk2/0.TextGrid"],
    "upper case": ["SPK1/0.TEXTGRID", "SPK2/0.TEXTGRID"],
    "deeper": ["train/spk1/0.textgrid", "test/spk2/0.textgrid"],
    "flat": ["spk1_0.TextGrid", "spk2_0.TextGrid"],
    "with the audio's ending": ["spk1/0.wav.TextGrid", "spk2/0.wav.TextGrid"],
}
GRID = 'File type = "ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n1\n"IntervalTier"\n"phones"\n0\n1\n1\n0\n1\n"{}"\n'


def write_grids(folder, names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(GRID.format("xyz"[number]))
    return folder


@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
def test_segments_are_found_in_subfolders(tmp_path, names):
    rows = [{"path": path} for path in SPEAKERS]
    folder = write_grids(tmp_path / "grids", names)
    (folder / "._0.TextGrid").write_bytes(b"\0\5\x16\7")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "0.TextGrid").write_text(GRID.format("w"))
    assert labels(read_dataset(write_rows(tmp_path, rows), segments=folder)) == {SPEAKERS[0]: "x", SPEAKERS[1]: "y"}


def test_recordings_without_one_file_in_the_folder_are_skipped(tmp_path):
    rows = [{"path": path} for path in (*SPEAKERS, "b.wav", "c.wav", "d.wav")]
    folder = write_grids(tmp_path / "grids", ["spk1/0.TextGrid", "b.TextGrid", "c.TextGrid"])
    write_ctm(folder / "c.ctm", {"c": "y"})
    dataset = read_dataset(write_rows(tmp_path, rows), segments=folder)
    assert labels(dataset) == {"spk1/0.wav": "x", "b.wav": "y"}
    reasons = " | ".join(skipped.reason for skipped in dataset.skipped)
    assert "the name 'spk1/0' in grids may stand for several recordings of the data" in reasons
    assert "expected one file of segments for it, found c.TextGrid and c.ctm" in reasons
    assert "expected d.TextGrid (or .ctm, .rttm, .txt, .json) in" in reasons


def test_linked_folders_of_segments_are_entered_once(tmp_path):
    write_grids(tmp_path / "elsewhere", ["0.TextGrid"])
    folder = tmp_path / "grids"
    folder.mkdir()
    (folder / "spk1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(folder)
    rows = [{"path": path} for path in SPEAKERS]
    assert labels(read_dataset(write_rows(tmp_path, rows), segments=folder)) == {"spk1/0.wav": "x"}


def test_a_file_of_one_recording_is_not_used_for_the_others(tmp_path):
    rows = [{"path": path} for path in (*SPEAKERS, "b.wav")]
    folder = write_grids(tmp_path / "grids", ["spk2/0.TextGrid"])
    dataset = read_dataset(write_rows(tmp_path, rows), segments=folder / "spk2" / "0.TextGrid")
    assert labels(dataset) == {"spk2/0.wav": "x"}
    reasons = [skipped.reason for skipped in dataset.skipped]
    assert "may stand for several recordings" in reasons[0]
    assert reasons[1].startswith("expected segments of 'b.wav', but 0.TextGrid holds those of one recording of another")
    only = read_dataset(write_rows(tmp_path, rows[2:]), segments=folder / "spk2" / "0.TextGrid")
    assert labels(only) == {"b.wav": "x"}


def test_a_ctm_file_in_a_folder_is_read_for_its_recording(tmp_path):
    write_ctm(tmp_path / "times" / "spk1" / "0.ctm", {"spk1-0": "x"})
    write_ctm(tmp_path / "times" / "spk2" / "0.ctm", {"0": "y"})
    rows = [{"path": path} for path in SPEAKERS]
    dataset = read_dataset(write_rows(tmp_path, rows), segments=tmp_path / "times")
    assert labels(dataset) == {"spk1/0.wav": "x", "spk2/0.wav": "y"}


def test_names_are_compared_in_nfc(tmp_path):
    name = unicodedata.normalize("NFD", "Amélie/été")
    folder = write_grids(tmp_path / "grids", [f"{name}.TextGrid"])
    rows = [{"path": "Amélie/été.wav"}, {"path": "Zoé/été.wav"}]
    assert labels(read_dataset(write_rows(tmp_path, rows), segments=folder)) == {"Amélie/été.wav": "x"}


@pytest.mark.parametrize("count", [50, 100])
def test_a_folder_is_scanned_once_and_each_name_looked_up_a_few_times(tmp_path, monkeypatch, count):
    scans, lookups = [], []
    scan, first = os.scandir, RecordingIndex._first
    monkeypatch.setattr(os, "scandir", lambda path: scans.append(path) or scan(path))
    monkeypatch.setattr(RecordingIndex, "_first", lambda self, *keys: lookups.append(1) or first(self, *keys))
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("a folder was searched for one recording"))
    write_grids(tmp_path / "grids", [f"spk{n % 2}/{n // 2}.TextGrid" for n in range(3)])
    rows = [RecordingNames(f"spk{n % 2}/{n // 2}.wav") for n in range(count)]
    folder = _SegmentFolder(tmp_path / "grids", rows, tmp_path)
    for row in rows[:3]:
        assert folder.file_of(row).parent.name == row.path.split("/")[0]
    for row in rows[3:]:
        with pytest.raises(UtteranceError):
            folder.file_of(row)
    assert len(scans) == 3
    assert len(lookups) <= 6 * count


@pytest.mark.parametrize("folders", [1, 4])
def test_the_number_of_lookups_per_recording_does_not_grow_with_the_data(folders):
    inner = "/".join("abcd"[:folders])
    few, many = ([f"{inner}/{n}.wav" for n in range(count)] for count in (10, 1000))

    def looked_up(paths):
        """Return the mean number of keys that are looked up for a recording."""
        looked_up_keys = []
        recordings = [RecordingNames(path) for path in paths]
        with pytest.MonkeyPatch.context() as patch:
            names = RecordingIndex._names
            patch.setattr(RecordingIndex, "_names", lambda self, key: looked_up_keys.append(key) or names(self, key))
            index = RecordingIndex([path.removesuffix(".wav") for path in paths], recordings, HERE, Path("x"))
            assert all(index.find(recording).name for recording in recordings)
        return len(looked_up_keys) / len(paths)

    assert looked_up(many) == looked_up(few) < 40
