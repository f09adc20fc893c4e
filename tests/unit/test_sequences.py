"""Transcripts and segments, from a manifest to a ranking of frames, against exact times."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

import voxrank
from voxrank._support.progress import Progress
from voxrank.alignment.preparation import Prepared, Unaligned, prepare
from voxrank.config import EncoderOptions, ExtractionOptions, SequenceOptions
from voxrank.data.audio import decode
from voxrank.data.read import read_dataset
from voxrank.encoders.registry import load_encoder
from voxrank.errors import DataError, OptionError
from voxrank.scores import LogME
from voxrank.targets.timeline import Timeline

MODELS = ["logmel", "mfcc"]
LETTERS_HZ = {"a": 300.0, "b": 620.0, "c": 1150.0, "d": 2000.0, "e": 3400.0}


def read_rows(manifest):
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(manifest, rows):
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def exact(manifest):
    """Prepare a manifest by its exact times."""
    return prepare(read_dataset(manifest, target="segments"), ExtractionOptions(), SequenceOptions())


def share_right(found, true):
    """Return the share of right labels of the labelled time, on a grid of 10 ms."""
    right = []
    for item, timeline in zip(true.items, true.targets.timed.timelines, strict=True):
        grid = np.arange(0, item.seconds, 0.01)
        labels = timeline.at(grid)
        right.append((found[item.utterance.id].at(grid) == labels)[labels >= 0])
    return np.concatenate(right).mean()


def timelines_of(manifest, models=MODELS, **options):
    """Return the timelines of an alignment by utterance, with its classes numbered as those of the exact times."""
    alignment = voxrank.align(manifest, models=models, sequence=SequenceOptions(**options))
    numbers = {name: number for number, name in enumerate(sorted(alignment.units))}
    found = {}
    for one in alignment.utterances:
        tier = one.tiers[alignment.tier]
        columns = ([s.start for s in tier], [s.end for s in tier], [numbers[s.label] for s in tier])
        found[one.utterance.id] = Timeline.of(*columns)
    return found


@pytest.mark.parametrize(
    ("aligner", "least"),
    [("flat", 0.9), ("flat:logmel", 0.9), ("flat:mfcc@0", 0.9), ("head:logmel@0", 0.75), ("uniform", 0.2)],
)
def test_alignments_are_near_the_exact_times(spelled, aligner, least):
    share = share_right(timelines_of(spelled, aligner=aligner), exact(spelled))
    assert share > least
    assert aligner != "uniform" or share < 0.85


def test_a_ranking_by_segments_is_that_of_the_frames_they_cover(spelled):
    ranking = voxrank.rank(spelled, ["logmel"], target="segments", scores=["logme"])
    assert ranking.task == "segmentation"
    assert ranking.options["sample"] == "frame"
    prepared, encoder = exact(spelled), load_encoder("logmel")
    features, labels = [], []
    for item, timeline in zip(prepared.items, prepared.targets.timed.timelines, strict=True):
        frames = next(encoder.encode([decode(item.utterance, 16_000)])).frames.numpy()
        own = timeline.at(np.arange(len(frames)) / 100 + 0.0125)
        features.append(frames[own >= 0])
        labels.append(own[own >= 0])
    expected = LogME().fit(np.concatenate(features), np.concatenate(labels)).score_
    assert ranking.layers[0].scores["logme"].value == pytest.approx(expected, rel=1e-6)
    assert prepared.targets.names == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(("sample", "within"), [("frame", 0.15), ("segment", 1.0), ("effective", 0.15)])
def test_a_ranking_by_transcripts_is_near_that_by_exact_times(spelled, sample, within):
    extraction = ExtractionOptions(sample=sample)
    options = {"extraction": extraction, "sequence": SequenceOptions(silence=0.0), "scores": ["logme"]}
    aligned = voxrank.rank(spelled, MODELS, target="text", **options)
    timed = voxrank.rank(spelled, MODELS, target="segments", **options)
    assert (aligned.task, timed.task) == ("transcription", "segmentation")
    others = {(layer.model, layer.layer): layer for layer in timed.layers}
    for one in aligned.layers:
        other = others[one.model, one.layer]
        assert list(one.scores) == ["logme"]
        assert one.scores["logme"].value == pytest.approx(other.scores["logme"].value, abs=within)
        assert one.scores["logme"].low < one.scores["logme"].value < one.scores["logme"].high
    assert aligned.cost.align_s > 0
    assert timed.options["aligner"]["aligner"] == "segments"
    assert aligned.options["aligner"]["model"] in MODELS


def test_the_task_is_inferred_from_the_columns(spelled):
    assert read_dataset(spelled).task == "segmentation"
    assert read_dataset(spelled, target="text").task == "transcription"
    assert voxrank.rank(spelled, ["mfcc"], sequence=SequenceOptions(unit="char")).task == "transcription"


def test_words_are_aligned_by_their_characters(spelled, tmp_path):
    rows = read_rows(spelled)
    words = [row["text"].split() for row in rows]
    ready = prepare(read_dataset(spelled, target="text"), ExtractionOptions(), SequenceOptions(unit="word"))
    assert isinstance(ready, Unaligned)
    assert ready.names == ("a", "b", "c", "d", "e")
    alignment = voxrank.align(spelled, models=["logmel"], sequence=SequenceOptions(unit="word"))
    assert alignment.units == tuple(sorted({word for row in words for word in row}))
    for one, row, spoken in zip(alignment.utterances, rows, words, strict=True):
        found = one.tiers["words"]
        assert [segment.label for segment in found] == spoken
        true, place = json.loads(row["segments"]), 0
        for segment in found:
            start, end = true[place][0], true[place + len(segment.label) - 1][1]
            place += len(segment.label)
            assert (segment.start, segment.end) == pytest.approx((start, end), abs=0.08)


def test_silence_is_a_class_where_it_is_requested(spelled):
    def prepared(silence):
        return prepare(read_dataset(spelled), ExtractionOptions(), SequenceOptions(silence=silence))

    assert prepared(0.0).targets.count == 5
    assert prepared(0.5).targets.names == ("a", "b", "c", "d", "e", "silence")
    assert prepared(0.5).targets.timed.rest == 5
    with_silence = voxrank.rank(spelled, ["logmel"], scores=["logme"], sequence=SequenceOptions(silence=1.0))
    without = voxrank.rank(spelled, ["logmel"], scores=["logme"])
    assert with_silence.layers[0].scores != without.layers[0].scores


def test_other_labels_are_compared_without_changing_the_ranking(spelled):
    options = SequenceOptions(unit="char", against=("jitter", "uniform", "flat:mfcc"))
    ranking = voxrank.rank(spelled, MODELS, scores=["logme"], sequence=options)
    alone = voxrank.rank(spelled, MODELS, scores=["logme"], sequence=replace(options, against=()))
    assert ranking.layers == alone.layers
    assert [one.labels for one in ranking.sensitivity] == ["jitter", "uniform", "flat:mfcc"]
    assert {one.model for one in ranking.sensitivity} <= set(MODELS)
    assert all(one.spearman is None for one in ranking.sensitivity)  # two layers have no rank correlation
    assert json.loads(ranking.to_json())["sensitivity"][0]["labels"] == "jitter"


def test_other_labels_are_compared_by_rank_correlation(fakes, spelled):
    ranking = voxrank.rank(
        spelled,
        ["fake-a", "fake-b"],
        scores=["logme"],
        target="segments",
        sequence=SequenceOptions(against=("jitter",)),
    )
    [found] = ranking.sensitivity
    assert -1 <= found.spearman <= 1
    values = {(x.model, x.layer): x.scores["logme"].value for x in ranking.layers}
    assert len(values) == 5
    assert (found.model, found.layer) in values
    assert spearmanr(list(values.values()), list(values.values())).statistic >= found.spearman


def test_batches_and_shards_do_not_change_a_ranking(spelled):
    def ranked(**options):
        extraction = ExtractionOptions(shard_s=options.pop("shard_s", 600.0))
        ranking = voxrank.rank(spelled, MODELS, encoder=EncoderOptions(**options), extraction=extraction)
        return {(x.model, x.layer): x.scores["logme"].value for x in ranking.layers}

    usual = ranked()
    for other in (ranked(batch_s=0.5), ranked(shard_s=2.0)):
        assert other == pytest.approx(usual, rel=1e-6)


def test_windows_keep_their_times(spelled):
    """Windows of half a second give the same frames and score, except at the seams."""
    ranking = voxrank.rank(spelled, ["logmel"], scores=["logme"])
    cut = voxrank.rank(spelled, ["logmel"], scores=["logme"], encoder=EncoderOptions(window_s=0.5))
    assert cut.layers[0].scores["logme"].value == pytest.approx(ranking.layers[0].scores["logme"].value, abs=0.05)


BAD_OPTIONS = {
    "utterance means": ({"extraction": ExtractionOptions(sample="utterance")}, "every frame has a label of its own"),
    "an aligner for segments": ({"sequence": SequenceOptions(against=("flat",))}, "segments have their times"),
    "unknown aligner": ({"sequence": SequenceOptions(unit="char", aligner="flt")}, "did you mean flat"),
    "uniform on a model": ({"sequence": SequenceOptions(unit="char", aligner="uniform:logmel")}, "takes no model"),
    "no checkpoint": ({"sequence": SequenceOptions(unit="char", aligner="ctc:")}, "expected a checkpoint behind ctc:"),
    "no such layer": ({"sequence": SequenceOptions(unit="char", aligner="flat:logmel@3")}, "has layers 0 to 0, not 3"),
    "unknown unit": ({"sequence": SequenceOptions(unit="syllable")}, "char"),
    "phones without a language": ({"sequence": SequenceOptions(unit="phone")}, "language"),
    "unknown language": ({"sequence": SequenceOptions(unit="phone", language="xx-yy")}, "xx-yy"),
    "two sources of times": ({"target": "text", "segments": "."}, "name one of them"),
    "no such segments": ({"segments": "none.ctm"}, "no such file or folder of segments"),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_wrong_requests_for_sequences_are_refused(spelled, options, message):
    with pytest.raises((OptionError, DataError), match=message):
        voxrank.rank(spelled, ["logmel"], **options)


def test_utterances_with_impossible_segments_are_skipped(spelled):
    """Each bad utterance is skipped with its reason, and none ends a run."""
    rows = read_rows(spelled)
    for row, cell in zip(
        rows,
        [
            '[[0, 0.2, "a"], [0.1, 0.3, "b"]]',
            '[[0, 99, "a"]]',
            '[[0, 0.2, "sil"]]',
            "",
            "none.TextGrid",
            "[[0, 0.2, [1]]]",
            '[[0.2, 0.1, "a"]]',
        ],
        strict=False,
    ):
        row["segments"] = cell
    write_rows(spelled, rows)
    ranking = voxrank.rank(spelled, ["logmel"], target="segments")
    assert ranking.data.used == 33
    reasons = " | ".join(skipped.reason for skipped in ranking.skipped)
    for part in (
        "expected segments apart from each other, got 'a' at 0-0.2 s and 'b' at 0.1-0.3 s, which overlap by 0.1 s",
        "expected segments within its",
        "silence and unknown words only",
        "the column 'segments' is empty",
        "there is no file of segments",
        "expected a label as text",
        "ends after its start",
    ):
        assert part in reasons


def test_utterances_with_impossible_transcripts_are_skipped(spelled):
    rows = read_rows(spelled)
    rows[0]["text"], rows[1]["text"], rows[2]["text"] = "", "?!", "abcde " * 200
    write_rows(spelled, rows)
    ranking = voxrank.rank(spelled, ["logmel"], target="text")
    assert ranking.data.used == 37
    reasons = " | ".join(skipped.reason for skipped in ranking.skipped)
    for part in (
        "the column 'text' is empty",
        "expected a transcript with words, got '?!'",
        "its 1000 labels need at least",
    ):
        assert part in reasons


def test_transcripts_with_a_single_unit_are_refused(spelled):
    spelled.write_text("path,text\nclips/u0.wav,a\nclips/u1.wav,aa\n")
    with pytest.raises(DataError, match="expected at least two units to tell apart, found 'a'"):
        voxrank.rank(spelled, ["logmel"], sequence=SequenceOptions(aligner="uniform"))


def test_labels_of_unknown_units_are_listed_and_not_scored(spelled):
    rows = read_rows(spelled)
    parts = json.loads(rows[0]["segments"])
    parts[0][2] = "spn"
    rows[0]["segments"] = json.dumps(parts)
    write_rows(spelled, rows)
    prepared = exact(spelled)
    assert isinstance(prepared, Prepared)
    assert prepared.notes == ["segments whose unit is unknown are not scored: 'spn' (1)"]
    assert "spn" not in prepared.targets.names
    assert prepared.targets.timed.timelines[0].symbols[0] == -1


def test_parts_of_a_file_take_the_segments_within(spelled, tmp_path):
    rows = read_rows(spelled)
    parts = json.loads(rows[0]["segments"])
    cut = (parts[1][0] + parts[1][1]) / 2
    (tmp_path / "part.csv").write_text(
        "path,start,end,segments\n"
        f'clips/u0.wav,0,{cut},"{json.dumps(parts).replace(chr(34), chr(34) * 2)}"\n'
        f'clips/u0.wav,{cut},,"{json.dumps(parts).replace(chr(34), chr(34) * 2)}"\n'
    )
    first, second = exact(tmp_path / "part.csv").targets.timed.timelines
    assert first.ends[-1] == pytest.approx(cut)
    assert second.starts[0] == 0
    assert second.ends[0] == pytest.approx(parts[1][1] - cut)
    assert len(first.ends) + len(second.ends) == len(parts) + 1


def test_a_noise_with_a_tag_takes_its_time_and_is_not_scored(tmp_path, write_wav):
    """Noises of up to 0.9 s are between words of tones: with their tags, the flat start finds the tones around them."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(24):
        samples, segments, text = [np.zeros(1600)], [], []
        for tag in rng.choice(["[noise]", "<unk>", "(laughs)", ""], 3):
            word = "".join(rng.choice(list("abcde"), 3))
            for label in (*([tag] if tag else []), *word):
                start = sum(map(len, samples))
                n = round(rng.uniform(*((0.3, 0.9) if label == tag else (0.08, 0.2))) * 16_000)
                tone = 0.3 * np.sin(2 * np.pi * LETTERS_HZ.get(label, 0.0) * np.arange(n) / 16_000)
                samples.append(0.2 * rng.normal(size=n) if label == tag else tone)
                segments.append([start / 16_000, (start + n) / 16_000, label])
            samples.append(np.zeros(2400))
            text += [tag, word]
        audio = np.concatenate(samples)
        write_wav(tmp_path / f"u{number}.wav", audio + 0.003 * rng.normal(size=len(audio)))
        rows.append({"path": f"u{number}.wav", "text": " ".join(filter(None, text)), "segments": json.dumps(segments)})
    write_rows(tmp_path / "m.csv", rows)
    true = exact(tmp_path / "m.csv")
    assert true.targets.names == tuple("abcde")
    alignment = voxrank.align(tmp_path / "m.csv", models=["logmel"])
    assert alignment.units == tuple("abcde")
    found = {}
    for one in alignment.utterances:
        tier = one.tiers["characters"]
        numbers = ["abcde".find(segment.label) for segment in tier]
        assert {segment.label for segment in tier} <= {*"abcde", "spn"}
        found[one.utterance.id] = Timeline.of([s.start for s in tier], [s.end for s in tier], numbers)
    assert share_right(found, true) > 0.9
    alignment.save(tmp_path / "aligned")
    again = prepare(read_dataset(tmp_path / "aligned" / "manifest.csv"), ExtractionOptions(), SequenceOptions())
    assert again.targets.names == tuple("abcde")
    tags = sum(row["text"].count(sign) for row in rows for sign in "[<(")
    assert again.notes == [f"segments whose unit is unknown are not scored: 'spn' ({tags})"]


@pytest.mark.parametrize("unit", ["char", "word"])
def test_tags_are_listed_and_belong_to_no_class(spelled, unit):
    rows = read_rows(spelled)
    rows[0]["text"] = f"[noise] {rows[0]['text']} <unk>"
    rows[1]["text"] = "(laughs) [noise]"
    write_rows(spelled, rows)
    sequence = SequenceOptions(unit=unit, aligner="uniform")
    ranking = voxrank.rank(spelled, ["logmel"], sequence=sequence, progress=(progress := Notes()))
    note = "tags in transcripts are not spoken and not scored: '[noise]' (2), '<unk>' (1), '(laughs)' (1)"
    assert note in progress.lines
    assert [one.reason for one in ranking.skipped] == [
        "expected a transcript with words, got nothing but the tags '(laughs)', '[noise]'"
    ]
    ready = prepare(read_dataset(spelled, target="text"), ExtractionOptions(), sequence)
    assert not {name for name in ready.classes if set(name) - set("abcde")}
    assert set(ready.counts) == set(ready.classes)


class Notes(Progress):
    """A progress that keeps the notes of a run."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def test_an_unknown_language_skips_only_its_utterance(spelled):
    rows = read_rows(spelled)
    for place, language in enumerate(["xx", "", "de-DE", *["German"] * 37]):
        rows[place]["language"] = language
    write_rows(spelled, rows)
    dataset = read_dataset(spelled, target="text")
    sequence = SequenceOptions(unit="phone", aligner="uniform")
    alone = prepare(dataset, ExtractionOptions(), sequence)
    assert [one.reason.partition(" (")[0].partition("; did")[0] for one in alone.skipped] == [
        "expected a language of eSpeak NG such as en-us, de or cmn, got 'xx'",
        "expected a language for phones",
    ]
    assert alone.notes == ["languages are read by voices of eSpeak NG: 'de-DE' as de, 'German' as de"]
    given = prepare(dataset, ExtractionOptions(), replace(sequence, language="de"))
    assert not given.skipped
    assert "languages that eSpeak NG lacks are read as de: 'xx' (1)" in given.notes


def test_align_reports_each_note_once(spelled):
    rows = read_rows(spelled)
    rows[0]["text"] += " [noise]"
    write_rows(spelled, rows)
    progress = Notes()
    voxrank.align(spelled, sequence=SequenceOptions(aligner="uniform"), progress=progress)
    assert progress.lines.count("tags in transcripts are not spoken and not scored: '[noise]' (1)") == 1
