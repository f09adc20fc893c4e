"""Timed segments become timelines: rounding of times costs nothing, and errors are reported."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxrank.alignment.preparation import prepare
from voxrank.config import ExtractionOptions, SequenceOptions
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Segment, Utterance
from voxrank.errors import DataError, UtteranceError
from voxrank.targets.sequence import (
    OVERLAP_TOLERANCE_S,
    behind_the_end,
    segment_timeline,
    utterance_segments,
    without_overlaps,
)


def segments(*parts):
    return [Segment(label, start, end) for start, end, label in parts]


@pytest.mark.parametrize("overlap", [1e-4, 0.005, 0.01, 0.02])
def test_a_small_overlap_is_split_in_the_middle(overlap):
    first, second = without_overlaps(segments((0, 0.4 + overlap, "a"), (0.4, 0.8, "b")))
    assert first.end == second.start == pytest.approx(0.4 + overlap / 2)
    assert (first.start, second.end) == (0, 0.8)


@pytest.mark.parametrize("overlap", [0.021, 0.1, 0.3])
def test_a_larger_overlap_is_refused_by_both_segments(overlap):
    message = rf"got 'a' at 0-{0.4 + overlap:g} s and 'b' at 0.4-0.8 s, which overlap by {overlap:g} s"
    with pytest.raises(UtteranceError, match=message):
        without_overlaps(segments((0, 0.4 + overlap, "a"), (0.4, 0.8, "b")))


def test_a_short_segment_within_a_long_one_is_refused():
    with pytest.raises(UtteranceError, match=r"'long' at 0-1 s and 'short' at 0\.5-0\.51 s, which overlap by 0\.5 s"):
        without_overlaps(segments((0, 1, "long"), (0.5, 0.51, "short")))


CHAINS = {
    "three at one place": segments((0, 0.1, "a"), (0.085, 0.105, "b"), (0.086, 0.2, "c")),
    "shorter than the overlap": segments((0, 0.1, "a"), (0.098, 0.102, "b"), (0.101, 0.2, "c")),
    "within the end of another": segments((0, 0.1, "a"), (0.09, 0.095, "b"), (0.1, 0.2, "c")),
    "the same start": segments((0, 0.01, "a"), (0, 0.2, "b")),
    "the same times": segments((0, 0.01, "a"), (0, 0.01, "b")),
    "out of order": segments((0.1, 0.2, "b"), (0, 0.11, "a")),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_no_segment_vanishes_in_overlaps(chain):
    timeline = segment_timeline(chain, {name: number for number, name in enumerate("abc")})
    assert len(timeline.symbols) == len(chain)
    assert (timeline.ends > timeline.starts).all()
    assert (timeline.starts[1:] >= timeline.ends[:-1]).all()


@given(
    lengths=st.lists(st.floats(0.011, 0.3), min_size=1, max_size=30),
    decimals=st.integers(2, 5),
    first=st.floats(0, 0.5),
)
def test_times_of_a_ctm_may_have_any_number_of_decimals(lengths, decimals, first):
    """Starts and durations are rounded separately, so that neighbours overlap or leave a small gap."""
    ends = first + np.cumsum(lengths)
    starts = np.round(ends - lengths, decimals)
    made = [
        Segment("ab"[n % 2], s, s + round(d, decimals)) for n, (s, d) in enumerate(zip(starts, lengths, strict=True))
    ]
    found = without_overlaps(made)
    assert [one.label for one in found] == [one.label for one in made]
    for one, other in zip(found, made, strict=True):
        assert one.end > one.start
        assert abs(one.start - other.start) <= OVERLAP_TOLERANCE_S / 2 + 1e-9
        assert abs(one.end - other.end) <= OVERLAP_TOLERANCE_S / 2 + 1e-9


def test_silence_may_overlap_and_end_behind_the_audio():
    utterance = Utterance(
        "u", Path("u.wav"), segments=tuple(segments((0, 0.5, "sil"), (0.4, 0.8, "a"), (0.8, 1.5, "SIL")))
    )
    found = utterance_segments(utterance, 1.0)
    np.testing.assert_array_equal(segment_timeline(found, {"a": 0}).starts, [0.4])


def test_segments_that_end_a_little_behind_the_audio_are_cut():
    utterance = Utterance(
        "u", Path("u.wav"), segments=tuple(segments((0, 0.5, "a"), (0.5, 1.05, "b"), (1.01, 1.04, "c")))
    )
    assert utterance_segments(utterance, 1.0) == tuple(segments((0, 0.5, "a"), (0.5, 1.0, "b")))
    assert behind_the_end(utterance, 1.0) == 1
    with pytest.raises(UtteranceError, match=r"expected segments within its 0\.900 s, got 'b' at 0\.5-1\.05 s"):
        utterance_segments(utterance, 0.9)


def rounded_corpus(folder, write_wav, count, overlap=0.0):
    """Write utterances of six phones with times of four decimals, as a CTM; the last utterance has a larger overlap."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(count):
        write_wav(folder / f"wavs/u{number}.wav", 0.1 * rng.normal(size=16_000).astype(np.float32))
        ends = np.cumsum(rng.uniform(0.05, 0.15, 6))
        for place, end in enumerate(ends):
            start = 0 if place == 0 else ends[place - 1]
            longer = overlap if number == count - 1 and place == 2 else 0
            lines.append(f"u{number} 1 {start:.4f} {end - start + 1e-4 + longer:.4f} {'abc'[place % 3]}\n")
        lines.append(f"u{number} 1 {ends[-1] + 0.001:.4f} 0.0000 a\n")
    (folder / "phones.ctm").write_text("".join(lines))
    (folder / "m.csv").write_text("path\n" + "".join(f"wavs/u{number}.wav\n" for number in range(count)))
    return read_dataset(folder / "m.csv", segments=folder / "phones.ctm")


def test_no_utterance_is_lost_to_rounded_times(tmp_path, write_wav):
    dataset = rounded_corpus(tmp_path, write_wav, 30)
    prepared = prepare(dataset, ExtractionOptions(), SequenceOptions())
    assert (len(prepared.items), prepared.skipped, dataset.skipped) == (30, (), ())
    assert all(len(timeline.symbols) == 6 for timeline in prepared.targets.timed.timelines)
    [note] = dataset.notes
    assert note.startswith("30 segments of zero length are left out; the first: phones.ctm, line 7: ")


def test_only_the_utterance_with_a_large_overlap_is_lost(tmp_path, write_wav):
    prepared = prepare(rounded_corpus(tmp_path, write_wav, 4, overlap=0.03), ExtractionOptions(), SequenceOptions())
    assert [item.utterance.id for item in prepared.items] == [f"wavs/u{number}.wav" for number in range(3)]
    [skipped] = prepared.skipped
    assert skipped.utterance == "wavs/u3.wav"
    assert "which overlap by 0.0301 s" in skipped.reason


def test_segments_behind_the_end_are_noted(tmp_path, write_wav):
    write_wav(tmp_path / "u.wav", 0.1 * np.random.default_rng(0).normal(size=16_000).astype(np.float32))
    (tmp_path / "m.jsonl").write_text(
        '{"path": "u.wav", "segments": [[0, 0.5, "a"], [0.5, 1, "b"], [1.01, 1.02, "a"]]}\n'
    )
    prepared = prepare(read_dataset(tmp_path / "m.jsonl"), ExtractionOptions(), SequenceOptions())
    assert prepared.notes == ["segments that begin after the end of the audio are left out: 1"]


CELLS = {
    "zero length": '[[0.1, 0.3, "a"], [0.4, 0.4, "b"]]',
    "negative start": '[[-0.01, 0.3, "a"], [0.4, 0.6, "b"]]',
    "rounding": '[[0.1, 0.4001, "a"], [0.4, 0.6, "b"]]',
    "no number": '[[0.1, 0.3, "a"], [null, 0.4, "b"]]',
    "NaN": '[[0.1, 0.3, "a"], [NaN, 0.4, "b"]]',
    "backwards": '[[0.1, 0.3, "a"], [0.5, 0.4, "b"]]',
    "half an item": '[[0.1, 0.3, "a"], [0.5]]',
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_only_the_bad_items_of_a_cell_are_left_out(tmp_path, cell):
    (tmp_path / "m.tsv").write_text(f"path\tsegments\nu.wav\t{cell}\nv.wav\t[[0, 1, 5]]\n")
    dataset = read_dataset(tmp_path / "m.tsv")
    assert [utterance.id for utterance in dataset.utterances] == ["u.wav", "v.wav"]
    assert dataset.utterances[0].segments[0].label == "a"
    assert len(dataset.utterances[0].segments) + len(dataset.notes) == 2


def test_a_row_that_starts_a_little_before_its_file_starts_at_zero(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,start,end\na.wav,x,-0.01,1\nb.wav,x,-0.5,1\n")
    dataset = read_dataset(tmp_path / "m.csv")
    assert [(utterance.id, utterance.start) for utterance in dataset.utterances] == [("a.wav [0-1]", 0.0)]
    assert dataset.skipped[0].reason == "expected a start of at least 0 s, got -0.5"


def test_the_first_error_is_the_reason_where_no_segment_can_be_used(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"path": "u.wav", "segments": [[0.4, 0.4, "b"], [2, 1, "c"]]}\n')
    with pytest.raises(
        DataError, match="segments, segment 2: expected a segment from 0 s on that ends after its start"
    ):
        read_dataset(tmp_path / "m.jsonl")
