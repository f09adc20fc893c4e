"""Reference pages cover everything in the code: commands and options, keys of JSON files, public names, variables."""

import inspect
import json
import re
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest

import voxrank
from loading import load_file
from voxrank import scores
from voxrank.cli.main import exit_code
from voxrank.encoders.groups import GROUPS, group_models
from voxrank.scores.names import MODULES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
reference = load_file(DOCS / "reference.py")
COMMANDS = (
    ("rank",),
    ("validate",),
    ("report",),
    ("export",),
    ("align",),
    ("inspect",),
    ("models",),
    ("demo",),
    ("cache", "ls"),
    ("cache", "prune"),
)


def page(name):
    return reference.filled((DOCS / f"{name}.md").read_text(encoding="utf-8"))


def test_every_group_of_models_is_in_the_reference():
    text = page("catalogue")
    for name in GROUPS:
        assert f"| `{name}` | {GROUPS[name].about} |" in text
        assert all(f"`{spec}`" in text for spec in group_models(name))


def helped(capsys, monkeypatch, *words):
    monkeypatch.setenv("COLUMNS", "250")
    assert exit_code([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_every_command_of_the_help_is_in_the_reference(capsys, monkeypatch):
    text = page("commands")
    there = set()
    for group in ((), ("cache",)):
        listed = helped(capsys, monkeypatch, *group).partition("Commands")[2]
        there |= {(*group, name) for name in re.findall(r"^│ ([a-z]+) ", listed, re.MULTILINE)}
    assert there >= set(COMMANDS)
    for words in there:
        assert f"## `voxrank {' '.join(words)}`" in text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_of_the_help_is_in_the_reference(words, capsys, monkeypatch):
    section = page("commands").partition(f"## `voxrank {' '.join(words)}`\n")[2].partition("\n## ")[0]
    options = helped(capsys, monkeypatch, *words).partition("Examples:")[0]
    named = set(re.findall(r"^│ [* ]*(--[\w-]+)", options, re.MULTILINE)) - {"--help"}
    assert named
    assert named == set(re.findall(r"`(--[\w-]+)[^`]*`(?=[^|]*\|[^|]*\|[^|]*\|$)", section, re.MULTILINE))


def test_defaults_and_repeated_options_are_documented():
    text = page("commands")
    assert "| `--blocks N` | Number of resampling blocks; 1: no intervals. | `10` |" in text
    assert "| `--no-cache` | Neither read nor write the cache. |  |" in text
    assert "`--model SPEC`, `-m SPEC`" in text


def test_keys_of_ranking_json_are_those_of_the_page(tmp_path, monkeypatch, place):
    ranking = json.loads(voxrank.rank(place / "train.csv", ["logmel"]).to_json())
    section = page("files").partition("## `ranking.json`")[2].partition("## `layers.csv`")[0]
    tables = [re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) for part in section.split("| key |")[1:]]
    assert ["schema", *tables[0]] == list(ranking)
    for key in ("data", "cost"):
        assert list(ranking[key]) in tables
    for key in ("models", "layers"):
        assert list(ranking[key][0]) in tables


def test_every_score_is_in_the_page_of_scores():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*)$", page("scores"), re.MULTILINE)
    assert [row[0] for row in rows] == list(MODULES)
    within = "share of the variance within classes, whitened"
    assert ("vci", "VCI", f"{within} | lower | classes, values | moments |") in rows
    accuracy = "accuracy of the nearest class mean of other speakers"
    assert ("ncm", "NearestClassMean", f"{accuracy} | higher | classes | sample |") in rows
    distance = "sliced Wasserstein distance, p = 2, along 50 fixed directions"
    assert ("swd", "SlicedWasserstein", f"{distance} | lower | none | projections |") in rows


@dataclass(frozen=True)
class Undocumented:
    """A class.

    Attributes:
        first, second: two
            in one.
    """

    first: int
    second: str | None
    third: tuple[float, ...]


def test_a_field_without_a_line_is_refused():
    assert reference.attributes(Undocumented.__doc__) == {"first": "two in one.", "second": "two in one."}
    with pytest.raises(ValueError, match=r"Undocumented\.third has no line under Attributes"):
        reference.schema(Undocumented)
    text = reference.schema(Undocumented, without=["third"])
    assert "| `second` | text, or null | two in one. |" in text


def test_attributes_are_read_however_the_interpreter_indents_a_docstring():
    raw = "A class.\n\n    Attributes:\n        first, second: two\n            in one.\n    "
    for doc in (raw, inspect.cleandoc(raw), raw.replace("\n    ", "\n        ")):
        assert reference.attributes(doc) == {"first": "two in one.", "second": "two in one."}


def test_every_public_name_is_in_the_api():
    named = set(re.findall(r"auto(?:function|class|exception):: voxrank\.(\w+)$", page("api"), re.MULTILINE))
    assert named == set(voxrank.__all__)
    assert "automodule:: voxrank.scores\n   :members:" in page("api")


PUBLIC = {
    **{name: getattr(voxrank, name) for name in voxrank.__all__},
    **{n: getattr(scores, n) for n in scores.__all__},
}
FUNCTIONS = {name: found for name, found in PUBLIC.items() if inspect.isfunction(found)}
CLASSES = {name: found for name, found in PUBLIC.items() if inspect.isclass(found)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_document_arguments_results_and_errors(name):
    doc, signature = inspect.getdoc(FUNCTIONS[name]), inspect.signature(FUNCTIONS[name])
    args = doc.partition("Args:")[2]
    if len(signature.parameters) > 1:
        missing = [one for one in signature.parameters if not re.search(rf"\b{one}\b[^\n]*: ", args)]
        assert not missing, f"{name}: {missing} under Args"
    if len(signature.parameters) > 1 and signature.return_annotation not in (None, "None"):
        assert "Returns:" in doc
    if "raise " in inspect.getsource(FUNCTIONS[name]):
        assert "Raises:" in doc


@pytest.mark.parametrize("name", CLASSES)
def test_public_classes_document_their_attributes(name):
    found = CLASSES[name]
    assert found.__doc__
    for own, member in vars(found).items():
        if not own.startswith("_") and (inspect.isfunction(member) or isinstance(member, (property, classmethod))):
            assert inspect.getdoc(getattr(found, own)), f"{name}.{own} has no docstring"
    if is_dataclass(found):
        documented = {field for one in found.__mro__ for field in reference.attributes(one.__doc__ or "")}
        missing = {field.name for field in fields(found)} - documented
        assert not missing, f"{name}: {missing} under Attributes"


def test_environment_variables_that_are_read_are_documented():
    read = set()
    for path in (ROOT / "src").rglob("*.py"):
        read |= set(re.findall(r"environ(?:\.get|\.setdefault)?[\[(]\"(\w+)\"", path.read_text(encoding="utf-8")))
    read -= {"COMP_WORDS", "COMP_CWORD", "PYTHONPATH"}  # from shells that complete, and from the test run
    documented = set(re.findall(r"`([A-Z_]{4,})`", page("configuration")))
    assert "VOXRANK_CACHE" in read
    assert read <= documented


def test_every_page_is_in_the_navigation_once():
    trees = re.findall(r"```\{toctree\}\n(?::\w+:[^\n]*\n)*\n(.*?)```", page("index"), re.DOTALL)
    names = [name for tree in trees for name in tree.split()]
    assert sorted(names) == sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
