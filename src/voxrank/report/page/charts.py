"""Charts of models, layers, scores, classes and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from voxrank._support.words import percent
from voxrank.report.page.drawing import (
    ACCENT,
    FAINT,
    FEW_BARS,
    INTERVAL_TIPS,
    MUTED,
    PAPER,
    PERCENTS,
    SERIES,
    SHAPES,
    STEPS,
    TEXT,
    Row,
    chart_of,
    colour,
    integer_axis,
    layered,
    logarithmic_scale,
    shape,
    spec,
    tips,
)
from voxrank.report.page.parts import Spec

SHOWN = "shown"
"""Parameter of the layer curves: number of the model in the foreground."""


def layer_curve(title: str, domain: tuple[float, float], last: int, *, reverse: bool, banded: bool) -> Spec:
    """Plot the scores of one model's layers in the foreground, and of all other models in the background.

    The data set "curves" has a row for each layer: m (number of the model), name, layer, x, y, low, high, best.

    Args:
        title: title of the score.
        domain: range of the scores of all models.
        last: highest x of all models.
        reverse: whether low scores are at the top.
        banded: whether scores have intervals.
    """
    x = alt.X("x:Q", title="layer", scale=alt.Scale(domain=[0, max(last, 1)]), axis=integer_axis(last))
    scale = alt.Scale(domain=list(domain), reverse=reverse, nice=False, zero=False)
    y = alt.Y("y:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4))
    base = alt.Chart(alt.NamedData("curves"))
    foreground = base.transform_filter(f"datum.m == {SHOWN}")
    tooltip = tips(("name:N", "model"), ("layer:N", "layer"), ("y:Q", title), *INTERVAL_TIPS[: 2 if banded else 0])
    layers: list[alt.Chart] = [
        base.transform_filter("datum.line")
        .mark_line(strokeWidth=1, stroke=FAINT)
        .encode(x=x, y=y, detail=alt.Detail("m:N")),
        foreground.transform_filter("datum.line").mark_line(strokeWidth=2, stroke=ACCENT).encode(x=x, y=y),
        foreground.transform_filter("!datum.best")
        .mark_point(filled=True, size=42, color=ACCENT, opacity=1)
        .encode(x=x, y=y, tooltip=tooltip),
        foreground.transform_filter("datum.best")
        .mark_point(filled=True, size=120, color=ACCENT, opacity=1, stroke=PAPER, strokeWidth=2)
        .encode(x=x, y=y, tooltip=tooltip),
    ]
    if banded:
        band = foreground.transform_filter("datum.line").mark_area(fill=ACCENT, fillOpacity=0.16)
        layers.insert(1, band.encode(x=x, y=alt.Y("low:Q", scale=scale), y2=alt.Y2("high:Q")))
    return with_model(layered(layers, "small"), 0)


def with_model(curve: Spec, number: int) -> Spec:
    """Return the same curves with another model in the foreground."""
    return curve | {"params": [{"name": SHOWN, "value": number}]}


def trade_off(rows: Sequence[Row], title: str, score: str, *, log: bool, reverse: bool, falls: bool) -> Spec:
    """Plot scores against a cost, with the Pareto front.

    Args:
        rows: name, x, told (x as text), y, low, high, front (whether it is on the front), left (side of the name).
        title: title of the x axis.
        score: title of the y axis.
        log: whether the x axis is logarithmic.
        reverse: whether low scores are at the top.
        falls: whether the front falls from left to right, as it does where a higher x is better.
    """
    x = alt.X(
        "x:Q",
        title=title,
        scale=logarithmic_scale() if log else alt.Scale(zero=False, padding=24),
        axis=alt.Axis(format="~s", tickCount=5, grid=False, labelOverlap=True),
    )
    scale = alt.Scale(zero=False, reverse=reverse, padding=16)
    y = alt.Y("y:Q", title=score, scale=scale, axis=alt.Axis(tickCount=6))
    tooltip = tips(("name:N", "model"), ("layer:N", "layer"), ("told:N", title), ("y:Q", score))
    step: Literal["step-before", "step-after"] = "step-before" if falls else "step-after"
    front = [row for row in rows if row["front"]]
    others = [row for row in rows if not row["front"]]
    layers = [
        chart_of(front).mark_line(stroke=ACCENT, strokeWidth=1.5, interpolate=step, strokeDash=[4, 3]).encode(x=x, y=y),
        chart_of(front).mark_point(size=110, filled=True, color=ACCENT, opacity=1).encode(x=x, y=y, tooltip=tooltip),
    ]
    if others:
        other_points = chart_of(others).mark_point(size=70, color=MUTED, filled=False, fill=PAPER, opacity=1)
        layers.insert(1, other_points.encode(x=x, y=y, tooltip=tooltip))
    if with_interval := [row for row in rows if row["low"] is not None]:
        whiskers = chart_of(with_interval).mark_rule(stroke=FAINT, strokeWidth=2)
        layers.insert(0, whiskers.encode(x=x, y=alt.Y("low:Q", scale=scale), y2=alt.Y2("high:Q")))
    for left in (False, True):
        if labelled := [row for row in front if row["left"] == left]:
            side: Literal["left", "right"] = "right" if left else "left"
            names = chart_of(labelled).mark_text(align=side, dx=-10 if left else 10, dy=-9, limit=170, fontWeight=600)
            layers.append(names.encode(x=x, y=y, text=alt.Text("name:N")))
    return layered(layers, "medium")


def agreement(rows: Sequence[Row], names: Sequence[str]) -> Spec:
    """Plot rank correlations between scores: a square for each pair, with an opacity that shows the strength.

    Args:
        rows: a, b (names of scores), rho, told (rho as text), size (its absolute value, 0 to 1), positive.
        names: names of the scores, in order.
    """
    axis = alt.Axis(grid=False, domain=False, labelColor=TEXT)
    x = alt.X(
        "a:N",
        sort=list(names),
        title=None,
        scale=alt.Scale(padding=0.04),
        axis=alt.Axis(grid=False, domain=False, labelColor=TEXT, labelAngle=-40),
    )
    y = alt.Y("b:N", title=None, scale=alt.Scale(domain=list(names), padding=0.04), axis=axis)
    base = chart_of(rows)
    return layered(
        [
            base.mark_rect(cornerRadius=3).encode(
                x=x,
                y=y,
                fill=alt.Fill(
                    "positive:N", scale=alt.Scale(domain=[True, False], range=[ACCENT, SERIES[1]]), legend=None
                ),
                fillOpacity=alt.FillOpacity("size:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.45]), legend=None),
                tooltip=tips(("a:N", "score"), ("b:N", "and"), ("told:N", "Spearman")),
            ),
            base.mark_text(fontSize=12).encode(x=x, y=y, text=alt.Text("told:N")),
        ],
        "square",
    )


def truth(
    rows: Sequence[Row], models: Sequence[str], score: str, metric: str, *, reversed_axes: tuple[bool, bool]
) -> Spec:
    """Plot scores against the results of fine-tuning, with the range over seeds.

    Args:
        rows: model, layer, x (score), y (mean of the metric), low, high.
        models: names, in order.
        score: title of the x axis.
        metric: title of the y axis.
        reversed_axes: whether lower is better for x, and for y.
    """
    base = chart_of(rows)
    horizontal = alt.Scale(zero=False, padding=16, reverse=reversed_axes[0])
    x = alt.X("x:Q", title=score, scale=horizontal, axis=alt.Axis(tickCount=6, grid=False))
    scale = alt.Scale(zero=False, padding=16, reverse=reversed_axes[1])
    y = alt.Y("y:Q", title=metric, scale=scale, axis=alt.Axis(tickCount=6))
    return layered(
        [
            base.mark_rule(stroke=FAINT, strokeWidth=2).encode(x=x, y=alt.Y("low:Q", scale=scale), y2=alt.Y2("high:Q")),
            base.mark_point(filled=True, size=80, opacity=1).encode(
                x=x,
                y=y,
                color=colour(models),
                shape=shape(models),
                tooltip=tips(("model:N", "model"), ("layer:N", "layer"), ("x:Q", score), ("y:Q", metric)),
            ),
            base.mark_text(align="left", dx=8, dy=-6, fontSize=11, fill=MUTED).encode(
                x=x, y=y, text=alt.Text("layer:N")
            ),
        ],
        "large",
    )


def class_bars(rows: Sequence[Row]) -> Spec:
    """Plot the recall of classes, hardest first.

    Args:
        rows: name, recall, told (recall as text), taken (confused classes as text), samples.
    """
    base = chart_of(rows)
    names = [row["name"] for row in rows]
    y = alt.Y("name:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(labelColor=TEXT, domain=False))
    x = alt.X(
        "recall:Q",
        title="recognised",
        scale=alt.Scale(domain=[0, 1.1], nice=False),
        axis=alt.Axis(format="%", values=PERCENTS),
    )
    tooltip = tips(
        ("name:N", "class"), ("told:N", "recognised"), ("samples:Q", "samples"), ("taken:N", "else taken for")
    )
    return layered(
        [
            base.mark_bar(fill=ACCENT, cornerRadiusEnd=3, height={"band": 0.62}).encode(x=x, y=y, tooltip=tooltip),
            base.mark_text(align="left", dx=6).encode(x=x, y=y, text=alt.Text("told:N")),
        ],
        "large" if len(rows) > FEW_BARS else "medium",
    )


def picture(rows: Sequence[Row], names: Sequence[str], *, values: bool) -> Spec:
    """Plot samples in two dimensions, coloured by class or by value.

    Args:
        rows: x, y, name (of the class, or of the bin of the value).
        names: names of all classes or bins, in order.
        values: whether the names are bins of values.
    """
    colours = list(STEPS) if values else [SERIES[i % len(SERIES)] for i in range(len(names))]
    shapes = ["circle"] if values else [SHAPES[i // len(SERIES) % len(SHAPES)] for i in range(len(names))]
    domain = list(names)
    legend = alt.Legend(title=None, columns=5) if len(names) <= 2 * len(SERIES) else None
    hidden = alt.Axis(labels=False, grid=False, domain=False, title=None)
    flat = alt.Scale(zero=False, nice=False, padding=8)
    chart = chart_of(rows)
    return spec(
        chart.mark_point(filled=True, size=26, opacity=0.75).encode(
            x=alt.X("x:Q", axis=hidden, scale=flat),
            y=alt.Y("y:Q", axis=hidden, scale=flat),
            color=alt.Color("name:N", scale=alt.Scale(domain=domain, range=colours[: len(domain)]), legend=legend),
            shape=alt.Shape(
                "name:N", scale=alt.Scale(domain=domain, range=shapes * (len(domain) if values else 1)), legend=legend
            ),
            tooltip=tips(("name:N", "value" if values else "class")),
        ),
        "large",
    )


def knowledge(rows: Sequence[Row], models: Sequence[str], chance: float, last: int) -> Spec:
    """Plot the accuracy of probing a column, for each layer of the models, with the level of chance.

    Args:
        rows: model, layer, x, y, told (accuracy as text).
        models: names, in order.
        chance: accuracy of a guess.
        last: highest x.
    """
    x = alt.X("x:Q", title="layer", scale=alt.Scale(domain=[0, max(last, 1)]), axis=integer_axis(last))
    scale = alt.Scale(domain=[0, 1])
    y = alt.Y("y:Q", title="predicted correctly", scale=scale, axis=alt.Axis(format="%", tickCount=5))
    rule = chart_of([{"chance": chance, "told": f"chance: {percent(chance, gap='')}"}])
    at_chance = alt.Y("chance:Q", scale=scale)
    return layered(
        [
            rule.mark_rule(strokeDash=[5, 4], stroke=MUTED).encode(y=at_chance),
            rule.mark_text(align="left", baseline="bottom", dx=4, dy=-3, fill=MUTED).encode(
                y=at_chance, x=alt.value(0), text=alt.Text("told:N")
            ),
            *_lines(
                chart_of(rows),
                x,
                y,
                models,
                tips(("model:N", "model"), ("layer:N", "layer"), ("told:N", "predicted correctly")),
            ),
        ],
        "medium",
    )


def learning_curve(rows: Sequence[Row], models: Sequence[str], score: str, held: float, *, reverse: bool) -> Spec:
    """Plot scores against minutes of audio.

    Args:
        rows: model, x (minutes), y.
        models: names, best first.
        score: title of the y axis.
        held: minutes from which the same model stayed first.
        reverse: whether low scores are at the top.
    """
    x = alt.X("x:Q", title="minutes of audio", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title=score, scale=alt.Scale(zero=False, reverse=reverse, padding=10), axis=alt.Axis(tickCount=6))
    rule = chart_of([{"held": held, "told": "first place unchanged from here on"}])
    at_held = alt.X("held:Q")
    return layered(
        [
            rule.mark_rule(strokeDash=[5, 4], stroke=MUTED).encode(x=at_held),
            rule.mark_text(align="left", baseline="top", dx=6, dy=2, fill=MUTED).encode(
                x=at_held, y=alt.value(0), text=alt.Text("told:N")
            ),
            *_lines(chart_of(rows), x, y, models, tips(("model:N", "model"), ("x:Q", "minutes"), ("y:Q", score))),
        ],
        "large",
    )


def _lines(base: alt.Chart, x: alt.X, y: alt.Y, models: Sequence[str], tooltip: Any) -> tuple[alt.Chart, alt.Chart]:
    """Return a line for each model, and its points."""
    lines = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour(models))
    points = base.mark_point(filled=True, size=48, opacity=1)
    return lines, points.encode(x=x, y=y, color=colour(models), shape=shape(models), tooltip=tooltip)
