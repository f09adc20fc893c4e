"""Section on the agreement between scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxrank._support.ranks import unit_ranks
from voxrank._support.words import figure
from voxrank.report.page import charts
from voxrank.report.page.parts import Cell, Chart, Part, Table, number_cell, rows_of, text_cell
from voxrank.report.page.words import higher_is_better, score_names, shown
from voxrank.results.ranking import Ranking

FEWEST = 3
"""Minimum number of layers for a correlation."""


def agreement_part(ranking: Ranking) -> Part | None:
    """Return the section of Spearman's correlations between scores over all layers.

    It is None for a single score or fewer than `FEWEST` layers.
    """
    names = score_names(ranking)
    if len(names) < 2 or len(ranking.layers) < FEWEST:
        return None
    matrix = correlations(ranking, names)
    labels = [shown(name) for name in names]
    squares = [
        {"a": b, "b": a, "rho": rho, "told": figure(rho, 2), "size": abs(rho), "positive": rho >= 0}
        for a, row in zip(labels, matrix, strict=True)
        for b, rho in zip(labels, row, strict=True)
        if rho is not None
    ]
    least = min(
        (
            (rho, a, b)
            for i, (a, row) in enumerate(zip(labels, matrix, strict=True))
            for b, rho in zip(labels[:i], row, strict=False)
            if rho is not None
        ),
        default=None,
    )
    caption = "Spearman's rank correlation between scores over all layers of all models; 1 is the same order."
    if least is not None:
        caption += f" The pair that agrees least is {least[2]} and {least[1]}: {figure(least[0], 2)}."
    table = Table(
        "Spearman's rank correlation between scores, over all layers",
        ("score", *labels),
        rows_of(
            [text_cell(a), *(number_cell(rho, figure(rho, 2)) if rho is not None else Cell("–") for rho in row)]
            for a, row in zip(labels, matrix, strict=True)
        ),
        sortable=False,
    )
    intro = (
        f"Over {len(ranking.layers)} layers. Scores that look at different things and still agree are a reason to "
        "trust the order; where they differ, look at the one that is nearest to your task."
    )
    chart = Chart("agreement-of-scores", charts.agreement(squares, labels), caption, table, height="square")
    return Part("agreement", "Do the scores agree?", "Agreement", (intro,), charts=(chart,))


def correlations(ranking: Ranking, names: Sequence[str]) -> list[list[float | None]]:
    """Return the correlation of each score with each, with aligned directions; None where a score is constant."""
    values = np.array(
        [
            [layer.scores[name].value * (1 if higher_is_better(ranking, name) else -1) for layer in ranking.layers]
            for name in names
        ]
    )
    units = unit_ranks(values)
    return [[None if np.isnan(rho) else float(np.clip(rho, -1, 1)) for rho in row] for row in units @ units.T]
