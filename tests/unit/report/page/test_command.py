"""The printed command line is valid, and runs the same ranking."""

import shlex
from dataclasses import replace

import pytest

from voxrank.cli import rank as cli
from voxrank.report.page.run import FLAGS, command


def command_line(made, **options):
    ranking = made.make_ranking(("a",), scores={"logme": True}, details=False)
    return command(replace(ranking, options=ranking.options | options))


def test_options_with_default_values_are_left_out(made):
    defaults = {"device": "auto", "dtype": "float32", "whisper_window": "auto", "window_s": 60.0, "sample": "utterance"}
    defaults |= {
        "kept_samples": 1024,
        "projections": 50,
        "strategy": "probe",
        "head_at": "layer",
        "trust_remote_code": [],
    }
    assert command_line(made, **defaults) == "voxrank rank train.csv --model a --score logme --split all"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "speaker", "split": "train"}, "--target speaker --split train"),
        ({"window_s": 30.0, "seed": 3, "dtype": "float16"}, "--window 30 --dtype float16 --seed 3"),
        ({"layers": "0,3", "source": "base.csv"}, "--layers 0,3 --source base.csv"),
        ({"confidence": 0.99, "budget_s": None}, "--confidence 0.99"),
        ({"confidence": 0.95, "budget_s": 90.0}, "--budget 1.5"),
        ({"confidence": 0.95, "budget_s": None}, "--confidence 0.95"),
        ({"strategy": "layer", "head_at": "top"}, "--strategy layer --head-at top"),
        ({"aligner": {"aligner": "flat", "model": "b", "layer": 4, "trained": False}}, "--aligner flat:b@4"),
        ({"aligner": {"aligner": "uniform", "model": None, "layer": None}}, "--aligner uniform"),
        ({"aligner": {"aligner": "segments", "model": None, "layer": None}, "segments": "times"}, "--segments times"),
        ({"unit": "phone", "language": "en-us", "silence": 0.2}, "--unit phone --language en-us --silence 0.2"),
        ({"against": ["uniform", "jitter"], "allow_leak": True}, "--against uniform --against jitter --allow-leak"),
        ({"trust_remote_code": ["x/y"]}, "--trust-remote-code x/y"),
    ],
)
def test_options_are_written(made, options, words):
    words = words if "split" in options else f"--split all {words}"
    assert command_line(made, **options) == f"voxrank rank train.csv --model a --score logme {words}"


def test_other_columns_are_written_as_options(made):
    line = command(made.make_ranking(("a",), columns=("speaker", "room 1")))
    assert line.endswith("--besides speaker --besides 'room 1'")


def test_names_are_quoted(made):
    ranking = made.make_ranking(("a; rm -rf ~", "$(b)\n"), details=False)
    ranking = replace(ranking, options=ranking.options | {"data": "my data's.csv"})
    line = command(ranking)
    assert "\n" not in line
    words = shlex.split(line)
    assert words[2] == "my data's.csv"
    assert "a; rm -rf ~" in words


def test_every_flag_is_an_option_of_the_command():
    import typer

    app = typer.Typer()
    app.command("rank")(cli.rank)
    known = {name for parameter in typer.main.get_command(app).params for name in parameter.opts}
    assert set(FLAGS.values()) <= known
    assert {
        "--model",
        "--score",
        "--target",
        "--split",
        "--budget",
        "--aligner",
        "--against",
        "--besides",
        "--allow-leak",
    } <= known
