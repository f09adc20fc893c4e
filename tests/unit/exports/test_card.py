"""Model cards: YAML that can be parsed, and a section about the choice of the base."""

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tied_rankings import make_ranking
from voxrank.errors import one_line


def parts(card):
    """Return the parsed front matter, and the section."""
    front, section = re.fullmatch(r"---\n(.*?)\n---\n\n(.*)", card, re.DOTALL).groups()
    return yaml.safe_load(front), section


def test_a_card_names_the_base_and_how_it_was_chosen(ranking):
    front, section = parts(ranking.model_card())
    assert front == {
        "base_model": "facebook/hubert-base",
        "pipeline_tag": "audio-classification",
        "tags": ["voxrank", "speech"],
    }
    tokens = MarkdownIt("commonmark").enable("table").parse(section)
    assert [t.tag for t in tokens if t.level == 0 and t.nesting == 1] == ["h2", "p", "table", "p", "p"]
    shown = ["".join(c.content for c in t.children) for t in tokens if t.type == "inline"]
    assert shown[1] == ranking.verdict
    assert "1,199 utterances, 1.11 h of audio. Layers are ordered by logme. Scores: logme, cka" in shown[-2]
    assert shown[-1] == "Ranked by voxrank 0.1.0, without fine-tuning; fingerprint of the data: 0abc9."
    assert "metrics" not in front


def test_only_models_of_the_hub_are_named_as_base(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "hubert").mkdir(parents=True)
    for spec in ("mine/hubert", "./x/y", "/data/x", "ct2:x/y", "logmel", "a/b/c", "a/b.nemo"):
        front, _ = parts(make((spec, "b", "c"), task="regression").model_card())
        assert "base_model" not in front
        assert "pipeline_tag" not in front
    front, _ = parts(make(("pack:whisper-base", "b", "c")).model_card("openai/whisper-base"))
    assert front["base_model"] == "openai/whisper-base"


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1))
def test_front_matter_is_valid_yaml_for_any_name(name):
    front, _ = parts(make_ranking((name, f"{name}2", "c")).model_card(name))
    assert front["base_model"] == one_line(name)


@pytest.mark.parametrize("name", ["x\n---\nlicense: mit", "a: b", "\x85", "\u2028", "😀", '"', "\\", "null"])
def test_names_with_special_characters_stay_in_their_field(name):
    front, section = parts(make_ranking((name, "b", "c")).model_card(name))
    assert front["base_model"] == one_line(name)
    assert set(front) == {"base_model", "pipeline_tag", "tags"}
    assert section.startswith("## How")
