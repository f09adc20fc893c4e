"""Files of segments say what they were written from; whatever is wrong with them is one clear line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid
from praatio.data_classes.interval_tier import IntervalTier
from praatio.data_classes.point_tier import PointTier

from voxrank.data.segments import MAX_BYTES, SUFFIXES, SegmentFiles, inline_segments
from voxrank.data.utterance import Segment
from voxrank.errors import UtteranceError

HELLO = (Segment("h", 0.1, 0.25), Segment("ə", 0.25, 0.3), Segment("l oʊ", 0.5, 0.875))


def write(folder: Path, name: str, content: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(content, encoding=encoding, newline="")
    return path


def save_grid(folder, tiers, form="long_textgrid", name="a.TextGrid"):
    grid = textgrid.Textgrid(0, 1)
    for tier, segments in tiers.items():
        if segments is None:
            grid.addTier(PointTier(tier, [(0.5, "x")], 0, 1))
        else:
            grid.addTier(IntervalTier(tier, [(s.start, s.end, s.label) for s in segments], 0, 1))
    path = folder / name
    grid.save(str(path), format=form, includeBlankSpaces=True)
    return path


CTM = ";; made by hand\na 1 0.1 0.15 h 0.9\n\na 1 0.25 0.05 ə\nb 1 3 1 x\na 1 0.5 0.375 l_oʊ\n"
RTTM = """SPEAKER a 1 0.1 0.15 <NA> <NA> h <NA> <NA>
SPKR-INFO a 1 <NA> <NA> <NA> unknown h <NA>
LEXEME a 1 0.25 0.05 ə lex h 0.9
"""
AUDACITY = "0,1\t0,25\th\n\\\t100\t200\n0.25\t0.3\tə\n0.4\t0.4\tpoint\n0.5\t0.875\tl oʊ\n"
LISTED = [{"start": s.start, "end": s.end, "label": s.label} for s in HELLO]
FILES = {
    "a.ctm": (CTM, (*HELLO[:2], Segment("l_oʊ", 0.5, 0.875))),
    "a.rttm": (RTTM, HELLO[:2]),
    "a.txt": (AUDACITY, HELLO),
    "list.json": (json.dumps(LISTED), HELLO),
    "turned.json": (json.dumps(LISTED[::-1]), HELLO),
    "triples.json": (json.dumps([[s.start, s.end, s.label] for s in HELLO]), HELLO),
    "segments.json": (json.dumps({"text": "hello", "segments": LISTED}), HELLO),
    "recordings.json": (json.dumps({"b": [], "a": LISTED}), HELLO),
    "duration.json": ('[{"start": 0.1, "duration": 0.15, "word": "h"}]', HELLO[:1]),
    "mfa.json": (
        json.dumps({"tiers": {"words": {"entries": [[0, 1, "x"]]}, "phones": {"entries": [[0.1, 0.25, "h"]]}}}),
        HELLO[:1],
    ),
    "number.json": ('[{"start": 0, "end": 1, "label": 7}]', (Segment("7", 0, 1),)),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format(tmp_path, name):
    content, expected = FILES[name]
    found = SegmentFiles().of(write(tmp_path, name, content), "a")
    assert [s.label for s in found] == [s.label for s in expected]
    for segment, other in zip(found, expected, strict=True):
        assert (segment.start, segment.end) == pytest.approx((other.start, other.end))


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_textgrids(tmp_path, form):
    path = save_grid(tmp_path, {"phones": HELLO}, form)
    assert SegmentFiles().of(path, "any") == HELLO
    both = write(tmp_path, "wide.textgrid", path.read_text(encoding="utf-8"), "utf-16")
    assert SegmentFiles().of(both, "any") == HELLO


WORD = (Segment("hello", 0.1, 0.875),)
CHOICES = {
    "phones before words": ({"words": WORD, "Phones": HELLO}, None, HELLO),
    "the aligner's own names": ({"anna - words": WORD, "anna - phones": HELLO}, None, HELLO),
    "the only one": ({"syllables": WORD, "tones": None}, None, WORD),
    "asked for": ({"words": WORD, "phones": HELLO}, "words", WORD),
}


@pytest.mark.parametrize(("tiers", "tier", "expected"), CHOICES.values(), ids=CHOICES)
def test_the_tier(tmp_path, tiers, tier, expected):
    assert SegmentFiles(tier).of(save_grid(tmp_path, tiers), "a") == expected


TIER_ERRORS = {
    "unknown": (
        {"words": WORD, "phones": HELLO},
        "wrods",
        "there is no tier 'wrods' in a.TextGrid; did you mean words",
    ),
    "several": ({"words": WORD, "syllables": HELLO}, None, "found 'words', 'syllables'; name one with --tier"),
    "points only": ({"tones": None}, None, "expected a tier of intervals in a.TextGrid, found none"),
}


@pytest.mark.parametrize(("tiers", "tier", "message"), TIER_ERRORS.values(), ids=TIER_ERRORS)
def test_tiers_that_cannot_be_chosen(tmp_path, tiers, tier, message):
    with pytest.raises(UtteranceError, match=message):
        SegmentFiles(tier).of(save_grid(tmp_path, tiers), "a")


segments = st.lists(
    st.tuples(
        st.text("abcəß", min_size=1, max_size=4), st.integers(0, 10**5), st.integers(1, 10**4)
    ).map(lambda x: Segment(x[0], x[1] / 1000, (x[1] + x[2]) / 1000)),
    min_size=1,
    max_size=8,
)  # fmt: skip
WRITERS = {
    ".ctm": lambda s: "".join(f"a 1 {x.start!r} {x.end - x.start!r} {x.label}\n" for x in s),
    ".txt": lambda s: "".join(f"{x.start}\t{x.end}\t{x.label}\n" for x in s),
    ".json": lambda s: json.dumps([[x.start, x.end, x.label] for x in s]),
}


@pytest.mark.parametrize("suffix", WRITERS)
@given(made=segments)
def test_what_was_written_is_read(tmp_path_factory, suffix, made):
    path = write(tmp_path_factory.mktemp("made"), f"a{suffix}", WRITERS[suffix](made))
    found = SegmentFiles().of(path, "a")
    expected = sorted(made, key=lambda s: s.start)
    assert [s.start for s in found] == [s.start for s in expected]
    assert [s.label for s in found] == [s.label for s in expected]
    assert [s.end for s in found] == pytest.approx([s.end for s in expected])


@given(made=segments)
def test_inline(made):
    triples = [[s.start, s.end, s.label] for s in made]
    expected = tuple(sorted(made, key=lambda s: s.start))
    assert inline_segments(triples) == inline_segments(json.dumps(triples)) == expected


BAD = {
    "no such ending": ("a.lab", "x", "ending in .TextGrid, .ctm, .rttm, .txt, .json, got 'a.lab'"),
    "empty": ("a.ctm", "", "got an empty one: a.ctm"),
    "short line": ("a.ctm", "a 1 0.5\n", "a.ctm, line 1: expected recording, channel, start, duration and label"),
    "no number": ("a.ctm", "a 1 x 0.5 y\n", "line 1: expected a time in seconds, got 'x'"),
    "no length": ("a.ctm", "b 1 0 1 y\na 1 1 0 y\n", "line 2: expected a segment .* got 1-1 s"),
    "before the beginning": ("a.ctm", "a 1 -1 2 y\n", "got -1-1 s"),
    "not finite": ("a.txt", "0\tinf\ty\n", "got 0-inf s"),
    "another recording": ("a.ctm", "b 1 0 1 y\nc 1 0 1 y\n", "recording 'a' in a.ctm, found those of 'b', 'c'"),
    "spaces for tabs": ("a.txt", "0 1 y\n", "start, end and label with tabs between"),
    "short rttm": ("a.rttm", "SPEAKER a 1 0 1\n", "expected 8 fields or more"),
    "no JSON": ("a.json", "{", "a.json is no JSON"),
    "JSON of another kind": ("a.json", '"text"', "expected a list or an object, got str"),
    "nested JSON": ("a.json", "[" * 100_000, "a.json is no JSON"),
    "mixed labels": ("a.json", '[[0, 1, "x"], [1, 2, ["y"]]]', r"segment 2: expected a label as text, got \['y'\]"),
    "no label": ("a.json", '[{"start": 0, "end": 1}]', "expected start, end .* and label, got start, end"),
    "null": ("a.json", "[[0, 1, null]]", "expected a label as text, got None"),
    "true": ("a.json", '[[true, 1, "x"]]', "expected a time in seconds, got True"),
    "not a TextGrid": ("a.TextGrid", "File type = nothing\n", "a.TextGrid is no TextGrid that can be read"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    files = SegmentFiles()
    path = write(tmp_path, name, content)
    for _ in range(2):
        with pytest.raises(UtteranceError, match=message):
            files.of(path, "a")


def test_a_damaged_textgrid(tmp_path):
    path = save_grid(tmp_path, {"phones": HELLO})
    text = path.read_text(encoding="utf-8")
    for place in (len(text) // 3, len(text) // 2):
        path.write_text(text[:place], encoding="utf-8")
        with pytest.raises(UtteranceError, match="TextGrid"):
            SegmentFiles().of(path, "a")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_that_are_no_utf8(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"a 1 0 1 caf\xe9\n")
    with pytest.raises(UtteranceError, match=r"expected UTF-8 text in a\."):
        SegmentFiles().of(path, "a")


def test_what_is_no_file(tmp_path):
    folder = tmp_path / "f.ctm"
    folder.mkdir()
    with pytest.raises(UtteranceError, match=r"got the folder f\.ctm"):
        SegmentFiles().of(folder, "a")
    with pytest.raises(UtteranceError, match="there is no file of segments"):
        SegmentFiles().of(tmp_path / "none.ctm", "a")


def test_a_huge_file_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setitem(MAX_BYTES, ".ctm", 8)
    with pytest.raises(UtteranceError, match="up to 0 MiB, got 0 MB"):
        SegmentFiles().of(write(tmp_path, "a.ctm", CTM), "a")


def test_a_shared_file_is_read_once(tmp_path):
    path, files = write(tmp_path, "all.ctm", CTM), SegmentFiles()
    assert len(files.of(path, "a")) == 3
    path.unlink()
    assert files.of(path, "b") == (Segment("x", 3.0, 4.0),)


@pytest.mark.parametrize(
    ("cell", "message"),
    [("[1", "expected a JSON list of segments, got"), ("{}", "got dict"), ("[5]", "segment 1: expected an object")],
)
def test_cells_that_cannot_be_read(cell, message):
    with pytest.raises(UtteranceError, match=message):
        inline_segments(cell)
