"""Charts of features of layers: classes, samples, probing, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from voxrank._support.words import percent
from voxrank.report.page.drawing import (
    ACCENT,
    FEW_BARS,
    MUTED,
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
    shape,
    spec,
    tips,
)
from voxrank.report.page.parts import Spec


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
