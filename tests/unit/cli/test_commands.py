"""Panels of the help, and the value that `--json` may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxrank.cli.commands import with_json_value
from voxrank.cli.panels import PANELS, panel_of


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
def test_what_follows_json_is_its_value_or_not(typed, read):
    assert with_json_value(typed.split()) == read.split()


@given(st.lists(st.sampled_from(["--json", "-", "a.json", "b.csv", "--", "-m", "--json=x"])))
def test_nothing_else_is_changed_or_lost(arguments):
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


def test_every_option_stands_in_one_panel():
    options = [option for names in PANELS.values() for option in names]
    assert len(set(options)) == len(options)
    assert panel_of(["-m", "--model"]) == (0, "Models and scores")
    assert panel_of(["--no-such-option"]) == (len(PANELS), None)
