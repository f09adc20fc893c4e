"""The catalogue: its schema, its facts, and what reads them."""

import json
from dataclasses import replace

import jsonschema
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCTC
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from voxrank.encoders import catalogue
from voxrank.encoders.catalogue import (
    FILE,
    OPEN_LICENCES,
    SORTS,
    CatalogueModel,
    Published,
    find_model,
    load_catalogue,
    read_catalogue,
    select_models,
    sort_models,
)
from voxrank.errors import OptionError

NUMBER = {"type": ["number", "null"], "exclusiveMinimum": 0}
COUNT = {"type": ["integer", "null"], "exclusiveMinimum": 0}
KIND = (
    "self-supervised|recognition|translation|distillation|phones|languages|speakers|diarisation|emotion|tagging"
    "|captions|reconstruction|language model"
)
METRICS = ["score", "acc", "f1", "wer", "LM_wer", "per", "cer", "eer", "der", "mtwv", "bleu", "pesq", "stoi", "sisdri"]
FIGURES = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["source", "task", "metric", "value"],
        "properties": {
            "source": {"enum": ["maeb", "superb"]},
            "task": {"type": "string", "minLength": 1},
            "metric": {"enum": METRICS},
            "value": {"type": "number"},
            "spread": {"type": "number", "exclusiveMinimum": 0},
        },
    },
}
MODEL = {
    "id": {"type": "string", "pattern": r"^[A-Za-z0-9_-]+/[A-Za-z0-9._-]+$"},
    "family": {"type": ["string", "null"], "minLength": 1},
    "parameters": COUNT,
    "encoder_parameters": COUNT,
    "layers": COUNT,
    "width": COUNT,
    "frame_rate": NUMBER,
    "hours": NUMBER,
    "pretraining": {"type": "string", "pattern": rf"^({KIND})( \+ ({KIND}))*$"},
    "languages": {"type": "array", "uniqueItems": True, "items": {"type": "string", "pattern": "^[a-z]{2,3}$"}},
    "licence": {"type": ["string", "null"], "pattern": r"^[a-z0-9.-]+$"},
    "released": {"type": ["string", "null"], "pattern": r"^20\d\d(-\d\d(-\d\d)?)?$"},
    "source": {"type": "string", "minLength": 1},
    "reason": {"type": "string"},
    "published": FIGURES,
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "sources", "others", "models"],
    "properties": {
        "schema": {"const": 1},
        "sources": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["title", "about", "origin", "licence"],
                "additionalProperties": {"type": "string"},
            },
        },
        "others": {"type": "object", "additionalProperties": FIGURES},
        "models": {
            "type": "array",
            "minItems": 60,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": list(MODEL),
                "properties": MODEL,
            },
        },
    },
}
"""JSON schema of `catalogue.json`."""


def test_catalogue_follows_its_schema():
    jsonschema.validate(json.loads(FILE.read_text(encoding="utf-8")), SCHEMA)


def test_no_model_comes_twice_and_every_source_is_described():
    whole = load_catalogue()
    ids = [model.id for model in whole.models]
    assert len(ids) == len(set(ids)) >= 60
    used = {figure.source for model in whole.models for figure in model.published}
    assert used == set(whole.sources)


def test_no_model_has_two_figures_of_one_metric():
    for model in read_catalogue():
        keys = [(figure.source, figure.task, figure.metric) for figure in model.published]
        assert len(keys) == len(set(keys)), model.id


def test_every_model_can_be_loaded_or_says_why_not():
    for model in read_catalogue():
        assert model.family in CONFIG_MAPPING or model.reason, model.id


def test_every_encoder_is_within_its_checkpoint():
    """Published counts of weights are rounded, such as 2.16 billion to 2."""
    for model in read_catalogue():
        if model.parameters is not None and model.encoder_parameters is not None:
            assert model.encoder_parameters <= 1.09 * model.parameters, model.id


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        ("facebook/hubert-base-ls960", ("hubert", 12, 768, 50, 960, "apache-2.0")),
        ("facebook/mms-1b-all", ("wav2vec2", 48, 1280, 50, 491_000, "cc-by-nc-4.0")),
        ("openai/whisper-large-v3-turbo", ("whisper", 32, 1280, 50, 5_000_000, "mit")),
        ("nvidia/parakeet-tdt-0.6b-v3", ("parakeet_tdt", 24, 1024, 12.5, 670_000, "cc-by-4.0")),
    ],
)
def test_known_models_have_their_facts(spec, facts):
    model = find_model(spec)
    assert (model.family, model.layers, model.width, model.frame_rate, model.hours, model.licence) == facts


WHISPER_BASE = {
    "d_model": 512,
    "encoder_layers": 6,
    "encoder_ffn_dim": 2048,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
}


@pytest.mark.parametrize(
    ("spec", "config"),
    [
        ("facebook/hubert-base-ls960", {}),
        ("facebook/data2vec-audio-base", {}),
        ("facebook/w2v-bert-2.0", {}),
        ("openai/whisper-base", WHISPER_BASE),
        ("nvidia/parakeet-ctc-1.1b", {"encoder_config": {"num_hidden_layers": 42}}),
    ],
)
def test_encoders_have_as_many_weights_as_transformers_builds(spec, config):
    model = find_model(spec)
    with torch.device("meta"):
        settings = AutoConfig.for_model(model.family, **config)
        ctc = model.family == "parakeet_ctc"
        encoder = AutoModelForCTC.from_config(settings).encoder if ctc else AutoModel.from_config(settings)
        encoder = encoder.get_encoder() if model.family == "whisper" else encoder
    assert sum(weight.numel() for weight in encoder.parameters()) == model.encoder_parameters


def test_figures_are_those_of_the_sources():
    figures = {(f.source, f.task, f.metric): f for f in find_model("facebook/hubert-base-ls960").published}
    assert figures["superb", "PR", "per"].value == 5.41
    assert figures["maeb", "FSDD", "score"].spread > 0
    assert figures["superb", "PR", "per"].goodness == -5.41
    assert figures["superb", "KS", "acc"].goodness == figures["superb", "KS", "acc"].value


def test_the_pack_names_models_of_the_hub():
    assert find_model("pack:whisper-tiny.en").id == "openai/whisper-tiny.en"
    assert find_model("pack:ge2e") is None
    assert find_model("logmel") is None


def test_a_multilingual_model_speaks_every_language():
    assert find_model("facebook/mms-300m").speaks("gsw")
    assert not find_model("facebook/hubert-base-ls960").speaks("de")


def test_select_keeps_what_meets_every_condition():
    chosen = select_models(read_catalogue(), language="de-AT", max_parameters=1e8, licence="open")
    assert "openai/whisper-base" in [model.id for model in chosen]
    assert all(m.speaks("de") and m.size <= 1e8 and m.licence in OPEN_LICENCES for m in chosen)
    assert [m.id for m in select_models(read_catalogue(), family="wavlm") if m.family != "wavlm"] == []
    assert all("nc" in m.licence for m in select_models(read_catalogue(), licence="cc-by-nc-4.0"))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"language": "xx"}, "the catalogue has no language 'xx'; known: "),
        ({"licence": "opn"}, "the catalogue has no licence 'opn'; did you mean open"),
        ({"family": "huber"}, "the catalogue has no family 'huber'; did you mean hubert"),
    ],
)
def test_select_refuses_what_no_model_has(condition, message):
    with pytest.raises(OptionError, match=message):
        select_models(read_catalogue(), **condition)


def test_orders_put_unknown_facts_last():
    models = read_catalogue()
    for name in SORTS:
        assert sorted(m.id for m in sort_models(models, name)) == sorted(m.id for m in models)
    sizes = [model.size for model in sort_models(models, "parameters")]
    known = [size for size in sizes if size is not None]
    assert sizes == [*sorted(known), *[None] * (len(sizes) - len(known))]
    newest = [model.released for model in sort_models(models, "released") if model.released]
    assert newest[0] >= newest[-1]
    assert sort_models(models, "hours")[0].hours == max(m.hours for m in models if m.hours)


def test_an_unknown_order_is_refused():
    with pytest.raises(OptionError, match="the catalogue has no order 'hour'; did you mean hours"):
        sort_models(read_catalogue(), "hour")


def test_size_is_that_of_the_checkpoint_where_the_encoder_is_unknown():
    model = CatalogueModel("a/b", None, 5, None, None, None, None, "tagging", (), None, None)
    assert (model.size, replace(model, encoder_parameters=3).size) == (5, 3)


def test_the_catalogue_is_read_once():
    assert read_catalogue() is read_catalogue()
    assert isinstance(read_catalogue()[0].published, tuple)
    assert all(isinstance(figure, Published) for figure in catalogue.load_catalogue().others["FBANK"])
