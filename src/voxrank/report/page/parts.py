"""What the page is made of: plain data that the template turns into HTML, and that knows none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""Of a Vega-Lite chart."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        sort: what its column is sorted by; None: the cell is empty, and goes last whichever way.
        number: whether it stands at the right.
        span: low end, value and high end of a score, in percent of what the column spans, to draw beside the text.
        detail: small print under the text.
    """

    text: str
    sort: float | str | None = None
    number: bool = False
    span: tuple[float, float, float] | None = None
    detail: str = ""

    @property
    def key(self) -> str:
        """What scripts sort it by; empty: last."""
        if self.sort is None:
            return ""
        return self.sort if isinstance(self.sort, str) else "Infinity" if self.sort == math.inf else f"{self.sort:.9g}"


@dataclass(frozen=True)
class Table:
    """A table with headings; the cells of its column `header` name the rows.

    Attributes:
        caption: what it shows, in a sentence.
        headings: of the columns.
        rows: of cells, one for each heading.
        sortable: whether headings are buttons.
        sorted_by: column that the rows are in order of, and whether that ascends.
        header: which column names the rows.
        marked: rows to stress, from 0.
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
        id: unique on the page.
        spec: what Vega-Lite draws.
        says: what it shows, in a sentence: its caption and its name for those who do not see it.
        table: the same data.
        title: a heading of its own; empty: that of its part will do.
        tall: how high, as a class of the style sheet: "small", "medium" or "large"; "square" is not as wide.
    """

    id: str
    spec: Spec
    says: str
    table: Table | None = None
    title: str = ""
    tall: str = "medium"


@dataclass(frozen=True)
class Folded:
    """A table behind a line that opens it."""

    summary: str
    table: Table


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Attributes:
        id: of the section, for links.
        title: its heading.
        short: the same in the list of contents.
        says: paragraphs.
        tables: in sight.
        charts: drawn behind the tables.
        beside: whether charts may stand beside each other.
        folded: tables that are opened on demand, at the end.
        facts: terms with what they are.
        code: a command line.
    """

    id: str
    title: str
    short: str
    says: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    beside: bool = False
    folded: tuple[Folded, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    code: str = ""


def text_cell(text: object, detail: str = "") -> Cell:
    """A cell of words, sorted as they are spelled."""
    shown = str(text)
    return Cell(shown, shown.casefold(), detail=detail)


def number_cell(value: float | None, text: str) -> Cell:
    """A cell of a figure; a dash where there is none."""
    return Cell("–", None, number=True) if value is None else Cell(text, float(value), number=True)


def rows_of(cells: Iterable[Sequence[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows as a table holds them."""
    return tuple(tuple(row) for row in cells)
