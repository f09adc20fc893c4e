"""The tables of docs/next-model, from the JSON of `benchmarks/next_model.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[Any]]], str]

TITLES = {"maeb": "MAEB", "superb": "SUPERB"}
START = "three at random"
PARTS = ("all, nested", "reporting half")
RIVALS = ("published rank", "largest")
WAYS = {
    "model": "**expected improvement, updated after each model**",
    "model, updated once": "the same, updated once",
    "model, not updated": "expected result by the prior alone",
    "near the best most often": "near the best on most other tasks first",
    "published rank": "best mean published rank first",
    "largest": "largest checkpoint first",
    "largest encoder": "largest encoder first",
    "newest": "newest first",
    "random": "random order",
}
SHOWN = 12
"""Number of variants in their table."""


def summary(result: dict[str, Any], table: Table) -> str:
    """Return the models tried under every condition, and the differences from the two rules to beat."""
    rows = []
    for source, found in result["sources"].items():
        for condition, one in found["conditions"].items():
            for part in PARTS:
                by_way = {row["way"]: row for row in one[START][part]}
                cells = [f"{by_way['model']['tries']:.1f}"]
                cells += [f"{by_way[way]['tries']:.1f}; {_difference(by_way[way])}" for way in RIVALS]
                rows.append([TITLES[source], condition, part, *cells])
    header = ["results", "condition", "tasks", "model", "best published rank first", "largest first"]
    return table(header, rows)


def ways(result: dict[str, Any], table: Table) -> str:
    """Return the models tried by every way to choose, for each kind of starting set, over all tasks."""
    rows = []
    for source, found in result["sources"].items():
        plain = found["conditions"]["as published"]
        kinds = [kind for kind in plain if kind != "odds"]
        for way, title in WAYS.items():
            cells = [next(row for row in plain[kind]["all, nested"] if row["way"] == way) for kind in kinds]
            rows.append([TITLES[source], title, *(f"{cell['tries']:.1f}" for cell in cells)])
    return table(["results", "what is tried next", *kinds], rows)


def odds(result: dict[str, Any], table: Table) -> str:
    """Return agreement with the unseen models, and the Brier score of the odds, by number of scored models."""
    rows = [
        [TITLES[source], condition, seen, f"{one['before']:.2f}", f"{one['after']:.2f}", *_brier(one)]
        for source, found in result["sources"].items()
        for condition, whole in found["conditions"].items()
        for seen, one in whole["odds"].items()
    ]
    header = ["results", "condition", "scored models", "Spearman before", "after", "Brier score", "of the base rate"]
    return table(header, rows)


def reliability(result: dict[str, Any], table: Table) -> str:
    """Return how often what had certain odds came true, on MAEB after four scored models."""
    whole = result["sources"]["maeb"]["conditions"]
    rows = [
        [
            condition,
            f"{100 * one['low']:.0f} to {100 * one['high']:.0f} %",
            f"{100 * one['stated']:.0f} %",
            f"{100 * one['came_true']:.0f} %",
            one["n"],
        ]
        for condition in ("as published", "noisy scores", "related tasks held out")
        for one in whole[condition]["odds"]["4"]["reliability"]
    ]
    return table(["condition", "odds", "mean stated", "came true", "cases"], rows)


def variants(result: dict[str, Any], table: Table) -> str:
    """Return the best variants on the development half."""
    rows = [
        [TITLES[source], one["variant"], f"{one['tries']:.2f}"]
        for source, found in result["sources"].items()
        for one in found["variants"][:SHOWN]
    ]
    return table(["results", "variant", "models tried, development half"], rows)


def tasks(result: dict[str, Any], table: Table) -> str:
    """Return the models tried on each task."""
    rows = []
    for source, found in result["sources"].items():
        for task, by_way in found["conditions"]["as published"][START]["by_task"].items():
            cells = [f"{by_way[way]:.1f}" for way in ("model", *RIVALS, "random")]
            rows.append([TITLES[source], task, found["tasks"][task], *cells])
    return table(["results", "task", "half", "model", "best published rank", "largest", "random"], rows)


def _difference(row: dict[str, Any]) -> str:
    return f"{row['difference']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})"


def _brier(one: dict[str, Any]) -> list[str]:
    return [f"{one['brier']:.3f}", f"{one['brier_of_the_rate']:.3f}"]
