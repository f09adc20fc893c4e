"""Helpers for charts by Altair, as Vega-Lite, with colours from the style sheet, which handles light, dark and print.

Names from users are values of data here, never names of fields and never parts of expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from voxrank.report.page.parts import Spec

Row = dict[str, Any]

ACCENT, FAINT, MUTED, TEXT, PAPER = "var(--accent)", "var(--faint)", "var(--muted)", "var(--text)", "var(--paper)"
SERIES = tuple(f"var(--series-{number})" for number in range(1, 11))
"""Colours of models, and of classes."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
STEPS = tuple(f"var(--step-{number})" for number in range(1, 6))
"""Colours of values, from low to high."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
NAME_PX = 150
FEW_BARS = 6
PERCENTS = [0, 0.2, 0.4, 0.6, 0.8, 1]
HEIGHTS_PX = {"small": 150, "medium": 280, "large": 380, "square": 340}

CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "gridColor": FAINT,
        "gridOpacity": 0.6,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelPadding": 6,
        "labelLimit": NAME_PX,
        "tickSize": 0,
    },
    "legend": {
        "labelColor": TEXT,
        "titleColor": MUTED,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 200,
        "symbolSize": 90,
        "orient": "bottom",
        "columns": 3,
        "symbolStrokeWidth": 2,
    },
    "text": {"fill": TEXT, "fontSize": 12},
}
"""Settings shared by all charts."""
INTERVAL_TIPS = (("low:Q", "low end"), ("high:Q", "high end"))


def chart_of(rows: Sequence[Row]) -> alt.Chart:
    """Return a chart of these rows, without marks.

    The rows are a tuple, which Altair does not copy with every layer; `_unsized` turns it into a list.
    """
    return alt.Chart(alt.InlineData(values=tuple(dict(row) for row in rows)))


def colour_scale(names: Sequence[str]) -> alt.Scale:
    """Return a scale with a colour for each of the first names, and grey for the others."""
    return alt.Scale(domain=list(names), range=[SERIES[i] if i < len(SERIES) else MUTED for i in range(len(names))])


def shape_scale(names: Sequence[str]) -> alt.Scale:
    """Return a scale with a shape for each name, so that names do not differ by colour alone."""
    return alt.Scale(domain=list(names), range=[SHAPES[i % len(SHAPES)] for i in range(len(names))])


def tips(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    """Return tooltips: fields of the data, with their titles."""
    return [
        alt.Tooltip(field, title=title, format=".3f")
        if field in {"y:Q", "low:Q", "high:Q"}
        else alt.Tooltip(field, title=title)
        for field, title in fields
    ]


def colour(models: Sequence[str]) -> alt.Color:
    """Return the colour encoding of the models."""
    return alt.Color("model:N", scale=colour_scale(models), legend=alt.Legend(title=None))


def shape(models: Sequence[str]) -> alt.Shape:
    """Return the shape encoding of the models."""
    return alt.Shape("model:N", scale=shape_scale(models), legend=alt.Legend(title=None))


def logarithmic_scale() -> alt.Scale:
    """Return a logarithmic scale from the lowest to the highest value, with room for names."""
    return alt.Scale(type="log", padding=24, nice=False)


def integer_axis(last: int) -> alt.Axis:
    """Return an axis with ticks at whole numbers, few enough to be readable."""
    step = next(step for step in (1, 2, 4, 6, 12, 24, 48, max(last, 1)) if last / step <= 12)
    return alt.Axis(values=list(range(0, last + 1, step)), format="d", grid=False)


def spec(chart: alt.Chart, height: str) -> Spec:
    """Return the chart as JSON, as wide as its container."""
    return _unsized(chart) | _size(height)


def layered(charts: Sequence[alt.Chart], height: str) -> Spec:
    """Return charts on top of each other as JSON, first at the back.

    `altair.layer` is not used: it copies every chart several times, which takes half the time of a page.
    """
    layers, common, datasets = list[Spec](), _size(height), Spec()
    for chart in charts:
        layer = _unsized(chart)
        datasets |= layer.pop("datasets", {})
        common |= {name: layer.pop(name) for name in ("$schema", "config") if name in layer}
        layers.append(layer)
    return common | {"layer": layers} | ({"datasets": datasets} if datasets else {})


def _unsized(chart: alt.Chart) -> Spec:
    """Return the chart as JSON, without its size.

    The chart is not checked against the schema of Vega-Lite here, because the check takes longer than the rest of a
    page. A test checks it.
    """
    drawn = chart.to_dict(validate=False)
    datasets = {name: list(rows) for name, rows in drawn.get("datasets", {}).items()}
    return drawn | ({"datasets": datasets} if datasets else {})


def _size(height: str) -> Spec:
    return {"width": "container", "height": HEIGHTS_PX[height]}
