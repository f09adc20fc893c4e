"""Any error in the data gives one line that says what was expected, what came and what to do.

Rows of the first table end a request (`DataError`); rows of the second cost one utterance (`Skipped`).
"""

import json
import os

import numpy as np
import pytest
import soundfile

import voxrank.data.tables
from voxrank.data.audio import decode, probe, probe_all
from voxrank.data.read import read_dataset
from voxrank.errors import DataError, UtteranceError

RATE = 16_000


def manifest(folder, text, name="m.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


REQUESTS = {
    "unknown path column": (
        "wav,label\na.wav,x\n",
        {},
        r"expected a column 'path' \(or 'audio_filepath'\).*found: wav, label; rename one$",
    ),
    "no target column": (
        "path,lable\na.wav,x\n",
        {},
        r"expected a column 'label' \(class\), 'labels' .*found: path, lable",
    ),
    "unknown target": (
        "path,label\na.wav,x\n",
        {"target": "lable"},
        r"no column 'lable' to predict; did you mean label\?",
    ),
    "unknown split": (
        "path,label,split\na.wav,x,test\n",
        {"split": "dev"},
        "no row has the split 'dev'; known: all, test",
    ),
    "header only": ("path,label\n", {}, "expected at least one usable row, found none"),
    "blank header": ("\n\n", {}, "expected a header line with column names, got an empty one"),
    "broken header": ('"path"x,label\n', {}, "expected a header line with column names, got: ',' expected after"),
    "one column twice": (
        "path,label,label\na.wav,x,y\n",
        {},
        "expected different column names, got 'label' more than once; rename one",
    ),
    "every row unusable": (
        "path,label\n,x\n",
        {},
        r"found none; the first: m\.csv, line 2: the column 'path' is empty",
    ),
    "not UTF-8": (
        b"path,label\n" + 20_000 * b"a.wav,x\n" + b"\xff\xfe.wav,x\n",
        {},
        "expected UTF-8 text, got other bytes in line 20002; save it as UTF-8",
    ),
    "UTF-16": ("path,label\na.wav,x\n".encode("utf-16"), {}, "got other bytes in line 1; save it as UTF-8"),
    "UTF-16 without its mark": (
        "path,label\na.wav,x\n".encode("utf-16-le"),
        {},
        "expected UTF-8 text, got zero bytes in line 1; save it as UTF-8",
    ),
}


@pytest.mark.parametrize(("text", "options", "message"), REQUESTS.values(), ids=REQUESTS)
def test_a_manifest_or_option_that_cannot_be_used_is_refused(tmp_path, text, options, message):
    path = manifest(tmp_path, text)
    with pytest.raises(DataError, match=message):
        read_dataset(path, **options)


def test_a_missing_manifest_is_refused_with_a_similar_name(tmp_path):
    manifest(tmp_path, "path,label\n", "train.csv")
    with pytest.raises(DataError, match=r"no such data set: .*trian\.csv; did you mean train\.csv\?$"):
        read_dataset(tmp_path / "trian.csv")


def test_a_manifest_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such data set: .*nowhere.*; check the path$"):
        read_dataset(tmp_path / "nowhere" / "m.csv")


def test_an_empty_manifest_is_refused(tmp_path):
    path = manifest(tmp_path, "")
    with pytest.raises(DataError, match=r"expected a manifest, got an empty file"):
        read_dataset(path)


def test_a_name_too_long_for_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read x+\.csv: File name too long"):
        read_dataset("x" * 5000 + ".csv")


def test_an_unknown_format_is_refused(tmp_path):
    path = manifest(tmp_path, "x", "m.xlsx")
    with pytest.raises(DataError, match=r"expected a folder of class folders or a file ending in \.csv.*got '\.xlsx'"):
        read_dataset(path)


def test_a_folder_without_audio_is_refused(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="expected folders named after classes with audio files in them, found none"):
        read_dataset(tmp_path)


def test_json_lines_without_objects_are_refused(tmp_path):
    path = manifest(tmp_path, "[1]\nnot json\n", "m.jsonl")
    with pytest.raises(
        DataError, match=r"expected one JSON object a line, found none; m\.jsonl, line 1: expected a JSON"
    ):
        read_dataset(path)


ROWS = {
    "no path": ({"path": "", "label": "x"}, "the column 'path' is empty"),
    "no label": ({"path": "a.wav", "label": " "}, "the column 'label' is empty"),
    "start that is no number": (
        {"path": "a.wav", "label": "x", "start": "abc"},
        "expected a number in the column 'start', got 'abc'",
    ),
    "list for a label": (
        {"path": "a.wav", "label": ["x"]},
        "expected text or a number in the column 'label', got list",
    ),
    "NaN for a label": ({"path": "a.wav", "label": float("nan")}, "the column 'label' is empty"),
    "path that no file can have": (
        {"path": "a\0.wav", "label": "x"},
        r"expected UTF-8 text in the column 'path', got 'a\x00.wav'",
    ),
    "half a character": (
        {"path": "\ud800.wav", "label": "x"},
        r"expected UTF-8 text in the column 'path', got '\ud800.wav'",
    ),
    "path that leaves the folder": (
        {"path": "clips/../../good.wav", "label": "x"},
        "expected a file in the manifest's folder, got 'clips/../../good.wav', which leaves it; write an absolute path",
    ),
    "path that leaves the folder with backslashes": (
        {"path": "..\\good.wav", "label": "x"},
        "expected a file in the manifest's folder, got '../good.wav', which leaves it; write an absolute path",
    ),
    "duplicate by a way round": ({"path": "clips/../good.wav", "label": "x"}, "a duplicate of an earlier row"),
    "negative start": ({"path": "a.wav", "label": "x", "start": -1}, "expected a start of at least 0 s, got -1"),
    "end before start": (
        {"path": "a.wav", "label": "x", "start": 2, "end": 1},
        "expected an end after the start, got start 2 s and end 1 s",
    ),
    "end at the start, after hours": (
        {"path": "a.wav", "label": "x", "start": 10800.01, "end": 10800.005},
        "expected an end after the start, got start 10800.01 s and end 10800.005 s",
    ),
    "infinite end": (
        {"path": "a.wav", "label": "x", "end": "inf"},
        "expected a finite number in the column 'end', got 'inf'",
    ),
    "duplicate": ({"path": "good.wav", "label": "x"}, "a duplicate of an earlier row"),
    "duplicate in another spelling": ({"path": "./good.wav", "label": "x"}, "a duplicate of an earlier row"),
    "duplicate with another label": (
        {"path": "good.wav", "label": "y"},
        "a duplicate of an earlier row, with another label; the first one is kept",
    ),
}


@pytest.mark.parametrize(("row", "reason"), ROWS.values(), ids=ROWS)
def test_a_row_that_cannot_be_used_is_skipped(tmp_path, row, reason):
    rows = [{"path": "good.wav", "label": "x"}, row]
    path = manifest(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl")
    dataset = read_dataset(path)
    assert [u.id for u in dataset.utterances] == ["good.wav"]
    assert [(s.utterance, s.reason) for s in dataset.skipped] == [("m.jsonl, line 2", reason)]


def test_lines_that_are_not_rows_are_skipped(tmp_path):
    lines = manifest(tmp_path, '{"path": "a.wav", "label": "x"}\n{broken\n["a"]\n', "m.jsonl")
    assert [s.reason for s in read_dataset(lines).skipped] == [
        "expected a JSON object, got text that is not JSON",
        "expected a JSON object, got list",
    ]
    table = manifest(tmp_path, "path,label\na.wav,x\nb.wav,x,y,z\n")
    assert [s.reason for s in read_dataset(table).skipped] == [
        "expected 2 cells as in the header, got 4; quote cells that hold the delimiter"
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [('"b.wav"c,x', "',' expected after '\"'"), (f"{200_000 * 'b'},x", "field larger than field limit")],
)
def test_only_the_row_with_a_broken_cell_is_skipped(tmp_path, row, reason):
    dataset = read_dataset(manifest(tmp_path, f"path,label\na.wav,x\n{row}\nc.wav,y\n"))
    assert [u.id for u in dataset.utterances] == ["a.wav", "c.wav"]
    (skipped,) = dataset.skipped
    assert skipped.utterance == "m.csv, line 3"
    assert skipped.reason.startswith("expected plain cells, or cells in closed quotes, got: ")
    assert reason in skipped.reason


def test_only_the_row_with_an_unclosed_quote_is_skipped(tmp_path):
    rows = 'a.wav,x\n"b.wav,x\n' + "".join(f"c{number}.wav,y\n" for number in range(20_000))
    dataset = read_dataset(manifest(tmp_path, f"path,label\n{rows}"))
    assert len(dataset) == 20_001
    assert [(one.utterance, one.reason) for one in dataset.skipped] == [
        ("m.csv, line 3", 'a cell opens with " and nothing closes it; close it')
    ]


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_only_the_line_that_is_too_long_is_skipped(tmp_path, monkeypatch, name):
    monkeypatch.setattr(voxrank.data.tables, "MAX_LINE", 40)
    rows = [{"path": "a.wav", "label": "x"}, {"path": 500 * "b", "label": "x"}, {"path": "c.wav", "label": "y"}]
    lines = map(json.dumps, rows) if name == "m.jsonl" else ["path,label", *(f"{r['path']},{r['label']}" for r in rows)]
    dataset = read_dataset(manifest(tmp_path, "\n".join(lines), name))
    assert [u.id for u in dataset.utterances] == ["a.wav", "c.wav"]
    (skipped,) = dataset.skipped
    assert skipped.utterance == f"{name}, line {2 if name == 'm.jsonl' else 3}"
    assert skipped.reason.startswith("expected a line of at most ")


def test_a_manifest_that_is_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(DataError, match=r"m\.csv: expected a manifest, got a device; give a file"):
        read_dataset(tmp_path / "m.csv")


def test_an_error_about_many_columns_lists_only_the_first_names(tmp_path):
    path = manifest(tmp_path, ",".join(f"column{n}" for n in range(5000)) + "\nx\n")
    with pytest.raises(DataError, match=r"column0, column1, .*column39 and 4960 more; rename one$"):
        read_dataset(path)


def test_an_outside_file_is_read_by_its_absolute_path_or_through_a_link(tmp_path):
    audio(tmp_path, noise(RATE), name="outside.wav")
    (tmp_path / "data" / "clips").mkdir(parents=True)
    (tmp_path / "data" / "link.wav").symlink_to(tmp_path / "outside.wav")
    rows = f"path,label\n{tmp_path / 'outside.wav'},x\nlink.wav,y\n"
    dataset = read_dataset(manifest(tmp_path / "data", rows))
    assert not dataset.skipped
    assert len(probe_all(dataset, threads=1)[0]) == 2


def test_a_path_through_a_link_and_its_parent_stays_in_the_folder(tmp_path):
    (tmp_path / "elsewhere" / "inner").mkdir(parents=True)
    audio(tmp_path / "elsewhere", noise(RATE), name="a.wav")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere" / "inner")
    (utterance,) = read_dataset(manifest(tmp_path / "data", "path,label\nlink/../a.wav,x\n")).utterances
    assert utterance.path == tmp_path / "data" / "a.wav"


def test_a_file_of_segments_outside_the_folder_is_not_read(tmp_path):
    (tmp_path / "secret.json").write_text('[[0, 1, "secret"]]')
    (tmp_path / "data").mkdir()
    rows = "path,segments\na.wav,../secret.json\n"
    with pytest.raises(DataError, match=r"got '\.\./secret\.json', which leaves it; write an absolute path"):
        read_dataset(manifest(tmp_path / "data", rows))


@pytest.mark.parametrize("labels", ["xx", "xxy"], ids=["one class", "a class with one example"])
def test_data_with_one_class_or_a_class_with_one_example_is_read(tmp_path, labels):
    """The check for two classes follows once it is known which audio can be read."""
    rows = "".join(f"{n}.wav,{label}\n" for n, label in enumerate(labels))
    dataset = read_dataset(manifest(tmp_path, f"path,label\n{rows}"))
    assert [u.label for u in dataset.utterances] == list(labels)
    assert not dataset.skipped


def audio(folder, samples, rate=RATE, name="a.wav", **options):
    soundfile.write(folder / name, samples, rate, **options)


def noise(n, channels=1):
    samples = 0.1 * np.random.default_rng(0).normal(size=(n, channels))
    return samples[:, 0] if channels == 1 else samples


def no_file(folder):
    pass


def a_folder(folder):
    (folder / "a.wav").mkdir()


def empty_file(folder):
    (folder / "a.wav").write_bytes(b"")


def not_audio(folder):
    (folder / "a.wav").write_bytes(b"this is text, not audio, and long enough to have had a header")


def zero_samples(folder):
    audio(folder, np.zeros(0))


def nan_samples(folder):
    samples = noise(RATE)
    samples[500] = np.nan
    audio(folder, samples, subtype="FLOAT")


def one_sample(folder):
    audio(folder, noise(1))


def infinities_that_cancel(folder):
    samples = noise(RATE, channels=2)
    samples[500] = np.inf, -np.inf
    audio(folder, samples, subtype="FLOAT")


def flac_that_claims(n_samples):
    def make(folder):
        audio(folder, noise(RATE), name="whole.flac")
        content = bytearray((folder / "whole.flac").read_bytes())
        claimed = int.from_bytes(content[18:26], "big") >> 36 << 36 | n_samples  # 36 bits of STREAMINFO (RFC 9639, 8.2)
        content[18:26] = claimed.to_bytes(8, "big")
        (folder / "a.wav").write_bytes(content)

    return make


def cut_short(folder):
    audio(folder, noise(10 * RATE), name="whole.flac")
    content = (folder / "whole.flac").read_bytes()
    (folder / "a.wav").write_bytes(content[: len(content) // 2])


def wav_with(**changes):
    """Return a WAV of a second with changes to its header, as {offset: little-endian number of four bytes}."""

    def make(folder):
        audio(folder, noise(RATE))
        content = bytearray((folder / "a.wav").read_bytes())
        for place, number in changes.items():
            at = {"channels": 22, "rate": 24, "size": 40}[place]
            content[at : at + (2 if place == "channels" else 4)] = number.to_bytes(
                2 if place == "channels" else 4, "little"
            )
        (folder / "a.wav").write_bytes(content)

    return make


def format_cut_short(kind):
    def make(folder):
        audio(folder, noise(RATE), name="whole", format=kind, subtype="PCM_16")
        content = (folder / "whole").read_bytes()
        (folder / "a.wav").write_bytes(content[: len(content) * 3 // 4])

    return make


def a_pipe(folder):
    os.mkfifo(folder / "a.wav")


CUT = r"expected 1\.000 s of audio as the header says, got 0\.7\d\d s; file cut short, copy it again"
AUDIO = {
    "a pipe": (a_pipe, {}, "expected an audio file, got a device"),
    "no channels": (wav_with(channels=0), {}, "not audio that libsndfile can read"),
    "a sample a second": (
        wav_with(rate=1),
        {},
        "expected a sample rate of 1,000 to 768,000 Hz, got 1 Hz as the header",
    ),
    "header that claims ten hours": (
        wav_with(size=36_000 * 2 * RATE),
        {},
        r"expected 36000\.000 s of audio as the header says, got 1\.000 s; file cut short, copy it again",
    ),
    **{f"{kind} cut short": (format_cut_short(kind), {}, CUT) for kind in ("WAV", "AIFF", "AU", "RF64", "SVX")},
    "W64 cut short": (format_cut_short("W64"), {}, r"expected 0\.999 s of audio as the header says, got 0\.7\d+ s"),
    "stretch over the end of what is there": (format_cut_short("WAV"), {"start": 0.5, "end": 1}, "file cut short"),
    "missing file": (no_file, {}, "no such file; a relative path starts at the manifest's folder"),
    "a folder": (a_folder, {}, "expected an audio file, got a folder"),
    "empty file": (empty_file, {}, r"expected an audio file, got an empty one \(0 bytes\)"),
    "not audio": (not_audio, {}, r"not audio that libsndfile can read \("),
    "zero samples": (zero_samples, {}, "the file holds no samples"),
    "NaN samples": (nan_samples, {}, "the samples hold NaN or infinite values; decode or export the file again"),
    "infinities that cancel": (infinities_that_cancel, {}, "the samples hold NaN or infinite values"),
    "end past the end of what was counted": (
        flac_that_claims(0),
        {"end": 3e14},
        r"past the end of the file \(1\.000 s\)",
    ),
    "absurd length": (
        flac_that_claims(2**36 - 1),
        {},
        r"expected audio that fits in memory, at most 6 h, got 4294967 s of 1 channel\(s\) as the header or",
    ),
    "absurd end": (flac_that_claims(2**36 - 1), {"end": 4e6}, "expected audio that fits in memory, at most 6 h, got"),
    "one sample": (one_sample, {}, r"expected at least 0\.025 s of audio, got 1 samples; too short"),
    "cut short": (
        cut_short,
        {},
        r"expected 10\.000 s of audio as the header says, got \d\.\d+ s; file cut short|libsndfile",
    ),
    "start past the end": (one_sample, {"start": 9}, r"starts at 9 s, past the end of the file \(0\.000 s\)"),
    "end past the end": (one_sample, {"end": 9}, r"ends at 9 s, past the end of the file \(0\.000 s\)"),
}


@pytest.mark.parametrize(("make", "offsets", "message"), AUDIO.values(), ids=AUDIO)
def test_audio_that_cannot_be_used_is_refused(tmp_path, make, offsets, message):
    make(tmp_path)
    path = manifest(tmp_path, json.dumps({"path": "a.wav", "label": "x", **offsets}), "m.jsonl")
    (utterance,) = read_dataset(path).utterances
    with pytest.raises(UtteranceError, match=message):
        decode(utterance, RATE)


def test_a_file_without_read_permission_is_refused(tmp_path, monkeypatch):
    audio(tmp_path, noise(RATE))
    (utterance,) = read_dataset(manifest(tmp_path, "path,label\na.wav,x\n")).utterances

    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(UtteranceError, match="cannot read the file: Permission denied"):
        probe(utterance)


def test_bad_files_are_found_by_their_headers(tmp_path):
    audio(tmp_path, noise(RATE), name="good.wav")
    empty_file(tmp_path)
    dataset = read_dataset(manifest(tmp_path, "path,label\na.wav,x\ngood.wav,y\n"))
    probed, skipped = probe_all(dataset, threads=2)
    assert [p.utterance.id for p in probed] == ["good.wav"]
    assert [s.utterance for s in skipped] == ["a.wav"]


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000], ids=["ffmpeg", "sox"])
def test_a_wav_without_a_length_in_its_header_is_read_to_its_end(tmp_path, size):
    wav_with(size=size)(tmp_path)
    (utterance,) = read_dataset(manifest(tmp_path, "path,label\na.wav,x\n")).utterances
    assert len(decode(utterance, RATE)) == RATE


def test_offsets_select_the_remaining_part_of_a_truncated_file(tmp_path):
    format_cut_short("WAV")(tmp_path)
    row = {"path": "a.wav", "label": "x", "start": 0, "end": 0.5}
    (utterance,) = read_dataset(manifest(tmp_path, json.dumps(row), "m.jsonl")).utterances
    assert len(decode(utterance, RATE)) == RATE // 2


def test_audio_at_96_khz_with_eight_channels_is_read(tmp_path):
    audio(tmp_path, noise(96_000, channels=8), rate=96_000)
    (utterance,) = read_dataset(manifest(tmp_path, "path,label\na.wav,x\n")).utterances
    info = probe(utterance).info
    assert (info.sample_rate, info.channels) == (96_000, 8)
    assert decode(utterance, RATE).shape == (RATE,)


def test_a_raw_file_without_a_header_is_skipped(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.raw").write_bytes(b"\1" * 1000)
    audio(tmp_path / "x", noise(RATE), name="b.wav")
    probed, skipped = probe_all(read_dataset(tmp_path), threads=1)
    assert [p.utterance.path.name for p in probed] == ["b.wav"]
    assert "not audio that libsndfile can read" in skipped[0].reason


def test_a_stretch_of_a_flac_without_a_length_is_read(tmp_path):
    flac_that_claims(0)(tmp_path)
    row = {"path": "a.wav", "label": "x", "start": 0.25, "end": 0.75}
    (utterance,) = read_dataset(manifest(tmp_path, json.dumps(row), "m.jsonl")).utterances
    np.testing.assert_allclose(decode(utterance, RATE), noise(RATE)[RATE // 4 : 3 * RATE // 4], atol=1 / 32_767)


def test_a_stretch_three_hours_into_a_file_is_read_without_the_rest(tmp_path, monkeypatch):
    rate = 8_000
    with soundfile.SoundFile(tmp_path / "a.flac", "w", rate, 1) as file:
        for _ in range(180):
            file.write(np.zeros(60 * rate, dtype=np.int16))
        file.write((noise(rate) * 32_768).astype(np.int16))
    row = {"path": "a.flac", "label": "x", "start": 3 * 3600, "end": 3 * 3600 + 0.5}
    (utterance,) = read_dataset(manifest(tmp_path, json.dumps(row), "m.jsonl")).utterances
    asked = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **k: asked.append(n) or read(self, n, **k))
    samples = decode(utterance, rate)
    assert asked == [rate // 2]
    np.testing.assert_allclose(samples, noise(rate)[: rate // 2], atol=1e-3)
    late = {**row, "start": 4 * 3600, "end": 4 * 3600 + 1}
    (beyond,) = read_dataset(manifest(tmp_path, json.dumps(late), "late.jsonl")).utterances
    with pytest.raises(UtteranceError, match=r"starts at 14400 s, past the end of the file \(10801\.000 s\)"):
        probe(beyond)
