"""A ranking orders models and layers by score, with intervals and shares that add up."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

import voxrank
import voxrank.encoders.pool
import voxrank.ranking.rank
import voxrank.scores.registry
from voxrank._support.progress import Progress
from voxrank.config import EncoderOptions, ExtractionOptions
from voxrank.data.read import read_dataset
from voxrank.encoders.base import Layer, LayerFrames
from voxrank.encoders.groups import group_models
from voxrank.encoders.joint import sketch_key
from voxrank.encoders.pool import parse_layers
from voxrank.encoders.published import published_ranks
from voxrank.engines.local import LocalEngine
from voxrank.errors import OptionError, RunError
from voxrank.ranking.collector import Collector
from voxrank.scores import Gradient, LogME, Reading, of_moments, register_score, registry
from voxrank.testing.encoders import FakeEncoder

LAYERS = [Layer(i, str(i), 4, 50.0) for i in range(5)]


@pytest.mark.parametrize("error", [RunError("no score"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
def test_the_engine_is_closed_at_once_when_a_run_ends_between_two_models(fakes, tones, monkeypatch, error):
    closed = []

    class Engine(LocalEngine):
        def __exit__(self, kind, value, trace):
            closed.append(value)

    class Watcher(Progress):
        def ranked(self, so_far):
            raise error

    monkeypatch.setattr(voxrank.ranking.rank, "engine_of", lambda options, encoding, note: Engine(encoding))
    with pytest.raises(type(error)) as raised:
        voxrank.rank(tones, ["fake-a", "fake-b"], progress=Watcher())
    assert closed == [raised.value]


def test_the_sketches_of_a_model_are_freed_before_the_next_model_starts(fakes, tones, monkeypatch):
    sketches, alive = [], []
    add = Collector.add

    def remember(self, run):
        sketches.append(weakref.ref(run.sketch))
        add(self, run)

    class Watcher(Progress):
        def start(self, model, position, models, seconds):
            alive.append(sum(sketch() is not None for sketch in sketches))

    monkeypatch.setattr(Collector, "add", remember)
    voxrank.rank(tones, ["fake-a", "fake-b", "fake-c"], progress=Watcher())
    assert len(sketches) == 3
    assert alive == [0, 0, 0]


def test_a_candidate_has_its_published_ranks_and_an_unknown_one_has_none(fakes, tones):
    ranking = voxrank.rank(tones, ["facebook/wav2vec2-base", "fake-a"])
    by_model = {model.model: model.published for model in ranking.models}
    assert by_model == {"facebook/wav2vec2-base": published_ranks("facebook/wav2vec2-base"), "fake-a": ()}
    assert [rank.source for rank in by_model["facebook/wav2vec2-base"]] == ["maeb", "superb"]


def test_published_ranks_are_saved_and_read_back(fakes, tones, tmp_path):
    ranking = voxrank.rank(tones, ["facebook/wav2vec2-base"])
    ranking.save(tmp_path)
    assert voxrank.Ranking.load(tmp_path).models == ranking.models


def test_a_group_of_models_is_ranked_as_its_models(fakes, tones):
    ranking = voxrank.rank(tones, ["@small", "openai/whisper-tiny", "fake-a"])
    assert {model.model for model in ranking.models} == {*group_models("@small"), "openai/whisper-tiny", "fake-a"}


def test_scores_equal_the_estimator_on_the_same_features(fakes, tones):
    ranking = voxrank.rank(tones, ["fake-a"])
    dataset = voxrank.read_dataset(tones)
    encoder = FakeEncoder(seed=ord("a"))
    from voxrank.data.audio import decode

    for layer in ranking.layers:
        means = []
        for utterance in dataset.utterances:
            pieces = encoder.encode([decode(utterance, 16_000)])
            means.append(next(p.frames.double().mean(dim=0).numpy() for p in pieces if p.layer == layer.layer))
        expected = LogME().fit(np.array(means), [u.label for u in dataset.utterances]).score_
        assert layer.scores["logme"].value == pytest.approx(expected, rel=1e-6)


def test_models_and_layers_come_best_first(fakes, tones):
    ranking = voxrank.rank(tones, ["fake-b", "fake-a"], scores=["combined"])
    values = [layer.scores["combined"].value for layer in ranking.layers]
    assert values == sorted(values, reverse=True)
    assert len(values) == 5
    assert [m.rank for m in ranking.models] == [1, 2]
    assert ranking.best.scores == ranking.layers[0].scores
    assert (ranking.best.model, ranking.best.layer) == (ranking.layers[0].model, ranking.layers[0].layer)
    assert sum(m.probability_best for m in ranking.models) == pytest.approx(1)
    for layer in ranking.layers:
        assert list(layer.scores) == ["combined", "logme", "knn"]
        for score in layer.scores.values():
            assert score.low <= score.value <= score.high
        assert layer.scores["logme"].low < layer.scores["logme"].high
    assert ranking.cost.total_s > 0
    assert list(ranking.to_pandas()["model"]) == [layer.model for layer in ranking.layers]


def test_the_same_run_gives_the_same_ranking(fakes, tones):
    first, second = (voxrank.rank(tones, ["fake-a", "fake-b"], seed=3) for _ in range(2))
    assert first.models == second.models
    assert first.layers == second.layers


def test_shards_do_not_change_scores(fakes, tones):
    whole = voxrank.rank(tones, ["fake-a"], extraction=ExtractionOptions(sample="frame"))
    cut = voxrank.rank(tones, ["fake-a"], extraction=ExtractionOptions(sample="frame", shard_s=0.5))
    for left, right in zip(whole.layers, cut.layers, strict=True):
        assert left.scores["logme"].value == pytest.approx(right.scores["logme"].value, rel=1e-9)
        assert left.scores["logme"].low == pytest.approx(right.scores["logme"].low, rel=1e-4)


def test_values_are_ranked_better_than_without_features(fakes, tones):
    lines = tones.read_text().splitlines()
    pitch = {"low": 200, "middle": 500, "high": 1400}
    rows = [",".join([line.split(",")[0], str(pitch[line.split(",")[1]])]) for line in lines[1:]]
    manifest = tones.with_name("pitch.csv")
    manifest.write_text("\n".join(["path,value", *rows]))
    ranking = voxrank.rank(manifest, ["fake-a"])
    assert ranking.task == "regression"
    no_signal = -(np.log(2 * np.pi) + 1) / 2  # the evidence of standardised values without features
    assert ranking.best.scores["logme"].value > no_signal


def test_progress_hears_of_every_model_and_every_second_of_audio(fakes, tones):
    events = []

    class Watcher(Progress):
        def start(self, model, position, models, seconds):
            events.append([model, seconds])

        def advance(self, seconds):
            events[-1][1] -= seconds

    voxrank.rank(tones, ["fake-a", "fake-b"], progress=Watcher())
    assert [model for model, _ in events] == ["fake-a", "fake-b"]
    assert [left for _, left in events] == pytest.approx([0, 0], abs=1e-9)


def test_a_model_that_can_use_no_utterance_ends_the_run(tones, monkeypatch):
    class Useless(FakeEncoder):
        def _forward(self, windows):
            for piece in super()._forward(windows):
                piece.frames.fill_(float("nan"))
                yield piece

    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", lambda spec, options: Useless())
    with pytest.raises(
        RunError, match=r"fake-a could use none of the utterances; the first reason: layer 0 \(input\) gave NaN"
    ):
        voxrank.rank(tones, ["fake-a"])


@pytest.mark.parametrize(
    ("wanted", "expected"), [("all", [0, 1, 2, 3, 4]), ("0,3", [0, 3]), ("-1", [4]), ("3, 3,-5", [0, 3])]
)
def test_lists_of_layers_are_read(wanted, expected):
    assert [layer.index for layer in parse_layers(wanted, LAYERS, "m")] == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("mean", [("mean of layers 0 to 4", 4)]),
        ("1,3,concat", [("1", 4), ("3", 4), ("concat of layers 1, 3", 8)]),
        (
            "all,concat,mean",
            [*((str(i), 4) for i in range(5)), ("mean of layers 0 to 4", 4), ("concat of layers 0 to 4", 20)],
        ),
    ],
)
def test_joint_layers_are_read_with_their_dimensions(wanted, expected):
    found = parse_layers(wanted, LAYERS, "m")
    assert [(layer.name, layer.dim) for layer in found] == expected
    assert len({sketch_key(layer) for layer in found}) == len(found)


@pytest.mark.parametrize("wanted", ["", ",", "all,3", "mean,x", "first"])
def test_text_that_is_not_a_list_of_layers_is_refused(wanted):
    with pytest.raises(
        OptionError, match="expected layers as 'all' or indices such as 0,3,6, with mean or concat, got"
    ):
        parse_layers(wanted, LAYERS, "m")


def test_layers_that_cannot_be_combined_are_refused():
    wider, faster = Layer(1, "wide", 6, 50.0), Layer(1, "fast", 4, 100.0)
    with pytest.raises(
        OptionError,
        match="mean needs layers of the same shape and rate, and those of m have 4 and 6 numbers in a frame",
    ):
        parse_layers("mean", [LAYERS[0], wider], "m")
    assert parse_layers("concat", [LAYERS[0], wider], "m")[0].dim == 10
    with pytest.raises(
        OptionError, match="concat needs layers of the same shape and rate, and those of m have 50 and 100 frames a sec"
    ):
        parse_layers("concat", [LAYERS[0], faster], "m")
    with pytest.raises(OptionError, match="concat of 13 layers of m has 9,984 dimensions, more than 4,096; name fewer"):
        parse_layers("concat", [Layer(i, str(i), 768, 50.0) for i in range(13)], "m")


@pytest.mark.parametrize("sample", ["utterance", "segment", "frame"])
def test_joint_layers_score_as_the_mean_and_the_concatenation_of_frames(fakes, tones, sample):
    options = ExtractionOptions(sample=sample)
    ranking = voxrank.rank(tones, ["fake-a"], layers="1,2,mean,concat", extraction=options, scores=["logme", "knn"])
    assert {layer.layer for layer in ranking.layers} == {1, 2, "mean", "concat"}

    class Together(FakeEncoder):
        """An encoder whose layer 0 is the mean of the last two layers, and layer 1 their concatenation."""

        def __init__(self):
            super().__init__(seed=ord("a"))
            self.layers = (Layer(0, "mean", 8, 100.0), Layer(1, "both", 16, 100.0))

        def _forward(self, windows):
            _, one, two = super()._forward(windows)
            yield LayerFrames(0, (one.frames + two.frames) / 2, one.lengths)
            yield LayerFrames(1, torch.cat([one.frames, two.frames], dim=1), one.lengths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxrank.encoders.pool, "load_encoder", lambda spec, options: Together())
        direct = voxrank.rank(tones, ["fake-t"], extraction=options, scores=["logme", "knn"])
    for layer in ranking.layers:
        if isinstance(layer.layer, str):
            same = next(x for x in direct.layers if x.layer == ("mean", "concat").index(layer.layer))
            assert layer.dim == same.dim
            for name, value in layer.scores.items():
                assert value.value == pytest.approx(same.scores[name].value, rel=1e-5)
                assert value.low == pytest.approx(same.scores[name].low, rel=1e-4)


@pytest.mark.parametrize("wanted", ["5", "-6", "0,9"])
def test_layers_that_a_model_does_not_have_are_refused(wanted):
    with pytest.raises(OptionError, match=r"m has layers 0 to 4, not -?\d; see `voxrank models m`"):
        parse_layers(wanted, LAYERS, "m")


def test_a_single_string_is_not_a_list_of_models(tones):
    with pytest.raises(OptionError, match=r"expected a list of models, got the string 'logmel'; write \['logmel'\]"):
        voxrank.rank(tones, "logmel")


def test_a_dataset_object_takes_no_reading_options(tones):
    dataset = voxrank.read_dataset(tones)
    with pytest.raises(OptionError, match="target, split, segments and tier are for read_dataset"):
        voxrank.rank(dataset, ["logmel"], target="speaker")


def test_large_models_are_loaded_again_before_they_are_encoded(fakes, tones, monkeypatch):
    monkeypatch.setattr(voxrank.encoders.pool, "KEPT_PARAMETERS", 0)
    assert len(voxrank.rank(tones, ["fake-a", "fake-b"], encoder=EncoderOptions()).models) == 2


def test_a_score_that_the_user_registers_can_rank(fakes, tones, monkeypatch):
    monkeypatch.setattr(voxrank.scores.registry, "_SCORES", dict(registry._SCORES))

    def read(s):
        total = float(s.eigenvalues.sum())
        return Reading(total / s.n, lambda: Gradient(gram=np.eye(s.dim) / s.n, n=-total / s.n**2, centre=s.mean))

    register_score(of_moments("spread", "Spread", read, higher_is_better=False))
    ranking = voxrank.rank(tones, ["fake-a", "fake-b"], scores=["spread", "logme"])
    values = [layer.scores["spread"].value for layer in ranking.layers]
    assert values == sorted(values)
    assert ranking.layers[0].scores["spread"].low < values[0] < ranking.layers[0].scores["spread"].high
    assert sum(m.probability_best for m in ranking.models) == pytest.approx(1)


def test_models_beat_each_other_in_shares_that_add_up(fakes, tones):
    ranking = voxrank.rank(tones, ["fake-a", "fake-b"], scores=["combined"])
    beats = np.array(ranking.beats)
    np.testing.assert_allclose(beats + beats.T, 1 - np.eye(2), atol=1e-3)
    assert [m.model for group in ranking.groups for m in group] == [m.model for m in ranking.models]
    assert len(ranking.groups) == (2 if beats[0, 1] >= 0.95 else 1)


def test_several_labels_are_scored_as_columns(fakes, tones, tmp_path):
    """The scores are those of the classes with one label each, since a class is a column of 0 and 1 too."""
    plain = voxrank.read_dataset(tones)
    several = replace(
        plain,
        task="multilabel",
        target="labels",
        utterances=tuple(replace(u, label=None, labels=(u.label,)) for u in plain.utterances),
    )
    names = ("logme", "hscore", "cka", "ncm")
    of_sets, of_classes = (voxrank.rank(data, ["fake-a"], scores=names) for data in (several, plain))
    assert of_sets.task == "multilabel"
    for one, other in zip(of_sets.layers, of_classes.layers, strict=True):
        assert list(one.scores) == ["logme", "hscore", "cka"]  # the class means need classes
        for name, score in one.scores.items():
            assert score.value == pytest.approx(other.scores[name].value, rel=1e-9)


@pytest.mark.parametrize("scores", [["combined"], ["knn", "logme"]])
def test_progress_hears_the_ranking_so_far_after_each_model(fakes, tones, scores):
    rankings = []

    class Watcher(Progress):
        def ranked(self, so_far):
            rankings.append(so_far())

    names = ["fake-a", "fake-b", "fake-c"]
    whole = voxrank.rank(tones, names, scores=scores, progress=Watcher())
    assert [{model.model for model in ranking.models} for ranking in rankings] == [set(names[:n]) for n in (1, 2, 3)]
    assert [layer.model for layer in rankings[-1].layers] == [layer.model for layer in whole.layers]
    assert rankings[-1].options == whole.options
    assert rankings[-1].data == whole.data
    for model, same in zip(rankings[-1].models, whole.models, strict=True):
        assert model.scores[scores[0]].value == same.scores[scores[0]].value
        assert model.probability_best == pytest.approx(same.probability_best, abs=0.05)
    alone = voxrank.rank(tones, names[:1], scores=scores)
    for model, same in zip(rankings[0].models, alone.models, strict=True):
        assert {n: s.value for n, s in model.scores.items()} == {n: s.value for n, s in same.scores.items()}


def test_speed_is_that_of_the_forward_passes(fakes, tones, kept):
    first = voxrank.rank(tones, ["fake-a"], cache=kept)
    assert first.best.speed == pytest.approx(first.data.seconds / first.cost.encode_s)
    assert voxrank.rank(tones, ["fake-a"], cache=kept).best.speed == pytest.approx(first.best.speed)


def test_a_ranking_is_loaded_as_it_was(fakes, tones, tmp_path):
    ranking = voxrank.rank(tones, ["fake-a", "fake-b"])
    ranking.save(tmp_path)
    loaded = voxrank.Ranking.load(tmp_path)
    assert loaded.to_json() == ranking.to_json()
    assert (loaded.models, loaded.layers, loaded.beats) == (ranking.models, ranking.layers, ranking.beats)


def test_the_default_order_is_the_mean_of_three_orders(fakes, tones):
    ranking = voxrank.rank(tones, ["fake-a", "fake-b"])
    ranks = [rankdata([layer.scores[name].value for layer in ranking.layers]) for name in ranking.order]
    assert ranking.order == ("accuracy", "likelihood", "logme")
    assert list(np.mean(ranks, axis=0)) == sorted(np.mean(ranks, axis=0), reverse=True)
    assert voxrank.rank(tones, ["fake-a"], scores=["logme"]).order == ("logme",)


def test_ties_are_decided_by_the_next_score(fakes, tones):
    layers = voxrank.rank(tones, ["fake-a", "fake-b"], scores=["accuracy", "likelihood"]).layers
    pairs = [(layer.scores["accuracy"].value, layer.scores["likelihood"].value) for layer in layers]
    assert len({accuracy for accuracy, _ in pairs}) < len(pairs)
    assert pairs == sorted(pairs, reverse=True)


def test_every_other_model_says_how_far_it_is_behind_with_a_paired_interval(fakes, tones):
    ranking = voxrank.rank(tones, ["fake-a", "fake-b"], scores=["likelihood"])
    best, other = ranking.models
    assert best.behind is None
    assert other.behind.value == pytest.approx(best.scores["likelihood"].value - other.scores["likelihood"].value)
    assert other.behind.low <= other.behind.value <= other.behind.high
    assert voxrank.rank(tones, ["fake-a", "fake-b"], scores=["combined"]).models[1].behind is None


def test_the_data_say_what_is_held_out_and_how_frequent_classes_are(fakes, tones):
    data = voxrank.rank(tones, ["fake-a"]).data
    assert (data.held_out, data.classes, data.deviation) == ("speakers", 3, None)
    assert data.majority == pytest.approx(1 / 3)
    assert voxrank.rank(tones, ["fake-a"], extraction=ExtractionOptions(blocks=1)).data.held_out == "utterances"


def test_a_class_of_one_speaker_is_named_and_utterances_are_held_out_where_no_head_could_be_tested(fakes, tones):
    dataset = read_dataset(tones)
    notes, watcher = [], Progress()
    watcher.note = notes.append
    first = dataset.utterances[0].label
    alone = tuple(replace(u, speaker="solo" if u.label == first else u.speaker) for u in dataset.utterances)
    data = voxrank.rank(replace(dataset, utterances=alone), ["fake-a"], progress=watcher).data
    assert data.held_out == "speakers"
    assert any(f"all utterances of {first!r} are of one group of speakers" in line for line in notes)
    own = tuple(replace(u, speaker=u.label) for u in dataset.utterances)
    ranking = voxrank.rank(replace(dataset, utterances=own), ["fake-a"])
    assert ranking.data.held_out == "utterances"
    assert ranking.best.scores["accuracy"].value > 0.5


def test_speakers_are_held_out_only_where_all_of_them_are_known(fakes, tones):
    dataset = read_dataset(tones)
    some = (replace(dataset.utterances[0], speaker=None), *dataset.utterances[1:])
    assert voxrank.rank(replace(dataset, utterances=some), ["fake-a"]).data.held_out == "utterances"
