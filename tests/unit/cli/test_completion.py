"""Shell completion, requested through the variables of each shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voxrank.cli.completion import VARIABLE, columns_of, complete_labels, join_colons
from voxrank.cli.main import exit_code
from voxrank.encoders.known import PACK_NAMES
from voxrank.scores.names import NAMES
from voxrank.testing.plugins import announce


@pytest.fixture
def ask(monkeypatch, capsys, tmp_path):
    """Return a function that completes a partial line: bash splits it into words, zsh and fish do not."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-cache"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)

    def call(line, shell="bash"):
        monkeypatch.setenv(VARIABLE, f"complete_{shell}")
        if shell == "bash":
            words = [part for word in line.split(" ") for part in parted(word)]
            monkeypatch.setenv("COMP_WORDS", "\n".join(words))
            monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        else:
            monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
            monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        exit_code([])
        return capsys.readouterr().out.rstrip("\n").split("\n")

    return call


def parted(word):
    """Split a word as bash does: a colon is a separate word, and nothing follows one that ends a word."""
    pieces = word.replace(":", "\n:\n").split("\n")
    return [piece for piece in pieces if piece] or [""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_scores_and_choices_are_completed(ask, shell):
    def found(line):
        return {name for text in ask(line, shell) for name in text.replace('"', " ").replace("\t", " ").split()}

    assert {"rank", "validate"} <= found("voxrank ")
    assert "--model" in found("voxrank rank --mo")
    assert set(NAMES) <= found("voxrank rank a.csv --score ")
    assert {"probe", "layer", "full"} <= found("voxrank rank a.csv --strategy ")
    assert {"float32", "float16", "bfloat16"} <= found("voxrank rank a.csv --dtype ")
    assert {"linear", "mlp", "transducer"} <= found("voxrank validate a.csv --head ")
    assert "cuda" in found("voxrank models --device c")
    assert {"flat", "uniform"} <= found("voxrank align a.csv --aligner ")
    assert {"char", "phone"} <= found("voxrank inspect a.csv --unit ")
    assert {"ls", "prune"} <= found("voxrank cache ")
    assert "openai/whisper-tiny" in found("voxrank rank a.csv --model openai/wh")
    assert "logmel" in found("voxrank models log")


def test_bash_receives_only_the_part_after_a_colon(ask):
    assert set(ask("voxrank rank a.csv -m pack:wh")) == {"whisper-tiny.en", "whisper-base"}
    assert set(ask("voxrank rank a.csv -m pack:")) == set(PACK_NAMES)
    assert set(ask("voxrank models pack:cr")) == {"crepe", "crepe-full"}
    assert "whisper-base" in ask("voxrank align a.csv --aligner flat:pack:wh")
    assert "pack:crepe" in ask("voxrank rank a.csv -m pack", "bash")


def test_zsh_and_fish_receive_the_whole_word(ask):
    assert "pack:whisper-base" in ask("voxrank rank a.csv -m pack:wh", "fish")
    assert r"pack\\:whisper-base" in "".join(ask("voxrank rank a.csv -m pack:wh", "zsh"))


def test_models_in_folders_and_in_the_hub_cache_are_completed(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "my-hubert").mkdir(parents=True)
    (tmp_path / "models" / "my-hubert" / "config.json").touch()
    (tmp_path / "models" / "others").mkdir()
    (tmp_path / "hub-cache" / "hub" / "models--our--wav2vec2").mkdir(parents=True)
    (tmp_path / "models" / "large.nemo").touch()
    assert ask("voxrank rank a.csv -m models/") == ["models/large.nemo", "models/my-hubert", "models/others/"]
    assert ask("voxrank rank a.csv -m nem") == ["nemo:"]
    assert ask("voxrank rank a.csv -m our/") == ["our/wav2vec2"]
    assert ask("voxrank rank a.csv --trust-remote-code our") == ["our/wav2vec2"]


def test_columns_of_the_named_manifest_are_completed(ask, tones):
    assert ask(f"voxrank rank {tones} --target ") == ["path", "label", "speaker"]
    assert ask(f"voxrank inspect {tones} --target sp") == ["speaker"]
    assert columns_of(tones.with_name("nowhere.csv")) == ()
    assert columns_of(tones.parent) == ()
    broken = tones.with_name("broken.csv")
    broken.write_bytes(b"\xff\xfe\x00")
    assert columns_of(broken) == ()
    tabs = tones.with_name("tabs.tsv")
    tabs.write_text("path\tlabel\n")
    assert columns_of(tabs) == ("path", "label")


def test_plugins_are_completed_without_loading_them(ask, tmp_path, monkeypatch):
    entries = {"voxrank.encoders": {"mine": "no_such:load"}, "voxrank.scores": {"myscore": "no_such:SCORE"}}
    announce(tmp_path / "site", "plugged", "1", entries)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "myscore" in ask("voxrank rank a.csv --score my")
    assert "mine:" in ask("voxrank rank a.csv -m mi")


def test_names_of_other_labels_are_completed():
    assert complete_labels("ji") == ["jitter"]
    assert "uniform" in complete_labels("")


@pytest.mark.parametrize(
    ("words", "place", "joined", "at", "before"),
    [
        (["v", "-m", "a"], 2, ["v", "-m", "a"], 2, ""),
        (["v", "-m", "a", ":"], 3, ["v", "-m", "a:"], 2, "a:"),
        (["v", "-m", "a", ":", ""], 4, ["v", "-m", "a:", ""], 3, ""),
        (["v", "-m", "a", ":", "b", ":", "c", "x"], 6, ["v", "-m", "a:b:c", "x"], 2, "a:b:"),
        (["v", "-m", "a", ":", "b", "x", ""], 6, ["v", "-m", "a:b", "x", ""], 4, ""),
        (["v"], 1, ["v"], 1, ""),
    ],
)
def test_words_split_at_colons_are_joined(words, place, joined, at, before):
    assert join_colons(words, place) == (joined, at, before)


def test_completion_imports_no_large_packages(tmp_path):
    code = (
        "import sys\nfrom voxrank.cli.main import exit_code\nexit_code([])\n"
        "heavy = {'torch', 'transformers', 'scipy', 'pandas', 'numba', 'matplotlib', 'altair'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {
        **os.environ,
        VARIABLE: "complete_bash",
        "COMP_WORDS": "voxrank\nrank\na.csv\n-m\n",
        "COMP_CWORD": "4",
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "logmel" in done.stdout


COMPLETING = """
source {script}
COMP_WORDS=(voxrank rank a.csv -m pack : wh) COMP_CWORD=6
_voxrank_completion voxrank
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p voxrank
"""


def test_bash_completes_with_the_printed_script(tmp_path, monkeypatch, capsys):
    """Bash runs the script that `--show-completion` prints."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    place = tmp_path / "bin"
    place.mkdir()
    command = place / "voxrank"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m voxrank \"$@\"\n")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", VARIABLE: "source_bash"}
    script = subprocess.run([command], capture_output=True, text=True, check=True, env=environment).stdout
    (tmp_path / "completion.sh").write_text(script)
    del environment[VARIABLE]
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETING.format(script=tmp_path / "completion.sh")],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    *found, completes = done.stdout.split("\n")[:-1]
    assert set(found) == {"whisper-tiny.en", "whisper-base"}
    assert completes == "complete -o default -F _voxrank_completion voxrank"


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bash_completions/voxrank.sh"),
        ("zsh", ".zfunc/_voxrank"),
        ("fish", ".config/fish/completions/voxrank.fish"),
    ],
)
def test_completion_is_installed_for_a_shell(shell, file, tmp_path):
    """A shell starts `--install-completion`, as far as the command can see."""
    code = (
        "import shellingham, sys\n"
        f"shellingham.detect_shell = lambda *_: ({shell!r}, '/bin/{shell}')\n"
        "from voxrank.cli.main import exit_code\nsys.exit(exit_code(['--install-completion']))"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert f"{shell} completion installed in" in done.stdout
    assert VARIABLE in (tmp_path / file).read_text()
    assert Path.home() != tmp_path
