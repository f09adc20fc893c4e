"""Elements of the page as plain data, without HTML; the template renders them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""Spec of a Vega-Lite chart."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: text of the cell.
        sort: sort key; None: the cell is empty and is last in either direction.
        number: whether the cell is aligned to the right.
        span: low end, value and high end of a score, in percent of the column's range, drawn beside the text.
        detail: small print under the text.
    """

    text: str
    sort: float | str | None = None
    number: bool = False
    span: tuple[float, float, float] | None = None
    detail: str = ""

    @property
    def key(self) -> str:
        """Sort key for the script; empty if the cell is sorted last."""
        if self.sort is None:
            return ""
        return self.sort if isinstance(self.sort, str) else "Infinity" if self.sort == math.inf else f"{self.sort:.9g}"


@dataclass(frozen=True)
class Table:
    """A table with headings; the cells of the column `header` name the rows.

    Attributes:
        caption: caption, in a sentence.
        headings: headings of the columns.
        rows: rows of cells, one for each heading.
        sortable: whether headings are buttons.
        sorted_by: column by which the rows are sorted, and whether the order is ascending.
        header: index of the column that names the rows.
        marked: indices of highlighted rows.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = True
    sorted_by: tuple[int, bool] | None = None
    header: int = 0
    marked: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart with its text alternative.

    Attributes:
        id: identifier, unique on the page.
        spec: Vega-Lite spec.
        caption: description in a sentence, used as the caption and as the name for screen readers.
        table: the same data as a table.
        title: heading; empty: the heading of the section applies.
        height: height, as a class of the style sheet: "small", "medium" or "large"; "square" is narrower.
    """

    id: str
    spec: Spec
    caption: str
    table: Table | None = None
    title: str = ""
    height: str = "medium"


@dataclass(frozen=True)
class Folded:
    """A table that a summary line opens."""

    summary: str
    table: Table


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Attributes:
        id: identifier of the section, for links.
        title: heading.
        short: heading in the table of contents.
        paragraphs: text before the tables.
        tables: visible tables.
        charts: charts, after the tables.
        beside: whether charts may stand side by side.
        folded: tables that are opened on demand, at the end.
        facts: terms with their values.
        code: a command line.
    """

    id: str
    title: str
    short: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    beside: bool = False
    folded: tuple[Folded, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    code: str = ""


def text_cell(text: object, detail: str = "") -> Cell:
    """Return a cell of text, sorted alphabetically without regard to case."""
    shown = str(text)
    return Cell(shown, shown.casefold(), detail=detail)


def number_cell(value: float | None, text: str) -> Cell:
    """Return a cell of a number; a dash if there is none."""
    return Cell("–", None, number=True) if value is None else Cell(text, float(value), number=True)


def rows_of(cells: Iterable[Sequence[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """Return rows as tuples, as a table stores them."""
    return tuple(tuple(row) for row in cells)
