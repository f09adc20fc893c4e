"""The list of the catalogue, and groups of models on the command line."""

import json
import subprocess
import sys

import pytest

from voxrank.cli.catalogue import parse_size, short_count
from voxrank.cli.completion import (
    complete_family,
    complete_licence,
    complete_model,
    complete_order,
    complete_speech,
)
from voxrank.cli.main import exit_code
from voxrank.encoders.groups import group_models
from voxrank.errors import OptionError


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_the_catalogue_fits_80_columns_and_names_every_model(capsys):
    assert exit_code(["models", "--catalogue"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "openai/whisper-tiny " in printed
    assert "google/vggish" in printed.split("cannot be loaded")[1]


def test_an_option_of_the_catalogue_lists_it(capsys):
    assert exit_code(["models", "--family", "wavlm", "--sort", "maeb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("microsoft/wavlm-large")
    assert sum(line.startswith("microsoft/") for line in lines) == 7


def test_conditions_hold_together(capsys):
    conditions = ["--language", "de", "--max-parameters", "100M", "--licence", "open"]
    assert exit_code(["models", "--catalogue", *conditions, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [model["id"] for model in content["models"]] == [f"openai/whisper-{n}" for n in ("tiny", "base", "small")]
    assert content["models"][0]["ranks"][0]["source"] == "maeb"
    assert content["models"][0]["published"][0].keys() == {"source", "task", "metric", "value", "spread"}
    assert content["groups"]["@base"] == list(group_models("@base"))
    assert content["sources"]["maeb"]["licence"] == "CC0-1.0"


def test_a_group_is_listed(capsys):
    assert exit_code(["models", "@small", "--json"]) == 0
    assert [model["id"] for model in json.loads(capsys.readouterr().out)["models"]] == list(group_models("@small"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "--catalogue", "--licence", "opne"], "has no licence 'opne'; did you mean open? (known: "),
        (["models", "--catalogue", "--family", "huber"], "has no family 'huber'; did you mean hubert? (known: "),
        (["models", "--catalogue", "--language", "dee"], "has no language 'dee'; did you mean de? (known: "),
        (["models", "--sort", "hour"], "has no order 'hour'; did you mean hours? (known: "),
        (
            ["models", "--max-parameters", "big"],
            "expected --max-parameters to be a size such as 100M or 1.5B, got 'big'",
        ),
        (["models", "@bas"], "there is no group of models '@bas'; did you mean @base? (known: "),
        (["models", "logmel", "--catalogue"], "expected a model or the options of the catalogue, got both"),
        (["rank", "no.csv", "--model", "@lrge"], "there is no group of models '@lrge'; did you mean @large? (known: "),
        (["validate", "no.csv", "--model", "@lrge"], "there is no group of models '@lrge'; did you mean @large? ("),
        (
            ["align", "no.csv", "--model", "@lrge", "--out", "x"],
            "there is no group of models '@lrge'; did you mean @large? (",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(arguments, message, capsys):
    assert exit_code(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_sizes_are_read_and_written():
    assert [parse_size(text) for text in ("95", "1k", "1.5B", " 2g ")] == [95, 1e3, 1.5e9, 2e9]
    assert [short_count(n) for n in (999_700, 9_949_000, 9_960_000, 0.0)] == ["1M", "9.9M", "10M", "0"]


@pytest.mark.parametrize("text", ["", "M", "-5M", "0", "nan", "inf", "1e999", "1,000"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(OptionError, match="expected --max-parameters to be a size such as 100M"):
        parse_size(text)


def test_names_of_the_catalogue_are_completed():
    assert "facebook/mms-300m" in complete_model("facebook/mms")
    assert complete_model("@b") == ["@base"]
    assert "google/yamnet" not in complete_model("google/")
    assert complete_family("hub") == ["hubert"]
    assert complete_licence("op") == ["open"]
    assert "de" in complete_speech("d")
    assert complete_speech("mul") == []
    assert complete_order("sup") == ["superb"]


def test_the_command_line_starts_without_the_catalogue():
    code = (
        "import sys, voxrank.cli.main; print([m for m in sys.modules if m.endswith(('encoders.catalogue', 'torch'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
