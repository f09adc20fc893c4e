"""The commands as a user runs them: their output, their files and their exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import voxrank.engines.local
import voxrank_pack
from voxrank.data.segments import SegmentFiles
from voxrank.errors import RunError
from voxrank.results.ranking import Ranking
from voxrank.scores.names import COMBINATIONS, DEFAULT, NAMES, TUNED
from voxrank.scores.registry import score_names

FULL = Path("/dev/full")
PLAIN = [name for name in NAMES if name not in (TUNED, DEFAULT)]
"""Scores of layers without tuning."""


def test_rank_prints_a_table_and_writes_its_files(run, tones, tmp_path):
    code, out, err = run("rank", tones, "--model", "logmel", "-m", "mfcc", "--out", tmp_path / "o")
    assert code == 0
    assert "best of 2 models" in " ".join(out.split())
    assert max(len(line) for line in out.splitlines() if not line.startswith("Saved in")) <= 80
    assert "[2/2] mfcc: done in" in err
    names = ["details.json", "layers.csv", "ranking.json", "report.html", "run.log"]
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == names
    content = json.loads((tmp_path / "o" / "ranking.json").read_text())
    assert content["data"]["used"] == 36
    assert {m["model"] for m in content["models"]} == {"logmel", "mfcc"}
    assert [m["rank"] for m in content["models"]] == [1, 2]
    assert sum(m["probability_best"] for m in content["models"]) == pytest.approx(1)
    log = (tmp_path / "o" / "run.log").read_text()
    assert "logmel" in log
    assert "36 of 36 utterances" in log


def test_other_columns_that_layers_predict_are_printed_and_saved(run, tones, tmp_path):
    command = ("rank", tones, "-m", "logmel", "-m", "mfcc", "--besides", "speaker")
    code, out, _ = run(*command, "--details", "quick", "--out", tmp_path / "o")
    assert code == 0
    assert max(len(line) for line in out.splitlines() if not line.startswith("Saved in")) <= 80
    (row,) = (line for line in out.splitlines() if line.startswith("speaker "))
    ranking = Ranking.load(tmp_path / "o")
    (knowledge,) = (one for one in ranking.details.knowledge if one.model == ranking.best.model)
    assert row.split()[1:5] == [f"{100 * knowledge.accuracy:.0f}", "%", f"{100 * knowledge.chance:.0f}", "%"]
    assert ("Hardest: " in out) == any(view.recall < 1 for view in ranking.details.classes[0].classes)
    assert "came first" in out
    assert run("rank", tones, "-m", "logmel", "--details", "none", "--out", tmp_path / "n")[0] == 0
    assert sorted(p.name for p in (tmp_path / "n").iterdir()) == [
        "layers.csv",
        "ranking.json",
        "report.html",
        "run.log",
    ]


def test_json_is_the_only_thing_on_standard_output(run, tones):
    code, out, _ = run("rank", tones, "-m", "logmel", "--json")
    assert code == 0
    assert json.loads(out)["schema"] == 1


def test_json_is_written_to_standard_output_or_into_a_file(run, tones, tmp_path):
    command = ("rank", tones, "-m", "logmel")
    assert json.loads(run(*command, "--json", "-")[1])["schema"] == 1
    assert json.loads(run("rank", "--json", tones, "-m", "logmel")[1])["schema"] == 1  # DATA is not the value of --json
    for value in (["--json", tmp_path / "there" / "r.json"], [f"--json={tmp_path / 'any.name'}"]):
        code, out, _ = run(*command, *value)
        assert code == 0
        assert "Fine-tune logmel" in out  # the table is printed, as standard output is free
        file = Path(str(value[-1]).removeprefix("--json="))
        assert json.loads(file.read_text(encoding="utf-8"))["schema"] == 1
        assert [p.name for p in file.parent.glob(".*")] == []


@pytest.mark.parametrize("command", ["inspect {tones}", "models", "models logmel", "cache ls", "cache prune --all"])
def test_every_command_writes_the_same_json_to_a_pipe_and_a_file(run, tones, tmp_path, command):
    arguments = command.format(tones=tones).split()
    code, out, err = run(*arguments, "--json", "-")
    assert (code, err) == (0, "")
    content = json.loads(out)
    code, out, _ = run(*arguments, "--json", tmp_path / "content.json")
    assert out != ""
    if "cache" not in command:
        assert json.loads((tmp_path / "content.json").read_text(encoding="utf-8")) == content


def test_every_command_has_the_option_json():
    from typer.main import get_command

    from voxrank.cli.main import app

    for path, command in commands(get_command(app)):
        assert "--json" in {name for param in command.params for name in param.opts}, path


def commands(group, path=()):
    """Yield every command with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(
    "words", ["", "rank", "validate", "align", "inspect", "models", "demo", "cache", "cache ls", "cache prune"]
)
def test_help_fits_eighty_columns_with_examples_in_panels(run, words):
    code, out, err = run(*words.split(), "--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    if words != "cache":
        assert f"voxrank {words}".strip() in out.partition("Examples:")[2]
    assert "<bool>" not in out
    assert "─ Options ─" not in out, "an option has no panel; its Flag, or its typer.Option, says which"


def test_no_example_is_broken_at_eighty_columns():
    from typer.main import get_command

    from voxrank.cli.main import app

    for _, command in commands(get_command(app)):
        examples = [line for line in command.epilog.splitlines() if line.startswith("  ")]
        assert examples
        assert max(map(len, examples)) <= 77


def test_a_call_without_a_command_prints_the_help(run):
    code, out, err = run()
    assert (code, err) == (2, "")
    assert "Examples:" in out


CSI = "\x1b["


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colours_unless_they_are_switched_off(tones, variables, coloured, start_python):
    """The command runs in a separate terminal, whose output is checked."""
    import pty

    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **variables}
    for name in set(environment) & {"NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"} - set(variables):
        del environment[name]
    ours, theirs = pty.openpty()
    command = ("-m", "voxrank", "rank", tones, "-m", "logmel")
    process = start_python(*command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    printed = b""
    while True:
        try:
            printed += (piece := os.read(ours, 65536))
        except OSError:  # the other end is closed
            break
        if not piece:
            break
    os.close(ours)
    assert process.wait() == 0
    colours = re.findall(r"\x1b\[[0-9;]*m", printed.decode())
    assert any(re.search(r"[\[;]3[0-9]", colour) for colour in colours) == coloured


def test_output_has_no_escape_codes_without_a_terminal(tones, run_python):
    done = run_python("-m", "voxrank", "rank", tones, "-m", "logmel", check=True)
    assert CSI not in done.stdout + done.stderr


def test_options_reach_the_run(run, tones):
    _, out, _ = run(
        "rank", tones, "-m", "logmel", "--json", "--sample", "frame", "--blocks", "1", "--target", "speaker"
    )
    content = json.loads(out)
    assert content["options"]["sample"] == "frame"
    assert content["options"]["target"] == "speaker"
    assert content["models"][0]["scores"]["logme"]["low"] is None
    assert content["models"][0]["probability_best"] is None


WRONG = {
    "no such data": (["rank", "nowhere.csv", "-m", "logmel"], "no such data set: nowhere.csv"),
    "no model": (["rank", "{tones}"], "expected at least one model, got none; name one with --model"),
    "negative seed": (["rank", "{tones}", "-m", "logmel", "--seed", "-1"], "expected seed to be a whole number of at"),
    "endless window": (["rank", "{tones}", "-m", "logmel", "--window", "inf"], "expected window to be a finite number"),
    "endless batch": (["rank", "{tones}", "-m", "logmel", "--batch", "nan"], "expected batch to be a finite number"),
    "no threads": (["rank", "{tones}", "-m", "logmel", "--threads", "0"], "expected threads to be a whole number from"),
    "no blocks": (["rank", "{tones}", "-m", "logmel", "--blocks", "0"], "expected blocks to be a whole number of at"),
    "unknown dtype": (["rank", "{tones}", "-m", "logmel", "--dtype", "int8"], "expected --dtype to be one of float32"),
    "a slip in a baseline": (["rank", "{tones}", "-m", "logmell"], "did you mean logmel?"),
    "unknown model": (["rank", "{tones}", "-m", "no-such-org/no-such-model"], "no-such-org/no-such-model"),
    "unknown scheme": (["rank", "{tones}", "-m", "onx:m.onnx"], "unknown model scheme 'onx'"),
    "same model twice": (["rank", "{tones}", "-m", "logmel", "-m", "logmel"], "the model 'logmel' is given twice"),
    "unknown score": (
        ["rank", "{tones}", "-m", "logmel", "--score", "logm"],
        "unknown score 'logm'; did you mean logme?",
    ),
    "no such layer": (["rank", "{tones}", "-m", "logmel", "--layers", "3"], "logmel has layers 0 to 0, not 3"),
    "layers that are no list": (
        ["rank", "{tones}", "-m", "logmel", "--layers", "a"],
        "expected layers as 'all' or indices",
    ),
    "unknown sample": (
        ["rank", "{tones}", "-m", "logmel", "--sample", "word"],
        "expected --sample to be one of utterance, segment",
    ),
    "unknown target": (["rank", "{tones}", "-m", "logmel", "--target", "lable"], "did you mean label?"),
    "unknown device": (["rank", "{tones}", "-m", "logmel", "--device", "warp"], "warp"),
    "one class": (["rank", "{one}", "-m", "logmel"], "expected at least two classes to tell apart, found 'low'"),
    "no audio at all": (["rank", "{gone}", "-m", "logmel"], "none of the 2 utterances of"),
    "out is a file": (["rank", "{tones}", "-m", "logmel", "--out", "{tones}"], "expected a folder that can be written"),
    "inspect nothing": (["inspect", "nowhere.csv"], "no such data set"),
    "unknown pack": (["models", "pack:nothing"], "there is no pack:nothing"),
    "a slip in a model's name": (["rank", "{tones}", "-m", "openai/wisper-tiny"], "did you mean openai/whisper-tiny?"),
    "a model of the pack without its scheme": (["rank", "{tones}", "-m", "whisper-base"], "mean pack:whisper-base?"),
    "a slip in the pack": (["models", "pack:whisper-bas"], "did you mean whisper-base?"),
    "unknown command": (["rnak"], "unknown command 'rnak'; did you mean rank?"),
    "unknown command of the cache": (["cache", "prnue"], "unknown command 'prnue'; did you mean prune?"),
    "no command of the cache": (["cache"], "missing command; see `voxrank cache --help`"),
    "no data": (["rank"], "expected DATA, got nothing: CSV, TSV or JSONL manifest, folder of class folders, or"),
    "no folder": (["align", "{tones}"], "expected --out, got nothing: Write alignment.ctm"),
    "two data sets": (["rank", "{tones}", "other.csv", "-m", "logmel"], "expected no further argument, got other.csv"),
    "a slip in an option": (["rank", "{tones}", "--modle", "logmel"], "unknown option --modle; did you mean --model?"),
    "an option of nothing": (["rank", "{tones}", "--zzz"], "unknown option --zzz; options of voxrank rank: --model"),
    "a slip in a choice": (
        ["rank", "{tones}", "-m", "logmel", "--strategy", "prbe"],
        "expected --strategy to be one of probe, layer, full, got 'prbe'; did you mean probe?",
    ),
    "no number": (["rank", "{tones}", "-m", "logmel", "--seed", "x"], "expected --seed to be a whole number, got 'x'"),
    "no decimal number": (["rank", "{tones}", "--window=many"], "expected --window to be a number, got 'many'"),
    "no value": (["rank", "{tones}", "-m"], "-m needs a value"),
    "JSON to nowhere": (
        ["rank", "{tones}", "-m", "logmel", "--json="],
        "expected --json to be a file or -, got nothing",
    ),
    "JSON into a file that is a folder": (
        ["rank", "{tones}", "-m", "logmel", "--json", "{tones}/x.json"],
        "expected a folder that can be written at",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_requests_are_one_line_and_exit_two(run, tones, tmp_path, arguments, message):
    one, gone = tones.with_name("one.csv"), tones.with_name("gone.csv")
    lines = tones.read_text().splitlines()
    one.write_text("\n".join([lines[0], *(line for line in lines if ",low," in line)]))
    gone.write_text("path,label\na.wav,x\nb.wav,y\n")
    before = sorted(p.name for p in tmp_path.iterdir())
    code, out, err = run(*(a.format(tones=tones, one=one, gone=gone) for a in arguments))
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_bad_utterances_are_skipped_counted_and_listed(run, tones):
    with tones.open("a") as file:
        file.write("clips/none.wav,low,s1\nclips/text.wav,low,s1\n")
    (tones.parent / "clips" / "text.wav").write_text(
        "not audio at all, but long enough to look like a header of some kind"
    )
    code, out, _ = run("rank", tones, "-m", "logmel", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["data"] | {"seconds": 0, "fingerprint": ""} == {
        "utterances": 38,
        "used": 36,
        "seconds": 0,
        "fingerprint": "",
        "held_out": "speakers",
        "classes": 3,
        "majority": 1 / 3,
        "deviation": None,
    }
    assert {s["utterance"] for s in content["skipped"]} == {"clips/none.wav", "clips/text.wav"}
    code, out, _ = run("inspect", tones)
    assert "2 skipped:" in out
    assert "no such file" in out


def test_same_data_in_any_order_gives_the_same_scores(run, tones):
    shuffled = tones.with_name("shuffled.csv")
    header, *rows = tones.read_text().splitlines()
    shuffled.write_text("\n".join([header, *sorted(rows, reverse=True)]))
    scores = [
        [
            layer["scores"]
            for layer in json.loads(run("rank", path, "-m", "mfcc", "--json", "--batch", batch)[1])["layers"]
        ]
        for path, batch in ((tones, 60), (shuffled, 1))
    ]
    for key in ("value", "low", "high"):
        assert scores[0][0]["logme"][key] == pytest.approx(scores[1][0]["logme"][key], rel=1e-6)


def test_inspect_counts_utterances_speakers_and_classes(run, tones):
    code, out, _ = run("inspect", tones, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["utterances"], facts["speakers"], facts["task"]) == (36, 4, "classification")
    assert facts["classes"] == {"high": 12, "low": 12, "middle": 12}
    _, out, _ = run("inspect", tones)
    assert "3 classes" in out


def test_inspect_reports_what_rank_would_refuse(run, tones):
    one = tones.with_name("one.csv")
    one.write_text(
        "\n".join(line for line in tones.read_text().splitlines() if ",middle," not in line and ",high," not in line)
    )
    code, out, _ = run("inspect", one)
    assert code == 0
    assert "would refuse this: expected at least two classes" in " ".join(out.split())
    lone = tones.with_name("lone.csv")
    lone.write_text("\n".join([*one.read_text().splitlines(), "clips/high-2.wav,high,s0"]))
    assert json.loads(run("inspect", lone, "--json")[1])["problems"][0].startswith("one utterance only in 'high'")
    _, _, err = run("rank", lone, "-m", "logmel")
    assert "one utterance only in 'high'" in err


def test_equal_errors_are_counted_and_not_repeated(run, tones):
    with tones.open("a") as file:
        file.write("".join(f"clips/gone-{number}.wav,low,s1\n" for number in range(8)))
    assert "8 × no such file" in run("inspect", tones)[1]


def test_models_lists_models_and_their_layers(run):
    code, out, _ = run("models")
    assert code == 0
    assert "pack:whisper-base" in out
    code, out, _ = run("models", "logmel", "--json")
    assert json.loads(out)["layers"] == [{"index": 0, "name": "log-mel", "dim": 80, "frame_rate": 100.0}]
    assert "log-mel" in run("models", "logmel")[1]


def test_help_has_examples_and_version(run):
    code, out, _ = run("rank", "--help")
    assert code == 0
    assert "voxrank rank train.csv --model openai/whisper-tiny" in " ".join(out.split())
    assert run("--version")[1].strip()


SLOW_MODEL = """
import sys
from torch import nn
class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(160, 4)])
    def forward(self, x):
        print("forward", flush=True)
        sys.stdin.readline()  # whoever started this says when to go on
        return self.blocks[0](x[:, : x.shape[1] // 160 * 160].unflatten(1, (-1, 160)))
def build(): return Slow()
"""


def test_an_interrupt_leaves_one_line_and_no_partial_file(tones, tmp_path, start_python):
    (tmp_path / "slow_speech_net.py").write_text(SLOW_MODEL)
    command = ["-m", "voxrank", "rank", tones]
    command += ["-m", "py:slow_speech_net:build", "--out", "o", "--batch", "1"]
    process = start_python(
        *command,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80"},
    )
    process.stdin.write("\n" * 2)  # two probes, then real work, which blocks
    process.stdin.flush()
    for _ in range(3):
        assert process.stdout.readline() == "forward\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "voxrank: stopped; no ranking was written"
    assert "Traceback" not in err
    assert not (tmp_path / "o").exists()


def test_an_interrupt_during_imports_is_reported_in_one_line(tmp_path, hear_interrupts):
    command = "import sys, signal, voxrank.__main__ as m\n"
    command += "class Finder:\n  def find_spec(self, *a): signal.raise_signal(signal.SIGINT)\n"
    command += "sys.meta_path.insert(0, Finder())\nm.run()"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False, preexec_fn=hear_interrupts
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "voxrank: stopped\n")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_terminals_that_are_not_utf8_show_the_result(tones, encoding, run_python):
    content = tones.read_text().replace("low", "низкий").splitlines()
    tones.write_text("\n".join(line.replace("clips/низкий", "clips/low") for line in content), encoding="utf-8")
    rank = ("-m", "voxrank", "rank", tones, "-m", "logmel")
    binary = {"env": {**os.environ, "PYTHONIOENCODING": encoding}, "text": False, "check": True}
    table = run_python(*rank, **binary)
    assert "Fine-tune logmel" in table.stdout.decode(encoding)
    printed = run_python("-m", "voxrank", "inspect", tones, "--json", **binary).stdout
    assert json.loads(printed.decode(encoding))["classes"]["низкий"] == 12


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
def test_a_full_disk_is_reported_in_one_line(tones, run_python):
    with FULL.open("w") as full:
        done = run_python("-m", "voxrank", "inspect", tones, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("voxrank: cannot write: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_refused_request_does_not_change_earlier_results(run, tones, tmp_path):
    assert run("rank", tones, "-m", "logmel", "--out", tmp_path / "o")[0] == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "o").iterdir()}
    assert run("rank", tones, "-m", "no-such-org/none", "--out", tmp_path / "o")[0] == 2
    assert run("rank", tones, "-m", "no-such-org/none", "--out", tmp_path / "new")[0] == 2
    assert {p.name: p.read_bytes() for p in (tmp_path / "o").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_failed_run_gives_the_reason_in_its_log(run, tones, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RunError("memory ran out")

    monkeypatch.setattr(voxrank.engines.local, "sketch_model", fail)
    code, _, err = run("rank", tones, "-m", "logmel", "--out", tmp_path / "o")
    assert code == 1
    assert "voxrank: memory ran out" in err
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["run.log"]
    assert "the run failed: memory ran out" in (tmp_path / "o" / "run.log").read_text()


def test_the_command_line_knows_every_score():
    assert set(NAMES) == {*score_names(), *COMBINATIONS, DEFAULT, TUNED}


@pytest.mark.parametrize("sample", ["utterance", "segment", "effective", "frame"])
def test_all_scores_can_be_computed_in_the_same_run(run, tones, sample):
    names = [name for name in PLAIN if name != "tsne" or sample == "utterance"]  # embedding frames takes long
    every = [word for name in names for word in ("--score", name)]
    options = ["--sample", sample, "--source", tones, "--json"]
    code, out, _ = run("rank", tones, "-m", "logmel", "-m", "mfcc", *every, *options)
    assert code == 0
    content = json.loads(out)
    for layer in content["layers"]:
        assert set(layer["scores"]) == set(names)
        assert layer["scores"]["swd"]["value"] == pytest.approx(0, abs=1e-4)
        assert layer["scores"].pop("tsne", {"low": None})["low"] is None
        for score in layer["scores"].values():
            assert score["low"] <= score["value"] <= score["high"]
    assert [len(row) for row in content["beats"]] == [2, 2]


def check_left_out(run, data, score, other, line):
    """Check that a score is left out with this line beside another, and is refused with it alone; return the error."""
    code, out, err = run("rank", data, "-m", "logmel", "--score", score, "--score", other, "--json")
    assert code == 0
    assert line in err
    assert json.loads(out)["options"]["scores"] == [other]
    code, _, err = run("rank", data, "-m", "logmel", "--score", score)
    assert code == 2
    assert f"{line}: name another one" in err
    return err


def test_scores_that_need_source_data_are_left_out_and_named(run, tones):
    check_left_out(run, tones, "swd", "logme", "swd needs source data (--source) and is left out")


def test_a_source_needs_no_labels_and_is_recorded(run, tones):
    source = tones.with_name("source.csv")
    source.write_text("\n".join(line.split(",")[0] for line in tones.read_text().splitlines()[:-9]))
    options = ["--source", source, "--score", "tsne", "--score", "swd"]
    code, out, _ = run("rank", tones, "-m", "logmel", "-m", "mfcc", *options, "--json")
    assert code == 0
    content = json.loads(out)
    assert content["options"]["source"] == str(source)
    assert len(content["options"]["source_fingerprint"]) == len(content["data"]["fingerprint"])
    assert content["options"]["source_fingerprint"] != content["data"]["fingerprint"]
    assert content["options"]["higher_is_better"] == {"tsne": False, "swd": False}
    first, second = (model["scores"]["tsne"] for model in content["models"])
    assert first["value"] <= second["value"]
    assert first["low"] is None
    code, out, err = run("rank", tones, "-m", "logmel", "--score", "logme", "--source", source)
    assert code == 0
    assert "no score reads them (swd, frechet and tsne do)" in err


def test_several_scores_are_shown_side_by_side(run, tones):
    every = [word for name in PLAIN for word in ("--score", name)]
    code, out, _ = run("rank", tones, "-m", "logmel", "-m", "mfcc", *every, "--source", tones)
    assert code == 0
    assert out.count("rank and layer by") == 5
    assert all(name in out for name in PLAIN)
    assert max(len(line) for line in out.splitlines()) <= 80


def test_scores_that_do_not_fit_the_task_are_left_out_and_named(run, tones):
    lines = tones.read_text().splitlines()
    tones.write_text(
        "\n".join([lines[0].replace("label", "value"), *(f"{x.split(',')[0]},{i},s" for i, x in enumerate(lines[1:]))])
    )
    err = check_left_out(run, tones, "ncm", "ridge", "ncm is not for regression and is left out")
    assert "expected a score for regression; ncm is not for regression and is left out: name another one" in err


def test_the_help_shows_defaults(run):
    text = " ".join(run("rank", "--help")[1].split())
    for default in (
        "the first known column",
        "train if there is one",
        "default: (accuracy for classes",
        "tuned for --strategy layer",
    ):
        assert default in text


def test_the_demo_is_refused_without_any_model_of_the_pack(run, monkeypatch):
    monkeypatch.setattr(voxrank_pack, "installed", lambda: ())
    code, _, err = run("demo")
    assert code == 2
    assert "none of the offline pack is installed" in err


@pytest.mark.pack
def test_the_demo_leaves_out_models_that_are_not_installed(run, monkeypatch, tmp_path):
    from voxrank.testing import speech

    monkeypatch.setattr(voxrank_pack, "installed", lambda: ("silero-vad",))
    monkeypatch.setattr(speech, "DEMO_WORDS", ("yes", "no", "stop"))
    monkeypatch.setattr(speech, "DEMO_VOICES", ("en-us", "en+f1", "en-029", "en-us+m3", "en+m5"))
    code, out, err = run("demo", "--out", tmp_path / "o")
    assert code == 0
    assert "pack:whisper-base is not installed and is left out" in err
    assert "pack:silero-vad" in out
    assert "voxrank rank mine.csv" in out
    assert (tmp_path / "o" / "ranking.json").exists()
    assert len(list((tmp_path / "o" / "speech" / "clips").iterdir())) == 30


def test_transcripts_are_aligned_and_ranked_by_their_alignment(run, spelled, tmp_path):
    """`align` writes files that Praat, other tools and `rank` read: the ranking is the one by transcripts."""
    out_dir = tmp_path / "aligned"
    code, out, err = run("align", spelled, "--model", "logmel", "--out", out_dir)
    assert code == 0, err
    assert "40 utterances" in out
    assert "5 characters" in out
    about = json.loads((out_dir / "alignment.json").read_text())
    assert about["aligner"] == {"aligner": "flat", "model": "logmel", "layer": 0, "trained": False}
    lines = (out_dir / "alignment.ctm").read_text().splitlines()
    assert all(len(line.split()) == 5 for line in lines)
    grids = sorted((out_dir / "textgrids").iterdir())
    assert len(grids) == 40
    assert len(lines) == sum(len(SegmentFiles("characters").read(grid).segments) for grid in grids)
    ranked = {}
    for name, arguments in {
        "text": [spelled, "--unit", "char"],
        "textgrids": [out_dir / "manifest.csv"],
        "ctm": [spelled, "--segments", out_dir / "alignment.ctm"],
        "folder": [spelled, "--segments", out_dir / "textgrids", "--tier", "characters"],
    }.items():
        code, out, err = run("rank", *arguments, "-m", "logmel", "--silence", "0", "--json")
        assert code == 0, err
        ranking = json.loads(out)
        assert ranking["task"] == ("transcription" if name == "text" else "segmentation")
        ranked[name] = ranking["layers"][0]["scores"]["logme"]["value"]
    assert list(ranked.values()) == pytest.approx([ranked["text"]] * 4, abs=2e-3)


def test_rank_reports_the_units_and_the_aligner_of_transcripts(run, spelled):
    code, out, err = run(
        "rank", spelled, "-m", "logmel", "--unit", "char", "--against", "uniform", "--against", "jitter"
    )
    assert code == 0
    assert "transcription of 'text': 40 utterances, 5 units and silence, 4 blocks" in " ".join(err.split())
    assert "flat on logmel, layer 0" in err
    assert "Fine-tune logmel" in out
    for labels in ("uniform", "jitter"):
        assert labels in out


def test_inspect_counts_units_and_labels(run, spelled):
    text = spelled.read_text().splitlines()
    facts = json.loads(run("inspect", spelled, "--unit", "char", "--json")[1])
    assert (facts["task"], list(facts["classes"])) == ("transcription", list("abcde"))
    timed = json.loads(run("inspect", spelled, "--json")[1])
    assert timed["task"] == "segmentation"
    assert timed["classes"] == facts["classes"]
    assert len(text) == 41
    _, out, _ = run("inspect", spelled, "--unit", "word")
    assert "units" in out


SEQUENCE_ERRORS = {
    "unknown language": (["--unit", "phone", "--language", "klingonese"], "klingonese"),
    "no language": (["--unit", "phone"], "--language"),
    "unknown unit": (["--unit", "syllable"], "syllable"),
    "unknown aligner": (["--unit", "char", "--aligner", "mfa"], "expected an aligner such as flat"),
    "silence above all": (["--silence", "2"], "expected silence"),
    "no such segments": (["--segments", "none.ctm"], "no such file or folder of segments"),
    "both": (["--target", "text", "--segments", "."], "name one of them"),
    "leak": (["--unit", "char", "--aligner", "head:logmel"], "--allow-leak"),
}


@pytest.mark.parametrize(("arguments", "message"), SEQUENCE_ERRORS.values(), ids=SEQUENCE_ERRORS)
def test_wrong_requests_for_sequences_are_one_line(run, spelled, tmp_path, arguments, message):
    code, out, err = run("rank", spelled, "-m", "logmel", "--out", tmp_path / "o", *arguments)
    assert code == 2
    assert out == ""
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "o").exists()


def test_align_without_a_model_is_refused_with_advice(run, spelled, tmp_path):
    code, _, err = run("align", spelled, "--out", tmp_path / "o")
    assert code == 2
    assert "needs the features of a model; name one with --model" in err
    assert not (tmp_path / "o").exists()


def test_a_manifest_that_is_not_utf8_is_refused(run, spelled):
    spelled.write_bytes(spelled.read_bytes().replace(b"text", b"t\xe9xt"))
    code, _, err = run("rank", spelled, "-m", "logmel", "--unit", "char")
    assert code == 2
    assert "expected UTF-8 text" in err


BOUNDLESS = """
import torch
from torch import nn
class Boundless(nn.Module):
    sample_rate, min_samples = 16_000, 400
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Conv1d(1, 8, 400, 160)
    def forward(self, x):
        return self.front(x[:, None]).transpose(1, 2) * {scale}
"""


@pytest.mark.parametrize("scale", ["1e18", "1e25", "1e37"])
@pytest.mark.parametrize("score", ["logme", "combined"])
def test_features_that_overflow_are_reported_in_one_line(run, tones, tmp_path, monkeypatch, scale, score):
    (tmp_path / f"boundless_{scale}.py").write_text(BOUNDLESS.format(scale=scale))
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = run("rank", tones, "-m", f"py:boundless_{scale}:Boundless", "--score", score, "--json")
    if code == 0:  # sums in double precision may represent them
        assert all(layer["scores"]["logme"]["value"] < 1e9 for layer in json.loads(out)["layers"])
        return
    assert code == 1
    assert "expected features whose sums are finite" in err.strip().splitlines()[-1] or "none of the utterances" in err
    assert "Traceback" not in err


def test_most_of_the_data_skipped_is_refused_unless_it_is_allowed(run, tones):
    with tones.open("a") as file:
        file.write("".join(f"clips/gone-{number}.wav,low,s1\n" for number in range(40)))
    code, out, err = run("rank", tones, "-m", "logmel", "--no-cache")
    assert (code, out) == (2, "")
    assert "40 of 76 utterances (53 %) are skipped: 40 × no such file" in err
    assert "would refuse this" in " ".join(run("inspect", tones)[1].split())
    code, out, _ = run("rank", tones, "-m", "logmel", "--no-cache", "--allow-skips")
    assert code == 0
    assert out.startswith("Warning: 40 of 76 utterances (53 %) are skipped")


def test_inspect_and_rank_report_the_guessed_use_of_splits(run, tones):
    header, *rows = tones.read_text().splitlines()
    named = [f"{row},{'train.100' if number < 24 else 'test'}" for number, row in enumerate(rows)]
    tones.write_text("\n".join([f"{header},split", *named]))
    note = "rows of 'train.100' (24) are used, and 'test' (12) not"
    out = run("inspect", tones)[1]
    assert note in " ".join(out.split())
    assert "12 rows that are not used" in out
    code, out, err = run("rank", tones, "-m", "logmel", "--no-cache", "--json")
    assert code == 0
    assert note in err
    assert json.loads(out)["options"]["notes"][0].endswith("--split all takes every row")
