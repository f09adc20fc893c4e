"""The notebook of the examples runs, and prints what it shows, but for numbers that depend on the processor."""

import json
import re
from pathlib import Path

import pytest

import voxrank_pack
from loading import load_file

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "dataframe_to_winner.ipynb"
MODELS = {"whisper-tiny.en", "ge2e"}
runner = load_file(ROOT / "scripts" / "run_notebook.py")


def printed(notebook):
    """Return what each cell printed, with every number replaced."""
    texts = ["".join(part["text"]) for cell in notebook["cells"] for part in cell.get("outputs", ())]
    return [re.sub(r"\d+(\.\d+)?|\s+", lambda found: "0" if found[0].strip() else " ", text) for text in texts]


@pytest.mark.pack
@pytest.mark.skipif(bool(MODELS - set(voxrank_pack.installed())), reason="no pack; run: python -m voxrank_pack")
def test_the_notebook_runs_and_prints_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    runner.run(notebook)
    assert printed(notebook) == printed(shown)
    assert [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"] == [1, 2, 3, 4, 5]


def test_the_notebook_is_of_the_format_that_jupyter_reads():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
