"""Compare each score in the tables that were published for the method with the depth rule.

Reads `tests/data/published`, writes `benchmarks/results/study/published.json`.

    python benchmarks/study/published.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from common import provenance, save
from voxrank.groundtruth.agreement import chance, recall_at, regret
from voxrank.groundtruth.correlation import kendall, spearman, weighted_kendall

PUBLISHED = Path(__file__).parents[2] / "tests" / "data" / "published"
NAME = "study/published"
TABLES = ("conformer-layers", "hubert-layers", "models")
RULE = "depth (rule)"
Array = NDArray[np.float64]


def read(name: str) -> dict[str, Any]:
    """Read a published table; ranks count from 1, the best."""
    table: dict[str, Any] = json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))
    return table


def truth_of(table: dict[str, Any]) -> Array:
    """Return the results of fine-tuning as fractions."""
    return np.array(table["truth"]) / (100 if table["percent"] else 1)


def columns(table: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    """Return each score's and rule's name and values, higher is better."""
    for name, ranks in table["score_ranks"].items():
        yield name, -np.array(ranks, dtype=np.float64)
    if table["depth"] is not None:
        yield RULE, np.array(table["depth"], dtype=np.float64)


def compared(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how far each score and rule agrees with fine-tuning.

    Correlations use the printed ranks of fine-tuning if there are any, as in the paper.
    """
    higher = table["higher_is_better"]
    truth = truth_of(table)
    order = truth if higher else -truth
    printed = order if table["truth_ranks"] is None else -np.array(table["truth_ranks"], dtype=np.float64)
    return [
        {
            "name": name,
            "printed": table["printed"].get(name),
            "spearman": asdict(spearman(values, printed)),
            "spearman_of_metric": spearman(values, order).value,
            "kendall": asdict(kendall(values, printed)),
            "weighted_kendall": weighted_kendall(values, printed).value,
            "regret": asdict(regret(values, truth, truth_higher_is_better=higher)),
            "recall": recall_at(values, truth, truth_higher_is_better=higher),
        }
        for name, values in columns(table)
    ]


def result() -> dict[str, Any]:
    """Return the results of all tables."""
    tables = [read(name) for name in TABLES]
    return {
        "made": provenance(),
        "tables": [
            {key: table[key] for key in ("title", "source", "metric")}
            | {"n": len(table["truth"]), "rows": compared(table)}
            | {"chance": asdict(chance(truth_of(table), truth_higher_is_better=table["higher_is_better"]))}
            for table in tables
        ],
    }


def main() -> None:
    content = result()
    save(NAME, content)


if __name__ == "__main__":
    main()
