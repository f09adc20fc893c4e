"""Scores of layers as curves: drawn with matplotlib, and as small pictures in SVG."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from voxrank.errors import OptionError, one_line
from voxrank.exports.tables import HIGH, LOW

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BAND_OPACITY = 0.15
DOTS_PER_INCH = 150

WIDTH, HEIGHT, MARGIN = 120, 28, 4
"""Of small pictures, in pixels."""


@dataclass(frozen=True)
class Curve:
    """A score over the layers of a model.

    Attributes:
        model: the spec.
        layers: in order; several together ("mean", "concat") behind the others.
        values: of the score.
        low, high: ends of the intervals; None where there are none.
        best: place of the best layer.
    """

    model: str
    layers: tuple[int | str, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    best: int


def curves(layers: pd.DataFrame, score: str, models: Sequence[str], *, higher_is_better: bool) -> list[Curve]:
    """A curve for each model.

    Args:
        layers: one row for each, in any order.
        score: a column.
        models: in the order wanted.
        higher_is_better: of the score.
    """
    return [_curve(layers[layers["model"] == model], score, model, higher_is_better) for model in models]


def _curve(own: pd.DataFrame, score: str, model: str, higher_is_better: bool) -> Curve:  # noqa: FBT001
    order = sorted(range(len(own)), key=lambda row: _place(own["layer"].iloc[row]))
    rows = own.iloc[order]
    values = tuple(map(float, rows[score]))
    low, high = (tuple(map(float, rows[score + end].astype(float))) for end in (LOW, HIGH))
    known = all(value == value for value in (*low, *high))
    best = values.index((max if higher_is_better else min)(values))
    return Curve(model, tuple(rows["layer"]), values, low if known else None, high if known else None, best)


def _place(layer: int | str) -> tuple[bool, int, str]:
    return (True, 0, layer) if isinstance(layer, str) else (False, layer, "")


def draw(found: Sequence[Curve], score: str, ax: Axes | None = None, *, higher_is_better: bool = True) -> Axes:
    """Draw curves: their intervals as bands, the best layer of each as a dot.

    Args:
        found: the curves.
        score: its name.
        ax: to draw on; None: a figure of its own, which notebooks show and pyplot does not know.
        higher_is_better: of the score.

    Returns:
        The axes; `.figure.savefig("layers.svg")` writes them.

    Raises:
        OptionError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise OptionError("plot() needs the extra plot; run: pip install 'voxrank[plot]'")
    axes: Any = _own_axes() if ax is None else ax
    names = _positions(found)
    for curve in found:
        places = [names[layer] for layer in curve.layers]
        indices = sum(not isinstance(layer, str) for layer in curve.layers)  # layers together are no step of a line
        (line,) = axes.plot(places[:indices], curve.values[:indices], marker=".", label=_escaped(curve.model))
        colour = line.get_color()
        axes.plot(places[indices:], curve.values[indices:], ".", color=colour)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(
                places[:indices], curve.low[:indices], curve.high[:indices], color=colour, alpha=BAND_OPACITY, lw=0
            )
        axes.plot(places[curve.best], curve.values[curve.best], "o", color=colour, markersize=9, fillstyle="none")
    _label(axes, names, _escaped(score) + ("" if higher_is_better else " (lower is better)"))
    return axes  # type: ignore[no-any-return]


def _label(axes: Any, names: dict[int | str, int], score: str) -> None:
    axes.set_xlabel("layer")
    axes.set_ylabel(score)
    axes.legend(title="best layer circled", fontsize="small", title_fontsize="small")
    if any(isinstance(name, str) for name in names):
        axes.set_xticks(list(names.values()), list(map(str, names)))
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)


def _positions(found: Sequence[Curve]) -> dict[int | str, int]:
    """Layer → where it is on the axis: layers together come behind the last one of any model."""
    layers = sorted({layer for curve in found for layer in curve.layers}, key=_place)
    behind = max((layer for layer in layers if not isinstance(layer, str)), default=-1)
    together = [layer for layer in layers if isinstance(layer, str)]
    return {layer: layer for layer in layers if not isinstance(layer, str)} | {
        layer: behind + place for place, layer in enumerate(together, start=1)
    }


def _own_axes() -> Any:
    """Axes of a figure that pyplot does not know, so that nothing global changes and no display is needed."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    class ShownAxes(Axes):
        """Axes that a notebook shows as a picture."""

        def _repr_png_(self) -> bytes:
            picture = BytesIO()
            with warnings.catch_warnings(action="ignore"):  # of letters that its font lacks
                figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
            return picture.getvalue()

    figure = Figure(figsize=(7, 4), layout="constrained")
    return figure.add_subplot(axes_class=ShownAxes)


def _escaped(name: str) -> str:
    """A name that matplotlib takes for no formula, and does not leave out of a legend for its first character."""
    text = one_line(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def sparkline(curve: Curve) -> str:
    """A curve as SVG to be put into a page, in the colour of the text around it; names are not in it."""
    low, high = min(curve.values), max(curve.values)
    reach, steps = high - low or 1.0, max(1, len(curve.values) - 1)
    points = [
        (MARGIN + place / steps * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - (value - low) / reach * (HEIGHT - 2 * MARGIN))
        for place, value in enumerate(curve.values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[curve.best]
    said = f"{len(points)} layers, from {low:.4f} to {high:.4f}"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">'
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="currentColor"/></svg>'
    )
