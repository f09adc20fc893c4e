"""The tables of docs/advice, from the JSON of `benchmarks/study/advice.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[Any]]], str]

MENUS = {
    "whole": "advised, of all kinds",
    "ends": "advised, neighbours or all layers end to end",
    "sums": "advised, mean or weighted sum",
}
RULES = {
    "all": "all layers end to end",
    "mean": "mean of all layers",
    "sum, trained": "weighted sum, weights trained with a head (SUPERB)",
    "last three": "the last three end to end",
    "best and neighbours": "the best layer by `voxrank rank` with its neighbours",
    "concat by evidence": "all layers end to end, weights by evidence",
    "sum by evidence": "weighted sum, weights by evidence",
}


def summary(result: dict[str, Any], table: Table) -> str:
    """Single layers, advice and rules on both halves."""
    rows = []
    for half in ("reporting", "development"):
        found = result["halves"][half]
        chosen = _chosen(result, half)
        single = chosen["whole"]["own_single"]
        rows.append([half, "best single layer by evidence", _percent(single), "", "", "", ""])
        rows.append(["", "best single layer by `voxrank rank`", _percent(found["default"]), "", "", "", ""])
        rows.append(
            ["", "best single layer, known from the other splits", _percent(found["known_best"]), "", "", "", ""]
        )
        rows += [
            ["", f"**{name}**", _percent(one["accuracy"]), *_gain(one["over_own_single"])]
            for menu, name in MENUS.items()
            for one in [chosen[menu]]
        ]
        rows += [
            ["", f"always {RULES[one['rule']]}", _percent(one["accuracy"]), *_gain(one["over_default"])]
            for one in found["rules"]
        ]
    header = ["half", "what the probe reads", "accuracy, %", "gain, points", "p", "no worse", "better"]
    return table(header, rows)


def predictors(result: dict[str, Any], table: Table) -> str:
    """What foretells the gain, of all kinds of sets."""
    names = [one["predictor"] for one in _of_menu(result, "reporting", "whole")]
    rows = []
    for name in names:
        row = [f"**{name}**" if name == result["settings"]["chosen"] else name]
        for half in ("reporting", "development"):
            one = next(one for one in _of_menu(result, half, "whole") if one["predictor"] == name)
            row += [
                f"{100 * one['over_own_single']['gain']:+.1f}",
                f"{100 * one['over_default']['gain']:+.1f}",
                f"{one['spearman']:.2f}",
                f"{one['spearman_added']:.2f}",
            ]
        rows.append(row)
    rows.append(["truth with itself"])
    for half in ("reporting", "development"):
        rows[-1] += ["", "", *(f"{value:.2f}" for value in result["halves"][half]["truth_with_itself"])]
    columns = ("over its own single layer", "over that of `voxrank rank`", "Spearman", "Spearman, what joining adds")
    header = ["predictor", *(f"{column}, {half}" for half in ("reporting", "development") for column in columns)]
    return table(header, rows)


def tasks(result: dict[str, Any], table: Table) -> str:
    """Means over models of each task."""
    keys = ("single", "known_best", "whole", "ends", "sums", "all", "sum, trained")
    rows = [
        [half, one["task"], one["train"], one["classes"], *(_percent(one[key]) for key in keys)]
        for half in ("reporting", "development")
        for one in result["halves"][half]["by_task"]
    ]
    header = ["half", "task", "training rows", "classes", "single, by evidence", "single, known best"]
    header += ["advised, all kinds", "advised, end to end", "advised, sums", "always all", "trained sum"]
    return table(header, rows)


def criterion(result: dict[str, Any], table: Table) -> str:
    """Whether it holds."""
    said = {True: "yes", False: "**no**", None: "too few sets"}
    keys = ("no worse", "gain", "spearman", "rule")
    rows = [[name, *(said[result["held"][menu][key]] for key in keys)] for menu, name in MENUS.items()]
    return table(["advice", "1. no worse", "2. gain", "3. Spearman", "4. above the best rule"], rows)


def _chosen(result: dict[str, Any], half: str) -> dict[str, Any]:
    name = result["settings"]["chosen"]
    return {menu: next(one for one in _of_menu(result, half, menu) if one["predictor"] == name) for menu in MENUS}


def _of_menu(result: dict[str, Any], half: str, menu: str) -> list[dict[str, Any]]:
    return [one for one in result["halves"][half]["predictors"] if one["menu"] == menu]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _gain(gain: dict[str, Any]) -> list[str]:
    low, high = gain["interval"]
    p = f"{gain['p']:.2f}" if gain["p"] >= 0.01 else f"{gain['p']:.0e}"
    return [
        f"{100 * gain['gain']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
        p,
        f"{100 * gain['no_worse']:.0f} %",
        f"{100 * gain['better']:.0f} %",
    ]
