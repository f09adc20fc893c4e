"""Figures in the documentation are those of the committed results."""

import re
from pathlib import Path

import pytest

import dependency_sizes
from loading import load_file

ROOT = Path(__file__).parents[2]
tables = load_file(ROOT / "docs" / "tables.py")
provenance = tables.provenance


def result(name):
    return tables.read(name)


@pytest.mark.parametrize("name", tables.TABLES)
def test_generated_tables_are_those_of_the_results(name):
    written = (ROOT / "docs" / "generated" / f"{name}.md").read_text(encoding="utf-8")
    source, make = tables.TABLES[name]
    assert written == make(result(source))


@pytest.mark.parametrize("name", sorted({source for source, _ in tables.TABLES.values()}))
def test_results_state_the_date_the_commit_and_the_machine(name):
    content = result(name)
    if name in ("study", "real"):
        content = {"rankings": {cell["cell"]: cell for cell in content}}
    parts = content.get("rankings") or {"whole": content}
    parted = {"overhead": ("time", "memory"), "scaling": ("speed", "cost", "bytes"), "simulation": ("rows", "run")}
    if name in parted:
        parts = {part: content[part] for part in parted[name]}
    for part in parts.values():
        assert {"date", "commit", "processor", "cores", "torch"} <= set(part["made"])


def test_every_dependency_has_a_reason_a_licence_and_a_size():
    """If this fails, write a line in docs/dependencies.md and run scripts/dependency_sizes.py and docs/tables.py."""
    direct = dependency_sizes.direct_extras()
    measured = {one["name"]: one for one in result("dependencies")["packages"]}
    assert {name: one["extras"] for name, one in measured.items()} == direct
    assert all(one["mb"] > 0 and one["licence"] for one in measured.values())
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    reasons = [line.partition(": ")[0] for line in re.findall(r"^- (?:.+\n  )*.+", page, re.MULTILINE)]
    named = set(re.findall(r"[\w-]+", " ".join(reasons)))
    assert set(direct) <= named


def test_every_extra_is_explained_and_has_a_size():
    extras = set(dependency_sizes.requirements()) - {""}
    assert set(result("dependencies")["extras_mb"]) == extras
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert extras <= set(re.findall(r"`(\w+)`", page)) | {"all"}


def test_readme_shows_the_recorded_ranking():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == tables.readme(text, result("rankings"), result("real"))


def test_every_fault_of_the_table_names_an_existing_test():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 15
    assert named <= there


CHANGELOG = """
## [Unreleased]

## [1.0.0] - 2027-05-01

## [0.3.1] - 2027-03-09

## [0.3.0] - 2027-03-01

## [0.2.0] - 2027-01-01
"""
MADE = {"date": "2027-02-01", "commit": "abc", "processor": "P", "cores": 2, "python": "3.11", "torch": "2"}


@pytest.fixture
def releases():
    return provenance.read_releases('[project]\nversion = "1.1.0"', CHANGELOG)


def test_releases_are_minor_versions_with_the_date_of_the_first(releases):
    found = [(release.minor, release.date) for release in releases]
    assert found == [
        ((0, 2), "2027-01-01"), ((0, 3), "2027-03-01"), ((1, 0), "2027-05-01"), ((1, 1), ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "behind"), [("1.1.0", 0), ("1.0.0", 1), ("0.3.1", 2), ("0.3.0", 2), ("0.1.0", 4), ("not installed", 2)]
)
def test_the_age_of_a_result_is_counted_in_minor_releases(releases, version, behind):
    assert provenance.behind(MADE | {"voxrank": version}, releases) == behind


def test_a_table_that_is_older_than_the_code_says_so(releases):
    new, old = MADE | {"voxrank": "1.0.0"}, MADE | {"voxrank": "0.3.0"}
    assert provenance.age_note([new], releases) == ""
    assert provenance.age_note([new, old], releases) == (
        "\nThese figures are older than the code: measured with version 0.3.\n"
    )
    undated = MADE | {"voxrank": "not installed"}
    assert provenance.age_note([undated], releases).endswith("measured on 2027-02-01.\n")


def test_tables_end_with_the_age_of_their_result(monkeypatch, releases):
    monkeypatch.setattr(tables.provenance, "_releases", lambda: releases)
    old = {"made": MADE | {"voxrank": "0.2.0", "transformers": "5"}}
    text = "These figures are older than the code: measured with version 0.2.\n"
    assert tables.made(old).endswith(f"transformers 5.\n\n{text}")
    assert tables.dates([old]).endswith(text)
