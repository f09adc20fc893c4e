"""A run is planned without a model: every default and every refusal."""

from dataclasses import replace
from pathlib import Path

import pytest

import voxrank.ranking.plan
from voxrank.config import (
    CacheOptions,
    DetailOptions,
    ExtractionOptions,
    RankRequest,
    SequenceOptions,
    StoppingOptions,
    UseOptions,
)
from voxrank.data.utterance import Dataset, Segment, Utterance
from voxrank.errors import ModelError, OptionError
from voxrank.ranking.plan import N_DIRECTIONS, check_names, resolve
from voxrank.ranking.tuning import FRAMES_FOR_TUNED, Prediction

TARGETS = {
    "classification": lambda n: {"label": "ab"[n % 2]},
    "multilabel": lambda n: {"labels": ("ab"[n % 2],)},
    "regression": lambda n: {"value": float(n)},
    "segmentation": lambda n: {"segments": (Segment("ab"[n % 2], 0.0, 1.0),)},
    "transcription": lambda n: {"text": "a b"},
}

THREE = ("accuracy", "likelihood", "logme")


def dataset(task="classification", n=80):
    utterances = tuple(Utterance(str(n), Path(f"{n}.wav"), **TARGETS[task](n)) for n in range(n))
    return Dataset("data.csv", task, "label", utterances)


def plan(task="classification", n=80, **options):
    return plan_of({"models": ["logmel"]} | options, dataset(task, n))


def plan_of(options, data):
    request = RankRequest(**options)
    check_names(request)
    return resolve(request, data)


@pytest.mark.parametrize(
    ("task", "n", "options", "expected"),
    [
        ("classification", 80, {}, ("accuracy", "likelihood", "balanced", "logme")),
        ("classification", 12, {}, ("accuracy", "likelihood", "balanced", "logme")),
        ("classification", 80, {"stopping": StoppingOptions()}, ("logme", "accuracy", "likelihood", "balanced")),
        ("classification", 80, {"use": UseOptions("layer")}, (*THREE[:2], "balanced", "logme", "tuned")),
        ("multilabel", 38, {}, ("map", "r2", "logme")),
        ("regression", 80, {}, ("r2", "logme")),
        ("segmentation", 80, {}, ("accuracy", "likelihood", "balanced", "logme")),
        ("transcription", 80, {}, ("accuracy", "likelihood", "balanced", "logme")),
    ],
)
def test_the_default_score_depends_on_the_task_and_the_use(task, n, options, expected):
    assert plan(task, n, **options).names == expected


@pytest.mark.parametrize(
    ("task", "options", "expected"),
    [
        ("classification", {}, THREE),
        ("classification", {"scores": ["default", "knn"]}, THREE),
        ("classification", {"scores": ["knn", "default"]}, ("knn",)),
        ("classification", {"scores": ["accuracy", "logme"]}, ("accuracy",)),
        ("classification", {"extraction": ExtractionOptions(sample="segment")}, ("accuracy",)),
        ("classification", {"stopping": StoppingOptions()}, ("logme",)),
        ("classification", {"use": UseOptions("layer")}, ("tuned",)),
        ("regression", {}, ("r2", "logme")),
        ("multilabel", {}, ("map",)),
        ("segmentation", {}, ("accuracy",)),
        ("transcription", {}, ("accuracy",)),
    ],
)
def test_several_scores_order_a_ranking_of_utterances_unless_scores_are_named(task, options, expected):
    resolved = plan(task, **options)
    assert resolved.order == expected
    assert resolved.options["order"] == list(expected)


def test_more_scores_are_shown_beside_the_default():
    assert plan(scores=["default", "knn", "logme"]).names == ("accuracy", "likelihood", "balanced", "logme", "knn")


def test_the_parts_of_a_combination_are_computed_once():
    resolved = plan(scores=["combined", "logme"])
    assert resolved.names == ("combined", "logme")
    assert [score.name for score in resolved.scores] == ["logme", "knn"]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("classification", "utterance"),
        ("regression", "utterance"),
        ("segmentation", "frame"),
        ("transcription", "frame"),
    ],
)
def test_the_default_sample_follows_the_task(task, expected):
    assert plan(task).extraction.sample == expected


def test_a_sample_that_is_named_is_kept():
    resolved = plan(extraction=ExtractionOptions(sample="effective"))
    assert resolved.extraction.sample == "effective"
    assert resolved.effective
    assert not plan().effective


def test_samples_and_projections_are_kept_only_for_scores_that_read_them():
    bare = {"scores": ["logme"], "details": DetailOptions("none")}
    usual = ExtractionOptions().kept_samples
    kept = {
        "nothing": plan(**bare),
        "a score of samples": plan(**bare | {"scores": ["knn"]}),
        "details": plan(scores=["logme"]),
        "a cache of means": plan(**bare, cache=CacheOptions()),
        "a cache of frames": plan(**bare, cache=CacheOptions(), extraction=ExtractionOptions(sample="frame")),
        "a score of projections": plan(**bare | {"scores": ["swd"]}, source="source.csv"),
    }
    assert {what: each.extraction.kept_samples for what, each in kept.items()} == {
        "nothing": 0,
        "a score of samples": usual,
        "details": usual,
        "a cache of means": 0,  # from which samples are made again
        "a cache of frames": usual,
        "a score of projections": 0,
    }
    assert {what: each.extraction.projections for what, each in kept.items()} == {
        "nothing": 0,
        "a score of samples": 0,
        "details": 0,
        "a cache of means": 0,
        "a cache of frames": N_DIRECTIONS,
        "a score of projections": N_DIRECTIONS,
    }


def test_more_frames_are_kept_where_blocks_are_tuned():
    tuned = {"use": UseOptions("layer"), "extraction": ExtractionOptions(sample="frame")}
    assert plan(**tuned).extraction.kept_samples == FRAMES_FOR_TUNED * ExtractionOptions().kept_samples
    assert plan(use=UseOptions("layer")).extraction.kept_samples == ExtractionOptions().kept_samples


def test_a_block_is_tuned_only_where_the_score_is_named():
    use = UseOptions("layer")
    assert plan(use=use).tuned == Prediction(use, THREE, 0.5)
    assert plan(use=use, stopping=StoppingOptions()).tuned == Prediction(use, ("accuracy",), 0.5)
    assert plan("transcription", use=use).tuned == Prediction(use, ("accuracy",), 0.75)
    assert plan("multilabel", use=use).tuned == Prediction(use, ("map",), 0.5)
    assert plan(use=use, scores=["logme"]).tuned is None
    assert plan().tuned is None


def test_scores_that_cannot_be_computed_are_left_out_with_a_reason(monkeypatch):
    resolved = plan("regression", scores=["logme", "swd", "ncm"])
    assert resolved.names == ("logme",)
    assert resolved.left_out == (
        "swd needs source data (--source) and is left out",
        "ncm is not for regression and is left out",
    )
    monkeypatch.setattr(voxrank.ranking.plan, "find_spec", lambda name: None)
    without = plan(scores=["logme", "tsne"], source="source.csv")
    assert without.left_out[0] == "tsne needs sklearn (pip install 'voxrank[validate]') and is left out"


def test_source_data_are_read_where_a_score_compares_with_them():
    assert plan(scores=["swd"], source="source.csv").reads_source
    resolved = plan(scores=["logme"], source="source.csv")
    assert not resolved.reads_source
    assert resolved.left_out == (
        "the source data are not encoded, because no score reads them (swd, frechet and tsne do)",
    )


def test_the_request_is_recorded():
    recorded = plan(seed=3, layers="all,mean", stopping=StoppingOptions(0.9)).options
    assert (recorded["seed"], recorded["layers"], recorded["confidence"]) == (3, "all,mean", 0.9)
    assert recorded["sample"] == "utterance"
    assert "confidence" not in plan().options


def test_a_plan_does_not_depend_on_the_audio():
    """The files of the data set do not exist."""
    assert plan().models == ("logmel",)


REFUSED = {
    "no model": ({"models": []}, "expected at least one model, got none; name one with --model"),
    "a model twice": ({"models": ["a/b", "a/b"]}, "the model 'a/b' is given twice; give each model once"),
    "a string of models": ({"models": "a/b"}, "expected a list of models, got the string 'a/b'"),
    "no score": ({"scores": []}, "expected at least one score, got none; name one with --score"),
    "a score twice": ({"scores": ["knn", "knn"]}, "the score 'knn' is given twice; give each score once"),
    "a score that there is not": ({"scores": ["logmee"]}, "unknown score 'logmee'"),
    "a negative seed": ({"seed": -1}, "expected seed to be a whole number"),
    "tuned without a block to tune": ({"scores": ["tuned"]}, "tuned is for blocks that will be tuned; add --strategy"),
    "only scores that cannot be computed": ({"scores": ["swd"]}, r"swd needs source data \(--source\)"),
    "early stopping by an order of all models": (
        {"stopping": StoppingOptions(), "scores": ["combined"]},
        "combined needs all models to the end, and early stopping drops some; name --score logme",
    ),
    "early stopping with source data": (
        {"stopping": StoppingOptions(), "scores": ["logme"], "source": "source.csv"},
        "early stopping encodes no source data; leave --source or --confidence out",
    ),
    "alternatives of what is not aligned": (
        {"sequence": SequenceOptions(against=("jitter",))},
        "--against compares alignments, and a classification needs none; leave it out",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_requests_that_cannot_be_met_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        plan_of({"models": ["logmel"]} | options, dataset())


def test_a_model_of_an_unknown_scheme_is_refused():
    with pytest.raises(ModelError, match="unknown model scheme 'nowhere' in 'nowhere:x'"):
        plan_of({"models": ["nowhere:x"]}, dataset())


def test_frames_have_labels_of_their_own():
    with pytest.raises(OptionError, match="every frame has a label of its own; take --sample frame, segment or"):
        plan("transcription", extraction=ExtractionOptions(sample="utterance"))


def test_aligned_segments_are_compared_with_moved_boundaries_alone():
    with pytest.raises(OptionError, match="segments have their times already; expected --against jitter, got 'flat'"):
        plan("segmentation", sequence=SequenceOptions(against=("flat",)))


def test_a_plan_is_data():
    resolved = plan()
    assert replace(resolved, seed=1).seed == 1
    with pytest.raises(AttributeError):
        resolved.seed = 1
