"""Runs the code cells of a notebook in one namespace, and writes what they print into it.

    python scripts/run_notebook.py examples/dataframe_to_winner.ipynb

The cells print their results. Therefore no Jupyter is needed to run them, here and in the tests.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def main(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    run(notebook)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def run(notebook: dict[str, Any]) -> None:
    """Run the code cells of a notebook in order, and replace their outputs."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(cells, start=1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), f"cell {count}", "exec"), namespace)
        cell["execution_count"], cell["outputs"] = count, stream(printed.getvalue())


def stream(text: str) -> list[dict[str, Any]]:
    """Return the output of a cell that printed this text."""
    if not text:
        return []
    return [{"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
