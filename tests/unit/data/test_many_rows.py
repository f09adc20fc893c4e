"""Reading of many rows: each header is read once, equal cells are in memory once, and progress is reported."""

import csv
import io
import tracemalloc
from dataclasses import astuple, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import voxrank
from voxrank._support.progress import Progress
from voxrank.data import audio
from voxrank.data.audio import files_of, probe, probe_all
from voxrank.data.listening import check_audio
from voxrank.data.names import name_within
from voxrank.data.read import read_requested
from voxrank.data.riff import PLAIN_BYTES, plain_wav
from voxrank.data.rows import Request
from voxrank.data.utterance import Dataset, Segment, Utterance

RATE = 8_000
FILES, PARTS = 6, 20


def wav(samples, rate=RATE, **options):
    """Return the bytes of a WAV file."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="WAV", **options)
    return content.getvalue()


def noise(seconds, seed=0):
    return (np.random.default_rng(seed).normal(size=round(RATE * seconds)) * 3000).astype(np.int16)


def write(path, header, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def parts(tmp_path):
    """Write a manifest with many parts of a few files, in mixed order."""
    for number in range(FILES):
        (tmp_path / f"{number}.wav").write_bytes(wav(noise(PARTS, number)))
    rows = [(f"{n % FILES}.wav", n // FILES, 1, "yes" if n % 2 else "no", f"s{n % 3}") for n in range(FILES * PARTS)]
    return write(tmp_path / "parts.csv", ("path", "start", "duration", "label", "speaker"), rows)


@pytest.fixture
def opened(monkeypatch):
    """Return the paths whose headers were read, in order."""
    paths = []
    read_header = audio.read_header
    monkeypatch.setattr(audio, "read_header", lambda u: paths.append(u.path.name) or read_header(u))
    return paths


class Recorded(Progress):
    """A listener that records what is read, and how much of it."""

    def __init__(self):
        self.scans, self.counts = [], {}

    def scan(self, what, total):
        self.scans.append((what, total))
        self.counts[what] = 0

    def scanned(self, count):
        self.counts[self.scans[-1][0]] += count


def test_the_header_of_a_file_with_many_utterances_is_read_once(parts, opened):
    dataset = voxrank.read_dataset(parts)
    probed, skipped = probe_all(dataset, 2)
    assert sorted(opened) == [f"{n}.wav" for n in range(FILES)]
    assert [item.utterance for item in probed] == list(dataset.utterances)
    assert not skipped
    assert all(item == probe(item.utterance) for item in probed)


def test_utterances_of_one_file_are_judged_one_by_one(parts):
    dataset = voxrank.read_dataset(parts)
    late = replace(dataset.utterances[7], id="late", start=PARTS + 1.0, end=PARTS + 2.0)
    lost = [Utterance(f"lost{n}", parts.with_name("lost.wav"), n, n + 1.0, "yes") for n in range(3)]
    mixed = replace(dataset, utterances=(lost[0], *dataset.utterances, late, *lost[1:]))
    probed, skipped = probe_all(mixed, 1)
    assert [item.utterance for item in probed] == list(dataset.utterances)
    assert [(skip.utterance, skip.reason.partition(";")[0]) for skip in skipped] == [
        ("lost0", "no such file"),
        ("late", "starts at 21 s, past the end of the file (20.000 s)"),
        ("lost1", "no such file"),
        ("lost2", "no such file"),
    ]


def test_files_are_grouped_in_the_order_in_which_they_occur():
    paths = [Path(name) for name in "abc"]
    utterances = [Utterance(str(n), paths[n % 3], n, n + 1.0) for n in (2, 0, 1, 5, 3, 4)]
    order, bounds = files_of(utterances)
    files = [[utterances[i].id for i in order[begin:end]] for begin, end in bounds]
    assert files == [["2", "5"], ["0", "3"], ["1", "4"]]
    assert not len(files_of([])[1])


def test_equal_paths_and_labels_of_rows_are_one_object(parts):
    utterances = voxrank.read_dataset(parts).utterances
    assert len({id(u.path) for u in utterances}) == FILES
    assert len({id(u.label) for u in utterances}) == 2
    assert len({id(u.speaker) for u in utterances}) == 3


def test_rows_are_dropped_while_their_utterances_are_read(tmp_path):
    """The peak is little above what stays: rows and utterances together would be twice as much."""
    rows = [(f"{n:06d}.wav", n, n + 1, f"label{n % 5}", *["x" * 50] * 6) for n in range(4000)]
    manifest = write(tmp_path / "m.csv", ("path", "start", "end", "label", *"abcdef"), rows)
    voxrank.read_dataset(manifest)
    tracemalloc.start()
    dataset = voxrank.read_dataset(manifest)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset) == 4000
    assert peak < 2 * kept


def test_reading_reports_its_progress(parts):
    watcher = Recorded()
    dataset = read_requested(parts, Request(watcher=watcher))
    check_audio(dataset, 2, watcher)
    assert watcher.scans == [
        ("rows", None),
        ("labels of rows", FILES * PARTS),
        ("headers of audio files", FILES),
        ("samples of utterances", FILES * PARTS),
    ]
    assert watcher.counts["headers of audio files"] == FILES
    assert watcher.counts["samples of utterances"] == FILES * PARTS


@given(
    channels=st.integers(1, 8),
    rate=st.integers(1, 768_000),
    count=st.integers(1, 40),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "PCM_U8", "FLOAT"]),
)
def test_a_plain_wav_header_says_what_libsndfile_says(channels, rate, count, subtype):
    content = wav(np.zeros((count, channels), dtype=np.int16), rate, subtype=subtype)
    found = plain_wav(content[:PLAIN_BYTES], len(content))
    assert found == ((rate, channels, count) if subtype == "PCM_16" else None)
    assert found is None or soundfile.info(io.BytesIO(content)).frames == count


@pytest.mark.parametrize("place", [0, 4, 8, 16, 20, 22, 28, 32, 34, 36, 40])
def test_a_wav_header_with_any_other_number_is_left_to_libsndfile(place):
    content = bytearray(wav(noise(0.1)))
    assert plain_wav(content, len(content)) is not None
    content[place] ^= 0x40
    assert plain_wav(content, len(content)) is None


def test_a_wav_file_of_another_size_than_its_header_says_is_left_to_libsndfile():
    content = wav(noise(0.1))
    assert plain_wav(content, len(content) - 2) is None
    assert plain_wav(content, len(content) + 2) is None
    assert plain_wav(content[:20], 20) is None
    assert plain_wav(wav(noise(0)), PLAIN_BYTES) is None


@given(st.text(st.sampled_from("ab./\\é"), max_size=12))
def test_names_that_are_plain_are_spelled_as_pathlib_spells_them(name):
    from voxrank.data.names import _is_plain

    if _is_plain(name):
        assert name_within(Path("f"), name) == PurePosixPath(name).as_posix() == name


def test_the_fingerprint_is_that_of_ids_offsets_and_labels():
    utterances = (
        Utterance("a", Path("x"), label="l", speaker="s", split="train"),
        Utterance("b", Path("y"), 1.0, 2.5, value=0.25, text="t", language="de", others=(("c", "d"),)),
        Utterance("c", Path("z"), labels=("m", "n"), segments=(Segment("p", 0.0, 1.0), Segment("q", 1.0, 2.0))),
    )
    digest = sha256(repr(("classification", "label")).encode())
    for utterance in utterances:
        identity, _, *fields = astuple(replace(utterance, others=None))
        digest.update(repr((identity, *fields[:7], *(field for field in fields[7:] if field is not None))).encode())
    assert Dataset("d", "classification", "label", utterances).fingerprint() == digest.hexdigest()
