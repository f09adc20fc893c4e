"""The example package, found by its entry points, wherever models and scores are named."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from voxrank.testing.plugins import announced

PROJECT = Path(__file__).parents[2] / "examples" / "voxrank-example"


@pytest.fixture
def example():
    """Make the example package look installed, here and in child processes."""
    with announced(PROJECT):
        yield


@pytest.fixture
def in_a_process(run_python):
    """Return the output of a command that runs as a user starts it."""
    return lambda *arguments: json.loads(run_python("-m", "voxrank", *arguments, "--json", check=True).stdout)


def fishers(content):
    return {(x["model"], x["layer"]): x["scores"]["fisher"] for x in content["layers"]}


def test_the_encoder_and_the_score_of_the_plugin_can_be_ranked(example, in_a_process, tones):
    content = in_a_process("rank", tones, "--model", "example:bank", "-m", "logmel", "--score", "fisher")
    assert {m["model"] for m in content["models"]} == {"example:bank", "logmel"}
    assert content["options"]["scores"] == ["fisher"]
    values = [m["scores"]["fisher"] for m in content["models"]]
    assert values[0]["value"] >= values[1]["value"] > 0
    assert all(v["low"] < v["value"] < v["high"] for v in values)


def test_a_second_run_encodes_nothing_unless_the_settings_differ(example, run, tones):
    command = ("rank", tones, "-m", "example:bank", "--score", "fisher", "--json")
    first, again = (json.loads(run(*command)[1]) for _ in range(2))
    assert (first["cost"]["cached_s"], again["cost"]["cached_s"]) == (0, pytest.approx(first["data"]["seconds"]))
    assert fishers(again).keys() == fishers(first).keys()
    for layer, score in fishers(first).items():
        assert fishers(again)[layer] == pytest.approx(score, rel=1e-9)
    other = json.loads(run("rank", tones, "-m", "example:bank@24", "--score", "fisher", "--json")[1])
    assert other["cost"]["cached_s"] == 0


def test_models_lists_the_plugin_without_importing_it(example, run):
    code, out, _ = run("models")
    assert code == 0
    assert "example:" in out
    assert "plug-in of voxrank-example 0.1.0" in " ".join(out.split())
    listed = json.loads(run("models", "--json")[1])["plugins"]
    assert {"scheme": "example", "package": "voxrank-example", "version": "0.1.0"} in listed["encoders"]
    assert {"name": "spoken", "package": "voxrank-example", "version": "0.1.0"} in listed["readers"]
    assert {"name": "fisher", "package": "voxrank-example", "version": "0.1.0"} in listed["scores"]


def test_the_reader_of_the_plugin_is_chosen_by_suffix_or_by_name(example, run, tones):
    """The data are the same as in the manifest, and so is the ranking."""
    lines, speaker = [], None
    for row in tones.read_text().splitlines()[1:]:
        path, label, who = row.split(",")
        lines += [] if who == speaker else [f"# {who}"]
        lines.append(f"{label} {path}")
        speaker = who
    ending, other = tones.with_name("tones.spoken"), tones.with_name("tones.txt")
    for path in (ending, other):
        path.write_text("\n".join(lines), encoding="utf-8")
    expected = json.loads(run("rank", tones, "-m", "logmel", "--json")[1])
    for data in (ending, f"spoken:{other}"):
        code, out, err = run("rank", data, "-m", "logmel", "--json")
        assert code == 0, err
        assert json.loads(out)["layers"][0]["scores"]["logme"] == pytest.approx(
            expected["layers"][0]["scores"]["logme"], rel=1e-6
        )
    code, out, err = run("rank", other, "-m", "logmel")
    assert code == 2
    assert "expected a folder of class folders" in err


def test_the_layers_of_the_plugin_are_listed(example, run):
    code, out, _ = run("models", "example:bank", "--json")
    assert code == 0
    assert [layer["name"] for layer in json.loads(out)["layers"]] == ["log powers", "average", "change"]


def test_names_of_the_plugin_are_unknown_without_it(run, tones):
    code, _, err = run("rank", tones, "-m", "example:bank")
    assert (code, "unknown model scheme 'example'" in err) == (2, True)
    code, _, err = run("rank", tones, "-m", "logmel", "--score", "fisher")
    assert (code, "unknown score 'fisher'" in err) == (2, True)


def test_a_broken_plugin_is_reported_in_one_line_only_where_it_is_used(run, tones, tmp_path, monkeypatch):
    from voxrank.testing.plugins import announce

    announce(tmp_path / "site", "broken", "0", {"voxrank.encoders": {"broken": "no_such_module:load"}})
    monkeypatch.syspath_prepend(tmp_path / "site")
    code, out, err = run("rank", tones, "-m", "broken:x")
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert "the plug-in 'broken' of broken 0" in err
    assert run("rank", tones, "-m", "logmel", "--json")[0] == 0
    assert run("models")[0] == 0


def test_validate_uses_the_encoder_and_the_score_of_the_plugin(example, run, tones, tmp_path):
    code, out, err = run(
        *("validate", tones, "-m", "example:bank", "-m", "logmel", "--score", "fisher", "--seeds", "1"),
        *("--epochs", "3", "--out", tmp_path / "o", "--json"),
    )
    assert code == 0, err
    content = json.loads(out)
    assert {x["model"] for x in content["truth"]} == {"example:bank", "logmel"}
    assert "fisher" in {x["name"] for x in content["judged"]}


def processes_with(mark):
    """Return the command lines that contain a mark."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.append((one / "cmdline").read_bytes())
    return [line for line in found if mark.encode() in line]


def test_workers_of_ray_load_the_plugin(example, start_python, run, tones, wait_until):
    """A run on Ray does not mention Ray, and leaves no process behind."""
    command = ("rank", tones, "-m", "example:bank", "--score", "fisher", "--no-cache", "--json")
    started = start_python(
        *("-m", "voxrank", *command, "--engine", "ray", "--workers", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    cluster = f"voxrank-ray-{started.pid}-"
    wait_until(lambda: processes_with(cluster))
    printed, err = started.communicate()
    assert started.returncode == 0, err
    assert "done in" in err
    assert "ray" not in err.lower()
    wait_until(lambda: not processes_with(cluster))
    there = fishers(json.loads(printed))
    here = fishers(json.loads(run(*command)[1]))
    assert there.keys() == here.keys()
    for layer, score in here.items():
        assert there[layer]["value"] == pytest.approx(score["value"], rel=1e-6)


def test_help_imports_no_plugin(example):
    code = (
        "import sys\nfrom voxrank.cli.main import exit_code\nexit_code(['rank', '--help'])\n"
        "print(sorted(m for m in sys.modules if m.startswith('voxrank_example')), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "[] False"
