"""Curves of scores over layers, drawn with matplotlib or as small pictures in SVG."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from voxrank._support.packages import require
from voxrank.errors import one_line
from voxrank.exports.tables import HIGH, LOW, Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND_OPACITY = 0.15
DOTS_PER_INCH = 150

WIDTH, HEIGHT, MARGIN = 120, 28, 4
"""Size of small pictures, in pixels."""


@dataclass(frozen=True)
class Curve:
    """The scores of one model over its layers.

    Attributes:
        model: the spec.
        layers: layers in order; joint layers ("mean", "concat") after the others.
        values: values of the score.
        low, high: ends of the intervals; None without intervals.
        best: index of the best layer in `layers`.
    """

    model: str
    layers: tuple[int | str, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    best: int


def curves(layers: Rows, score: str, models: Sequence[str], *, higher_is_better: bool) -> list[Curve]:
    """Return a curve for each model.

    Args:
        layers: table with one row per layer, in any order.
        score: name of a column.
        models: models in the desired order.
        higher_is_better: direction of the score.
    """
    return [
        _curve([row for row in layers if row["model"] == model], score, model, higher_is_better) for model in models
    ]


def _curve(layers: Rows, score: str, model: str, higher_is_better: bool) -> Curve:  # noqa: FBT001
    rows = sorted(layers, key=lambda row: _layer_key(row["layer"]))
    values = tuple(row[score] for row in rows)
    low, high = (tuple(row[score + end] for row in rows) for end in (LOW, HIGH))
    known = all(value is not None and value == value for value in (*low, *high))
    best = values.index((max if higher_is_better else min)(values))
    layer_names = tuple(row["layer"] for row in rows)
    return Curve(model, layer_names, values, low if known else None, high if known else None, best)


def _layer_key(layer: int | str) -> tuple[bool, int, str]:
    return (True, 0, layer) if isinstance(layer, str) else (False, layer, "")


def draw(curves: Sequence[Curve], score: str, ax: Axes | None = None, *, higher_is_better: bool = True) -> Axes:
    """Draw curves, with their intervals as bands and the best layer of each as a dot.

    Args:
        curves: the curves.
        score: name of the score.
        ax: axes to draw on; None: axes of a new figure, which notebooks show and pyplot does not register.
        higher_is_better: direction of the score.

    Returns:
        The axes; `.figure.savefig("layers.svg")` writes them.

    Raises:
        OptionError: the extra `plot` is not installed.
    """
    require("plot", "plot()")
    axes: Any = _new_axes() if ax is None else ax
    positions = _positions(curves)
    for curve in curves:
        x = [positions[layer] for layer in curve.layers]
        indices = sum(not isinstance(layer, str) for layer in curve.layers)  # lines do not connect joint layers
        (line,) = axes.plot(x[:indices], curve.values[:indices], marker=".", label=_escaped(curve.model))
        colour = line.get_color()
        axes.plot(x[indices:], curve.values[indices:], ".", color=colour)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(
                x[:indices], curve.low[:indices], curve.high[:indices], color=colour, alpha=BAND_OPACITY, lw=0
            )
        axes.plot(x[curve.best], curve.values[curve.best], "o", color=colour, markersize=9, fillstyle="none")
    _label_axes(axes, positions, _escaped(score) + ("" if higher_is_better else " (lower is better)"))
    return axes  # type: ignore[no-any-return]


def _label_axes(axes: Any, positions: dict[int | str, int], score: str) -> None:
    axes.set_xlabel("layer")
    axes.set_ylabel(score)
    axes.legend(title="best layer by this score circled", fontsize="small", title_fontsize="small")
    if any(isinstance(layer, str) for layer in positions):
        axes.set_xticks(list(positions.values()), list(map(str, positions)))
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)


def _positions(curves: Sequence[Curve]) -> dict[int | str, int]:
    """Return the position of each layer on the axis; joint layers come after the last layer of any model."""
    layers = sorted({layer for curve in curves for layer in curve.layers}, key=_layer_key)
    last = max((layer for layer in layers if not isinstance(layer, str)), default=-1)
    joint = [layer for layer in layers if isinstance(layer, str)]
    return {layer: layer for layer in layers if not isinstance(layer, str)} | {
        layer: last + offset for offset, layer in enumerate(joint, start=1)
    }


def _new_axes() -> Any:
    """Return axes of a figure outside pyplot, so that no global state changes and no display is needed."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    class ShownAxes(Axes):
        """Axes that a notebook shows as a picture."""

        def _repr_png_(self) -> bytes:
            picture = BytesIO()
            with warnings.catch_warnings(action="ignore"):  # about glyphs missing from the font
                figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
            return picture.getvalue()

    figure = Figure(figsize=(7, 4), layout="constrained")
    return figure.add_subplot(axes_class=ShownAxes)


def _escaped(name: str) -> str:
    """Return a name that matplotlib neither reads as a formula nor hides from a legend because of a leading "_"."""
    text = one_line(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def sparkline(curve: Curve) -> str:
    """Return a curve as SVG in the colour of the surrounding text; the SVG contains no names."""
    low, high = min(curve.values), max(curve.values)
    span, steps = high - low or 1.0, max(1, len(curve.values) - 1)
    points = [
        (MARGIN + index / steps * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN))
        for index, value in enumerate(curve.values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[curve.best]
    description = f"{len(points)} layers, from {low:.4f} to {high:.4f}"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{description}">'
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="currentColor"/></svg>'
    )
