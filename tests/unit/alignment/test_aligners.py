"""Aligners: a CTC checkpoint built here, planted posteriors, the choice of features, and leaks."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf

import hf_models as hf
import voxrank
import voxrank.alignment.frames
from voxrank.alignment.base import AlignmentContext, Transcript
from voxrank.alignment.ctc import Ctc, find_unit
from voxrank.alignment.frames import ENOUGH_S, LONG_S, Framed, LayerSource, divided, frames_of_layers
from voxrank.alignment.posteriors import log_softmax, posterior_timeline
from voxrank.alignment.preparation import prepare
from voxrank.alignment.reference import agreement, choose_reference
from voxrank.alignment.registry import AlignerSpec, load_aligner, parse_aligner, related
from voxrank.config import EncoderOptions, ExtractionOptions, SequenceOptions
from voxrank.data.read import read_dataset
from voxrank.data.shards import Item
from voxrank.data.utterance import Utterance
from voxrank.encoders.registry import load_encoder
from voxrank.engines.local import LocalEngine
from voxrank.errors import ModelError, OptionError, UtteranceError
from voxrank.targets.ctc import BLANK
from voxrank.targets.flatstart import quiet_frames

one_thread = hf.one_thread

VOCABULARY = {"<pad>": 0, "<unk>": 1, "|": 2, "A": 3, "B": 4, "C": 5, "D": 6}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Save a wav2vec 2.0 with a CTC head for the letters a to d, its encoder alone, and an encoder of other weights."""
    folder = tmp_path_factory.mktemp("ctc")
    model, extractor = hf.build("wav2vec2-layer")
    torch.manual_seed(5)
    head = tf.Wav2Vec2ForCTC(
        tf.Wav2Vec2Config(**{**model.config.to_dict(), "vocab_size": len(VOCABULARY), "pad_token_id": 0})
    )
    head.wav2vec2.load_state_dict(model.state_dict())
    hf.save(folder / "head", head, extractor)
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    tf.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder / "head")
    tuned = tf.Wav2Vec2Model.from_pretrained(hf.save(folder / "base", model, extractor))
    with torch.no_grad():
        for weights in tuned.parameters():
            weights.add_(0.05 * weights.std() * torch.randn_like(weights))
    hf.save(folder / "tuned", tuned, extractor)
    hf.save(folder / "other", *hf.build("wav2vec2-layer", seed=9))
    return folder


def context_of(models):
    """Return the context of these loaded models, in this process."""
    layers = {spec: encoder.layers for spec, encoder in models.items()}
    return AlignmentContext(layers, models.__getitem__, EncoderOptions(), LocalEngine(EncoderOptions()), 2)


def transcripts_of(manifest, **options):
    return prepare(read_dataset(manifest, target="text"), ExtractionOptions(), SequenceOptions(**options))


def test_a_checkpoint_aligns_the_units_in_its_vocabulary(checkpoint, spelled):
    ready = transcripts_of(spelled)
    aligner = Ctc(str(checkpoint / "head"), context_of({}))
    found = aligner.align(ready.transcripts, ready.names, lambda _: None)
    assert (aligner.record.aligner, aligner.record.trained) == ("ctc", True)
    [note] = aligner.notes
    assert "has no symbol for 'e' (" in note
    for transcript, timeline in zip(ready.transcripts, found, strict=True):
        np.testing.assert_array_equal(timeline.symbols, transcript.labels)
        assert (timeline.ends > timeline.starts).all()
        assert (timeline.starts[1:] >= timeline.ends[:-1] - 1e-9).all()
        assert timeline.ends[-1] <= transcript.item.seconds + 1e-9


class Sending(LocalEngine):
    """An engine that sends tasks, parts and results as between processes."""

    def map(self, task, parts, lend):
        task = sent(task)
        for part in parts:
            yield sent(task.run(sent(part), lend, self._encoding))


def sent(content):
    return pickle.loads(pickle.dumps(content))


@pytest.mark.parametrize("text", ["flat", "flat:mfcc", "head:logmel", "ctc"])
def test_alignments_are_the_same_in_other_processes(checkpoint, spelled, text, monkeypatch):
    monkeypatch.setattr(voxrank.alignment.frames, "FIT_BYTES", 4 * 80 * 100 * 12)  # 12 s
    monkeypatch.setattr(voxrank.alignment.frames, "PART_S", 5.0)
    ready = transcripts_of(spelled)
    here = context_of({spec: load_encoder(spec) for spec in ("logmel", "mfcc")})
    spec = parse_aligner(f"ctc:{checkpoint / 'head'}" if text == "ctc" else text)
    aligned = []
    for context in (here, replace(here, engine=Sending(EncoderOptions()))):
        aligner = load_aligner(spec, ready.transcripts, ready.names, context)
        aligned.append(aligner.align(ready.transcripts, ready.names, lambda _: None))
    for mine, theirs in zip(*aligned, strict=True):
        np.testing.assert_array_equal(mine.starts, theirs.starts)
        np.testing.assert_array_equal(mine.symbols, theirs.symbols)


def test_the_progress_of_an_alignment_is_all_of_its_audio(spelled, monkeypatch):
    monkeypatch.setattr(voxrank.alignment.frames, "FIT_BYTES", 4 * 80 * 100 * 12)  # 12 s
    ready, reported = transcripts_of(spelled), []
    context = context_of({"logmel": load_encoder("logmel")})
    load_aligner(parse_aligner("flat"), ready.transcripts, ready.names, context).align(
        ready.transcripts, ready.names, reported.append
    )
    assert sum(reported) == pytest.approx(ready.seconds)


@pytest.mark.parametrize("candidate", ["base", "tuned", "head"])
def test_labels_of_a_head_trained_on_a_candidate_are_refused(checkpoint, spelled, candidate):
    options = SequenceOptions(unit="char", aligner=f"ctc:{checkpoint / 'head'}")
    models = [str(checkpoint / candidate), "logmel"]
    with pytest.raises(OptionError, match=r"was trained on .* its labels would favour that candidate; .* --allow-leak"):
        voxrank.rank(spelled, models, sequence=options)


def test_a_leak_can_be_allowed_by_an_option(checkpoint, spelled):
    options = SequenceOptions(unit="char", aligner=f"ctc:{checkpoint / 'head'}", allow_leak=True)
    ranking = voxrank.rank(spelled, [str(checkpoint / "base"), "logmel"], sequence=options)
    assert ranking.options["aligner"] == {
        "aligner": "ctc",
        "model": str(checkpoint / "head"),
        "layer": None,
        "trained": True,
    }


def test_a_head_fitted_on_a_candidate_is_a_leak(spelled):
    with pytest.raises(OptionError, match="head on mfcc, layer 0 was trained on mfcc"):
        voxrank.rank(spelled, ["logmel", "mfcc"], sequence=SequenceOptions(unit="char", aligner="head:mfcc"))
    ranking = voxrank.rank(spelled, ["logmel"], sequence=SequenceOptions(unit="char", aligner="head:mfcc"))
    assert ranking.options["aligner"]["trained"]


def test_models_trained_independently_are_not_related(checkpoint, spelled):
    weights = {name: load_encoder(str(checkpoint / name)).weights() for name in ("base", "tuned", "other")}
    assert related(weights["base"], weights["tuned"])
    assert not related(weights["base"], weights["other"])
    assert not related({}, weights["base"])
    options = SequenceOptions(unit="char", aligner=f"ctc:{checkpoint / 'head'}")
    assert voxrank.rank(spelled, [str(checkpoint / "other")], sequence=options).data.used == 40


def test_checkpoints_without_a_head_are_refused(checkpoint):
    with pytest.raises(ModelError, match=r"lack .* of the encoder's tensors"):
        Ctc(str(checkpoint / "base"), context_of({}))


def test_models_without_a_ctc_head_are_refused(tmp_path):
    folder = hf.save(tmp_path, *hf.build("whisper"))
    with pytest.raises(ModelError, match="a whisper has no CTC head; name a CTC checkpoint"):
        Ctc(folder, context_of({}))


def test_units_are_found_in_vocabularies():
    assert find_unit("a", VOCABULARY, begins_word=True) == 3
    assert find_unit("ß", VOCABULARY, begins_word=False) is None
    assert find_unit("the", {"▁the": 5, "the": 6}, begins_word=True) == 5
    assert find_unit("the", {"▁the": 5, "the": 6}, begins_word=False) == 6


def framed(n_frames, quiet=()):
    samples = np.full(n_frames * 320, 0.3, dtype=np.float32)
    for frame in quiet:
        samples[frame * 320 : frame * 320 + 320] = 1e-4
    return Framed(np.zeros((n_frames, 1)), np.arange(n_frames) * 0.02 + 0.01, quiet_frames(samples, n_frames))


def transcript_with(labels, pauses, seconds):
    item = Item(Utterance("u", Path("u.wav")), seconds, 0)
    return Transcript(item, np.array(labels), np.array(pauses, dtype=bool))


def planted(symbols, count):
    return log_softmax(8.0 * np.eye(count)[symbols])


def test_blank_frames_belong_to_the_unit_before_except_in_quiet_pauses():
    """Peaks are at frames 1, 4 and 12; the quiet stretch 6-11 lies where a pause may be."""
    symbols = [0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    frames, transcript = framed(14, range(6, 12)), transcript_with([1, 2, 1], [1, 0, 1, 1], 0.28)
    found = posterior_timeline(planted(symbols, 3), transcript.labels, np.arange(3), 0, frames, transcript)
    np.testing.assert_allclose(found.starts, [0.02, 0.08, 0.24])
    np.testing.assert_allclose(found.ends, [0.08, 0.12, 0.28])
    inside = transcript_with([1, 2, 1], [1, 0, 0, 1], 0.28)
    found = posterior_timeline(planted(symbols, 3), inside.labels, np.arange(3), 0, frames, inside)
    np.testing.assert_allclose(found.ends, [0.08, 0.24, 0.28])


def test_a_word_separator_is_not_a_unit():
    symbols, transcript = [1, 3, 0, 2], transcript_with([1, 2], [1, 1, 1], 0.08)
    found = posterior_timeline(
        planted(symbols, 4), np.array([1, 3, 2]), np.array([0, BLANK, 1]), 0, framed(4), transcript
    )
    np.testing.assert_array_equal(found.symbols, [1, 2])
    assert found.starts[1] == pytest.approx(0.06)


def test_more_units_than_frames_are_refused():
    with pytest.raises(UtteranceError, match="need at least"):
        posterior_timeline(
            planted([0, 1], 2),
            np.array([1, 1, 1]),
            np.arange(3),
            0,
            framed(2),
            transcript_with([1, 1, 1], [1] * 4, 0.04),
        )


SPECS = {
    "flat": AlignerSpec("flat"),
    "flat:openai/whisper-base": AlignerSpec("flat", "openai/whisper-base"),
    "flat:pack:whisper-base@2": AlignerSpec("flat", "pack:whisper-base", 2),
    "flat:onnx:model.onnx#*conv*": AlignerSpec("flat", "onnx:model.onnx#*conv*"),
    "head:a@b": AlignerSpec("head", "a@b"),
    "ctc:facebook/wav2vec2-base-960h": AlignerSpec("ctc", "facebook/wav2vec2-base-960h"),
    "uniform": AlignerSpec("uniform"),
}


@pytest.mark.parametrize("text", SPECS)
def test_specs_of_aligners_are_parsed(text):
    assert parse_aligner(text) == SPECS[text]


def test_agreement_is_highest_for_alignments_that_agree():
    right = np.repeat(np.arange(50), 4)
    rng = np.random.default_rng(0)
    near = [np.where(rng.random(200) < 0.1, 60 + n, right) for n in range(3)]
    failed = [rng.integers(0, 50, 200) for _ in range(4)]
    shares = agreement([*failed[:2], *near, *failed[2:]])
    assert set(np.argsort(shares)[-3:]) == {2, 3, 4}
    assert agreement([right]).tolist() == [0.0]


def test_features_that_align_well_are_chosen(spelled, monkeypatch):
    """The candidates are log-mel bands, cepstra and features that contain only noise; the last are not chosen."""
    from voxrank.testing.encoders import FakeEncoder

    class Deaf(FakeEncoder):
        def _forward(self, windows):
            for piece in super()._forward(windows):
                noise = torch.randn(piece.frames.shape, generator=torch.Generator().manual_seed(piece.layer))
                yield type(piece)(piece.layer, noise, piece.lengths)

    models = {"deaf": Deaf(), "logmel": load_encoder("logmel"), "mfcc": load_encoder("mfcc")}
    ready = transcripts_of(spelled)
    spec, layer = choose_reference(list(models), ready.transcripts, ready.names, context_of(models))
    assert spec in ("logmel", "mfcc")
    assert layer == 0
    assert choose_reference(["mfcc"], ready.transcripts, ready.names, context_of(models)) == ("mfcc", 0)


def transcript_of_seconds(number, seconds):
    return Transcript(
        Item(Utterance(f"u{number}", Path("u.wav")), seconds, number), np.array([1]), np.array([True] * 2)
    )


def test_short_utterances_are_fitted_first():
    some = [transcript_of_seconds(number, 5.0 if number % 2 else 3 * LONG_S) for number in range(100)]
    first, rest = divided(some, 10_000.0)
    assert sorted(first + rest) == list(range(100))
    assert all(number % 2 for number in first)
    few, _ = divided(some, 40.0)
    assert len(few) == 8
    assert set(few) < set(first)
    assert divided([transcript_of_seconds(0, 500.0)], 40.0) == ([0], [])
    assert sum(some[n].item.seconds for n in few) < ENOUGH_S
    lone = [transcript_of_seconds(number, 3 * LONG_S) for number in range(10)]
    assert len(divided(lone, 10_000.0)[0]) > 1


def test_frames_have_the_times_of_their_centres(spelled):
    ready, encoder = transcripts_of(spelled), load_encoder("logmel", EncoderOptions(window_s=0.5))
    for place, found in frames_of_layers(encoder, encoder.layers, 2, ready.transcripts):
        one = found[0]
        assert len(one.features) == len(one.centres)
        assert (np.diff(one.centres) > 0.005).all()
        assert one.centres[0] == pytest.approx(0.0125)
        assert ready.transcripts[place].item.seconds - 0.03 < one.centres[-1] < ready.transcripts[place].item.seconds


def test_utterances_not_used_for_fitting_are_aligned_by_the_model(spelled, monkeypatch):
    from voxrank.alignment.flat import Flat

    ready, encoder = transcripts_of(spelled), load_encoder("logmel")
    source, context = LayerSource("logmel", encoder.layers[0], 2), context_of({"logmel": encoder})
    whole = Flat(source, context).align(ready.transcripts, ready.names, lambda _: None)
    monkeypatch.setattr(voxrank.alignment.frames, "FIT_BYTES", 4 * 80 * 100 * 12)  # 12 s
    part = Flat(source, context).align(ready.transcripts, ready.names, lambda _: None)
    apart = [np.abs(a.starts - b.starts).mean() for a, b in zip(whole, part, strict=True)]
    assert np.mean(apart) < 0.03
