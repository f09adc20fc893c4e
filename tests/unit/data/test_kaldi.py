"""Kaldi's data folders, as exported by lhotse, and archives, as written by kaldiio."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.kaldi import export_to_kaldi

import voxrank
from voxrank.data.audio import decode
from voxrank.data.kaldi import wav_in
from voxrank.data.sources import FileRegion
from voxrank.errors import DataError, UtteranceError

ARK = Path(__file__).parents[2] / "data" / "kaldi"
"""Written by `kaldiio.WriteHelper("ark,scp:wav.ark,wav.scp")` of kaldiio 2.18.1: tones of `conftest.tone`, of 50 ms."""


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_scp", ".scp")).write_text(text)
    return folder


@pytest.fixture
def exported(tmp_path, clips):
    """Export the tones with lhotse; labels are the transcripts' words, and in utt2label."""
    recordings = RecordingSet.from_recordings(Recording.from_file(c.path, recording_id=c.name) for c in clips)
    supervisions = SupervisionSet.from_segments(
        SupervisionSegment(f"{c.name}-u", c.name, 0, len(c.samples) / c.rate, text=f"so {c.label}", speaker=c.speaker)
        for c in clips
    )
    folder = tmp_path / "kaldi"
    export_to_kaldi(recordings, supervisions, folder)
    (folder / "utt2label").write_text("".join(f"{c.name}-u {c.label}\n" for c in clips))
    return folder


def test_a_folder_exported_by_lhotse_is_ranked_as_the_manifest(exported, ranked_as_tones):
    ranked_as_tones(exported)


def test_files_of_the_folder_give_the_columns(exported, clips):
    write(exported, spk2gender="s0 f\ns1 m\n", utt2lang=f"{clips[0].name}-u de\n")
    data = voxrank.read_dataset(exported, target="gender")
    assert data.format == "Kaldi data folder"
    assert data.classes == ("f", "m")
    first = next(u for u in data.utterances if u.id == f"{clips[0].name}-u")
    assert (first.speaker, first.language, first.text) == ("s0", "de", f"so {clips[0].label}")
    assert first.path == clips[0].path
    spoken = voxrank.read_dataset(exported, target="text")
    assert (spoken.task, len(spoken)) == ("transcription", 36)


def test_archives_of_kaldiio_hold_the_samples(tmp_path):
    folder = tmp_path / "ark"
    shutil.copytree(ARK, folder)
    names = [line.split()[0] for line in (folder / "wav.scp").read_text().splitlines()]
    write(folder, utt2label="".join(f"{name} {name[:-3]}\n" for name in names))
    data = voxrank.read_dataset(folder)
    assert [u.id for u in data.utterances] == names
    for number, utterance in enumerate(data.utterances):
        pitch = {"low": 200.0, "high": 1400.0}[utterance.label]
        t, rng = np.arange(800) / 16_000, np.random.default_rng(number)
        samples = (0.3 * np.sin(2 * np.pi * pitch * t) + 0.05 * rng.normal(size=800)).astype(np.float32)
        written = np.round(samples * 32767).astype(np.int16)
        for one in (utterance, pickle.loads(pickle.dumps(utterance))):
            np.testing.assert_array_equal(decode(one, 16_000), written.astype(np.float32) / 32768)


def test_archives_are_ranked_as_files(tmp_path):
    folder = tmp_path / "ark"
    shutil.copytree(ARK, folder)
    lines = [line.split() for line in (folder / "wav.scp").read_text().splitlines()]
    write(folder, utt2label="".join(f"{name} {name[:-3]}\n" for name, _ in lines))
    rows = ["path,label"]
    for name, place in lines:
        region = wav_in(folder / "wav.ark", int(place.partition(":")[2]))
        with region.open() as file:
            (tmp_path / f"{name}.wav").write_bytes(file.read())
        rows.append(f"{name}.wav,{name[:-3]}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    found, expected = (voxrank.rank(source, ["logmel"]) for source in (folder, tmp_path / "m.csv"))
    values = [[one.scores["logme"].value for one in ranking.layers] for ranking in (found, expected)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_commands_are_never_run(tmp_path, exported, clips):
    ran = tmp_path / "ran"
    lines = (exported / "wav.scp").read_text().splitlines()
    lines[0] = f"{lines[0].split()[0]} touch {ran} |"
    write(exported, wav_scp="\n".join(lines))
    data = voxrank.read_dataset(exported)
    assert len(data) == 35
    [skipped] = data.skipped
    assert skipped.reason == (
        f"expected a file for {lines[0].split()[0]!r} in wav.scp, got a command, which is not run; write its audio to "
        "files (wav-copy, or the command itself) and name them"
    )
    voxrank.rank(exported, ["logmel"])
    assert not ran.exists()


def test_segments_are_stretches_of_recordings(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, 16_000, subtype="FLOAT")
    folder = write(
        tmp_path / "data",
        wav_scp=f"long {tmp_path}/long.wav\n",
        segments="u1 long 0.5 1.25\nu2 long 2 -1\nu3 nowhere 0 1\nu4 long 1\n",
        utt2label="u1 a\nu2 b\nu3 a\nu4 a\n",
    )
    data = voxrank.read_dataset(folder)
    np.testing.assert_array_equal(decode(data.utterances[0], 16_000), samples[8_000:20_000])
    np.testing.assert_array_equal(decode(data.utterances[1], 16_000), samples[32_000:])
    assert {s.utterance: s.reason for s in data.skipped} == {
        "u3": "expected the recording 'nowhere' in wav.scp, found no such line",
        "u4": "expected recording, start and end in segments, got 2 fields",
    }


@pytest.mark.parametrize("train", ["train", "train_clean_100", "train_nodev"])
def test_data_folders_inside_a_folder_are_splits(tmp_path, clips, train):
    for split, part in ((train, clips[:24]), ("test", clips[24:])):
        write(
            tmp_path / "data" / split,
            wav_scp="".join(f"{c.name} {c.path}\n" for c in part),
            utt2label="".join(f"{c.name} {c.label}\n" for c in part),
        )
    assert len(voxrank.read_dataset(tmp_path / "data")) == 24
    assert len(voxrank.read_dataset(tmp_path / "data", split="all")) == 36
    assert {u.id for u in voxrank.read_dataset(tmp_path / "data", split="test").utterances} == {
        f"test/{c.name}" for c in clips[24:]
    }


def test_lines_without_an_utterance_are_noted_and_duplicates_skipped(tmp_path, clips):
    folder = write(
        tmp_path / "k",
        wav_scp=f"a {clips[0].path}\nb {clips[1].path}\na {clips[2].path}\nunused {clips[3].path}\n",
        segments="u1 a 0 0.1\nu2 b 0 0.1\n",
        text="u1 so\nu2 or\nu3 lost\n",
        utt2label="u1 x\nu2 y\n",
    )
    data = voxrank.read_dataset(folder)
    assert [u.path for u in data.utterances] == [clips[0].path, clips[1].path]
    assert [(s.utterance, s.reason) for s in data.skipped] == [
        ("wav.scp, a", "a duplicate of an earlier line of wav.scp")
    ]
    assert data.notes == (
        "lines of text without an utterance: 1, such as 'u3'",
        "lines of wav.scp without an utterance: 1, such as 'unused'",
    )


def test_relative_paths_start_at_the_folder_or_the_working_folder(tmp_path, clips, monkeypatch):
    monkeypatch.chdir(tmp_path)
    beside = tmp_path / "kaldi" / "beside.wav"
    beside.parent.mkdir()
    shutil.copy(clips[1].path, beside)
    folder = write(
        tmp_path / "kaldi",
        wav_scp=f"a beside.wav\nb {clips[0].path.relative_to(tmp_path)}\n",
        utt2label="a x\nb y\n",
    )
    assert [u.path for u in voxrank.read_dataset(folder).utterances] == [beside, clips[0].path]


def test_only_lines_that_are_damaged_or_too_long_are_skipped(tmp_path, clips):
    folder = write(
        tmp_path / "k",
        wav_scp=f"a {clips[0].path}\nb {'x' * (1 << 21)}\nc {clips[1].path}\nd\n\n",
        utt2label="a x\nc y\nd x\n",
    )
    data = voxrank.read_dataset(folder)
    assert [u.id for u in data.utterances] == ["a", "c"]
    assert [s.utterance for s in data.skipped] == ["wav.scp, line 2", "d"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("gone.ark:5", "no such archive"),
        ("wav.ark:6", "expected a WAV at 6 in wav.ark, got b' RIF'"),
        ("wav.ark:99999999", "expected a WAV at 99,999,999 in wav.ark, got b''"),
    ],
)
def test_an_archive_without_a_wav_at_the_offset_is_refused(tmp_path, location, reason):
    shutil.copy(ARK / "wav.ark", tmp_path)
    folder = write(tmp_path, wav_scp=f"a {location}\n", utt2label="a x\n")
    with pytest.raises(DataError, match=reason):
        voxrank.read_dataset(folder)


@pytest.mark.parametrize("size_in_header", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_wav_written_to_a_pipe_ends_with_the_archive(tmp_path, size_in_header):
    path = tmp_path / "a.ark"
    path.write_bytes(b"u1 RIFF" + size_in_header.to_bytes(4, "little") + b"WAVE" + bytes(100))
    assert wav_in(path, 3) == FileRegion(path, 3, 112)


def test_only_the_truncated_wav_of_an_archive_is_refused(tmp_path, clips):
    content = clips[6].path.read_bytes()
    (tmp_path / "wav.ark").write_bytes(b"a " + content + b"b " + content[:-3000])
    folder = write(tmp_path, wav_scp=f"a wav.ark:2\nb wav.ark:{4 + len(content)}\n", utt2label="a x\nb y\n")
    whole, short = voxrank.read_dataset(folder).utterances
    np.testing.assert_array_equal(decode(whole, 16_000), clips[6].samples)
    with pytest.raises(UtteranceError, match=r"expected 0\.260 s of audio as the header says, got 0\.166 s"):
        decode(short, 16_000)
