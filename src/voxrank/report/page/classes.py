"""Section on classes: recall and confusions of each class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from voxrank._support.words import count, strict_percent
from voxrank.report.page import views
from voxrank.report.page.drawing import FEW_BARS
from voxrank.report.page.parts import Chart, Folded, Part, Table, number_cell, rows_of, text_cell
from voxrank.report.page.words import listed, of_layer, shown
from voxrank.results.details import ClassView, LayerClasses
from voxrank.results.ranking import Ranking

BARS = 12
"""Maximum number of classes in the chart, hardest first."""
ROWS = 100
"""Maximum number of classes in a table."""
CONFUSIONS = 3
"""Maximum number of confused classes named for each class."""


def classes_part(ranking: Ranking) -> Part | None:
    """Return the section on the hardest classes of the best layer, and every class by every model; None without any."""
    found = [one for one in ranking.details.classes if one.classes]
    if not found:
        return None
    best = next((one for one in found if one.model == ranking.best.model), found[0])
    how = (
        "Held-out samples, classified by a linear head on the layer: the share of each class that is recognised, and "
        "what the others are taken for."
    )
    says = [how]
    folded: tuple[Folded, ...] = ()
    if len(found) > 1:
        by_class = _by_class(found)
        name = min(by_class, key=lambda one: max(by_class[one]))
        says.append(
            f"Hardest for all models together: {shown(name)}, which no model recognises in more than "
            f"{strict_percent(max(by_class[name]))} of the samples."
        )
        folded = (Folded("Every class by every model", _classes_table(found, by_class)),)
    return Part("classes", "Hardest classes", "Classes", tuple(says), charts=(_classes_chart(best),), folded=folded)


def _by_class(found: Sequence[LayerClasses]) -> dict[str, list[float]]:
    """Return the recall of each class by each model that has a value for it."""
    recalls: dict[str, list[float]] = defaultdict(list)
    for one in found:
        for view in one.classes:
            recalls[view.name].append(view.recall)
    return recalls


def _classes_table(found: Sequence[LayerClasses], by_class: dict[str, list[float]]) -> Table:
    hardest = sorted(by_class, key=lambda name: float(np.mean(by_class[name])))[:ROWS]
    recalls = [{view.name: view.recall for view in one.classes} for one in found]
    left_out = len(by_class) - len(hardest)
    more = f"; {left_out:,} easier ones are left out" if left_out else ""
    return Table(
        f"Share recognised by each model at its best layer, the hardest classes first{more}",
        ("class", *(f"{shown(one.model)}, {of_layer(one.layer)}" for one in found)),
        rows_of(
            [
                text_cell(shown(name)),
                *(number_cell(known.get(name), strict_percent(known.get(name))) for known in recalls),
            ]
            for name in hardest
        ),
    )


def _classes_chart(one: LayerClasses) -> Chart:
    hardest = one.classes[:BARS]
    rows = [
        {
            "name": shown(view.name),
            "recall": view.recall,
            "told": strict_percent(view.recall),
            "samples": view.samples,
            "taken": _taken_for(view) or "nothing else",
        }
        for view in hardest
    ]
    first = one.classes[0]
    taken = _taken_for(first)
    text = f"The hardest of {count(len(one.classes), 'class', 'classes')} is {shown(first.name)}: recognised in "
    text += strict_percent(first.recall)
    text += f", else taken for {taken}." if taken else "."
    left_out = len(one.classes) - ROWS
    table = Table(
        "Classes, the hardest first" + (f"; {left_out:,} easier ones are left out" if left_out > 0 else ""),
        ("class", "samples", "recognised", "else taken for"),
        rows_of(
            [
                text_cell(shown(view.name)),
                number_cell(view.samples, f"{view.samples:,}"),
                number_cell(view.recall, strict_percent(view.recall)),
                text_cell(_taken_for(view) or "–"),
            ]
            for view in one.classes[:ROWS]
        ),
        sorted_by=(2, True),
    )
    title = f"{shown(one.model)}, {of_layer(one.layer)}"
    tall = "large" if len(hardest) > FEW_BARS else "medium"
    return Chart("classes-0", views.class_bars(rows), text, table, title=title, tall=tall)


def _taken_for(view: ClassView) -> str:
    return listed([f"{shown(name)} ({strict_percent(share)})" for name, share in view.confused_with[:CONFUSIONS]])
