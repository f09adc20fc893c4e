"""Write the results of every real training as one table, `results/truth.csv`, for others to use.

A row is a training: a probe on a frozen layer, a tuned block, or a whole model, on a task with some examples and one
seed. Rows come from the stored results of the study (`study/run.py`) and of the probes (`heldout.py`).

Run: python benchmarks/truth.py
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import RESULTS

FIELDS = (
    *("task", "data", "target", "examples", "model", "layer", "layer_name", "strategy", "head_at", "seed"),
    *("metric", "value", "higher_is_better", "seconds", "train", "validation", "test"),
    *("date", "commit", "processor", "torch", "transformers"),
)
STUDIES = ("real", "study")
"""Folders of the results of the study, and of the first study."""
NO_STUDY = ("costs", "conformer-pretraining", "hubert-pretraining", "published")


def main() -> None:
    rows = [*study_rows(), *probe_rows()]
    with (RESULTS / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(len(rows), "rows")


def study_rows() -> Iterator[dict[str, Any]]:
    """Yield a row for each trial of the studies; a trial that failed has no value."""
    for path in sorted(path for name in STUDIES for path in (RESULTS / name).glob("*.json")):
        if path.stem in NO_STUDY:
            continue
        cell = json.loads(path.read_text(encoding="utf-8"))
        parts, tuning = cell["parts"], cell["options"]["tuning"]
        for candidate in cell["truth"]:
            trials = len(candidate["values"])
            for seed, value in enumerate(candidate["values"]):
                yield {
                    "task": cell["cell"],
                    "data": Path(cell["options"]["data"]).as_posix(),
                    "target": cell["options"]["target"],
                    "examples": parts["train"],
                    "model": candidate["model"],
                    "layer": candidate["layer"],
                    "layer_name": candidate["name"],
                    "strategy": cell["strategy"],
                    "head_at": tuning["head_at"],
                    "seed": seed,
                    "metric": cell["metric"],
                    "value": "" if value is None else f"{value:.5f}",
                    "higher_is_better": cell["higher_is_better"],
                    "seconds": f"{candidate['seconds'] / trials:.1f}",
                    **{part: parts[part] for part in ("train", "validation", "test")},
                    **made(cell),
                }


def probe_rows() -> Iterator[dict[str, Any]]:
    """Yield a row for each probe, whose seed is the draw of its examples."""
    result = json.loads((RESULTS / "heldout.json").read_text(encoding="utf-8"))
    for row in result["rows"]:
        task, _, size = row["cell"].rpartition(", ")
        for seed, value in enumerate(row["truth"]):
            yield {
                "task": f"heldout {task}",
                "data": result["settings"]["data"][task],
                "target": result["settings"]["target"][task],
                "examples": int(size),
                "model": row["model"],
                "layer": row["layer"],
                "layer_name": "",
                "strategy": "probe",
                "head_at": "layer",
                "seed": seed,
                "metric": "accuracy" if "accuracy" in row["scores"] else "R²",
                "value": f"{value:.5f}",
                "higher_is_better": True,
                "seconds": "",
                "train": "",
                "validation": 0,
                "test": "",
                **made(result),
            }


def made(result: dict[str, Any]) -> dict[str, Any]:
    """Return when and with what a result was made."""
    return {key: result["made"][key] for key in ("date", "commit", "processor", "torch", "transformers")}


if __name__ == "__main__":
    main()
