"""Files of segments are read as they were written; errors in them give one clear line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid
from praatio.data_classes.interval_tier import IntervalTier
from praatio.data_classes.point_tier import PointTier

from voxrank.data.segments import MAX_BYTES, SUFFIXES, inline_track
from voxrank.data.timed import SegmentSource, TimedRow
from voxrank.data.utterance import Segment, Utterance
from voxrank.errors import UtteranceError

HELLO = (Segment("h", 0.1, 0.25), Segment("ə", 0.25, 0.3), Segment("l oʊ", 0.5, 0.875))


def row_of(name="a"):
    return TimedRow(f"{name}.wav", {}, None, None), Utterance(f"{name}.wav", Path(f"{name}.wav"))


def source_of(path, tier=None):
    """Return the segments of a file, as `--segments` names it, for data with one recording."""
    return SegmentSource(path.parent, path, tier, [row_of()[0]])


def segments_of(path, name="a", tier=None):
    return source_of(path, tier).of(*row_of(name))


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
def test_files_of_every_format_are_read(tmp_path, name):
    content, expected = FILES[name]
    found = segments_of(write(tmp_path, name, content))
    assert [s.label for s in found] == [s.label for s in expected]
    for segment, other in zip(found, expected, strict=True):
        assert (segment.start, segment.end) == pytest.approx((other.start, other.end))


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_long_and_short_textgrids_are_read(tmp_path, form):
    path = save_grid(tmp_path, {"phones": HELLO}, form)
    assert segments_of(path) == HELLO
    both = write(tmp_path, "wide.textgrid", path.read_text(encoding="utf-8"), "utf-16")
    assert segments_of(both) == HELLO


WORD = (Segment("hello", 0.1, 0.875),)
CHOICES = {
    "phones before words": ({"words": WORD, "Phones": HELLO}, None, HELLO),
    "the aligner's own names": ({"anna - words": WORD, "anna - phones": HELLO}, None, HELLO),
    "the only one": ({"syllables": WORD, "tones": None}, None, WORD),
    "asked for": ({"words": WORD, "phones": HELLO}, "words", WORD),
}


@pytest.mark.parametrize(("tiers", "tier", "expected"), CHOICES.values(), ids=CHOICES)
def test_the_phone_tier_is_read_unless_another_is_named(tmp_path, tiers, tier, expected):
    assert segments_of(save_grid(tmp_path, tiers), tier=tier) == expected


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
def test_a_tier_that_cannot_be_chosen_is_refused(tmp_path, tiers, tier, message):
    with pytest.raises(UtteranceError, match=message):
        segments_of(save_grid(tmp_path, tiers), tier=tier)


segments = st.lists(
    st.tuples(
        st.text("abcəß", min_size=1, max_size=4), st.integers(0, 10**5), st.integers(1, 10**4)
    ).map(lambda x: Segment(x[0], x[1] / 1000, (x[1] + x[2]) / 1000)),
    min_size=1,
    max_size=8,
)  # fmt: skip


def in_order(written):
    """Return segments in order of time, without duplicates."""
    return list(dict.fromkeys(sorted(written, key=lambda s: (s.start, s.end))))


WRITERS = {
    ".ctm": lambda s: "".join(f"a 1 {x.start!r} {x.end - x.start!r} {x.label}\n" for x in s),
    ".txt": lambda s: "".join(f"{x.start}\t{x.end}\t{x.label}\n" for x in s),
    ".json": lambda s: json.dumps([[x.start, x.end, x.label] for x in s]),
}


@pytest.mark.parametrize("suffix", WRITERS)
@given(written=segments)
def test_segments_are_read_as_written(tmp_path_factory, suffix, written):
    path = write(tmp_path_factory.mktemp("made"), f"a{suffix}", WRITERS[suffix](written))
    found = segments_of(path)
    expected = in_order(written)
    assert [s.start for s in found] == [s.start for s in expected]
    assert [s.label for s in found] == [s.label for s in expected]
    assert [s.end for s in found] == pytest.approx([s.end for s in expected])


@given(written=segments)
def test_segments_in_a_cell_are_read_as_written(written):
    triples = [[s.start, s.end, s.label] for s in written]
    expected = tuple(in_order(written))
    assert inline_track(triples).segments == inline_track(json.dumps(triples)).segments == expected


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
    "list for a label": ("a.json", '[[1, 2, ["y"]]]', r"segment 1: expected a label as text, got \['y'\]"),
    "no label": ("a.json", '[{"start": 0, "end": 1}]', "expected start, end .* and label, got start, end"),
    "null": ("a.json", "[[0, 1, null]]", "expected a label as text, got None"),
    "true": ("a.json", '[[true, 1, "x"]]', "expected a time in seconds, got True"),
    "not a TextGrid": ("a.TextGrid", "File type = nothing\n", "a.TextGrid is no TextGrid that can be read"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_files_of_segments_that_cannot_be_read_are_refused(tmp_path, name, content, message):
    source = source_of(write(tmp_path, name, content))
    for _ in range(2):
        with pytest.raises(UtteranceError, match=message):
            source.of(*row_of())


def test_a_truncated_textgrid_is_refused(tmp_path):
    path = save_grid(tmp_path, {"phones": HELLO})
    text = path.read_text(encoding="utf-8")
    for place in (len(text) // 3, len(text) // 2):
        path.write_text(text[:place], encoding="utf-8")
        with pytest.raises(UtteranceError, match="TextGrid"):
            segments_of(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_that_are_not_utf8_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"SPEAKER a 1 0 1 <NA> <NA> caf\xe9\n" if suffix == ".rttm" else b"a 1 0 1 caf\xe9\n")
    with pytest.raises(UtteranceError, match=r"expected UTF-8 text in a\."):
        segments_of(path)


@pytest.mark.parametrize(
    ("cell", "message"), [("f.ctm", r"got the folder f\.ctm"), ("none.ctm", "there is no file of segments")]
)
def test_cells_that_name_no_file_are_refused(tmp_path, cell, message):
    (tmp_path / "f.ctm").mkdir()
    row = TimedRow("a.wav", {}, None, cell)
    with pytest.raises(UtteranceError, match=message):
        SegmentSource(tmp_path, None, None, [row]).of(row, row_of()[1])


def test_a_huge_file_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setitem(MAX_BYTES, ".ctm", 8)
    with pytest.raises(UtteranceError, match="up to 0 MiB, got 0 MB"):
        segments_of(write(tmp_path, "a.ctm", CTM))


def test_a_shared_file_is_read_once(tmp_path):
    path = write(tmp_path, "all.ctm", CTM)
    source = source_of(path)
    assert len(source.of(*row_of())) == 3
    path.unlink()
    assert source.of(*row_of("b")) == (Segment("x", 3.0, 4.0),)


@pytest.mark.parametrize(
    ("cell", "message"),
    [("[1", "expected a JSON list of segments, got"), ("{}", "got dict"), ("[5]", "segment 1: expected an object")],
)
def test_cells_without_a_list_of_segments_are_refused(cell, message):
    with pytest.raises(UtteranceError, match=message):
        inline_track(cell).checked()


BAD_ITEMS = {
    "no length": ("a 1 0.4 0.00 x", 1, "of zero length"),
    "no length, but for rounding": ("a 1 0.4 0.0000004 x", 1, "of zero length"),
    "before the audio": ("a 1 -1.5 1.2 x", 1, "without usable times or label"),
    "far before the audio": ("a 1 -0.3 0.5 x", 1, "without usable times or label"),
    "negative length": ("a 1 0.4 -0.1 x", 1, "without usable times or label"),
    "NaN": ("a 1 nan 0.1 x", 1, "without usable times or label"),
    "infinite": ("a 1 0.4 inf x", 1, "without usable times or label"),
    "no time": ("a 1 <NA> 0.1 x", 1, "without usable times or label"),
    "decimal comma": ("a 1 0,4 0,1 x", 1, "without usable times or label"),
    "underscore": ("a 1 0_4 0.1 x", 1, "without usable times or label"),
    "no label": ("a 1 0.4 0.1", 1, "without usable times or label"),
    "recording only": ("a", 1, "without usable times or label"),
    "other bytes": ("a 1 0.4 0.1 caf\udce9", 1, "without usable times or label"),
    "longer than any line": ("a 1 0.4 0.1 " + "x" * 70_000, 1, "without usable times or label"),
    "given twice": ("a 1 0.10 0.20 yes", 1, "given twice"),
}


@pytest.mark.parametrize(("line", "count", "kind"), BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_only_a_bad_item_is_left_out_and_counted(tmp_path, line, count, kind):
    path = tmp_path / "all.ctm"
    lines = ["b 1 0.1 0.2 yes", "a 1 0.10 0.20 yes", line, "a 1 0.60 0.20 no", "b 1 0.4 0.2 no", ""]
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
    source = source_of(path)
    assert [s.label for s in source.of(*row_of("b"))] == ["yes", "no"]
    assert source.notes == ()
    assert source.of(*row_of()) == (Segment("yes", 0.1, pytest.approx(0.3)), Segment("no", 0.6, pytest.approx(0.8)))
    [note] = source.notes
    assert note.startswith(f"{count} segment {kind} is left out; the first: ")
    assert kind == "given twice" or "all.ctm, line 3" in note
    assert len(note) < 300


@pytest.mark.parametrize("start", [-0.01, -0.05, -1e-9])
def test_a_start_slightly_before_the_audio_is_set_to_zero(tmp_path, start):
    path = write(tmp_path, "a.json", json.dumps([[start, 0.2, "x"]]))
    assert segments_of(path) == (Segment("x", 0.0, 0.2),)


@pytest.mark.parametrize("start", ["5e-05", "5E-5", ".5e-4", "+5e-05", "0.00005"])
def test_times_are_read_in_any_notation_of_a_number(tmp_path, start):
    assert segments_of(write(tmp_path, "a.ctm", f"a 1 {start} .5 x\n"))[0].start == pytest.approx(5e-5)


WHISPER = {
    "text": "yes no",
    "segments": [
        {
            "start": 0.1,
            "end": 0.8,
            "text": " yes no",
            "words": [
                {"word": " yes", "start": 0.1, "end": 0.3, "probability": 0.9},
                {"word": "2014", "score": 0.1},
                {"word": "uh", "start": None, "end": None},
                {"word": " um", "start": 0.4, "end": 0.4},
                {"word": " no", "start": 0.6, "end": 0.8},
            ],
        }
    ],
    "language": "en",
}
WORDS = (Segment("yes", 0.1, 0.3), Segment("no", 0.6, 0.8))
TRANSCRIPTS = {
    "Whisper": WHISPER,
    "WhisperX": WHISPER | {"word_segments": WHISPER["segments"][0]["words"]},
    "words alone": {"transcript": "yes no", "words": WHISPER["segments"][0]["words"]},
    "by recording": {"a": WHISPER, "b": 5, "c": None, "d": [], "e": {"words": 7}, "version": "1"},
}


@pytest.mark.parametrize("content", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_words_are_read_and_words_without_times_are_counted(tmp_path, content):
    source = source_of(write(tmp_path, "a.json", json.dumps(content)))
    assert source.of(*row_of()) == WORDS
    notes = " | ".join(source.notes)
    assert "1 segment of zero length is left out" in notes
    assert "2 segments without usable times or label are left out" in notes
    assert ("--tier segments" in notes) == ("segments" in content or "a" in content)


def test_sentences_of_transcripts_are_read_when_the_tier_is_named(tmp_path):
    path = write(tmp_path, "a.json", json.dumps(WHISPER))
    assert segments_of(path, tier="segments") == (Segment("yes no", 0.1, 0.8),)
    plain = {"segments": [{"start": 0, "end": 0.5, "text": "yes"}, {"start": 0.5, "end": 0.9, "text": "no"}]}
    source = source_of(write(tmp_path, "b.json", json.dumps(plain)), "segments")
    assert [s.label for s in source.of(*row_of())] == ["yes", "no"]
    assert source.notes == ()


def test_a_recording_without_segments_does_not_affect_others(tmp_path):
    content = {"a": [[0, 0.5, "x"]], "b": "none", "c": [[0, 0, "y"]], "d": {"tiers": {}}}
    source = source_of(write(tmp_path, "all.json", json.dumps(content)))
    assert source.of(*row_of()) == (Segment("x", 0.0, 0.5),)
    for name, message in {
        "b": "all.json, b: expected a list of segments, got str",
        "c": "all.json, c, segment 1: expected a segment that ends after its start",
        "d": "expected a tier of intervals in all.json, d, found none",
    }.items():
        with pytest.raises(UtteranceError, match=message):
            source.of(*row_of(name))


NA = "<NA> <NA>"
LINES = {
    "all.rttm": f"""SPEAKER
;; a comment
SPEAKER a 1 0.10 0.20 {NA} yes {NA}
SPEAKER a 1 <NA> <NA> {NA} yes {NA}
SPEAKER a 1 0.40 0.00 {NA} yes {NA}
SPEAKER a 1 0.6
SPEAKER b 1 0.60 0.20 {NA} no {NA}
SPEAKER a 1 0.60 0.20 {NA} no {NA}
""",
    "a.txt": "0.10\t0.30\tyes\n0.40\t0.40\tpoint\nx\t0.6\ty\n\\\t1\t2\n0,6\t0,8\tno\n0.9 1.0 spaces\n",
    "all.ctm": "\ufeff;; id\r\n\r\na A 0.10 0.20 yes 0.5\r\na A x 0.20 y\r\na A .4 0 z\r\na A 0.60 0.20 no\r\na A\r\n",
}


@pytest.mark.parametrize(("name", "content"), LINES.items(), ids=LINES)
def test_only_bad_lines_are_left_out_in_every_format(tmp_path, name, content):
    source = source_of(write(tmp_path, name, content))
    found = source.of(*row_of())
    assert [(s.label, round(s.start, 9), round(s.end, 9)) for s in found] == [("yes", 0.1, 0.3), ("no", 0.6, 0.8)]
    empty, unusable = source.notes
    assert empty.startswith("1 segment of zero length is left out")
    assert unusable.startswith("2 segments without usable times or label are left out")


def test_a_file_that_begins_with_the_utf_16_mark_is_read(tmp_path):
    assert len(segments_of(write(tmp_path, "a.ctm", CTM, "utf-16"))) == 3


def test_fields_are_separated_by_spaces_and_tabs_only(tmp_path):
    path = write(tmp_path, "a.ctm", "a\t1\t0 \t0.5\tl\xa0o\u3000\n")
    assert segments_of(path) == (Segment("l\xa0o", 0.0, 0.5),)


def test_a_file_of_one_recording_is_read_once_for_its_parts(tmp_path, monkeypatch):
    path = save_grid(tmp_path, {"phones": HELLO})
    source = source_of(path)
    first = source.of(*row_of())
    path.unlink()
    assert source.of(*row_of()) == first


def test_labels_are_compared_in_nfc(tmp_path):
    [segment] = segments_of(write(tmp_path, "a.ctm", "a 1 0 1 cafe\u0301\n"))
    assert segment.label == "caf\xe9"
