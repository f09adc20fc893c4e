"""HTML of a ranking for notebooks, light or dark, without scripts, style sheets or external files."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from voxrank.errors import one_line
from voxrank.exports.curves import Curve, sparkline
from voxrank.exports.tables import LEFT, Rows, readable

CELL = "padding:2px 10px;text-align:{}"
"""Style of a cell; colours are those of the notebook."""


def html(models: Rows, curves: Sequence[Curve], verdict: str, about: str) -> str:
    """Return a table of the models with small curves of their layers, the verdict and a line about the data.

    Args:
        models: table with one row per model, best first.
        curves: curve of each model, in the same order.
        verdict: one sentence.
        about: description of the data, in one line.
    """
    headings, *rows = readable(models)
    sides = ["left" if heading in LEFT else "right" for heading in headings]
    head = "".join(_cell("th", side, heading) for side, heading in zip(sides, headings, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell('td', side, cell) for side, cell in zip(sides, row, strict=True))}"
        f'<td style="{CELL.format("left")}">{sparkline(curve)}</td></tr>'
        for row, curve in zip(rows, curves, strict=True)
    )
    return (
        f'<div><p style="margin:4px 0">{_text(verdict)}</p><table style="border-collapse:collapse;color:inherit">'
        f"<thead><tr>{head}{_cell('th', 'left', 'Layers')}</tr></thead><tbody>{body}</tbody></table>"
        f'<p style="margin:4px 0;opacity:0.7">{_text(about)}</p></div>'
    )


def _cell(tag: str, side: str, text: str) -> str:
    return f'<{tag} style="{CELL.format(side)}">{_text(text)}</{tag}>'


def _text(text: str) -> str:
    return escape(one_line(text))
