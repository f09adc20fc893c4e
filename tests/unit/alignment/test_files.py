"""Files of alignments: each recording has a separate file, which is found again by its recording."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import voxrank.alignment.files
from voxrank.alignment.align import align
from voxrank.alignment.files import (
    AlignedUtterance,
    ctm,
    manifest,
    recording_names,
    save_alignment,
    textgrid_names,
    write_textgrids,
)
from voxrank.config import SequenceOptions
from voxrank.data.names import nfc
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Segment, Utterance


def names_of(*paths, root="/data"):
    return list(recording_names([Path(root) / path for path in paths]).values())


NAMES = {
    "unique names": (["a/x.wav", "b/y.wav"], ["x", "y"]),
    "one name in two folders": (["spk1/0.flac", "spk2/0.flac", "spk2/1.flac"], ["spk1__0", "spk2__0", "1"]),
    "two endings": (["a.wav", "a.flac"], ["a.wav", "a.flac"]),
    "space and underscore": (["a b.wav", "a_b.wav"], ["a%20b.wav", "a%5Fb.wav"]),
    "two cases": (["A.wav", "a.wav"], ["%41.wav", "a.wav"]),
    "folders of two cases": (["S/0.wav", "s/0.wav"], ["%53%2F0.wav", "s%2F0.wav"]),
    "accents": (["\xe9.wav", "e\u0301.wav"], ["%C3%A9.wav", "e%CC%81.wav"]),
    "folders in a name": (["x/s__0.wav", "s/0.wav", "t/0.wav"], ["x__s__0", "s%2F0.wav", "t__0"]),
    "percent sign": (["a%20b.wav", "c.wav"], ["a%2520b.wav", "c"]),
    "comment": ([";;a.wav", ".b.wav"], ["%3B%3Ba.wav", ".b.wav"]),
    "control character": (["a\nb.wav", "a\tb\x1b.wav"], ["a_b", "a%09b%1B.wav"]),
}


@pytest.mark.parametrize(("paths", "expected"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("root", ["/data", "", "/data/a b/c"], ids=["absolute", "relative", "deep"])
def test_recordings_have_different_names(paths, expected, root):
    found = names_of(*paths, root=root)
    assert found == expected
    assert len({nfc(name.casefold()) for name in found}) == len(paths)
    assert not any(character.isspace() for name in found for character in name)


def test_long_names_are_shortened_to_valid_file_names():
    found = names_of(f"{'é' * 120}.wav", f"{'ß' * 60}.wav", f"{'é' * 120}x.wav")
    assert len(set(found)) == 3
    assert all(len(name.encode()) <= 200 for name in found)


def test_names_of_many_recordings_are_found_in_a_few_rounds(monkeypatch):
    rounds = []
    joined = "__".join
    monkeypatch.setattr(voxrank.alignment.files, "_comparison_form", lambda name: rounds.append(name) or name)
    found = names_of(*(f"spk{n % 50}/{n // 50}.wav" for n in range(1000)))
    assert len(set(found)) == 1000
    assert joined(["spk49", "19"]) in found
    assert len(rounds) <= 4 * 1000


LAYOUTS = {
    "speakers": ["spk1/0.wav", "spk2/0.wav", "spk1/1.wav", "spk2/1.wav"],
    "deep": ["north/spk1/0.wav", "south/spk1/0.wav", "south/spk2/0.wav", "east/0.wav"],
    "spaces": ["a b.wav", "a_b.wav", "a  b.wav", "a-b.wav"],
    "cases": ["A.wav", "a.wav", "b.WAV", "B.wav"],
    "dots": ["a.b.wav", "a.c.wav", "a.wav", "b.wav"],
    "marks": ["a%20b.wav", "a b.wav", "100%.wav", ";;x.wav"],
    "joined": ["x/s__0.wav", "s/0.wav", "t/0.wav", "x/s_0.wav"],
    "scripts": ["été/ä.wav", "zoë/ä.wav", "日本/語.wav", "中/語.wav"],
}
WORDS = ["ab", "ba", "cd", "dc"]


@pytest.fixture
def transcripts(tmp_path, write_wav):
    def write(paths, *, absolute=False, **columns):
        rows = [
            {"path": str(tmp_path / path) if absolute else path, "text": word}
            for path, word in zip(paths, WORDS, strict=True)
        ]
        for path in paths:
            write_wav(tmp_path / path, 0.1 * np.random.default_rng(0).normal(size=8000).astype(np.float32))
        (tmp_path / "m.jsonl").write_text("".join(json.dumps(row | columns) + "\n" for row in rows), encoding="utf-8")
        return tmp_path / "m.jsonl"

    return write


def spoken(dataset):
    """Return the text that the segments of each file spell."""
    return {
        Path(utterance.path).resolve(): "".join(s.label for s in utterance.segments) for utterance in dataset.utterances
    }


@pytest.mark.parametrize("paths", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_files_written_by_align_are_read_for_their_recordings(tmp_path, transcripts, paths, absolute, monkeypatch):
    path = transcripts(paths, absolute=absolute)
    monkeypatch.chdir(tmp_path)
    for data in ("m.jsonl", path):
        aligned = align(data, sequence=SequenceOptions(aligner="uniform"))
        aligned.save("out")
        expected = {(tmp_path / name).resolve(): word for name, word in zip(paths, WORDS, strict=True)}
        assert len(list(Path("out/textgrids").iterdir())) == 4
        assert spoken(read_dataset("out/manifest.csv")) == expected
        for segments in ("out/textgrids", tmp_path / "out" / "alignment.ctm"):
            again = read_dataset(data, segments=segments)
            assert (spoken(again), again.skipped, again.notes) == (expected, (), ())


def test_the_name_of_an_unaligned_recording_is_not_used_by_another(tmp_path, transcripts):
    paths = LAYOUTS["speakers"]
    path = transcripts(paths)
    (tmp_path / paths[1]).write_bytes(b"")
    align(path, sequence=SequenceOptions(aligner="uniform")).save(tmp_path / "out")
    for segments in ("textgrids", "alignment.ctm"):
        dataset = read_dataset(path, segments=tmp_path / "out" / segments)
        assert spoken(dataset) == {(tmp_path / paths[n]).resolve(): WORDS[n] for n in (0, 2, 3)}
        assert len(dataset.skipped) == 1


def aligned_parts(*bounds, path="long.wav"):
    found = []
    for number, (start, end) in enumerate(bounds):
        middle = (start + end) / 2
        tier = [Segment("a", start, middle), Segment("b", middle, end)]
        utterance = Utterance(f"u{number}", Path(path), start=start, end=end)
        found.append(AlignedUtterance(utterance, end - start, {"phones": tier}))
    return found


def test_parts_of_a_recording_share_a_textgrid_unless_they_overlap(tmp_path):
    names = {Path("long.wav"): "long"}
    touching = aligned_parts((0, 1), (1, 2.5), (2.4999, 3))
    assert list(textgrid_names(touching, names)) == ["long"]
    overlapping = aligned_parts((0, 1), (0.5, 2))
    assert list(textgrid_names(overlapping, names)) == ["long~1", "long~2"]
    for parts in (touching, overlapping):
        grids = textgrid_names(parts, names)
        write_textgrids(tmp_path / "textgrids", grids)
        (tmp_path / "manifest.csv").write_text(manifest(parts, grids, "textgrids"))
        rows = list(csv.DictReader((tmp_path / "manifest.csv").read_text().splitlines()))
        assert len({row["segments"] for row in rows}) == len(grids)
        found = read_dataset(tmp_path / "manifest.csv").utterances
        assert len(found) == len(parts)
        for part, utterance in zip(parts, found, strict=True):
            inside = [s for s in utterance.segments if part.utterance.start <= s.start < part.utterance.end - 0.001]
            assert [(s.label, s.start) for s in inside] == [(s.label, s.start) for s in part.tiers["phones"]]


def test_adjacent_segments_in_a_ctm_touch_and_labels_have_no_spaces():
    tier = [Segment("a", 0.00004, 0.10006), Segment("b c", 0.10006, 0.20014)]
    one = AlignedUtterance(Utterance("u", Path("u.wav")), 1.0, {"phones": tier})
    assert ctm([one], "phones", {Path("u.wav"): "u"}) == "u 1 0.0000 0.1001 a\nu 1 0.1001 0.1000 b_c\n"


def test_files_that_were_not_aligned_have_no_textgrid(tmp_path):
    [one] = aligned_parts((0, 1), path="/data/s/0.wav")
    save_alignment(tmp_path, [one], "phones", "{}", [Path("/data/t/0.wav")])
    assert [path.name for path in (tmp_path / "textgrids").iterdir()] == ["s__0.TextGrid"]
