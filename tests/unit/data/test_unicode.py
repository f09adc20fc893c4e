"""Names and labels are the same in every normal form of Unicode."""

import csv
import io
import json
import os
import tarfile
import unicodedata

import numpy as np
import pytest
import soundfile

import voxrank
from voxrank.data.audio import decode
from voxrank.data.names import has_one_form, nfc, on_disk, tidied
from voxrank.data.segments import SegmentFiles, inline_track
from voxrank.errors import DataError
from voxrank.targets.labels import describe_look_alikes, remarks, utterance_targets


def nfd(text):
    return unicodedata.normalize("NFD", text)


def half_in_nfd(texts):
    """Return the texts with every second one in NFD."""
    return [nfd(text) if place % 2 else nfc(text) for place, text in enumerate(texts)]


def write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def audio(tmp_path, write_wav):
    def make(*files):
        for seed, name in enumerate(files):
            write_wav(tmp_path / name, np.random.default_rng(seed).uniform(-0.3, 0.3, 3200))
        return files

    return make


def test_cells_are_compared_in_nfc(tmp_path, audio):
    files = audio(*(f"{n}.wav" for n in range(4)))
    speakers, labels, accents = (
        half_in_nfd(["Zoé"] * 4),
        half_in_nfd(["für", "für", "né", "né"]),
        half_in_nfd(["Köln"] * 4),
    )
    rows = [*zip(files, labels, speakers, half_in_nfd(["Übung"] * 4), accents, strict=True)]
    path = write(tmp_path / "m.csv", ["path", "label", "speaker", "split", nfd("région")], rows)
    data = voxrank.read_dataset(path, split=nfd("übung"), besides=[nfc("région")])
    assert data.classes == ("für", "né")
    assert {u.speaker for u in data.utterances} == {"Zoé"}
    assert {u.split for u in data.utterances} == {"Übung"}
    assert set(data.cells(nfd("région"))) == {"Köln"}
    assert voxrank.read_dataset(path, target=nfc("région"), split="all").classes == ("Köln",)
    composed = write(
        tmp_path / "c.csv", ["path", "label", "speaker", "split"], [[nfc(x) for x in row[:4]] for row in rows]
    )
    other = voxrank.read_dataset(composed, split="übung")
    assert other.fingerprint() == voxrank.read_dataset(path, split="übung").fingerprint()


def test_several_labels_are_compared_in_nfc(tmp_path, audio):
    files = audio("a.wav", "b.wav")
    rows = [{"path": files[0], "labels": [nfd("für"), "x"]}, {"path": files[1], "labels": ["für", nfd("né")]}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert voxrank.read_dataset(tmp_path / "m.jsonl").classes == ("für", "né", "x")


def test_keys_of_json_are_compared_in_nfc(tmp_path, audio):
    files = audio("a.wav", "b.wav")
    rows = [{"path": files[0], nfd("thème"): "x"}, {"path": files[1], nfc("thème"): "y"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert voxrank.read_dataset(tmp_path / "m.jsonl", target="thème").classes == ("x", "y")


def test_white_space_and_invisible_characters_around_cells_are_removed(tmp_path, audio):
    files = audio("a.wav", "b.wav", "c.wav", "d.wav")
    cells = ["yes", "yes\u00a0", "\ufeffyes", " yes\u200b "]
    data = voxrank.read_dataset(write(tmp_path / "m.csv", ["path", "label"], zip(files, cells, strict=True)))
    assert data.classes == ("yes",)
    assert tidied("\u200b\u00a0 \ufeff") == ""
    assert tidied("می\u200cخواهم") == "می\u200cخواهم"


def test_folders_of_classes_are_compared_in_nfc(tmp_path, audio):
    audio("d/für/a.wav", f"d/{nfd('né')}/b.wav", f"d/{nfd('für')}/a.wav", "d/né/c.wav")
    data = voxrank.read_dataset(tmp_path / "d")
    assert data.classes == ("für", "né")
    assert len(data) == 4
    assert not data.skipped
    assert len({u.id for u in data.utterances}) == 4
    assert len({decode(u, 16_000).tobytes() for u in data.utterances}) == 4


@pytest.mark.parametrize("on_the_disk", [nfc, nfd])
@pytest.mark.parametrize("in_the_manifest", [nfc, nfd])
def test_files_are_found_in_any_normal_form_of_their_names(tmp_path, audio, on_the_disk, in_the_manifest):
    audio(on_the_disk("Zürich/né à.wav"), on_the_disk("Zürich/x.wav"))
    cells = [in_the_manifest("Zürich/né à.wav"), in_the_manifest(f"{tmp_path}/Zürich/x.wav")]
    path = write(tmp_path / "m.csv", ["path", "label"], zip(cells, "ab", strict=True))
    data = voxrank.read_dataset(path)
    assert [decode(u, 16_000).shape for u in data.utterances] == [(3200,)] * 2
    assert [u.id for u in data.utterances] == [nfc(cell) for cell in cells]
    assert all(u.path.exists() for u in data.utterances)


def test_a_file_named_twice_in_two_normal_forms_is_a_duplicate(tmp_path, audio):
    audio(nfd("né.wav"), "a.wav")
    cells = [nfc("né.wav"), nfd("né.wav"), "a.wav"]
    data = voxrank.read_dataset(write(tmp_path / "m.csv", ["path", "label"], zip(cells, "aab", strict=True)))
    assert [u.id for u in data.utterances] == ["né.wav", "a.wav"]
    assert [one.reason for one in data.skipped] == ["a duplicate of an earlier row"]


def test_two_files_that_differ_in_normal_form_are_two_utterances(tmp_path, audio):
    files = audio(nfc("né.wav"), nfd("né.wav"))
    path = write(tmp_path / "m.csv", ["path", "label"], [*zip(files, "ab", strict=True), (files[1], "b")])
    data = voxrank.read_dataset(path)
    assert [u.path.name for u in data.utterances] == list(files)
    assert [u.label for u in data.utterances] == ["a", "b"]
    assert len({u.id for u in data.utterances}) == 2
    assert [one.reason for one in data.skipped] == ["a duplicate of an earlier row"]


def test_the_manifest_and_its_folder_are_found_in_any_normal_form(tmp_path, audio):
    audio(nfd("donnée/é.wav"))
    write(tmp_path / nfd("donnée") / nfd("liste é.csv"), ["path", "label"], [(nfc("é.wav"), "a")])
    data = voxrank.read_dataset(tmp_path / nfc("donnée") / nfc("liste é.csv"))
    assert data.utterances[0].path.exists()
    with pytest.raises(DataError, match="no such data set"):
        voxrank.read_dataset(tmp_path / nfc("donnée") / nfc("autre é.csv"))


def test_folders_are_listed_once_and_only_for_names_with_accents(tmp_path, audio, monkeypatch):
    folder = tmp_path / "clips"
    audio(*(f"clips/{nfd('é')}{n}.wav" for n in range(20)), *(f"plain/{n}.wav" for n in range(20)))
    listed = []
    monkeypatch.setattr(os, "listdir", lambda path, real=os.listdir: listed.append(str(path)) or real(path))
    rows = [(f"clips/é{n}.wav", n % 2) for n in range(20)] + [(f"plain/{n}.wav", n % 2) for n in range(20)]
    assert len(voxrank.read_dataset(write(tmp_path / "m.csv", ["path", "label"], rows))) == 40
    assert listed == [str(folder)]


def test_a_file_created_later_is_found(tmp_path):
    assert on_disk(tmp_path / "é.wav") == tmp_path / "é.wav"
    (tmp_path / nfd("é.wav")).touch()
    assert on_disk(tmp_path / "é.wav") == tmp_path / nfd("é.wav")
    assert on_disk(tmp_path / "none é" / "é.wav") == tmp_path / "none é" / "é.wav"


@pytest.mark.parametrize(("text", "expected"), [("a.wav", True), ("语音", True), ("é", False), (nfd("é"), False)])
def test_names_with_only_one_normal_form_are_recognised(text, expected):
    assert has_one_form(text) is expected


def test_labels_of_segments_are_compared_in_nfc(tmp_path):
    (tmp_path / "a.ctm").write_text(f"a 1 0 0.1 {nfd('né')}\na 1 0.1 0.1 né\n")
    read = [*SegmentFiles().read(tmp_path / "a.ctm")["a"].segments, *inline_track([[0, 1, nfd("né")]]).segments]
    assert {segment.label for segment in read} == {"né"}


def test_names_in_kaldi_folders_are_compared_in_nfc(tmp_path, audio):
    audio(nfd("é.wav"), "b.wav")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "wav.scp").write_text(f"{nfd('ré')} {tmp_path}/{nfc('é.wav')}\nb {tmp_path}/b.wav\n")
    (folder / "segments").write_text(f"{nfd('ü')} {nfc('ré')} 0 0.1\nb b 0 0.1\n")
    (folder / "utt2label").write_text(f"{nfc('ü')} {nfd('né')}\nb x\n")
    (folder / "utt2spk").write_text(f"{nfc('ü')} {nfd('Zoé')}\nb b\n")
    (folder / "spk2gender").write_text(f"{nfc('Zoé')} f\nb m\n")
    data = voxrank.read_dataset(folder, besides=["gender"])
    assert [(u.id, u.label, u.speaker) for u in data.utterances] == [("ü", "né", "Zoé"), ("b", "x", "b")]
    assert data.cells("gender") == ["f", "m"]
    assert data.utterances[0].path.exists()


def test_a_recording_that_a_kaldi_folder_names_twice_is_skipped_once(tmp_path, audio):
    audio("a.wav", "b.wav", "c.wav")
    (tmp_path / "wav.scp").write_text(f"{nfd('é')} a.wav\n{nfc('é')} b.wav\nc c.wav\n")
    (tmp_path / "utt2label").write_text("é x\nc y\n")
    data = voxrank.read_dataset(tmp_path)
    assert [(u.id, u.path.name) for u in data.utterances] == [("é", "a.wav"), ("c", "c.wav")]
    assert [one.reason for one in data.skipped] == ["a duplicate of an earlier line of wav.scp"]


def test_members_of_tars_are_compared_in_nfc(tmp_path):
    content = io.BytesIO()
    soundfile.write(content, np.zeros(1600), 16_000, format="WAV")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, body in ((nfd("é.wav"), content.getvalue()), (nfc("é.cls"), b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    data = voxrank.read_dataset(tmp_path / "a.tar")
    assert [(u.id, u.label) for u in data.utterances] == [("a/é", "x")]


@pytest.mark.parametrize(
    ("labels", "pair"),
    [
        (["g", "\u0261", "a"], "'g' and '\u0261' (U+0261)"),
        (["aː", "a:"], "'a:' and 'aː' (U+02D0)"),
        (["New York", "New\u00a0York"], r"'New York' and 'New\xa0York' (U+00A0)"),
        (["y\u200bes", "yes"], r"'yes' and 'y\u200bes' (U+200B)"),
        (["\u0430", "a"], "'a' and '\u0430' (U+0430)"),
    ],
)
def test_labels_that_look_alike_are_noted(labels, pair):
    [line] = describe_look_alikes(labels)
    assert line == (f"labels that look alike are different classes: {pair}; give them one spelling if they are one")


def test_labels_that_look_different_are_not_noted(tmp_path, audio):
    assert describe_look_alikes(["a", "A", "ʰ", "h", "né", "ne", "s", "ʃ"]) == []
    files = audio("a.wav", "b.wav", "c.wav", "d.wav")
    path = write(tmp_path / "m.csv", ["path", "label"], zip(files, ["g", "g", "ɡ", "ɡ"], strict=True))
    data = voxrank.read_dataset(path)
    assert any("look alike" in line for line in remarks(utterance_targets(data.utterances, data.task)))
