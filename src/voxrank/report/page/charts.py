"""Charts of models, layers and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt

from voxrank.report.page.drawing import (
    ACCENT,
    FAINT,
    INTERVAL_TIPS,
    MUTED,
    PAPER,
    SERIES,
    TEXT,
    Row,
    chart_of,
    colour,
    integer_axis,
    layered,
    logarithmic_scale,
    shape,
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
