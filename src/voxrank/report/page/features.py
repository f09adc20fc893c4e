"""Sections on features of layers: pictures, results of probing, and learning curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxrank._support.words import count, duration, figure, strict_percent
from voxrank.report.page import charts
from voxrank.report.page.drawing import STEPS, Row
from voxrank.report.page.models import layer_cell
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
    pictures = [picture for picture in ranking.details.pictures if picture.points]
    if not pictures:
        return None
    intro = (
        "Each point is a sample of the data, as a layer hears it, brought to two dimensions. Where colours lie apart, "
        f"the layer tells the labels apart by itself. PCA keeps distances, {METHODS['t-sne']} neighbours: do not read "
        "sizes of, or distances between, its islands."
    )
    plots = tuple(_picture_chart(number, picture) for number, picture in enumerate(pictures))
    return Part("pictures", "Pictures of the best and the worst layer", "Pictures", (intro,), charts=plots, beside=True)


def _picture_chart(number: int, picture: Picture) -> Chart:
    points = np.array(picture.points, dtype=float)
    points = points[np.linspace(0, len(points) - 1, min(POINTS, len(points))).round().astype(int)]
    names, group_of, values = _groups(picture, points[:, 2])
    scale = 10 ** max(0, 4 - int(np.ceil(np.log10(max(np.abs(points[:, :2]).max(), 1e-9)))))
    rows = [
        {"x": round(x * scale) / scale, "y": round(y * scale) / scale, "name": names[group]}
        for (x, y, _), group in zip(points.tolist(), group_of, strict=True)
    ]
    method = METHODS.get(picture.method, picture.method)
    share = (
        f", which keeps {strict_percent(picture.explained)} of the variance" if picture.explained is not None else ""
    )
    origin = f"{shown(picture.model)}, {of_layer(picture.layer)}, the {picture.place} layer"
    text = f"{method} of {count(len(points), 'sample')} by {origin}{share}."
    table = Table(
        f"Centres in this picture ({method}), by {'value' if values else 'class'}",
        ("value" if values else "class", "samples", "x", "y"),
        rows_of(
            [
                text_cell(name),
                number_cell(int((group_of == group).sum()), str(int((group_of == group).sum()))),
                *(number_cell(float(c), figure(float(c))) for c in points[group_of == group, :2].mean(axis=0)),
            ]
            for group, name in enumerate(names[:ROWS])
            if (group_of == group).any()
        ),
    )
    return Chart(
        f"picture-{number}",
        charts.picture(rows, names, values=values),
        text,
        table,
        title=f"{picture.place.capitalize()} layer, {method}",
        height="large",
    )


def _groups(picture: Picture, labels: Numbers) -> tuple[list[str], Numbers, bool]:
    """Return names of classes (or fifths of the values), each sample's index of a name, and whether they are values."""
    if picture.classes:
        return [shown(name) for name in picture.classes], labels.astype(int), False
    edges = np.unique(np.quantile(labels, np.linspace(0, 1, len(STEPS) + 1)))
    if len(edges) < 2:
        return [figure(float(edges[0]))], np.zeros(len(labels), dtype=int), True
    names = [
        f"{figure(low)} to {figure(high)}" for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return names, np.clip(np.searchsorted(edges, labels, side="right") - 1, 0, len(names) - 1), True


def knowledge_part(ranking: Ranking) -> Part | None:
    """Return the section on probing of other columns; None without any."""
    columns: dict[str, list[Knowledge]] = defaultdict(list)
    for probe in ranking.details.knowledge:
        columns[probe.column].append(probe)
    if not columns:
        return None
    intro = (
        "A linear head on the same features predicts other columns of the data, on held-out samples. At the dashed "
        "line it only guesses. Far above the line, the layer carries that information, wanted or not: a speaker that "
        "leaks, a channel that gives the label away."
    )
    order = [model.model for model in ranking.models[:MODELS]]
    by_column = [[probe for probe in probes if probe.model in order] for probes in columns.values()]
    plots = tuple(_knowledge_chart(number, probes, order) for number, probes in enumerate(by_column) if probes)
    intro += _limit_note(len(ranking.models))
    return Part("knowledge", "What else layers know", "Other columns", (intro,), charts=plots, beside=len(plots) > 1)


def _knowledge_chart(number: int, probes: Sequence[Knowledge], order: Sequence[str]) -> Chart:
    present = {probe.model for probe in probes}
    models = [shown(model) for model in order if model in present]
    chance = float(np.mean([probe.chance for probe in probes]))
    last = max((probe.layer for probe in probes if isinstance(probe.layer, int)), default=0)
    rows: list[Row] = [
        {
            "model": shown(probe.model),
            "layer": str(probe.layer),
            "x": probe.layer if isinstance(probe.layer, int) else last + 1,
            "y": round(probe.accuracy, 4),
            "told": strict_percent(probe.accuracy),
        }
        for probe in probes
    ]
    most, least = max(probes, key=lambda probe: probe.accuracy), min(probes, key=lambda probe: probe.accuracy)
    column = shown(probes[0].column)
    text = (
        f"{column}, {count(probes[0].classes, 'value')}: predicted correctly in up to {strict_percent(most.accuracy)} "
        f"({shown(most.model)}, {of_layer(most.layer)}), at least {strict_percent(least.accuracy)} "
        f"({shown(least.model)}, {of_layer(least.layer)}); a guess gets {strict_percent(chance)}."
    )
    table = Table(
        f"What layers know of {column}",
        ("model", "layer", "predicted correctly", "a guess", "samples"),
        rows_of(
            [
                text_cell(shown(probe.model)),
                layer_cell(probe.layer),
                number_cell(probe.accuracy, strict_percent(probe.accuracy)),
                number_cell(probe.chance, strict_percent(probe.chance)),
                number_cell(probe.samples, f"{probe.samples:,}"),
            ]
            for probe in probes
        ),
    )
    highest = max(row["x"] for row in rows)
    return Chart(
        f"knowledge-{number}",
        charts.knowledge(rows, models, chance, highest),
        text,
        table,
        title=column,
        height="medium",
    )


def learning_part(ranking: Ranking) -> Part | None:
    """Return the section of scores against the amount of data; None without a learning curve."""
    curve = ranking.details.curve
    if curve is None or not curve.models:
        return None
    intro = (
        "The ranking, repeated on growing parts of the data. If the order has long been the same, more data will not "
        "change it; if it still changes, more data may change it again."
    ) + _limit_note(len(curve.models))
    curve = replace(curve, models=curve.models[:MODELS])
    names = [shown(model.model) for model in curve.models]
    rows = [
        {"model": name, "x": round(seconds / 60, 3), "y": float(f"{value:.5g}")}
        for name, model in zip(names, curve.models, strict=True)
        for seconds, value in zip(curve.seconds, model.values, strict=True)
    ]
    score = shown(curve.score) + ("" if curve.higher_is_better else " (lower is better)")
    text = f"{score} against minutes of audio, each model at its best layer. {_lead(curve)}"
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
    spec = charts.learning_curve(rows, names, score, curve.held_from_s / 60, reverse=not curve.higher_is_better)
    chart = Chart("learning-curve", spec, text, table, height="large")
    return Part("data", "How much data the ranking took", "Data", (intro,), charts=(chart,))


def _limit_note(models: int) -> str:
    return f" Shown are the first {MODELS} of {models} models." if models > MODELS else ""


def _lead(curve: LearningCurve) -> str:
    first = shown(curve.models[0].model)
    if len(curve.models) == 1:
        return ""
    if curve.held_from_s >= curve.seconds[-1]:
        return f"{first} came first only with all of the data."
    return f"{first} came first from {duration(curve.held_from_s)} of {duration(curve.seconds[-1])} on."
