"""Converts data frames to CSV, Markdown and LaTeX. Names are escaped, so that they remain plain text in each format."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isnan
from typing import TYPE_CHECKING, Any

from voxrank._support.words import MINUS, NONE, percent
from voxrank.errors import one_line

if TYPE_CHECKING:
    import pandas as pd

FORMULA_SIGNS = ("=", "+", "-", "@")
"""First characters of a cell that a spreadsheet may execute."""

LOW, HIGH = "_low", "_high"
"""Suffixes of the columns of an interval, after the name of their value."""

HEADINGS = {"model": "Model", "layer": "Layer", "name": "Name", "dim": "Dim"}
"""Column → its heading, in tables for people."""

LEFT = ("Model", "Name")
"""Headings of text columns; the other columns are aligned to the right."""

_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>~$#]|&(?=[#\w])|:(?=//)|(?<=www)\.")
_REFERENCES = re.compile(r"[@#](?=[^\W_])")
"""Mentions and references, which GitHub links even if escaped; a zero-width space separates them."""
_LIGATURES = re.compile(r"([-,])(?=\1)")
"""Characters that LaTeX joins: two hyphens become a dash, two commas a quotation mark."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # at the start of a row, "[" is an argument of the command that ends the previous row
    "*": "{*}",
    "–": r"\textendash{}",
    MINUS: "$-$",
}


def csv_text(table: pd.DataFrame) -> str:
    """Return CSV with a header line, safe to open in a spreadsheet."""
    return for_spreadsheets(table).to_csv(index=False, lineterminator="\n")


def for_spreadsheets(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy in which each text is one line and not a formula for a spreadsheet; numbers are unchanged."""
    return table.map(_escape_formula).rename(columns=_escape_formula)


def _escape_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = one_line(cell)  # a carriage return would begin a row
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def markdown(table: pd.DataFrame) -> str:
    """Return a Markdown table for people: rounded numbers, the interval of the first score, and shared ranks for ties.

    CommonMark does not include tables; GitHub, the Hugging Face hub and Jupyter support them.
    """
    headings, *rows = [[markdown_escaped(cell) for cell in row] for row in readable(table)]
    rules = ["---:" if right else "---" for right in _right_aligned(table)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [headings, rules, *rows])


def markdown_escaped(text: str) -> str:
    r"""Escape text, so that Markdown, and HTML in it, show it unchanged.

    Example:
        >>> print(markdown_escaped("a_b <script>"))
        a\_b \<script\>
    """
    escaped = _MARKDOWN.sub(r"\\\g<0>", one_line(text))
    return _REFERENCES.sub(r"\g<0>&#8203;", escaped).replace("|", "&#124;")


def latex(table: pd.DataFrame) -> str:
    """Return a LaTeX `tabular` for people, as `markdown` does; its rules need the package booktabs."""
    headings, *rows = [" & ".join(map(latex_escaped, row)) + r" \\" for row in readable(table)]
    columns = "".join("r" if right else "l" for right in _right_aligned(table))
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        headings,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def latex_escaped(text: str) -> str:
    r"""Escape text, so that LaTeX prints it unchanged, in a font that has its letters.

    Example:
        >>> print(latex_escaped("50 % of a_b"))
        50 \% of a\_b
    """
    escaped = "".join(_LATEX.get(character, character) for character in one_line(text))
    return _LIGATURES.sub(r"\1{}", escaped)


def scores_of(table: pd.DataFrame) -> list[str]:
    """Return the columns that are scores, which have the columns of an interval."""
    return [name for name in table.columns if {f"{name}{LOW}", f"{name}{HIGH}"} <= set(table.columns)]


def readable(table: pd.DataFrame) -> list[list[str]]:
    """Return a table for people: headings, then the cells of each row, without escapes."""
    columns = _columns(table)
    rows: list[Any] = table.to_dict("records")
    return [list(columns), *([cell(row) for cell in columns.values()] for row in rows)]


def _right_aligned(table: pd.DataFrame) -> list[bool]:
    return [heading not in LEFT for heading in _columns(table)]


def _columns(table: pd.DataFrame) -> dict[str, Callable[[dict[str, Any]], str]]:
    """Return a function for each heading that formats a cell from a row."""
    cells: dict[str, Callable[[dict[str, Any]], str]] = {}
    if "tied_from" in table.columns:
        cells["Rank"] = lambda row: ranks(row["tied_from"], row["tied_to"])
    for name, heading in HEADINGS.items():
        if name in table.columns:
            cells[heading] = lambda row, name=name: str(row[name])  # type: ignore[misc]
    for index, score in enumerate(scores_of(table)):
        cells[score] = lambda row, score=score: number(row[score])  # type: ignore[misc]
        if index == 0:
            cells["95 % interval"] = lambda row, score=score: interval(row[score + LOW], row[score + HIGH])  # type: ignore[misc]
    if "probability_best" in table.columns:
        cells["Best in"] = lambda row: percent(row["probability_best"], missing=NONE)
    if "parameters" in table.columns:
        cells["Parameters"] = lambda row: f"{row['parameters']:,}"
    return cells


def ranks(first: int, last: int) -> str:
    """Format a rank, or the first and the last rank of tied models."""
    return str(first) if first == last else f"{first}–{last}"


def number(value: float) -> str:
    """Format a score, with a true minus sign."""
    return f"{value:.4f}".replace("-", MINUS)


def interval(low: float | None, high: float | None) -> str:
    """Format the ends of an interval."""
    if low is None or high is None or isnan(low) or isnan(high):  # data frames write None as NaN
        return NONE
    return f"{number(low)} to {number(high)}"
