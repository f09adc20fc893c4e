"""Figures in the documentation are those of the committed results."""

import re
from pathlib import Path

import pytest

from loading import load_file

ROOT = Path(__file__).parents[2]
tables = load_file(ROOT / "docs" / "tables.py")


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
    parted = {"overhead": ("time", "memory"), "scaling": ("speed", "cost", "bytes")}
    if name in parted:
        parts = {part: content[part] for part in parted[name]}
    for part in parts.values():
        assert {"date", "commit", "processor", "cores", "torch"} <= set(part["made"])


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
