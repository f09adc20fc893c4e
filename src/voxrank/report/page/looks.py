"""Sections on features of layers: pictures, results of probing, and learning curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxrank._support.words import count, duration, figure, strict_percent
from voxrank.report.page import views
from voxrank.report.page.drawing import STEPS, Row
from voxrank.report.page.parts import Chart, Part, Table, number_cell, rows_of, text_cell
from voxrank.report.page.words import of_layer, shown
from voxrank.results.details import Knowledge, LearningCurve, Picture
from voxrank.results.ranking import Ranking

ROWS = 100
"""Maximum number of classes in a table."""
MODELS = 12
"""Maximum number of models in one line chart; more lines could not be distinguished."""
POINTS = 1500
"""Maximum number of points in one picture."""
Numbers = NDArray[np.float64] | NDArray[np.int64]
METHODS = {"pca": "PCA", "t-sne": "t\N{NON-BREAKING HYPHEN}SNE"}


def pictures_part(ranking: Ranking) -> Part | None:
    """Return the section of layer features in two dimensions; None without any."""
    drawn = [one for one in ranking.details.pictures if one.points]
    if not drawn:
        return None
    says = (
        "Each point is a sample of the data, as a layer hears it, brought to two dimensions. Where colours lie apart, "
        f"the layer tells the labels apart by itself. PCA keeps distances, {METHODS['t-sne']} neighbours: do not read "
        "sizes of, or distances between, its islands."
    )
    made = tuple(_picture(number, one) for number, one in enumerate(drawn))
    return Part("pictures", "Pictures of the best and the worst layer", "Pictures", (says,), charts=made, beside=True)


def _picture(number: int, one: Picture) -> Chart:
    points = np.array(one.points, dtype=float)
    points = points[np.linspace(0, len(points) - 1, min(POINTS, len(points))).round().astype(int)]
    names, of_each, values = _named(one, points[:, 2])
    scale = 10 ** max(0, 4 - int(np.ceil(np.log10(max(np.abs(points[:, :2]).max(), 1e-9)))))
    rows = [
        {"x": round(x * scale) / scale, "y": round(y * scale) / scale, "name": names[which]}
        for (x, y, _), which in zip(points.tolist(), of_each, strict=True)
    ]
    method = METHODS.get(one.method, one.method)
    share = f", which keeps {strict_percent(one.explained)} of the variance" if one.explained is not None else ""
    whose = f"{shown(one.model)}, {of_layer(one.layer)}, the {one.place} layer"
    text = f"{method} of {count(len(points), 'sample')} by {whose}{share}."
    table = Table(
        f"Centres in this picture ({method}), by {'value' if values else 'class'}",
        ("value" if values else "class", "samples", "x", "y"),
        rows_of(
            [
                text_cell(name),
                number_cell(int((of_each == which).sum()), str(int((of_each == which).sum()))),
                *(number_cell(float(c), figure(float(c))) for c in points[of_each == which, :2].mean(axis=0)),
            ]
            for which, name in enumerate(names[:ROWS])
            if (of_each == which).any()
        ),
    )
    return Chart(
        f"picture-{number}",
        views.picture(rows, names, values=values),
        text,
        table,
        title=f"{one.place.capitalize()} layer, {method}",
        tall="large",
    )


def _named(one: Picture, labels: Numbers) -> tuple[list[str], Numbers, bool]:
    """Return names of classes (or fifths of the values), each sample's index of a name, and whether they are values."""
    if one.classes:
        return [shown(name) for name in one.classes], labels.astype(int), False
    edges = np.unique(np.quantile(labels, np.linspace(0, 1, len(STEPS) + 1)))
    if len(edges) < 2:
        return [figure(float(edges[0]))], np.zeros(len(labels), dtype=int), True
    names = [f"{figure(a)} to {figure(b)}" for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    return names, np.clip(np.searchsorted(edges, labels, side="right") - 1, 0, len(names) - 1), True


def knowledge_part(ranking: Ranking) -> Part | None:
    """Return the section on probing of other columns; None without any."""
    columns: dict[str, list[Knowledge]] = defaultdict(list)
    for one in ranking.details.knowledge:
        columns[one.column].append(one)
    if not columns:
        return None
    says = (
        "A linear head on the same features predicts other columns of the data, on held-out samples. At the dashed "
        "line it only guesses. Far above the line, the layer carries that information, wanted or not: a speaker that "
        "leaks, a channel that gives the label away."
    )
    order = [model.model for model in ranking.models[:MODELS]]
    kept = [[one for one in found if one.model in order] for found in columns.values()]
    made = tuple(_knowledge_chart(number, found, order) for number, found in enumerate(kept) if found)
    says += _of_the_first(len(ranking.models))
    return Part("knowledge", "What else layers know", "Other columns", (says,), charts=made, beside=len(made) > 1)


def _knowledge_chart(number: int, found: Sequence[Knowledge], order: Sequence[str]) -> Chart:
    present = {one.model for one in found}
    models = [shown(model) for model in order if model in present]
    chance = float(np.mean([one.chance for one in found]))
    last = max((one.layer for one in found if isinstance(one.layer, int)), default=0)
    rows: list[Row] = [
        {
            "model": shown(one.model),
            "layer": str(one.layer),
            "x": one.layer if isinstance(one.layer, int) else last + 1,
            "y": round(one.accuracy, 4),
            "told": strict_percent(one.accuracy),
        }
        for one in found
    ]
    most, least = max(found, key=lambda one: one.accuracy), min(found, key=lambda one: one.accuracy)
    column = shown(found[0].column)
    text = (
        f"{column}, {count(found[0].classes, 'value')}: predicted correctly in up to {strict_percent(most.accuracy)} "
        f"({shown(most.model)}, {of_layer(most.layer)}), at least {strict_percent(least.accuracy)} "
        f"({shown(least.model)}, {of_layer(least.layer)}); a guess gets {strict_percent(chance)}."
    )
    table = Table(
        f"What layers know of {column}",
        ("model", "layer", "predicted correctly", "a guess", "samples"),
        rows_of(
            [
                text_cell(shown(one.model)),
                number_cell(_as_number(one.layer), str(one.layer)),
                number_cell(one.accuracy, strict_percent(one.accuracy)),
                number_cell(one.chance, strict_percent(one.chance)),
                number_cell(one.samples, f"{one.samples:,}"),
            ]
            for one in found
        ),
    )
    highest = max(row["x"] for row in rows)
    return Chart(
        f"knowledge-{number}", views.knowledge(rows, models, chance, highest), text, table, title=column, tall="medium"
    )


def _as_number(layer: int | str) -> float:
    return float(layer) if isinstance(layer, int) else np.inf


def learning_part(ranking: Ranking) -> Part | None:
    """Return the section of scores against the amount of data; None without a learning curve."""
    curve = ranking.details.curve
    if curve is None or not curve.models:
        return None
    says = (
        "The ranking, repeated on growing parts of the data. If the order has long been the same, more data will not "
        "change it; if it still changes, more data may change it again."
    ) + _of_the_first(len(curve.models))
    curve = replace(curve, models=curve.models[:MODELS])
    names = [shown(model.model) for model in curve.models]
    rows = [
        {"model": name, "x": round(seconds / 60, 3), "y": float(f"{value:.5g}")}
        for name, model in zip(names, curve.models, strict=True)
        for seconds, value in zip(curve.seconds, model.values, strict=True)
    ]
    score = shown(curve.score) + ("" if curve.higher_is_better else " (lower is better)")
    text = f"{score} against minutes of audio, each model at its best layer. {_held(curve)}"
    table = Table(
        "Scores at each amount of audio",
        ("audio", *names, "order like the last"),
        rows_of(
            [
                number_cell(seconds, duration(seconds)),
                *(number_cell(model.values[step], figure(model.values[step])) for model in curve.models),
                number_cell(rho, figure(rho, 2)),
            ]
            for step, (seconds, rho) in enumerate(zip(curve.seconds, curve.spearman, strict=True))
        ),
        sorted_by=(0, True),
    )
    spec = views.learning_curve(rows, names, score, curve.held_from_s / 60, reverse=not curve.higher_is_better)
    chart = Chart("learning-curve", spec, text, table, tall="large")
    return Part("data", "How much data the ranking took", "Data", (says,), charts=(chart,))


def _of_the_first(models: int) -> str:
    return f" Shown are the first {MODELS} of {models} models." if models > MODELS else ""


def _held(curve: LearningCurve) -> str:
    first = shown(curve.models[0].model)
    if len(curve.models) == 1:
        return ""
    if curve.held_from_s >= curve.seconds[-1]:
        return f"{first} came first only with all of the data."
    return f"{first} came first from {duration(curve.held_from_s)} of {duration(curve.seconds[-1])} on."
