"""Panels of the help, and the value that `--json` may have."""

import inspect

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from voxrank.cli.commands import ORDER, THIS_COMMAND, with_json_value
from voxrank.cli.main import app
from voxrank.cli.options import build
from voxrank.cli.rank import rank
from voxrank.config import CacheOptions, EncoderOptions, RankRequest, StoppingOptions


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("--json", "--json=-"),
        ("--json -", "--json=-"),
        ("--json a.json", "--json=a.json"),
        ("--json A.JSON x", "--json=A.JSON x"),
        ("--json train.csv", "--json=- train.csv"),
        ("train.csv --json --out o", "train.csv --json=- --out o"),
        ("--json=any -m a.json", "--json=any -m a.json"),
        ("--json --json", "--json=- --json=-"),
        ("-- --json a.json", "-- --json a.json"),
        ("--json -- a.json", "--json=- -- a.json"),
        ("", ""),
    ],
)
def test_a_word_after_json_is_its_value_only_if_it_names_a_json_file(typed, read):
    assert with_json_value(typed.split()) == read.split()


@given(st.lists(st.sampled_from(["--json", "-", "a.json", "b.csv", "--", "-m", "--json=x"])))
def test_arguments_other_than_json_are_not_changed(arguments):
    made = with_json_value(arguments)
    flat = [
        part for argument in made for part in (argument.split("=", 1) if argument.startswith("--json=") else [argument])
    ]
    given = [
        part
        for argument in arguments
        for part in (argument.split("=", 1) if argument.startswith("--json=") else [argument])
    ]
    assert [x for x in flat if x != "-"] == [x for x in given if x != "-"]
    assert with_json_value(made) == made or "--" in made


def options_of(command):
    for name, one in getattr(command, "commands", {"": command}).items():
        if name and hasattr(one, "commands"):
            yield from options_of(one)
        else:
            yield from (param for param in one.get_params(typer.Context(one)) if param.param_type_name == "option")


def test_every_option_is_in_the_panel_of_its_subject():
    options = list(options_of(get_command(app)))
    assert {option.rich_help_panel for option in options} == set(ORDER)
    alone = {option.opts[0] for option in options if option.rich_help_panel == THIS_COMMAND}
    assert alone == {"--help", "--install"}


def test_options_and_fields_of_a_request_correspond():
    values = {name: one.default for name, one in inspect.signature(rank).parameters.items() if name != "data"}
    assert build(RankRequest, values) == RankRequest()
    values |= {"budget": 2.0, "model": ["a", "b"], "window": 7.0, "cache_size": 1.0}
    built = build(RankRequest, values)
    assert built.models == ("a", "b")
    assert built.encoder == EncoderOptions(window_s=7.0)
    assert built.stopping == StoppingOptions(budget_s=120.0)
    assert built.cache == CacheOptions(size_gb=1.0)
