"""Tar shards, written by WebDataset."""

import io
import json
import os
import pickle
import tarfile

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webdataset import TarWriter, WebDataset

import voxrank
from voxrank.data.audio import decode, probe
from voxrank.data.read import read_unlabelled
from voxrank.data.sources import FileRegion
from voxrank.data.tars import expanded, shard_paths
from voxrank.errors import DataError


def encoded(samples, form="WAV", rate=16_000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


AUDIO = encoded(np.random.default_rng(0).uniform(-0.5, 0.5, 8000))


@pytest.fixture
def shards(tmp_path, clips):
    """Write the tones in three shards, with `TarWriter`."""
    for shard in range(3):
        with TarWriter(str(tmp_path / f"train-{shard:03d}.tar")) as writer:
            for clip in clips[shard * 12 : shard * 12 + 12]:
                writer.write(
                    {
                        "__key__": clip.name,
                        "wav": clip.path.read_bytes(),
                        "json": {"speaker": clip.speaker, "gender": "f", "snr": 3.5},
                        "cls": list({"low": 0, "middle": 1, "high": 2}).index(clip.label),
                    }
                )
    return tmp_path


def write(path, *samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path)) as writer:
        for number, sample in enumerate(samples):
            writer.write({"__key__": f"k{number}", **sample})
    return path


def raw(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_shards_are_ranked_as_the_manifest(shards, ranked_as_tones):
    ranked_as_tones(str(shards / "train-{000..002}.tar"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves shards open
def test_samples_equal_those_read_by_webdataset(shards):
    data = voxrank.read_dataset(shards / "train-000.tar")
    assert (data.format, data.split) == ("tar shards (WebDataset)", "train")
    theirs = list(WebDataset(str(shards / "train-000.tar"), shardshuffle=False).decode())
    for ours, sample in zip(data.utterances, theirs, strict=True):
        assert ours.id == f"train-000/{sample['__key__']}"
        assert (ours.label, ours.speaker) == (str(sample["cls"]), sample["json"]["speaker"])
        expected, _ = soundfile.read(io.BytesIO(sample["wav"]), dtype="float32")
        np.testing.assert_array_equal(decode(pickle.loads(pickle.dumps(ours)), 16_000), expected)


def test_fields_of_the_json_are_columns(shards):
    data = voxrank.read_dataset(str(shards / "train-{000..002}.tar"), target="speaker")
    assert data.classes == ("s0", "s1", "s2", "s3")
    assert len(data) == 36


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3", "AIFF"])
def test_audio_of_several_formats_is_read(tmp_path, form):
    content = encoded(np.random.default_rng(0).uniform(-0.5, 0.5, 8000), form)
    path = write(tmp_path / "a.tar", {form.lower(): content, "txt": "so be it"}, {"wav": AUDIO, "txt": "or not"})
    first = voxrank.read_dataset(path).utterances[0]
    assert first.text == "so be it"
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_allclose(decode(first, 16_000), expected, atol=1e-6)


@pytest.mark.parametrize("where", ["train-0.tar", "train/0.tar", "corpus-train-0.tar", "clean_train/0.tar"])
def test_the_split_follows_from_the_names_of_shards(tmp_path, where):
    write(tmp_path / where, {"wav": AUDIO, "cls": 1})
    write(tmp_path / where.replace("train", "test"), {"wav": AUDIO, "cls": 2})
    write(tmp_path / "trainspotting.tar", {"wav": AUDIO, "cls": 3})
    assert voxrank.read_dataset(tmp_path).classes == ("1",)
    assert voxrank.read_dataset(tmp_path, split="test").classes == ("2",)
    assert voxrank.read_dataset(tmp_path, split="all").classes == ("1", "2", "3")


def test_one_key_in_several_shards_is_several_utterances(tmp_path):
    for shard in "ab":
        write(tmp_path / f"{shard}.tar", {"wav": AUDIO, "cls": shard})
    assert [u.id for u in voxrank.read_dataset(tmp_path).utterances] == ["a/k0", "b/k0"]


def test_a_key_that_comes_twice_in_a_shard_is_a_duplicate(tmp_path):
    raw(tmp_path / "a.tar", *([("k.wav", AUDIO), ("k.cls", b"x")] * 2))
    data = voxrank.read_dataset(tmp_path / "a.tar")
    assert len(data) == 1
    assert [s.reason for s in data.skipped] == ["a duplicate of an earlier row"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 9 * 17_920), flipped=st.integers(0, 9 * 17_920))
def test_only_rows_after_the_damage_are_lost_and_this_is_reported(tmp_path, cut, flipped):
    """A shard of nine is cut or has a changed byte anywhere; the remaining rows equal those of the whole, in order."""
    path = write(tmp_path / "whole.tar", *({"wav": AUDIO, "cls": n} for n in range(9)))
    content = path.read_bytes()
    whole = [(u.id.partition("/")[2], u.label) for u in voxrank.read_dataset(path).utterances]
    broken = bytearray(content)
    broken[flipped % len(content)] ^= 0xFF
    write(tmp_path / "d" / "good.tar", {"wav": AUDIO, "cls": "good"})
    for damaged in (content[: cut % len(content)], bytes(broken)):
        (tmp_path / "d" / "broken.tar").write_bytes(damaged)
        data = voxrank.read_dataset(tmp_path / "d")
        found = [(u.id.partition("/")[2], u.label) for u in data.utterances if u.id.startswith("broken")]
        assert any(u.label == "good" for u in data.utterances)
        assert len(data.skipped) or len(found) == 9 or damaged == bytes(broken)
        if damaged != bytes(broken):  # a changed byte may be in a name or in a label
            assert found == whole[: len(found)]
            for utterance in data.utterances:
                probe(utterance)


def test_a_damaged_shard_is_reported(tmp_path):
    path = write(tmp_path / "d" / "a.tar", *({"wav": AUDIO, "cls": n} for n in range(3)))
    path.write_bytes(path.read_bytes()[:20_000])
    write(tmp_path / "d" / "b.tar", {"wav": AUDIO, "cls": 9})
    data = voxrank.read_dataset(tmp_path / "d")
    assert [u.id for u in data.utterances] == ["a/k0", "b/k0"]
    assert data.skipped[0].utterance == "a.tar"
    assert data.skipped[0].reason.startswith("expected a whole tar, got a damaged one (ReadError: ")
    assert data.skipped[0].reason.endswith("; what lies before the damage is used")


def test_names_of_members_are_not_used_as_paths(tmp_path):
    outside = tmp_path / "outside.wav"
    names = ["../outside", "/etc/x", "a/../../b", "w\\c", "sp ace\u2028x"]
    path = tmp_path / "in" / "a.tar"
    path.parent.mkdir()
    raw(path, *(pair for name in names for pair in ((f"{name}.wav", AUDIO), (f"{name}.cls", b"x"))))
    data = voxrank.read_dataset(path)
    assert [u.id for u in data.utterances] == [f"a/{name}" for name in names]
    assert all(isinstance(u.audio, FileRegion) and u.audio.file == path for u in data.utterances)
    assert list(tmp_path.iterdir()) == [path.parent]
    assert not outside.exists()


def test_links_and_pickles_are_not_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in (("k.wav", AUDIO), ("k.cls", b"x"), ("k.pyd", pickle.dumps(Bomb())), ("k.pth", b"PK")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("l.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = voxrank.read_dataset(path)
    assert [u.id for u in data.utterances] == ["a/k"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("k.cls", b"x")], r"expected a member with audio, such as k\.wav, got cls"),
        ([("k.wav", AUDIO), ("k.json", b"{")], "expected a JSON object beside the audio, got text that is not JSON"),
        ([("k.wav", AUDIO), ("k.json", b"[1]")], "expected a JSON object beside the audio, got list"),
        ([("k.wav", AUDIO), ("k.json", b"[" * 100_000)], "got text that is not JSON"),
        ([("k.wav", AUDIO), ("k.txt", b"\xff")], r"expected UTF-8 text in k\.txt, got other bytes"),
        ([("k.wav", AUDIO), ("k.txt", b"x" * (1 << 23))], r"expected at most 4,194,304 bytes in k\.txt, got 8,388,608"),
    ],
)
def test_a_sample_that_cannot_be_used_is_skipped(tmp_path, members, reason):
    raw(tmp_path / "a.tar", ("a.wav", AUDIO), ("a.txt", b"so"), *members)
    data = voxrank.read_dataset(tmp_path / "a.tar")
    [skipped] = data.skipped
    assert skipped.utterance == "a/k"
    assert len(data) == 1
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(skipped.reason)


def test_a_header_that_requests_too_much_memory_is_refused(tmp_path):
    path = tmp_path / "a.tar"
    raw(path, ("k.wav", AUDIO), ("k.cls", b"x"))
    end = path.read_bytes().rindex(b"k.cls")
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    with path.open("r+b") as file:
        file.seek(end + 1024)
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(1 << 31)
    data = voxrank.read_dataset(path)
    assert len(data) == 1
    assert "a header asks for" in data.skipped[0].reason


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{8..10}.tar", ["a-8.tar", "a-9.tar", "a-10.tar"]),
        ("a-{008..010}.tar", ["a-008.tar", "a-009.tar", "a-010.tar"]),
        ("{a,b}/{0..1}.tar", ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]),
        ("a-{1..0}.tar", []),
    ],
)
def test_patterns_are_expanded_in_order(pattern, names):
    assert expanded(pattern) == names


def test_a_pattern_of_too_many_shards_is_refused_before_expansion():
    with pytest.raises(DataError, match="expected at most 100,000 shards, got 1,000,000,000,000; name fewer"):
        expanded("{0..999999}{0..999999}.tar")


def test_a_missing_shard_is_named(shards):
    with pytest.raises(DataError, match=r"no such shard: .*train-003\.tar; check the path or the pattern"):
        shard_paths(str(shards / "train-{000..003}.tar"))


def test_compressed_tars_are_refused(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"expected a \.tar, got a compressed one"):
        voxrank.read_dataset(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("where", ["yes/a.wav", "yes/speaker/a.wav", "yes/speaker/session/take/a.WAV"])
def test_a_tar_beside_class_folders_does_not_change_the_format(tmp_path, where):
    for name in ("no/other/a.wav", where):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(AUDIO)
    write(tmp_path / "left-over.tar", {"wav": AUDIO, "cls": "x"})
    data = voxrank.read_dataset(tmp_path)
    assert (data.format, data.classes) == ("folder of class folders", ("no", "yes"))


def test_folders_without_audio_beside_shards_are_ignored(tmp_path):
    write(tmp_path / "a.tar", {"wav": AUDIO, "cls": "x"})
    (tmp_path / "about" / "more").mkdir(parents=True)
    (tmp_path / "about" / "more" / "README.txt").touch()
    assert voxrank.read_dataset(tmp_path).format == "tar shards (WebDataset)"


def test_lhotse_shar_is_refused(tmp_path):
    (tmp_path / "cuts.000000.jsonl.gz").touch()
    (tmp_path / "recording.000000.tar").touch()
    with pytest.raises(DataError, match="Lhotse Shar is not read"):
        voxrank.read_dataset(tmp_path)


def test_json_of_a_sample_may_hold_its_label(tmp_path):
    path = write(tmp_path / "a.tar", {"wav": AUDIO, "json": {"emotion": "sad", "speaker_id": 3, "x": float("nan")}})
    data = voxrank.read_dataset(path)
    assert (data.utterances[0].label, data.utterances[0].speaker) == ("sad", "3")
    assert data.notes == ("label is the column 'emotion', speaker is the column 'speaker_id'",)
    assert json.dumps(data.utterances[0].label) == '"sad"'


APART = "the members of this sample lie apart in the tar, with other samples between them: "
DOTS = "its key has dots, and WebDataset ends a key at the first dot: "


def outcome(path):
    """Return the ids that are read, and the reasons of those that are skipped."""
    data = voxrank.read_dataset(path)
    return [u.id for u in data.utterances], {one.utterance: one.reason for one in data.skipped}


def test_samples_whose_members_lie_apart_are_skipped(tmp_path):
    """All audio comes first and all labels last, except for one sample, as if `tar` had packed separate folders."""
    names = [
        ("k0.wav", AUDIO),
        ("k0.cls", b"x"),
        ("k1.wav", AUDIO),
        ("k2.wav", AUDIO),
        ("k1.cls", b"x"),
        ("k2.cls", b"y"),
    ]
    found, reasons = outcome(raw(tmp_path / "a.tar", *names))
    assert found == ["a/k0"]
    assert set(reasons) == {"a/k1", "a/k2"}
    assert reasons["a/k1"].startswith(
        f"{APART}k1.wav, and then k1.cls; write the members of a sample beside each other"
    )


def test_only_the_sample_with_a_distant_member_is_skipped(tmp_path):
    names = [("a.wav", AUDIO), ("a.cls", b"x"), ("b.wav", AUDIO), ("b.cls", b"y"), ("a.json", b"{}")]
    found, reasons = outcome(raw(tmp_path / "a.tar", *names))
    assert found == ["a/b"]
    assert reasons["a/a"].startswith(f"{APART}a.wav, a.cls, and then a.json;")


def test_a_shard_is_refused_if_members_of_all_samples_lie_apart(tmp_path):
    names = [*((f"{n}.wav", AUDIO) for n in range(3)), *((f"{n}.cls", b"x") for n in range(3))]
    with pytest.raises(DataError, match="found none; the first: a/0: the members of this sample lie apart in the tar"):
        voxrank.read_dataset(raw(tmp_path / "a.tar", *names))


def test_a_complete_sample_with_a_repeated_key_is_a_duplicate(tmp_path):
    pair = [("k.wav", AUDIO), ("k.cls", b"x")]
    found, reasons = outcome(raw(tmp_path / "a.tar", *pair, ("l.wav", AUDIO), ("l.cls", b"y"), *pair))
    assert found == ["a/k", "a/l"]
    assert list(reasons.values()) == ["a duplicate of an earlier row"]


def test_samples_with_dots_in_their_keys_are_skipped(tmp_path):
    names = [
        *(("s.1.wav", AUDIO), ("s.1.txt", b"one"), ("s.2.wav", AUDIO), ("s.2.txt", b"two")),
        *(("t.wav", AUDIO), ("t.txt", b"three"), ("t.5s.wav", AUDIO), ("t.5s.txt", b"four")),
        *(("u.16k.flac", AUDIO), ("u.16k.json", b'{"text": "five"}')),
    ]
    found, reasons = outcome(raw(tmp_path / "a.tar", *names))
    assert found == ["a/t"]
    assert set(reasons) == {"a/s.1", "a/s.2", "a/t.5s", "a/u.16k"}
    assert reasons["a/s.1"] == (
        f"{DOTS}s.1.wav, s.1.txt would be members of the sample 's'; replace the dots in keys by other characters"
    )


def test_audio_alone_with_dots_in_its_key_is_listed_as_skipped(tmp_path):
    raw(tmp_path / "a.tar", ("s.1.wav", AUDIO), ("s.2.wav", AUDIO), ("t.wav", AUDIO))
    data = read_unlabelled(tmp_path / "a.tar")
    assert [u.id for u in data.utterances] == ["a/t"]
    assert [one.utterance for one in data.skipped] == ["a/s.1", "a/s.2"]


def test_several_members_with_audio_are_noted(tmp_path):
    names = [("k.left.wav", AUDIO), ("k.right.wav", AUDIO), ("k.cls", b"x"), ("l.wav", AUDIO), ("l.cls", b"y")]
    data = voxrank.read_dataset(raw(tmp_path / "a.tar", *names))
    assert [u.id for u in data.utterances] == ["a/k", "a/l"]
    assert data.notes == ("of several members with audio, the first is taken: 'left.wav, right.wav' (1)",)


def test_links_in_a_tar_are_listed_as_skipped(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in (("k.wav", AUDIO), ("k.cls", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("l.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "k.wav"
        tar.addfile(link)
    found, reasons = outcome(tmp_path / "a.tar")
    assert found == ["a/k"]
    assert reasons["a.tar: l.wav"].startswith("expected a plain file in the tar, got a link")
