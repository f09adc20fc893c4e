"""Curves of scores over layers, drawn with matplotlib or as small pictures in SVG."""

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


def curves(layers: pd.DataFrame, score: str, models: Sequence[str], *, higher_is_better: bool) -> list[Curve]:
    """Return a curve for each model.

    Args:
        layers: table with one row per layer, in any order.
        score: name of a column.
        models: models in the desired order.
        higher_is_better: direction of the score.
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
    """Draw curves, with their intervals as bands and the best layer of each as a dot.

    Args:
        found: the curves.
        score: name of the score.
        ax: axes to draw on; None: axes of a new figure, which notebooks show and pyplot does not register.
        higher_is_better: direction of the score.

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
        indices = sum(not isinstance(layer, str) for layer in curve.layers)  # lines do not connect joint layers
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
    """Return the position of each layer on the axis; joint layers come after the last layer of any model."""
    layers = sorted({layer for curve in found for layer in curve.layers}, key=_place)
    behind = max((layer for layer in layers if not isinstance(layer, str)), default=-1)
    together = [layer for layer in layers if isinstance(layer, str)]
    return {layer: layer for layer in layers if not isinstance(layer, str)} | {
        layer: behind + place for place, layer in enumerate(together, start=1)
    }


def _own_axes() -> Any:
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
