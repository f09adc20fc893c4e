"""Alternative labels change nothing in a ranking: every score, detail and skipped utterance stays bit for bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

import hf_models
import voxrank
import voxrank.alignment.uniform
import voxrank.encoders.pool
from voxrank._support.progress import Progress
from voxrank.alignment.preparation import prepare
from voxrank.alignment.uniform import Uniform
from voxrank.cache import store
from voxrank.config import (
    ExtractionOptions,
    SequenceOptions,
    StoppingOptions,
    UseOptions,
)
from voxrank.data.read import read_dataset
from voxrank.encoders.base import Layer
from voxrank.encoders.joint import JointLayer, LayerVersion, SketchKey
from voxrank.engines.local import sketch_model
from voxrank.errors import DataError, OptionError, UtteranceError
from voxrank.extraction.shard import empty_sketch
from voxrank.ranking import early_stopping as racing
from voxrank.ranking.collector import LabelComparison
from voxrank.ranking.resampling import Candidate
from voxrank.ranking.runner import ModelRun
from voxrank.ranking.tuning import LayerSelection
from voxrank.scores.estimate import Estimate
from voxrank.targets.timeline import Timeline
from voxrank.testing.encoders import FakeEncoder

RATE = 16_000
PITCH_HZ = {"a": 300.0, "b": 700.0, "c": 1600.0}
MODELS = ["fake-a", "fake-b"]
ON_TOP, ON_BLOCK = UseOptions("layer", "top"), UseOptions("layer")


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """Write a manifest of 16 utterances of two speakers, each of six letters as tones, with their text and times."""
    folder = tmp_path_factory.mktemp("letters")
    rng = np.random.default_rng(3)
    rows = ["path,text,speaker,room,segments"]
    for number in range(16):
        parts, segments, clock = [], [], 0.0
        said = rng.permutation([*"abcabc"])
        for letter in said:
            samples = round(rng.uniform(0.05, 0.1) * RATE)
            parts.append(0.3 * np.sin(2 * np.pi * PITCH_HZ[letter] * np.arange(samples) / RATE))
            segments.append([clock, clock := clock + samples / RATE, letter])
        audio = np.concatenate(parts) + 0.05 * rng.normal(size=sum(map(len, parts)))
        soundfile.write(folder / f"{number}.wav", audio.astype(np.float32), RATE)
        cell = json.dumps(segments).replace('"', '""')
        rows.append(f'{number}.wav,{"".join(said)},s{number % 2},r{number % 3},"{cell}"')
    manifest = folder / "letters.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


@pytest.fixture
def deep(monkeypatch):
    """Provide specs "fake-a" of seven layers and "fake-b" of four."""

    def load(spec, options):
        encoder = FakeEncoder(seed=ord(spec[-1]), n_layers=4 if spec == "fake-b" else 7)
        encoder.spec = spec
        return encoder

    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", load)


def ranked(manifest, *against, sample=None, blocks=10, target="segments", aligner="flat", **options):
    return voxrank.rank(
        manifest,
        options.pop("models", MODELS),
        target=target,
        sequence=SequenceOptions(against=against, aligner=aligner),
        extraction=ExtractionOptions(sample=sample, blocks=blocks),
        **({"details": "none"} | options),
    )


def assert_same(found, expected):
    """Check that all results are equal, except for times in seconds."""
    assert found.layers == expected.layers
    assert [replace(m, speed=None) for m in found.models] == [replace(m, speed=None) for m in expected.models]
    assert (found.beats, found.skipped, found.data) == (expected.beats, expected.skipped, expected.data)
    assert found.details == expected.details


def figures(ranking):
    """Return the ends of the interval and the value of each score, by layer."""
    return {
        (x.model, x.layer, name, part): getattr(score, part)
        for x in ranking.layers
        for name, score in x.scores.items()
        for part in ("value", "low", "high")
    }


def assert_near(found, expected):
    """Check that rankings are equal up to rounding: cached sums are added in another order."""
    assert figures(found) == pytest.approx(figures(expected), rel=1e-9, abs=1e-9)
    assert [x.model for x in found.models] == [x.model for x in expected.models]
    assert (found.skipped, found.data) == (expected.skipped, expected.data)


class Notes(Progress):
    """A progress that keeps the notes."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def failing_for(rows):
    """Return the uniform aligner's method, which fails for some utterances."""
    align = Uniform.align

    def fail(self, transcripts, names, on_audio):
        timelines = align(self, transcripts, names, on_audio)
        return [UtteranceError("too short") if row in rows else x for row, x in enumerate(timelines)]

    return fail


GRID = {
    "as they are": {},
    "some layers": {"layers": "0,-2", "scores": ["logme", "knn", "combined"]},
    "joint layers alone": {"layers": "mean,concat"},
    "joint layers beside others": {"layers": "1,2,concat,mean", "scores": ["combined"]},
    "segments": {"layers": "1,mean", "sample": "segment"},
    "effective samples": {"layers": "1,3,mean", "sample": "effective"},
    "one block of data": {"layers": "0,1", "blocks": 1},
    "head on the block, some layers": {"use": ON_BLOCK, "layers": "1,3"},
    "head on top, without the last layer": {"use": ON_TOP, "layers": "2", "sample": "effective"},
    "head on top, negative indices": {"use": ON_TOP, "layers": "-3,-2"},
    "head on top, by another score": {"use": ON_TOP, "layers": "1,2", "scores": ["logme", "tuned"]},
    "head on top, with details": {"use": ON_TOP, "layers": "2", "details": "quick", "besides": ["speaker", "room"]},
    "details of joint layers": {"layers": "1,2,mean", "details": "quick", "besides": ["speaker"]},
    "a race": {"stopping": StoppingOptions(confidence=0.6), "scores": ["logme"]},
    "a race of blocks": {"stopping": StoppingOptions(confidence=0.6), "use": ON_TOP, "layers": "2"},
    "a race of blocks by another score": {
        "stopping": StoppingOptions(confidence=0.6),
        "use": ON_TOP,
        "layers": "2",
        "scores": ["logme", "tuned"],
    },
}


@pytest.mark.parametrize("options", GRID.values(), ids=GRID)
def test_alternative_labels_do_not_change_a_ranking(deep, letters, monkeypatch, options):
    monkeypatch.setattr(racing, "LEAST_UTTERANCES", 4)
    monkeypatch.setattr(racing, "LEAST_OF_A_CLASS", 0)
    compared = ranked(letters, "jitter", **options)
    assert_same(compared, ranked(letters, **options))
    (sensitivity,) = compared.sensitivity
    assert (sensitivity.model, sensitivity.layer) in {(x.model, x.layer) for x in compared.layers}
    assert json.loads(compared.to_json())["sensitivity"][0]["labels"] == "jitter"


@pytest.mark.parametrize("scores", [["swd"], ["frechet", "logme"]])
def test_alternative_labels_do_not_change_a_comparison_with_source_data(deep, letters, scores):
    options = {"scores": scores, "source": letters, "layers": "1,mean"}
    compared = ranked(letters, "jitter", **options)
    assert_same(compared, ranked(letters, **options))
    assert [one.labels for one in compared.sensitivity] == ["jitter"]


SAME_LABELS = {
    "frames": {},
    "effective samples": {"sample": "effective"},
    "nearest neighbours": {"scores": ["knn"]},
    "combined": {"scores": ["combined"]},
    "joint layers": {"layers": "1,2,mean,concat"},
    "tuned blocks": {"use": ON_TOP, "layers": "2,3"},
}


@pytest.mark.parametrize("options", SAME_LABELS.values(), ids=SAME_LABELS)
def test_the_same_labels_as_an_alternative_give_the_same_ranking(deep, letters, options):
    """The alternative is scored as the ranking is: by the same score, and with the same weight of samples."""
    found = ranked(letters, "uniform", "jitter", target="text", aligner="uniform", models=["fake-a"], **options)
    same = found.sensitivity[0]
    assert same.spearman in (None, pytest.approx(1.0))
    assert (same.spearman is None) == (len(found.layers) < 3)
    assert (same.model, same.layer) == (found.best.model, found.best.layer)


def test_a_block_is_scored_the_same_with_several_alternatives(deep, letters):
    """Layer 4 of a head on the last layer: 0.10 alone must not become 0.099 with a further alternative."""
    options = {"target": "text", "aligner": "uniform", "models": ["fake-a"], "use": ON_TOP, "layers": "2,4"}
    alone = ranked(letters, **options)
    for against in (["jitter"], ["uniform"], ["uniform", "jitter"]):
        assert_same(ranked(letters, *against, **options), alone)


def test_blocks_of_a_hubert_are_scored_the_same_with_alternatives(letters, tmp_path):
    model = hf_models.save(tmp_path / "hubert", *hf_models.build("hubert-layer"))
    options = {"target": "text", "aligner": "uniform", "models": [model], "use": ON_TOP, "layers": "1,2"}
    assert_same(ranked(letters, "uniform", **options), ranked(letters, **options))


@pytest.mark.parametrize("options", [{}, {"layers": "1,mean"}, {"use": ON_TOP, "layers": "2"}])
def test_rankings_with_and_without_alternatives_share_a_cache(deep, letters, kept, options):
    plain, compared = ranked(letters, **options), ranked(letters, "jitter", **options)
    for against in (("jitter",), (), ("jitter",)):
        found = ranked(letters, *against, cache=kept, **options)
        assert_near(found, plain)
        assert len(found.sensitivity) == len(against)
        for one, other in zip(found.sensitivity, compared.sensitivity, strict=False):
            assert (one.model, one.layer, one.spearman) == (other.model, other.layer, pytest.approx(other.spearman))
    assert found.cost.encode_s == 0


def test_entries_of_an_earlier_version_are_not_read(deep, letters, kept, passes):
    first = ranked(letters, "jitter", cache=kept)
    root = store.Cache(kept).root
    root.rename(root.with_name(f"v{store.SCHEMA - 1}"))
    passes.clear()
    assert_near(ranked(letters, "jitter", cache=kept), first)
    assert passes


def test_pruning_reaches_entries_of_earlier_versions(deep, letters, kept):
    ranked(letters, cache=kept, models=["fake-b"])
    cache = store.Cache(kept)
    cache.root.rename(cache.root.with_name("v2"))
    ranked(letters, cache=kept, models=["fake-b"])
    assert len(list(cache.folder.glob("v*/*/*.safetensors"))) == 2 * len(list(cache.root.glob("*/*.safetensors")))
    files, freed = store.Cache(replace(kept, size_gb=0.0)).prune()
    assert files > 0
    assert freed > 0
    assert not list(cache.folder.glob("v*/*/*"))


def test_an_utterance_that_only_an_alternative_cannot_align_is_still_ranked(letters, monkeypatch):
    """The uniform alignment of one utterance fails; the labels of the ranking still score it."""
    plain = ranked(letters, target="text", models=["logmel", "mfcc"])
    notes = Notes()
    with monkeypatch.context() as patched:
        patched.setattr(voxrank.alignment.uniform.Uniform, "align", failing_for({3}))
        found = ranked(letters, "uniform", target="text", models=["logmel", "mfcc"], progress=notes)
    assert_same(found, plain)
    assert found.skipped == ()
    assert "uniform could not align 1 of 16 utterances; they are left out of its scores" in notes.lines


def test_an_alternative_that_aligns_nothing_is_refused(letters, monkeypatch):
    monkeypatch.setattr(voxrank.alignment.uniform.Uniform, "align", failing_for(set(range(16))))
    with pytest.raises(DataError, match="none of the 16 utterances could be aligned by uniform; leave --against"):
        ranked(letters, "uniform", target="text", models=["logmel"])


@pytest.mark.parametrize("options", [{}, {"scores": ["knn"]}, {"scores": ["combined"]}, {"use": ON_TOP, "layers": "2"}])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_alternative_of_a_single_frame_does_not_end_a_run(deep, letters, monkeypatch, kept, options):
    def one_frame(self, transcripts, names, on_audio):
        first = Timeline(np.array([0.05]), np.array([0.061]), transcripts[0].labels[:1])
        return [first, *(UtteranceError("too short") for _ in transcripts[1:])]

    monkeypatch.setattr(voxrank.alignment.uniform.Uniform, "align", one_frame)
    notes, options = Notes(), {"target": "text", "models": ["fake-a"], "aligner": "flat:logmel"} | options
    found = ranked(letters, "uniform", progress=notes, **options)
    assert_same(found, ranked(letters, **options))
    for _ in range(2):  # its entries, most of which have no frame, are stored and read back
        assert_near(ranked(letters, "uniform", cache=kept, **options), found)
    assert len(found.sensitivity) + sum("uniform labels; they are not compared" in line for line in notes.lines) == 1
    found.to_json()


def test_an_alternative_that_is_named_twice_is_refused(letters):
    with pytest.raises(OptionError, match="--against jitter is given twice; name each alternative once"):
        ranked(letters, "jitter", "jitter", models=["logmel"])


def prepared_of(manifest):
    prepared = prepare(read_dataset(manifest, target="segments"), ExtractionOptions(sample="frame"), SequenceOptions())
    timed = prepared.targets.timed
    versions = (tuple(timeline.jittered(np.random.default_rng(1), 0.02) for timeline in timed.timelines),)
    return replace(prepared, targets=replace(prepared.targets, timed=replace(timed, versions=versions)))


def encoded(encoder, prepared, layers):
    options = ExtractionOptions(sample="frame", kept_samples=8, projections=4)
    return sketch_model(lambda: encoder, prepared.shards, prepared.targets, layers, options, lambda _: None)


def assert_same_sketch(found, expected, keys):
    for key in keys:
        mine, theirs = found.layers[key].total, expected.layers[key].total
        assert mine.n == theirs.n
        np.testing.assert_array_equal(mine.gram, theirs.gram)
        np.testing.assert_array_equal(mine.cross, theirs.cross)
        np.testing.assert_array_equal(found.samples[key].features, expected.samples[key].features)


def test_each_layer_and_version_has_a_sketch_of_its_own(letters):
    prepared, encoder = prepared_of(letters), FakeEncoder()
    mean = JointLayer.of("mean", encoder.layers, "m")
    concat = JointLayer.of("concat", encoder.layers[:2], "m")
    plain = [*encoder.layers, mean, concat]
    found = encoded(encoder, prepared, [*plain, *(LayerVersion(layer, 1) for layer in plain)])
    labels = (0, 1, 2, "mean", "concat")
    assert set(found.layers) == {SketchKey(label, version) for label in labels for version in (0, 1)}
    assert_same_sketch(found, encoded(encoder, prepared, plain), [SketchKey(label) for label in labels])
    swapped = replace(prepared.targets.timed, timelines=prepared.targets.timed.versions[0], versions=())
    other = replace(prepared, targets=replace(prepared.targets, timed=swapped))
    expected = encoded(encoder, other, plain)
    for label in labels:
        assert_same_sketch(
            found,
            replace(
                expected,
                layers={SketchKey(label, 1): expected.layers[SketchKey(label)]},
                samples={SketchKey(label, 1): expected.samples[SketchKey(label)]},
            ),
            [SketchKey(label, 1)],
        )


def test_two_layers_with_one_key_are_refused():
    layers = FakeEncoder().layers
    with pytest.raises(ValueError, match="expected layers whose keys differ, got 1/0, 1/0"):
        empty_sketch([layers[1], layers[1]], 2, ExtractionOptions())


def test_keys_are_read_back_from_their_text():
    keys = [SketchKey(0), SketchKey(12, 3), SketchKey("mean"), SketchKey("concat", 1)]
    assert [str(key) for key in keys] == ["0/0", "12/3", "mean/0", "concat/1"]
    assert [SketchKey.parse(str(key)) for key in keys] == keys


@pytest.mark.parametrize("text", ["4", "4/", "/0", "-1/0", "4/0/1", "sum/0", "4/x", "", " 4/0", "²/0"])
def test_text_that_is_not_a_key_is_refused(text):
    with pytest.raises(ValueError, match="expected a layer and a version of its labels, such as 4/0"):
        SketchKey.parse(text)


class Broken(FakeEncoder):
    """An encoder that gives NaN in the first frames of every utterance."""

    def _forward(self, windows):
        for piece in super()._forward(windows):
            for start in np.cumsum([0, *piece.lengths])[:-1]:
                piece.frames[start : start + 2] = float("nan")
            yield piece


def test_frames_not_finite_under_an_alternative_do_not_change_the_ranking(letters):
    """The labels of the ranking begin after the broken frames; those of the alternative for one utterance do not."""
    prepared = prepared_of(letters)
    whole = prepared.targets.timed.timelines
    late = tuple(replace(one, starts=np.maximum(one.starts, 0.03)) for one in whole)
    timed = replace(prepared.targets.timed, timelines=late, versions=((whole[0], *late[1:]),))
    prepared = replace(prepared, targets=replace(prepared.targets, timed=timed))
    encoder, layers = Broken(), FakeEncoder().layers
    found = encoded(encoder, prepared, [*layers, *(LayerVersion(layer, 1) for layer in layers)])
    expected = encoded(encoder, prepared, layers)
    assert found.skipped == expected.skipped == []
    assert_same_sketch(found, expected, [SketchKey(layer) for layer in range(3)])
    for layer in range(3):
        other = found.layers[SketchKey(layer, 1)].total
        assert 0 < other.n < found.layers[SketchKey(layer)].total.n
        assert np.isfinite(other.gram).all()


def test_an_utterance_without_labels_in_an_alternative_is_not_skipped(letters):
    prepared = prepared_of(letters)
    timed = prepared.targets.timed
    none = tuple(Timeline.unlabelled() for _ in timed.timelines)
    prepared = replace(prepared, targets=replace(prepared.targets, timed=replace(timed, versions=(none,))))
    layers = FakeEncoder().layers
    found = encoded(FakeEncoder(), prepared, [*layers, LayerVersion(layers[1], 1)])
    assert found.skipped == []
    assert found.layers[SketchKey(1)].total.n > 0
    assert found.layers[SketchKey(1, 1)].total.n == 0


class Scorer:
    """A scorer with given scores of the layers of each model."""

    higher_is_better = {"logme": True}  # noqa: RUF012

    def __init__(self, values):
        self._values = values

    def by_version(self, name, selection, sketch, source, version):
        values = self._values[version]
        return None if values is None else [{name: Estimate(value, np.zeros(0))} for value in values]


def compared(values, ranking, shares):
    """Compare alternatives "x", "y" … with these values of their layers with a ranking by its values."""
    layers = [Layer(index, "", 4, 100.0) for index in range(len(ranking))]
    names = dict(enumerate("xyz"[: len(values)], start=1))
    comparison = LabelComparison(names, "logme", Scorer(dict(enumerate(values, start=1))))
    comparison.add(ModelRun("m", LayerSelection(layers, [], 0), None))
    candidates = [
        Candidate(model, 1, layer, {"logme": Estimate(value, np.zeros(0))})
        for model, layer, value in zip(shares, layers, ranking, strict=True)
    ]
    return comparison.compared(candidates, shares), comparison.left_out


def test_the_best_by_an_alternative_is_of_a_model_that_saw_most_of_the_data():
    (found,), _ = compared([[1.0, 2.0, 9.0]], [1.0, 2.0, 3.0], {"a": 1.0, "b": 1.0, "c": 0.5})
    assert (found.model, found.layer, found.spearman) == ("b", 1, pytest.approx(1.0))


def test_equal_scores_have_no_rank_correlation():
    for values, ranking in (([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])):
        (found,), _ = compared([values], ranking, {"a": 1.0, "b": 1.0, "c": 1.0})
        assert (found.spearman, found.p) == (None, None)


def test_layers_that_are_equal_by_an_alternative_are_counted():
    (found,), _ = compared([[2.0, 2.0, 1.0]], [1.0, 2.0, 3.0], {"a": 1.0, "b": 1.0, "c": 1.0})
    assert (found.model, found.equal) == ("a", 1)
    (found,), _ = compared([[2.0, 1.0, 2.0]], [1.0, 2.0, 3.0], {"a": 1.0, "b": 1.0, "c": 0.5})
    assert (found.model, found.equal) == ("a", 0)


def test_an_alternative_without_a_score_is_left_out_with_a_line():
    found, left_out = compared([None, [1.0, 2.0, 3.0]], [1.0, 2.0, 3.0], {"a": 1.0, "b": 1.0, "c": 1.0})
    assert [one.labels for one in found] == ["y"]
    assert left_out == {"x": "too few frames of m can be scored by x labels; they are not compared"}
