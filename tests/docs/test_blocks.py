"""Every code block of the README and of docs/*.md runs, or its source says why it does not.

The language of a fenced block decides how it is checked:

- none, `sh`, `bash`, `console`: command lines, which must end with exit code 0; commands behind a pipe are not run;
- `python`: run, with one namespace for all blocks of a page;
- `{code-block} text` with a caption that ends in .csv or .tsv: a manifest of that name, for the blocks below it;
- `text`, `json`, `toml`, `html`, `latex`, `markdown`: shown; JSON and TOML must parse.

A block that is not run has a comment in the line before it, `<!-- not run: why -->`, and its first line is in `NOT_RUN`
below. Its command lines must still name existing options only. The same holds for lines with `--engine ray` among the
examples of the commands' help: starting a cluster takes too long, and tests/end_to_end/test_ray.py does it.
"""

import contextlib
import json
import re
import runpy
import shlex
import sys
import tomllib
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from loading import load_file
from voxrank.cli.main import app, exit_code

ROOT = Path(__file__).parents[2]
reference = load_file(ROOT / "docs" / "reference.py")
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
COMMANDS = ("", "sh", "bash", "console")
SHOWN = {"text": str, "json": json.loads, "toml": tomllib.loads, "html": str, "latex": str, "markdown": str}
DIRECTIVES = ("include", "toctree", "eval-rst", "note", "warning", "tip", "figure", "image", "admonition")
PROMPT = "$ "
NOT_RUN = {
    ("README.md", "make demo"),
    ("docs/configuration.md", "voxrank --install-completion"),
    ("docs/dependencies.md", "pip install '.[all]'"),
    ("docs/index.md", "make demo"),
    ("docs/plugins.md", "pip install --editable examples/voxrank-example"),
    ("docs/scaling.md", "voxrank rank train.csv -m openai/whisper-base -m facebook/hubert-base-ls960 --engine ray"),
    ("docs/terminal.md", "voxrank --install-completion"),
    ("docs/tutorial.md", "make demo"),
}
"""Page and first line of every block that is not run; each exception needs a line here."""

# a warning of peft on whole models of transformers; tests/unit/groundtruth/test_backbones.py covers it
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the number of its first line, its language, lines, caption, and why it is not run."""

    page: str
    line: int
    language: str
    lines: tuple[str, ...]
    caption: str = ""
    not_run: str = ""

    @property
    def place(self):
        return f"{self.page}:{self.line}"

    @property
    def manifest(self):
        return self.language == "text" and self.caption.endswith((".csv", ".tsv"))

    @property
    def text(self):
        return "\n".join(self.lines).lstrip("\n") + "\n"


def blocks_of(page, text):
    """Return the blocks of a page in order, with those inside directives."""
    lines = text.splitlines()
    found, fences, number = [], [], 0
    while number < len(lines):
        fence = re.match(r"^(\s*)(`{3,})(.*)$", lines[number])
        number += 1
        if fence is None:
            continue
        indent, ticks, info = len(fence[1]), fence[2], fence[3].strip()
        if not info and fences and len(ticks) >= len(fences[-1]):
            fences.pop()
            continue
        directive = re.match(r"^\{([\w-]+)\}\s*(.*)$", info)
        if directive and directive[1] != "code-block":
            assert directive[1] in DIRECTIVES, f"{page}:{number}: unknown directive {directive[1]}; add it here"
            fences.append(ticks)
            continue
        end = next((n for n in range(number, len(lines)) if lines[n].strip() == ticks), None)
        assert end is not None, f"{page}:{number}: this block has no end"
        inside = [line[indent:] for line in lines[number:end]]
        caption = next((line.split(":caption:")[1].strip() for line in inside if line.startswith(":caption:")), "")
        if directive:
            inside = [line for line in inside if not re.match(r"^:[\w-]+:", line)]
        why = re.match(r"^\s*<!-- not run: (.+) -->$", lines[number - 2]) if number > 1 else None
        language = directive[2] if directive else info
        found.append(Block(page, number, language, tuple(inside), caption, why[1] if why else ""))
        number = end + 1
    return found


def page_blocks(page):
    """Return the blocks of a page as built: lines of the command reference count as generated."""
    return blocks_of(page, reference.filled((ROOT / page).read_text(encoding="utf-8")))


def command_lines(block):
    """Yield (line number, words) of each command, without comments and, in blocks with prompts, without output."""
    prompted = any(line.startswith(PROMPT) for line in block.lines)
    begun, words = 0, ""
    for number, line in enumerate(block.lines, start=block.line + 1):
        if prompted and not words and not line.startswith(PROMPT):
            continue
        begun = begun or number
        words += line.removeprefix(PROMPT).rstrip("\\")
        if not line.endswith("\\"):
            if split := shlex.split(words, comments=True):
                yield begun, split
            begun, words = 0, ""


def run_commands(block, capsys, monkeypatch):
    for number, words in command_lines(block):
        if block.page == "docs/commands.md" and "ray" in words:
            check_line(block, number, words)
            continue
        capsys.readouterr()
        code = run_command(words, monkeypatch)
        err = capsys.readouterr().err
        assert code == 0, f"{block.page}:{number}: {' '.join(words)}\nexit code {code}: {err}"


def run_command(words, monkeypatch):
    """Return the exit code of one command line; None if it is neither voxrank nor a script of the page."""
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    if "|" in words:
        words = words[: words.index("|")]
    with contextlib.ExitStack() as stack:
        if ">" in words:
            file = stack.enter_context(Path(words[words.index(">") + 1]).open("w"))
            stack.enter_context(contextlib.redirect_stdout(file))
            words = words[: words.index(">")]
        if words[0] == "voxrank":
            return exit_code(words[1:])
        if words[0] == "python" and words[1].endswith(".py"):
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_path(words[1], run_name="__main__")
            return 0
    return None


def run_python(block, namespace):
    try:
        exec(compile("\n" * block.line + "\n".join(block.lines), block.page, "exec"), namespace)
    except Exception as error:  # noqa: BLE001, whatever it is, the page and line are told
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == block.page]
        number = getattr(error, "lineno", None) or max(lines, default=block.line)
        pytest.fail(f"{block.page}:{number}: {type(error).__name__}: {error}")


def check_options(block):
    """Check that blocks that are not run name existing commands and options only."""
    if block.language not in COMMANDS:
        return
    for number, words in command_lines(block):
        if words[0] == "voxrank":
            check_line(block, number, words)


def check_line(block, number, words):
    command, rest = typer.main.get_command(app), words[1:]
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{block.page}:{number}: there is no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for option in command.params for name in option.opts}
    unknown = {word for word in rest if word.startswith("-")} - known
    assert not unknown, f"{block.page}:{number}: there is no option {', '.join(sorted(unknown))}"


@pytest.mark.parametrize("page", PAGES)
def test_the_code_blocks_of_a_page_run(page, request):
    blocks = page_blocks(page)
    if not blocks:
        return
    run = [block for block in blocks if not block.not_run and (block.manifest or block.language not in SHOWN)]
    if run:
        tools = {
            name: request.getfixturevalue(name) for name in ("capsys", "monkeypatch", "quick", "reader", "manifests")
        }
    namespace = {"__name__": "__main__"}
    for block in blocks:
        if block.not_run:
            check_options(block)
        elif block.manifest:
            tools["manifests"](tools["reader"], block.caption, block.text)
        elif block.language in SHOWN:
            check_shown(block)
        elif block.language in COMMANDS:
            run_commands(block, tools["capsys"], tools["monkeypatch"])
        elif block.language == "python":
            run_python(block, namespace)
        else:
            pytest.fail(f"{block.place}: a block in {block.language!r}: neither run nor shown; see {__file__}")


def check_shown(block):
    try:
        SHOWN[block.language](block.text)
    except ValueError as error:
        pytest.fail(f"{block.place}: no {block.language}: {error}")


def test_only_the_listed_blocks_are_not_run():
    left = [block for page in PAGES for block in page_blocks(page) if block.not_run]
    found = {(block.page, block.lines[0].partition("#")[0].strip()) for block in left}
    assert found == NOT_RUN


def test_commands_are_separated_from_comments_and_output():
    text = "```\nvoxrank a \\\n  b  # why\n\n# no\n```\n\n```console\n$ voxrank c\nprinted\n$ voxrank d\n```\n"
    first, second = blocks_of("p.md", text)
    assert list(command_lines(first)) == [(2, ["voxrank", "a", "b"])]
    assert list(command_lines(second)) == [(9, ["voxrank", "c"]), (11, ["voxrank", "d"])]


def test_blocks_are_parsed_with_language_caption_and_reason():
    text = (
        "````{note}\n```text\nshown\n```\n````\n\n```{code-block} text\n:caption: a.csv\n\npath\n```\n\n"
        "<!-- not run: it takes an hour -->\n```sh\nmake bench\n```\n"
    )
    shown, manifest, left = blocks_of("p.md", text)
    assert (shown.language, shown.line, shown.lines) == ("text", 2, ("shown",))
    assert (manifest.manifest, manifest.caption, manifest.text) == (True, "a.csv", "path\n")
    assert not shown.manifest
    assert (left.not_run, left.line) == ("it takes an hour", 14)


WRONG = {
    "a command that fails": (
        "```\nvoxrank inspect nowhere.csv\n```\n",
        r"p\.md:2: voxrank inspect nowhere\.csv\n *exit",
    ),
    "no command": ("```\nsome output\n```\n", r"p\.md:2: some output\n *exit code None"),
    "Python that raises": ("```python\nx = 1\n1 / 0\n```\n", r"p\.md:3: ZeroDivisionError"),
    "Python that is none": ("```python\nx =\n```\n", r"p\.md:2: SyntaxError"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_failure_names_the_page_and_the_line(text, message, capsys, monkeypatch):
    [block] = blocks_of("p.md", text)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        run_python(block, {}) if block.language == "python" else run_commands(block, capsys, monkeypatch)


def test_options_of_commands_that_are_not_run_must_exist():
    [block] = blocks_of("p.md", "<!-- not run: no cluster -->\n```\nvoxrank rank a.csv -m logmel --engin ray\n```\n")
    with pytest.raises(AssertionError, match=r"p\.md:3: there is no option --engin"):
        check_options(block)
