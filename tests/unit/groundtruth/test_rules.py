"""Rules that read no data."""

import re

import numpy as np
import pytest

from voxrank.errors import OptionError
from voxrank.groundtruth import rules
from voxrank.groundtruth.rules import Candidate, Rule, get_rule, model_name, register_rule, rule_names, rule_values


def candidate(model, layer=4, last_layer=12, dim=768, parameters=94_000_000):
    return Candidate(model, layer, last_layer, dim, parameters)


MIXED = [
    candidate("openai/whisper-tiny", 0, 4, 384, 8_000_000),
    candidate("openai/whisper-tiny", 4, 4, 384, 8_000_000),
    candidate("facebook/hubert-base-ls960", 3),
    candidate("facebook/hubert-base-ls960", "mean"),
    candidate("logmel", 0, 0, 80, 0),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "depth": [0, 1, 0.25, 0.5, 0],
        "block": [0, 4, 3, 6, 0],
        "last": [0, 1, 0, 0, 1],
        "parameters": [8e6, 8e6, 94e6, 94e6, 0],
        "dim": [384, 384, 768, 768, 80],
        "hours": [680_000, 680_000, 960, 960, 0],
    }.items(),
)
def test_rules_give_the_values_computed_by_hand(name, expected):
    assert rule_values(name, MIXED).tolist() == expected


def test_every_rule_is_known_by_name():
    assert rule_names() == ("depth", "block", "last", "parameters", "dim", "hours", "static", "published")
    assert all(get_rule(name).title for name in rule_names())


HOURS = {
    "openai/whisper-tiny.en": 438_000,
    "pack:whisper-tiny.en": 438_000,
    "pack:whisper-base": 680_000,
    "ct2:/models/faster-whisper-small.en": 438_000,
    "openai/whisper-large-v2": 680_000,
    "openai/whisper-large-v3-turbo": 5_000_000,
    "distil-whisper/distil-large-v3": None,
    "facebook/hubert-base-ls960": 960,
    "facebook/hubert-large-ll60k": 60_000,
    "facebook/hubert-xlarge-ls960-ft": 60_000,
    "TencentGameMate/chinese-hubert-base": None,
    "ntu-spml/distilhubert": 960,
    "facebook/wav2vec2-base": 960,
    "facebook/wav2vec2-large-960h": 960,
    "facebook/wav2vec2-large-lv60": 60_000,
    "facebook/wav2vec2-large-960h-lv60-self": 60_000,
    "facebook/wav2vec2-large-robust": None,
    "facebook/wav2vec2-large-xlsr-53": 56_000,
    "facebook/wav2vec2-xls-r-300m": 436_000,
    "facebook/wav2vec2-base-10k-voxpopuli": 10_000,
    "facebook/wav2vec2-large-100k-voxpopuli": 100_000,
    "facebook/mms-300m": 491_000,
    "microsoft/wavlm-base": 960,
    "microsoft/wavlm-base-plus": 94_000,
    "microsoft/wavlm-large": 94_000,
    "microsoft/unispeech-sat-base": 960,
    "microsoft/unispeech-sat-base-plus-sv": 94_000,
    "facebook/data2vec-audio-base-960h": 960,
    "facebook/data2vec-audio-large": 60_000,
    "facebook/w2v-bert-2.0": 4_500_000,
    "nvidia/parakeet-ctc-1.1b": 64_000,
    "nvidia/parakeet-tdt-0.6b-v2": 120_000,
    "nvidia/parakeet-tdt-0.6b-v3": None,
    "pack:ge2e": None,
    "pack:openwakeword": None,
    "pack:silero-vad": None,
    "mfcc": 0,
    "somebody/own-model": None,
}


@pytest.mark.parametrize(("model", "hours"), HOURS.items(), ids=HOURS)
def test_hours_of_pretraining_are_known_by_the_name_of_the_model(model, hours):
    assert rules.pretraining_hours(candidate(model)) == hours


@pytest.mark.parametrize("known", rules.HOURS, ids=lambda known: known.pattern)
def test_every_pattern_matches_a_model_and_has_a_source(known):
    assert known.source
    names = [model_name(model) for model in [*HOURS, "pack:crepe"]]
    found = [next((k for k in rules.HOURS if re.search(k.pattern, name)), None) for name in names]
    assert known in found


ORDER = (
    "microsoft/wavlm-large",
    "openai/whisper-small",
    "microsoft/unispeech-sat-base",
    "facebook/hubert-base-ls960",
    "facebook/wav2vec2-base",
    "ntu-spml/distilhubert",
    "pack:ge2e",
    "pack:silero-vad",
    "logmel",
)


def test_the_static_rule_orders_families_as_listed():
    values = rule_values("static", [candidate(model) for model in ORDER])
    assert values.tolist() == list(range(len(ORDER)))[::-1]
    assert len(ORDER) == len(rules.FAMILIES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("facebook/w2v-bert-2.0", "openai/whisper-small"),
        ("distil-whisper/distil-large-v3", "nvidia/parakeet-ctc-1.1b"),
        ("facebook/data2vec-audio-base", "facebook/hubert-large-ll60k"),
        ("facebook/mms-300m", "facebook/wav2vec2-xls-r-300m"),
        ("pack:openwakeword", "pack:ge2e"),
        ("pack:crepe-full", "pack:silero-vad"),
        ("mfcc", "logmel"),
    ],
)
def test_some_families_are_tied_in_the_static_rule(one, other):
    assert rules.family_rank(candidate(one)) == rules.family_rank(candidate(other))


def test_a_model_that_a_rule_does_not_know_takes_the_median_of_known_ones():
    layers = [candidate("facebook/wavlm-large", layer) for layer in range(5)]
    values = rule_values("hours", [*layers, candidate("logmel"), candidate("microsoft/wavlm-base"), candidate("own")])
    assert values.tolist() == [94_000] * 5 + [0, 960, 960]


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("hours", [candidate("own"), candidate("other")]),
        ("hours", [candidate("logmel"), candidate("mfcc"), candidate("own")]),
        ("static", [candidate("pack:whisper-base"), candidate("openai/whisper-tiny")]),
        ("dim", MIXED[:2]),
        ("depth", [candidate("logmel", 0, 0)]),
        ("depth", []),
    ],
)
def test_a_rule_gives_none_where_it_cannot_order_the_candidates(name, candidates):
    assert rule_values(name, candidates) is None


def test_published_ranks_order_models_that_have_them():
    ranked = ["openai/whisper-medium", "microsoft/wavlm-base", "facebook/wav2vec2-large"]
    values = rule_values("published", [candidate(model) for model in [*ranked, "own"]])
    assert values[0] > values[1] > values[2]
    assert values[3] == values[1], "a model without published results gets the median"
    assert get_rule("published").value(candidate("own")) is None
    assert get_rule("published").value(candidate(ranked[0])) == values[0]


def test_published_ranks_are_left_out_with_fewer_than_three_models():
    two = ["openai/whisper-medium", "microsoft/wavlm-base"]
    assert rule_values("published", [candidate(model, layer) for model in [*two, "own"] for layer in range(4)]) is None


def test_names_of_models_are_taken_from_their_specs():
    assert [
        model_name(s) for s in ("C:\\models\\WavLM\\", "a/b/", "py:module:factory", "mfcc", "onnx:a.onnx#*conv/1*")
    ] == [
        "wavlm",
        "b",
        "factory",
        "mfcc",
        "a.onnx",
    ]


def test_rules_may_be_added_under_names_that_are_free(monkeypatch):
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    register_rule(Rule("shallow", "shallower", lambda c: -float(c.layer)))
    assert np.all(rule_values("shallow", MIXED[:3]) == [0, -4, -3])
    with pytest.raises(ValueError, match="the rule 'depth' is registered already"):
        register_rule(get_rule("depth"))


def test_an_unknown_rule_is_refused_with_the_nearest_name():
    with pytest.raises(OptionError, match=r"unknown rule 'dept'; did you mean depth\?"):
        rule_values("dept", MIXED)
