"""Section on classes: recall and confusions of each class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from voxrank._support.words import count, strict_percent
from voxrank.report.page import charts
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
    layers = [layer for layer in ranking.details.classes if layer.classes]
    if not layers:
        return None
    best = next((layer for layer in layers if layer.model == ranking.best.model), layers[0])
    method = (
        "Held-out samples, classified by a linear head on the layer: the share of each class that is recognised, and "
        "what the others are taken for."
    )
    paragraphs = [method]
    folded: tuple[Folded, ...] = ()
    if len(layers) > 1:
        recalls = _recalls_by_class(layers)
        hardest = min(recalls, key=lambda name: max(recalls[name]))
        paragraphs.append(
            f"Hardest for all models together: {shown(hardest)}, which no model recognises in more than "
            f"{strict_percent(max(recalls[hardest]))} of the samples."
        )
        folded = (Folded("Every class by every model", _classes_table(layers, recalls)),)
    return Part(
        "classes", "Hardest classes", "Classes", tuple(paragraphs), charts=(_classes_chart(best),), folded=folded
    )


def _recalls_by_class(layers: Sequence[LayerClasses]) -> dict[str, list[float]]:
    """Return the recall of each class by each model that has a value for it."""
    recalls: dict[str, list[float]] = defaultdict(list)
    for layer in layers:
        for view in layer.classes:
            recalls[view.name].append(view.recall)
    return recalls


def _classes_table(layers: Sequence[LayerClasses], recalls: dict[str, list[float]]) -> Table:
    hardest = sorted(recalls, key=lambda name: float(np.mean(recalls[name])))[:ROWS]
    recalls_by_layer = [{view.name: view.recall for view in layer.classes} for layer in layers]
    left_out = len(recalls) - len(hardest)
    more = f"; {left_out:,} easier ones are left out" if left_out else ""
    return Table(
        f"Share recognised by each model at its best layer, the hardest classes first{more}",
        ("class", *(f"{shown(layer.model)}, {of_layer(layer.layer)}" for layer in layers)),
        rows_of(
            [
                text_cell(shown(name)),
                *(number_cell(by_class.get(name), strict_percent(by_class.get(name))) for by_class in recalls_by_layer),
            ]
            for name in hardest
        ),
    )


def _classes_chart(layer: LayerClasses) -> Chart:
    hardest = layer.classes[:BARS]
    rows = [
        {
            "name": shown(view.name),
            "recall": view.recall,
            "told": strict_percent(view.recall),
            "samples": view.samples,
            "taken": _confusions(view) or "nothing else",
        }
        for view in hardest
    ]
    first = layer.classes[0]
    confused = _confusions(first)
    text = f"The hardest of {count(len(layer.classes), 'class', 'classes')} is {shown(first.name)}: recognised in "
    text += strict_percent(first.recall)
    text += f", else taken for {confused}." if confused else "."
    left_out = len(layer.classes) - ROWS
    table = Table(
        "Classes, the hardest first" + (f"; {left_out:,} easier ones are left out" if left_out > 0 else ""),
        ("class", "samples", "recognised", "else taken for"),
        rows_of(
            [
                text_cell(shown(view.name)),
                number_cell(view.samples, f"{view.samples:,}"),
                number_cell(view.recall, strict_percent(view.recall)),
                text_cell(_confusions(view) or "–"),
            ]
            for view in layer.classes[:ROWS]
        ),
        sorted_by=(2, True),
    )
    title = f"{shown(layer.model)}, {of_layer(layer.layer)}"
    height = "large" if len(hardest) > FEW_BARS else "medium"
    return Chart("classes-0", charts.class_bars(rows), text, table, title=title, height=height)


def _confusions(view: ClassView) -> str:
    return listed([f"{shown(name)} ({strict_percent(share)})" for name, share in view.confused_with[:CONFUSIONS]])
