"""Plots of a validation: each predictor against fine-tuning, and the two rankings side by side."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from voxrank._support.files import replacing
from voxrank.groundtruth.verdict import Judged, Validation
from voxrank.report.terminal import plain

COLUMNS = 3
PANEL_INCHES = 3.2
MARKERS = "osD^vP*X<>"
NAMED = 20
"""Maximum number of candidates for which all are named in the plot of ranks."""


def save_plots(validation: Validation, folder: Path) -> list[Path]:
    """Write `scatter.svg` and `ranks.svg`, each completely or not at all."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "voxrank"
    written = []
    for name, figure in (("scatter", scatter(validation)), ("ranks", ranks(validation))):
        path = folder / f"{name}.svg"
        with replacing(path) as temporary, warnings.catch_warnings(action="ignore"):  # about missing glyphs
            figure.savefig(temporary, format="svg", bbox_inches="tight", metadata={"Date": None})
        written.append(path)
    return written


def scatter(validation: Validation) -> Any:
    """Plot each score and the probe against the metric, one panel each, with the range over seeds."""
    from matplotlib.figure import Figure

    predictors = [judged for judged in validation.judged if judged.kind != "rule"]
    rows = -(-len(predictors) // COLUMNS)
    figure = Figure(figsize=(PANEL_INCHES * min(COLUMNS, len(predictors)), PANEL_INCHES * rows), layout="constrained")
    for position, judged in enumerate(predictors, start=1):
        axes = figure.add_subplot(rows, min(COLUMNS, len(predictors)), position)
        _scatter(axes, validation, judged)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return figure


def _scatter(axes: Any, validation: Validation, judged: Judged) -> None:
    for index, model in enumerate(dict.fromkeys(candidate.model for candidate in validation.truth)):
        indices = [
            i for i, candidate in enumerate(validation.truth) if candidate.model == model and candidate.mean is not None
        ]
        indices = [i for i in indices if judged.values[i] is not None]
        candidates = [validation.truth[i] for i in indices]
        means = [candidate.mean or 0.0 for candidate in candidates]
        by_seed = [[v for v in candidate.values if v is not None] for candidate in candidates]
        spread = [
            [mean - min(values) for mean, values in zip(means, by_seed, strict=True)],
            [max(values) - mean for mean, values in zip(means, by_seed, strict=True)],
        ]
        values = [judged.values[i] for i in indices]
        axes.errorbar(
            values,
            means,
            yerr=spread,
            fmt=MARKERS[index % len(MARKERS)],
            markersize=4,
            linewidth=0.8,
            label=escaped(model),
        )
        for value, mean, candidate in zip(values, means, candidates, strict=True):
            axes.annotate(str(candidate.layer), (value, mean), textcoords="offset points", xytext=(3, 3), fontsize=6)
    correlation = judged.agreement.spearman
    text = (
        "undefined"
        if correlation.value is None
        else f"{correlation.value:.2f}" + ("" if correlation.p is None else f" (p = {correlation.p:.2g})")
    )
    axes.set_title(f"{escaped(judged.name)}: ρ = {text}", fontsize=9)
    axes.set_xlabel(f"{escaped(judged.name)}{'' if judged.higher_is_better else ' (lower is better)'}", fontsize=8)
    axes.set_ylabel(validation.metric, fontsize=8)
    axes.tick_params(labelsize=7)
    if not validation.higher_is_better:
        axes.invert_yaxis()


def ranks(validation: Validation) -> Any:
    """Plot the ranks by the first score (left) and by fine-tuning (right), connected by a line for each candidate."""
    from matplotlib.figure import Figure

    first = validation.judged[0]
    indices = [
        i for i, candidate in enumerate(validation.truth) if candidate.mean is not None and first.values[i] is not None
    ]
    results = np.array([validation.truth[i].mean for i in indices], dtype=float)
    scores = np.array([first.values[i] for i in indices], dtype=float)
    left = rankdata(-scores if first.higher_is_better else scores)
    right = rankdata(-results if validation.higher_is_better else results)
    figure = Figure(figsize=(6, 1 + 0.22 * len(indices)), layout="constrained")
    axes = figure.add_subplot()
    models = list(dict.fromkeys(candidate.model for candidate in validation.truth))
    for i, a, b in zip(indices, left, right, strict=True):
        candidate = validation.truth[i]
        colour = f"C{models.index(candidate.model) % 10}"
        axes.plot([0, 1], [a, b], color=colour, marker="o", markersize=3, linewidth=1)
        if len(indices) <= NAMED or min(a, b) <= NAMED / 2:
            axes.text(1.03, b, f"{escaped(candidate.model)} · {candidate.layer}", fontsize=7, va="center", color=colour)
    axes.set_xticks([0, 1], [f"by {escaped(first.name)}", f"by fine-tuning ({validation.metric})"], fontsize=8)
    axes.set_ylabel("rank", fontsize=8)
    axes.set_ylim(len(indices) + 0.7, 0.3)
    axes.set_xlim(-0.08, 2.0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=7, length=0)
    return figure


def escaped(name: str) -> str:
    """Return a name as plain text in which matplotlib sees no formula."""
    return plain(name).plain.replace("$", r"\$")
