"""The files of the repository agree with each other: workflows, forms, version, addresses, citation."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from voxrank.cli.main import exit_code

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[0-9]*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KNOWN_ACTIONS = {
    *("actions/checkout", "actions/setup-python", "actions/configure-pages"),
    *("actions/upload-pages-artifact", "actions/deploy-pages"),
}


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path):
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def targets():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):.*##", text, re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_existing_targets_and_files(path):
    called = set()
    for line in (step["run"] for step in steps(path) if "run" in step):
        words = line.split()
        if words[0] == "make":
            called |= {word for word in words[1:] if "=" not in word}
        for word in words:
            if word.startswith((".ci/", "scripts/")):
                assert (ROOT / word).is_file()
    assert called
    assert called <= targets()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_use_well_known_actions_of_a_major_version(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    for action in used:
        name, _, version = action.partition("@")
        assert name in KNOWN_ACTIONS
        assert re.fullmatch(r"v\d+", version)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_read_only_by_default_end_in_time_and_hide_no_failure(path):
    content = load(path)
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 90
    assert "continue-on-error" not in path.read_text(encoding="utf-8")


def test_ci_covers_every_python_that_the_package_names():
    named = {text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)}
    text = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert named == {"3.11", "3.12", "3.13", "3.14"}
    assert named <= set(re.findall(r'"(3\.\d+)"', text))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_what_a_command_prints(path):
    form = load(path)
    assert {"name", "description", "title", "labels", "body"} <= set(form)
    fields = {one["id"]: one for one in form["body"] if one["type"] != "markdown"}
    labels = [one["attributes"]["label"] for one in fields.values()]
    assert len(labels) == len(set(labels))
    asked = [one for one in fields.values() if "voxrank inspect DATA --json -" in one["attributes"]["label"]]
    asked += [one for one in fields.values() if "voxrank models MODEL" in one["attributes"]["label"]]
    assert asked
    assert all(one["validations"]["required"] for one in asked)


def test_there_is_a_form_for_rankings_models_and_data():
    assert [path.stem.partition("-")[2] for path in FORMS] == ["wrong-ranking", "model", "data"]


def test_inspect_prints_the_json_that_forms_ask_for(tones, capsys):
    assert exit_code(["inspect", str(tones), "--json", "-"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["utterances"] == 36  # JSON is YAML


def test_models_prints_the_layers_that_forms_ask_for(capsys):
    assert exit_code(["models", "logmel"]) == 0
    assert "frames/s" in capsys.readouterr().out


def test_addresses_agree():
    home = PROJECT["urls"]["Homepage"]
    assert load(ROOT / "CITATION.cff")["repository-code"] == home
    assert PROJECT["urls"]["Issues"] == f"{home}/issues"
    assert PROJECT["urls"]["Changelog"].startswith(home)
    owner = home.split("/")[-2]
    assert f"@{owner}/" in (GITHUB / "CODEOWNERS").read_text(encoding="utf-8")


def test_the_citation_names_the_paper_of_the_method():
    (paper,) = load(ROOT / "CITATION.cff")["references"]
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert paper["url"] in method
    assert paper["title"] in " ".join(method.split())


def test_the_version_stands_in_one_place_and_has_a_section_in_the_changelog():
    assert "version" not in load(ROOT / "CITATION.cff")
    sections = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[0] == "Unreleased"
    assert PROJECT["version"] in sections
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "voxrank").rglob("*.py"))
    assert "__version__ =" not in source


def test_everything_that_the_sdist_names_exists():
    with (ROOT / "pyproject.toml").open("rb") as file:
        names = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in names if not (ROOT / name.removeprefix("/")).exists()] == []
