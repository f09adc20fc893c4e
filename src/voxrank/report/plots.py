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

    shown = [one for one in validation.judged if one.kind != "rule"]
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(PANEL_INCHES * min(COLUMNS, len(shown)), PANEL_INCHES * rows), layout="constrained")
    for place, judged in enumerate(shown, start=1):
        axes = figure.add_subplot(rows, min(COLUMNS, len(shown)), place)
        _scatter(axes, validation, judged)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return figure


def _scatter(axes: Any, validation: Validation, judged: Judged) -> None:
    for number, model in enumerate(dict.fromkeys(one.model for one in validation.truth)):
        places = [i for i, one in enumerate(validation.truth) if one.model == model and one.mean is not None]
        places = [i for i in places if judged.values[i] is not None]
        own = [validation.truth[i] for i in places]
        means = [one.mean or 0.0 for one in own]
        seen = [[v for v in one.values if v is not None] for one in own]
        spread = [
            [mean - min(values) for mean, values in zip(means, seen, strict=True)],
            [max(values) - mean for mean, values in zip(means, seen, strict=True)],
        ]
        values = [judged.values[i] for i in places]
        axes.errorbar(
            values,
            means,
            yerr=spread,
            fmt=MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=0.8,
            label=escaped(model),
        )
        for value, mean, one in zip(values, means, own, strict=True):
            axes.annotate(str(one.layer), (value, mean), textcoords="offset points", xytext=(3, 3), fontsize=6)
    found = judged.agreement.spearman
    said = (
        "undefined"
        if found.value is None
        else f"{found.value:.2f}" + ("" if found.p is None else f" (p = {found.p:.2g})")
    )
    axes.set_title(f"{escaped(judged.name)}: ρ = {said}", fontsize=9)
    axes.set_xlabel(f"{escaped(judged.name)}{'' if judged.higher_is_better else ' (lower is better)'}", fontsize=8)
    axes.set_ylabel(validation.metric, fontsize=8)
    axes.tick_params(labelsize=7)
    if not validation.higher_is_better:
        axes.invert_yaxis()


def ranks(validation: Validation) -> Any:
    """Plot the ranks by the first score (left) and by fine-tuning (right), connected by a line for each candidate."""
    from matplotlib.figure import Figure

    first = validation.judged[0]
    places = [i for i, one in enumerate(validation.truth) if one.mean is not None and first.values[i] is not None]
    truth = np.array([validation.truth[i].mean for i in places], dtype=float)
    said = np.array([first.values[i] for i in places], dtype=float)
    left = rankdata(-said if first.higher_is_better else said)
    right = rankdata(-truth if validation.higher_is_better else truth)
    figure = Figure(figsize=(6, 1 + 0.22 * len(places)), layout="constrained")
    axes = figure.add_subplot()
    models = list(dict.fromkeys(one.model for one in validation.truth))
    for i, a, b in zip(places, left, right, strict=True):
        one = validation.truth[i]
        colour = f"C{models.index(one.model) % 10}"
        axes.plot([0, 1], [a, b], color=colour, marker="o", markersize=3, linewidth=1)
        if len(places) <= NAMED or min(a, b) <= NAMED / 2:
            axes.text(1.03, b, f"{escaped(one.model)} · {one.layer}", fontsize=7, va="center", color=colour)
    axes.set_xticks([0, 1], [f"by {escaped(first.name)}", f"by fine-tuning ({validation.metric})"], fontsize=8)
    axes.set_ylabel("rank", fontsize=8)
    axes.set_ylim(len(places) + 0.7, 0.3)
    axes.set_xlim(-0.08, 2.0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=7, length=0)
    return figure


def escaped(name: str) -> str:
    """Return a name as plain text in which matplotlib sees no formula."""
    return plain(name).plain.replace("$", r"\$")
