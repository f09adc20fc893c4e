"""Tables and pictures of the study, from the JSON of its cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import rankdata

Cell = dict[str, Any]
Kinds = dict[str, Callable[[Cell], bool]]

ROOM = 0.03
"""Error of the best candidate below which a cell is shown apart."""
LEAST = 6
"""Minimum number of candidates with which a p-value can fall below 0.05."""
RIVAL = "probe on 10 %"


KINDS: Kinds = {
    "models, and layers of several": lambda cell: len({one["model"] for one in cell["truth"]}) > 1,
    "blocks of the Conformer, in place": lambda cell: cell["options"]["tuning"]["head_at"] == "top",
    "blocks of the Conformer, cut behind": lambda cell: cell["cell"].startswith("conformer-cut"),
    "layers of the small HuBERT": lambda cell: cell["cell"].startswith("hubert"),
}
"""Kinds of cells of the first study, with a test for each."""
REAL_KINDS: Kinds = {
    "a linear head on every layer (probe)": lambda cell: cell["strategy"] == "probe",
    "one block of Whisper at a time (layer)": lambda cell: cell["strategy"] == "layer",
    "whole models (full)": lambda cell: cell["strategy"] == "full",
}
"""Kinds of cells of real weights, with a test for each."""


def cells(folder: Path) -> list[Cell]:
    """Return all cells, in order of name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [cell for cell in found if "judged" in cell]


def judged(cell: Cell, name: str) -> dict[str, Any] | None:
    """Return the entry of one predictor."""
    return next((one for one in cell["judged"] if one["name"] == name), None)


def rho(entry: dict[str, Any] | None) -> float | None:
    """Return the Spearman correlation of an entry."""
    return None if entry is None else entry["agreement"]["spearman"]["value"]


def lost(entry: dict[str, Any]) -> float:
    """Return the regret of a predictor's first choice, as a share of the best candidate's accuracy."""
    return entry["agreement"]["regret"]["relative"] or 0.0


def best_error(cell: Cell) -> float:
    """Return the error of the candidate that is best by fine-tuning."""
    means = [fmean(known) for one in cell["truth"] if (known := [v for v in one["values"] if v is not None])]
    return 1 - max(means) if cell["higher_is_better"] else min(means)


def has_room(cell: Cell) -> bool:
    """Return whether the truth distinguishes candidates: the best is far enough from perfect, and not all are equal."""
    return best_error(cell) >= ROOM and rho(cell["judged"][0]) is not None


def best_rule(cell: Cell) -> tuple[str, float]:
    """Return the rule that agrees best with the truth. It is chosen with hindsight, and so is an upper bound."""
    rules = [(rho(one), str(one["name"])) for one in cell["judged"] if one["kind"] == "rule"]
    known = [(value, name) for value, name in rules if value is not None]
    value, name = max(known, default=(float("nan"), "none"))
    return name, value


def cell_row(cell: Cell) -> list[str]:
    """Return a row of the table of cells."""
    first = cell["judged"][0]
    found, spearman = first["agreement"], first["agreement"]["spearman"]
    reliability, regret = found["reliability"], found["regret"]
    means = sorted(fmean(known) for one in cell["truth"] if (known := [v for v in one["values"] if v is not None]))
    name, value = best_rule(cell)
    low_high = found["spearman_over_candidates"]
    return [
        cell["cell"],
        str(found["n"]),
        f"{cell['metric']} {means[0]:.3f} to {means[-1]:.3f}",
        "-" if reliability is None else f"{reliability['one_seed']:.2f}",
        f"**{shown(spearman['value'])}**",
        shown(found["spearman_tied"]["value"]) if reliability is not None else "-",
        "-" if low_high is None else f"{low_high[0]:.2f} to {low_high[1]:.2f}",
        p_value(spearman["p"]),
        shown(found["kendall"]["value"]),
        f"{regret['absolute']:.3f} ({100 * lost(first):.1f} %)",
        f"{found['recall']:.2f}",
        f"{name} {value:.2f}",
        shown(rho(judged(cell, RIVAL))),
    ]


CELL_HEADER = (
    *(
        "cell",
        "n",
        "truth",
        "truth with itself",
        "Spearman",
        "with ties",
        "95 % over candidates",
        "p",
        "τ",
        "regret",
        "top 3",
    ),
    *("best rule, with hindsight", "rival"),
)


WORST_HEADER = ["cell", "candidates", "Spearman", "95 % over candidates", "regret", "best rule, with hindsight"]
WORST_RHO, WORST_REGRET = 0.7, 0.05


def worst_rows(found: Sequence[Cell]) -> list[list[str]]:
    """Return rows of the cells in which the default ranking agreed least, or its first choice lost most."""
    rows = []
    for cell in found:
        entry = cell["judged"][0]
        value = rho(entry)
        if value is None or (value >= WORST_RHO and lost(entry) <= WORST_REGRET):
            continue
        low, high = entry["agreement"]["spearman_over_candidates"]
        rule, with_rule = best_rule(cell)
        row = [cell["cell"], str(entry["agreement"]["n"]), f"{value:.2f}", f"{low:.2f} to {high:.2f}"]
        rows.append((value, [*row, f"{lost(entry):.1%}", f"{rule} {with_rule:.2f}"]))
    return [row for _, row in sorted(rows)]


def halves(found: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    """Return the cells by half, those without room last."""
    for half in ("reporting", "development"):
        yield half, [cell for cell in found if cell["half"] == half and has_room(cell)]
    yield "without room", [cell for cell in found if not has_room(cell)]


def summary(found: Sequence[Cell]) -> list[str]:
    """Return mean Spearman, share of p < 0.05, lowest, mean regret, against rules and the rival."""
    values = [rho(cell["judged"][0]) or 0.0 for cell in found]
    large = [cell for cell in found if cell["judged"][0]["agreement"]["n"] >= LEAST]
    found_sure = [cell["judged"][0]["agreement"]["spearman"] for cell in large]
    sure = sum(one["value"] > 0 and one["p"] < 0.05 for one in found_sure)
    regrets = [lost(cell["judged"][0]) for cell in found]
    return [
        str(len(found)),
        f"{fmean(values):.3f}",
        f"{min(values):.3f}",
        f"{sure} of {len(large)}",
        f"{100 * fmean(regrets):.1f} %",
        f"{sum(v > best_rule(cell)[1] for v, cell in zip(values, found, strict=True))}",
        f"{sum(v > (rho(judged(cell, RIVAL)) or -1) for v, cell in zip(values, found, strict=True))}",
    ]


BEFORE_HEADER = ("cell", "n", "default before", "default", "logme", "loes", RIVAL, "best rule, with hindsight")


def before_rows(found: Sequence[Cell]) -> list[list[str]]:
    """Return rows of the default of earlier versions, of the default and of rivals, with the means last."""
    rows, numbers = [], []
    for cell in found:
        entries = [cell.get("before"), cell["judged"][0], *(judged(cell, name) for name in ("logme", "loes", RIVAL))]
        name, value = best_rule(cell)
        own = [(rho(entry), None if entry is None else lost(entry)) for entry in entries]
        numbers.append([*own, (value, None)])
        texts = [correlation_and_regret(*pair) for pair in own]
        rows.append([cell["cell"], str(cell["judged"][0]["agreement"]["n"]), *texts, f"{name} {value:.2f}"])
    columns = [list(zip(*pairs, strict=True)) for pairs in zip(*numbers, strict=True)]
    return [*rows, ["mean", "", *(correlation_and_regret(*map(mean_of_known, column)) for column in columns)]]


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def correlation_and_regret(spearman: float | None, regret: float | None) -> str:
    """Return a Spearman correlation and a relative regret as text."""
    if spearman is None:
        return "-"
    return f"{spearman:.2f}" if regret is None else f"{spearman:.2f} · {100 * regret:.1f} %"


CALIBRATION_HEADER = ("cell", "bias, points", "mean error, points", "in the interval")


def calibration_rows(found: Sequence[Cell]) -> list[list[str]]:
    """Return how near the expected accuracy is to that of a trained head, over the layers of a cell, and the means."""
    rows, numbers = [], []
    for cell in (cell for cell in found if cell["strategy"] == "probe"):
        reached = [[value for value in one["values"] if value is not None] for one in cell["truth"]]
        pairs = zip(cell["expected"], reached, strict=True)
        known = [(e, fmean(values)) for e, values in pairs if e is not None and values]
        errors = np.array([e["value"] - truth for e, truth in known])
        inside = fmean(e["low"] <= truth <= e["high"] for e, truth in known if e["low"] is not None)
        numbers.append((errors.mean(), abs(errors).mean(), inside))
        rows.append([cell["cell"], *calibration_texts(*numbers[-1])])
    return [*rows, ["mean", *calibration_texts(*np.mean(numbers, axis=0))]]


def calibration_texts(bias: float, error: float, inside: float) -> list[str]:
    """Return the figures of a calibration as text."""
    return [f"{100 * bias:+.1f}", f"{100 * error:.1f}", f"{100 * inside:.0f} %"]


SUMMARY_HEADER = (
    *("cells", "how many", "mean Spearman", "lowest", "above 0, p < 0.05 (n ≥ 6)", "mean regret"),
    *("above the best rule", "above the rival"),
)


TARGETS: dict[str, Callable[[Sequence[Cell]], str]] = {
    "mean Spearman of the default ranking at least 0.90": lambda found: summary(found)[1],
    "no cell below 0.5": lambda found: summary(found)[2],
    "p < 0.05 in 80 % of the cells of six candidates or more": lambda found: summary(found)[3],
    "mean regret at most 2 %": lambda found: summary(found)[4],
    "above the best rule, chosen with hindsight, in most cells": lambda found: f"{summary(found)[5]} of {len(found)}",
    "fine-tuning, one seed, at least 500 times the scores' cost": lambda found: (
        f"{largest_ratio(found, 'whole')} at most"
    ),
    "the same, by scoring alone": lambda found: f"{largest_ratio(found, 'score')} at most",
}
"""Aims of the study, each with a function that shows what cells reach."""


def largest_ratio(found: Sequence[Cell], what: str) -> str:
    """Return the largest ratio of the cost of fine-tuning with one seed to that of the scores."""
    ratios = []
    for cell in found:
        cost = cell["cost"]
        whole = cost["encode_s"] + cost["align_s"] + cost["score_s"]
        seconds = whole if what == "whole" else cost["score_s"]
        ratios.append(cost["tune_s"] / len(cell["truth"][0]["values"]) / max(seconds, 1e-9))
    return f"{max(ratios):,.0f}"


def predictor_rows(found: Sequence[Cell]) -> list[list[str]]:
    """Return rows of every predictor, on average over the cells with a value; the default first, then the best."""
    names = list(dict.fromkeys(["default", *(one["name"] for cell in found for one in cell["judged"])]))
    rows = []
    for name in names:
        entries = [(cell, cell["judged"][0] if name == "default" else judged(cell, name)) for cell in found]
        own = [(cell, entry) for cell, entry in entries if entry is not None and rho(entry) is not None]
        if not own:
            continue
        kind = "default" if name == "default" else own[0][1]["kind"]
        below = sum((rho(cell["judged"][0]) or 0) > (rho(entry) or 0) for cell, entry in own)
        regret = fmean(lost(entry) for _, entry in own)
        by_half = [
            fmean(part) if (part := [rho(e) or 0.0 for c, e in own if c["half"] == half]) else None
            for half in ("reporting", "development")
        ]
        mean = fmean(rho(entry) or 0.0 for _, entry in own)
        rows.append(
            (mean, [name, kind, f"{mean:.3f}", *map(shown, by_half), f"{100 * regret:.1f} %", f"{below} of {len(own)}"])
        )
    first, rest = rows[0], sorted(rows[1:], key=lambda row: -row[0])
    return [row for _, row in (first, *rest)]


PREDICTOR_HEADER = (
    *("predictor", "kind", "mean Spearman", "reporting", "development", "mean regret", "default is above"),
)


def layer_table(found: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Return a table as in the paper: a row for each layer, with the metric and the ranks by tuning and by scores."""
    names = ["logme", *(["swd"] if judged(found[0], "swd") else [])]
    header = ["layer"]
    columns: list[list[str]] = [[str(one["layer"]) for one in found[0]["truth"]]]
    for cell in found:
        short = cell["cell"].rpartition("-")[2]
        means = [fmean([v for v in one["values"] if v is not None]) for one in cell["truth"]]
        header += [f"{short} {cell['metric']}", "FT", *names]
        columns.append([f"{100 * value:.2f}" for value in means])
        columns.append(places(means, higher=cell["higher_is_better"]))
        columns += [places(e["values"], higher=e["higher_is_better"]) for n in names if (e := judged(cell, n))]
    rows = [list(row) for row in zip(*columns, strict=True)]
    last = ["Spearman"]
    for cell in found:
        last += ["", "", *(shown(rho(judged(cell, name))) for name in names)]
    return header, [*rows, last]


def model_table(cell: Cell) -> tuple[list[str], list[list[str]]]:
    """Return a table in the paper's form: a row for each model."""
    names = [cell["judged"][0]["name"], *(n for n in ("logme", "knn", "ridge") if judged(cell, n))]
    means = [fmean([v for v in one["values"] if v is not None]) for one in cell["truth"]]
    order = np.argsort(means)[:: -1 if cell["higher_is_better"] else 1]
    ranks = [places(means, higher=cell["higher_is_better"])]
    ranks += [places(e["values"], higher=e["higher_is_better"]) for n in names if (e := judged(cell, n))]
    rows = [
        [f"`{cell['truth'][i]['model']}`", f"{100 * means[i]:.2f}", *(column[i] for column in ranks)] for i in order
    ]
    return ["model", cell["metric"], "FT", *names], rows


def cost_row(cell: Cell) -> list[str]:
    """Return a row of the time of fine-tuning and of the scores."""
    cost, seeds = cell["cost"], len(cell["truth"][0]["values"])
    trials = sum(len(one["values"]) for one in cell["truth"])
    whole = cost["encode_s"] + cost["score_s"] + cost["align_s"]
    return [
        cell["cell"],
        str(trials),
        f"{cost['tune_s']:.0f}",
        f"{cost['encode_s']:.1f}",
        f"{cost['align_s']:.1f}",
        f"{cost['score_s']:.2f}",
        f"{cost['tune_s'] / seeds / whole:,.0f}",
        f"{cost['tune_s'] / seeds / max(cost['score_s'], 1e-9):,.0f}",
        f"{cost['rival_s']:.1f}",
    ]


COST_HEADER = (
    *("cell", "trials", "fine-tuning, s", "forward passes, s", "aligning, s", "scoring, s"),
    *("one seed / all of it", "one seed / scoring", "rival, s"),
)


def failures(found: Sequence[Cell]) -> list[list[str]]:
    """Return rows of the trials without a result."""
    return [
        [cell["cell"], f"`{one['model']}`", str(one["layer"]), one["failures"][0]]
        for cell in found
        for one in cell["truth"]
        if one["failures"]
    ]


def places(values: Sequence[float | None], *, higher: bool) -> list[str]:
    """Return ranks, 1 for the best; ties share the mean of theirs."""
    known = np.array([np.nan if value is None else value for value in values], dtype=float)
    ranks = rankdata(-known if higher else known, nan_policy="omit")
    return ["-" if np.isnan(rank) else f"{rank:g}" for rank in ranks]


def shown(value: float | None) -> str:
    """Return a correlation as text."""
    return "-" if value is None else f"{value:.3f}"


def p_value(p: float | None) -> str:
    """Return a p-value as text."""
    return "-" if p is None else f"{p:.2f}" if p >= 0.01 else f"{p:.0e}"


def picture(found: Sequence[Cell], columns: int = 4) -> Any:
    """Return a picture with a panel for each cell: the default score against the metric, a colour for each model."""
    from matplotlib.figure import Figure

    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3 * columns, 2.7 * rows), layout="constrained")
    models = list(dict.fromkeys(one["model"] for cell in found for one in cell["truth"]))
    for place, cell in enumerate(found, start=1):
        axes, first = figure.add_subplot(rows, columns, place), cell["judged"][0]
        for number, model in enumerate(models):
            own = [i for i, one in enumerate(cell["truth"]) if one["model"] == model]
            points = [
                (first["values"][i], fmean(known))
                for i in own
                if (known := [v for v in cell["truth"][i]["values"] if v is not None])
                and first["values"][i] is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), "o", markersize=3, color=f"C{number % 10}", label=model)
        axes.set_title(f"{cell['cell']}: ρ = {rho(first):.2f}", fontsize=8)
        axes.set_xlabel(first["name"], fontsize=7)
        axes.set_ylabel(cell["metric"], fontsize=7)
        axes.tick_params(labelsize=6)
        if not cell["higher_is_better"]:
            axes.invert_yaxis()
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    return figure


PUBLISHED_HEADER = (
    "table",
    "score or rule",
    "Spearman",
    "p",
    "Kendall",
    "weighted Kendall",
    "regret, points",
    "top 3 found",
)


def published_rows(content: dict[str, Any]) -> list[list[str]]:
    """Return rows of the published tables; the last row of each is chance."""
    found = []
    for table in content["tables"]:
        by_chance = table["chance"]
        lost, recall = by_chance["regret"]["absolute"], by_chance["recall"]
        own = [
            *map(published_cells, table["rows"]),
            ["chance", "0", "", "0", "0", f"{100 * lost:.2f}", f"{recall:.0%}"],
        ]
        titles = [f"{table['title']}, {table['metric']} (n = {table['n']})", *[""] * (len(own) - 1)]
        found += [[title, *line] for title, line in zip(titles, own, strict=True)]
    return found


def published_cells(row: dict[str, Any]) -> list[str]:
    """Return the table cells of one score or rule."""
    rho = row["spearman"]
    return [
        row["name"],
        f"{rho['value']:.3f}",
        f"{rho['p']:.1e}" + (" (exact)" if rho["exact"] else ""),
        f"{row['kendall']['value']:.3f}",
        f"{row['weighted_kendall']:.3f}",
        f"{100 * row['regret']['absolute']:.2f}",
        f"{row['recall']:.0%}",
    ]
