"""The tables of docs/layer-sets, from the JSON of `benchmarks/study/advice.py`."""

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
    """Return the table of single layers, advice and rules on both halves."""
    rows = []
    for half in ("reporting", "development"):
        found, chosen = result["halves"][half], _chosen(result, half)
        known = {
            "best single layer by evidence": chosen["whole"]["own_single"],
            "best single layer by `voxrank rank`": found["default"],
            "best single layer, known from the other splits": found["known_best"],
            "best set, known from the other splits": found["known_best_set"],
        }
        rows += [[half, name, _percent(value), "", "", "", "", ""] for name, value in known.items()]
        rows += [
            [half, f"**{name}**", _percent(chosen[menu]["accuracy"]), *_gain(chosen[menu], "over_own_single")]
            for menu, name in MENUS.items()
        ]
        rows += [
            [half, f"always {RULES[one['rule']]}", _percent(one["accuracy"]), *_gain(one, "over_default")]
            for one in found["rules"]
        ]
    header = ["half", "what the probe reads", "accuracy, %", "gain, points", "p", "no worse", "better"]
    return table([*header, "over the best layer known, points"], rows)


def predictors(result: dict[str, Any], table: Table) -> str:
    """Return the table of how well each predictor foretells the gain, over all kinds of sets."""
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
    """Return the table of means over models of each task."""
    keys = ("single", "known_best", "whole", "ends", "sums", "all", "sum, trained")
    rows = [
        [half, one["task"], one["train"], one["classes"], *(_percent(one[key]) for key in keys)]
        for half in ("reporting", "development")
        for one in result["halves"][half]["by_task"]
    ]
    header = ["half", "task", "training rows", "classes", "single, by evidence", "single, known best"]
    header += ["advised, all kinds", "advised, end to end", "advised, sums", "always all", "trained sum"]
    return table(header, rows)


def margins(result: dict[str, Any], table: Table) -> str:
    """Return the table of advice from all kinds of sets, by the minimum gain in evidence."""
    rows = []
    for place, one in enumerate(result["halves"]["reporting"]["margins"]):
        row = [f"{one['margin']:g}"]
        for half in ("reporting", "development"):
            found = result["halves"][half]["margins"][place]
            gain = found["over_own_single"]
            row += [
                _points(gain),
                f"{100 * gain['no_worse']:.1f} %",
                f"{100 * gain['worst']:+.1f}",
                f"{100 * found['single_kept']:.0f} %",
            ]
        rows.append(row)
    columns = ("gain, points", "no worse", "worst cell, points", "single layer kept")
    header = ["least gain", *(f"{column}, {half}" for half in ("reporting", "development") for column in columns)]
    return table(header, rows)


def lost(result: dict[str, Any], table: Table) -> str:
    """Return the table of cells in which the advice was worse than the single layer."""
    rows = [
        [
            half,
            one["task"],
            one["model"],
            one["train"],
            ", ".join(map(str, one["singles"])),
            _percent(one["accuracy"]),
            ", ".join(f"{100 * gain:+.1f}" for gain in one["gains"]),
            f"{one['predicted']:+.3f}",
        ]
        for half in ("reporting", "development")
        for one in result["halves"][half]["lost"]
    ]
    header = ["half", "task", "model", "training rows", "single layer, by split", "its accuracy, %"]
    return table([*header, "gain by split, points", "gain in evidence"], rows)


def criterion(result: dict[str, Any], table: Table) -> str:
    """Return the table of whether the criterion holds."""
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


def _gain(one: dict[str, Any], over: str) -> list[str]:
    gain = one[over]
    p = f"{gain['p']:.2f}" if gain["p"] >= 0.01 else f"{gain['p']:.0e}"
    shares = [f"{100 * gain[key]:.0f} %" for key in ("no_worse", "better")]
    return [_points(gain), p, *shares, _points(one["over_known_best"])]


def _points(gain: dict[str, Any]) -> str:
    low, high = gain["interval"]
    return f"{100 * gain['gain']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
