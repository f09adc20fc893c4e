"""Any manifest, folder or file of segments gives a data set, or a one-line reason."""

import json
import os
import re
import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from voxrank.data.audio import probe_all
from voxrank.data.read import read_dataset, read_unlabelled
from voxrank.data.segments import SUFFIXES, SegmentFiles, inline_track
from voxrank.data.tables import Lines, find_delimiter, read_header, table_form, table_rows, text_lines
from voxrank.data.tracks import Track
from voxrank.errors import DataError, UtteranceError

pytestmark = pytest.mark.timeout(60)
FUZZ = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LONGEST_REASON = 700

TABLE = b"""path,label,labels,value,text,start,end,duration,speaker,split
a.wav,x,"x;y",1.5,"a, b",0.5,1,,s1,train
b.wav,y,,2,c,,,3,s2,test
"""
LINES = b"""{"path": "a.wav", "label": "x", "start": 0.5, "end": 1, "segments": [[0, 1, "a"]]}
{"audio_filepath": "b.wav", "label": 3, "duration": 2}
"""
WORDS = [b",", b'"', b"\n", b"\r", b"\0", b"\t", b"nan", b"inf", b"-1", b"1e999", b"../", b"\xef\xbb\xbf"]
WORDS += [b"{", b"[", b"}", b"\\u0000", b"\\ud800"]

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308, 5e-324])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=12) | st.sampled_from(["../a", "\ud800", "a\0b", "/", "."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = ("path", "audio_filepath", "label", "labels", "value", "text", "segments", "start", "end", "offset")
COLUMNS += ("duration", "speaker", "split", "language")
ROWS = st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=8) | VALUES, max_size=4)


def check_line(message):
    assert len(message.splitlines()) == 1


def read(path, reader=read_dataset, **options):
    """Return the data set, used as a run uses it; a refusal is one line."""
    try:
        dataset = reader(path, **options)
    except DataError as error:
        check_line(str(error))
        return
    _, unreadable = probe_all(dataset, threads=1)
    for skipped in (*dataset.skipped, *unreadable):
        check_line(skipped.reason)
        assert len(skipped.reason) < LONGEST_REASON
    texts = [dataset.fingerprint(), *dataset.classes, *(u.id for u in dataset.utterances)]
    json.dumps(texts, ensure_ascii=False).encode()


MANIFESTS = {"m.csv": TABLE, "m.tsv": TABLE.replace(b",", b"\t"), "m.jsonl": LINES}


@pytest.mark.parametrize(("name", "whole"), MANIFESTS.items(), ids=MANIFESTS)
@FUZZ
@given(data=st.data())
def test_manifests_that_are_nearly_right_are_read_or_refused(tmp_path, mutated, name, whole, data):
    path = tmp_path / name
    path.write_bytes(data.draw(mutated(whole, alphabet=WORDS)))
    target = data.draw(st.sampled_from([None, "label", "labels", "value", "text", "speaker", "segments"]))
    read(path, target=target, split=data.draw(st.sampled_from([None, "all", "test"])))
    read(path, read_unlabelled)


CELLS = st.sampled_from(
    ["a.wav", "b.wav", "c.flac", "x", '"', '"x', 'x"', '"x"', '""', "", " ", "train", "a\u2028b", "1"]
)
LINES_OF_CELLS = st.lists(st.lists(CELLS, max_size=5), max_size=8)


def count_rows(path):
    """Return the number of non-empty lines of a table, without the header and continuation lines of cells."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = Lines(text_lines(file))
        delimiter = find_delimiter(path)
        header = read_header(path, lines, delimiter)
        rows = list(table_rows(lines, table_form(path, delimiter, header, "path")))
    covered = [number for row in rows for number in range(row.first, row.last + 1)]
    assert covered == list(range(2, path.read_text(encoding="utf-8-sig").count("\n") + 1))
    return sum(row.cells is None or any(cell.strip() for cell in row.cells) for row in rows)


@pytest.mark.parametrize(("name", "delimiter"), [("m.csv", ","), ("m.tsv", "\t")])
@settings(FUZZ, max_examples=50)
@given(lines=LINES_OF_CELLS)
@example(lines=[["a.wav", "x", "train"], ["b.wav", '"x', "train"], ["c.flac", 'x"', "test"]])
def test_every_row_of_a_table_is_read_skipped_or_of_another_split(tmp_path, name, delimiter, lines):
    path = tmp_path / name
    text = "\n".join([delimiter.join(("path", "text", "split")), *(delimiter.join(cells) for cells in lines)])
    path.write_text(text + "\n", newline="")
    try:
        dataset = read_dataset(path)
    except DataError:
        return
    assert len(dataset) + len(dataset.skipped) + dataset.unused == count_rows(path)


@settings(FUZZ, max_examples=50)
@given(data=st.data())
def test_every_line_of_json_is_read_skipped_or_of_another_split(tmp_path, mutated, data):
    path = tmp_path / "m.jsonl"
    path.write_bytes(data.draw(mutated(LINES * 2, alphabet=WORDS)))
    try:
        dataset = read_dataset(path)
    except DataError:
        return
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    assert len(dataset) + len(dataset.skipped) + dataset.unused == sum(bool(line.strip()) for line in lines)


FOLDERS = ("train", "test", "yes", "no", "_noise_", "audio")
FILES = ("a.wav", "b.FLAC", "c.webm", "d.xyz", "e.txt", "README")


@settings(FUZZ, max_examples=50)
@given(places=st.sets(st.tuples(st.lists(st.sampled_from(FOLDERS), max_size=3).map("/".join), st.sampled_from(FILES))))
def test_every_file_of_a_folder_is_read_skipped_noted_or_of_another_split(tmp_path, places):
    root = tmp_path / "data"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for folder, file in places:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / file).write_bytes(b"RIFF")
    try:
        dataset = read_dataset(root)
    except DataError:
        return
    noted = [note for note in dataset.notes if note.startswith(("files of other kinds", "folders that begin with"))]
    counted = sum(int(number) for note in noted for number in re.findall(r"\((\d+)", note))
    assert len(dataset) + len(dataset.skipped) + dataset.unused + counted == len(places)


SCP = b"r1 a.wav\nr2 b.wav\nr3 c.wav\nr3 d.wav\n"


@settings(FUZZ, max_examples=50)
@given(data=st.data())
def test_every_utterance_of_a_kaldi_folder_is_read_or_skipped(tmp_path, mutated, data):
    root = tmp_path / "kaldi"
    root.mkdir(exist_ok=True)
    (root / "wav.scp").write_bytes(data.draw(mutated(SCP, alphabet=[b"\n", b" ", b"r1", b"r2", b"|", b"\t"])))
    (root / "utt2label").write_bytes(b"r1 x\nr2 y\nr3 x\n")
    try:
        dataset = read_dataset(root)
    except DataError:
        return
    lines = (root / "wav.scp").read_text().split("\n")
    assert len(dataset) + len(dataset.skipped) == sum(bool(line.strip()) for line in lines)


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl"])
@FUZZ
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_bytes_that_are_not_a_manifest_are_read_or_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    read(tmp_path / name)


@settings(FUZZ, max_examples=60)
@given(rows=ROWS)
@example(rows=[{"path": "a.wav", "segments": [[10**400, 1, "a"]]}])
@example(rows=[{"path": "a.wav", "segments": [[0, 1, "\ud800"]]}])
def test_rows_of_any_json_are_read_or_refused(tmp_path, rows):
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    for target in (None, "label", "labels", "value", "text", "segments"):
        read(path, target=target)


NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))


@FUZZ
@given(names=st.lists(st.tuples(NAMES, NAMES), max_size=4))
@example(names=[(b"\xff", b"a"), (b"\n", b"\x1b[31m")])
def test_folders_of_any_names_are_read_or_refused(tmp_path, names):
    root = tmp_path / "classes"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for label, file in names:
        folder = root / os.fsdecode(label)
        folder.mkdir(exist_ok=True)
        (folder / (os.fsdecode(file) + ".wav")).write_bytes(b"RIFF")
    read(root)
    read(root, read_unlabelled)


TEXTGRID = b'''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.4
            text = "a ""b"""
        intervals [2]:
            xmin = 0.4
            xmax = 1
            text = ""
'''
SEGMENTS = {
    ".TextGrid": TEXTGRID,
    ".ctm": b";; words\na 1 0.0 0.5 hello 0.9\na 1 0.5 0.5 world\nb 1 0 1 x\n",
    ".rttm": b"SPEAKER a 1 0.0 0.5 <NA> <NA> anna <NA> <NA>\nLEXEME a 1 0.5 0.5 word lex anna 0.5 <NA>\n",
    ".txt": b"0.0\t0.5\thello\n\\\t100\t200\n0,5\t1,0\tworld\n",
    ".json": b'{"tiers": {"phones": {"entries": [[0, 0.5, "a"], {"start": 0.5, "duration": 0.5, "label": "b"}]}}}',
}
assert {suffix.lower() for suffix in SEGMENTS} == {suffix.lower() for suffix in SUFFIXES}


def segments_of(path, tier=None):
    try:
        content = SegmentFiles(tier).read(path)
    except UtteranceError as error:
        check_line(str(error))
        return
    for track in [content] if isinstance(content, Track) else content.values():
        check_track(track)


def check_track(track):
    """Check that segments are in order from 0 s on, and that those left out are counted with a reason."""
    assert list(track.segments) == sorted(track.segments, key=lambda segment: segment.start)
    assert all(0 <= segment.start < segment.end < float("inf") for segment in track.segments)
    "".join(segment.label for segment in track.segments).encode()
    for omissions in (track.empty, track.repeated, track.unusable):
        assert bool(omissions.count) == bool(omissions.first)
        check_line(omissions.first or "nothing")


@pytest.mark.parametrize("suffix", SEGMENTS)
@FUZZ
@given(data=st.data())
def test_segments_that_are_nearly_right_are_read_or_refused(tmp_path, mutated, suffix, data):
    path = tmp_path / f"s{suffix}"
    path.write_bytes(data.draw(mutated(SEGMENTS[suffix], alphabet=[*WORDS, b"xmax = ", b"SPEAKER", b'"tiers"'])))
    segments_of(path, data.draw(st.sampled_from([None, "phones", "other"])))


@pytest.mark.parametrize("suffix", SEGMENTS)
@FUZZ
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_bytes_that_are_not_segments_are_read_or_refused(tmp_path, suffix, content):
    path = tmp_path / f"s{suffix}"
    path.write_bytes(content)
    segments_of(path)


@FUZZ
@given(value=VALUES)
@example(value={"a": [[0, 1, 10**4000]]})
def test_segments_of_any_json_are_read_or_refused(tmp_path, value):
    path = tmp_path / "s.json"
    for content in (value, {"segments": value}, {"a": value}, {"tiers": {"phones": {"entries": value}}}):
        path.write_text(json.dumps(content))
        segments_of(path)
    for cell in (value, json.dumps(value)):
        try:
            check_track(inline_track(cell))
        except UtteranceError as error:
            check_line(str(error))


@pytest.mark.parametrize("depth", [600, 900, 990, 1100, 100_000])
@pytest.mark.parametrize("shape", ["[", '{"a":'])
def test_deeply_nested_json_is_read_or_refused(tmp_path, depth, shape):
    nested = shape * depth + "1" + {"[": "]", '{"a":': "}"}[shape] * depth
    rows = ['{"path": "a.wav", "label": "x"}', f'{{"path": "b.wav", "label": {nested}}}', nested]
    (tmp_path / "m.jsonl").write_text("\n".join(rows))
    read(tmp_path / "m.jsonl")
    (tmp_path / "s.json").write_text(nested)
    segments_of(tmp_path / "s.json")
    (tmp_path / "m2.jsonl").write_text(f'{{"path": "a.wav", "segments": {nested}}}\n')
    read(tmp_path / "m2.jsonl")
