"""Converts tables to CSV, Markdown, LaTeX and Parquet. Names are escaped, so that they remain plain text.

A table is a sequence of rows, and a row a dict of column → cell. Cells without a value are None.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxrank._support.files import replacing
from voxrank._support.packages import require
from voxrank._support.words import MINUS, NONE, percent
from voxrank.errors import OptionError, one_line

if TYPE_CHECKING:
    import pandas as pd

Rows = Sequence[Mapping[str, Any]]

FORMULA_SIGNS = ("=", "+", "-", "@")
"""First characters of a cell that a spreadsheet may execute."""

LOW, HIGH = "_low", "_high"
"""Suffixes of the columns of an interval, after the name of their value."""

HEADINGS = {"model": "Model", "layer": "Layer", "name": "Name", "dim": "Dim"}
"""Column → its heading, in tables for people."""

LEFT = ("Model", "Name")
"""Headings of text columns; the other columns are aligned to the right."""

PARQUET_KEY = "voxrank"
"""Key of the metadata of Parquet files, whose value is a JSON object."""

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


def frame(rows: Rows, what: str) -> pd.DataFrame:
    """Return rows as a data frame.

    Args:
        rows: the rows.
        what: feature that needs pandas, for the message.

    Raises:
        OptionError: pandas is not installed.
    """
    require("table", what)
    import pandas as pd

    return pd.DataFrame(list(rows))


def columns_of(table: Rows) -> list[str]:
    """Return the columns of all rows, in order of their first appearance."""
    return list(dict.fromkeys(name for row in table for name in row))


def csv_text(table: Rows) -> str:
    """Return CSV with a header line, safe to open in a spreadsheet: texts are one line each, and no formulas."""
    columns = columns_of(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_spreadsheet_cell, columns))
    writer.writerows([_spreadsheet_cell(row.get(name)) for name in columns] for row in table)
    return text.getvalue()


def _spreadsheet_cell(cell: Any) -> Any:
    """Return a text as one line that is no formula, NaN as an empty cell, and other cells unchanged."""
    if isinstance(cell, float) and isnan(cell):
        return None
    if not isinstance(cell, str):
        return cell
    text = one_line(cell)  # a carriage return would begin a row
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def markdown(table: Rows) -> str:
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


def latex(table: Rows) -> str:
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


def scores_of(table: Rows) -> list[str]:
    """Return the columns that are scores, which have the columns of an interval."""
    columns = columns_of(table)
    return [name for name in columns if {f"{name}{LOW}", f"{name}{HIGH}"} <= set(columns)]


def readable(table: Rows) -> list[list[str]]:
    """Return a table for people: headings, then the cells of each row, without escapes."""
    columns = _columns(table)
    return [list(columns), *([cell(row) for cell in columns.values()] for row in table)]


def _right_aligned(table: Rows) -> list[bool]:
    return [heading not in LEFT for heading in _columns(table)]


def _columns(table: Rows) -> dict[str, Callable[[Mapping[str, Any]], str]]:
    """Return a function for each heading that formats a cell from a row."""
    columns = columns_of(table)
    cells: dict[str, Callable[[Mapping[str, Any]], str]] = {}
    if "tied_from" in columns:
        cells["Rank"] = lambda row: ranks(row["tied_from"], row["tied_to"])
    for name, heading in HEADINGS.items():
        if name in columns:
            cells[heading] = lambda row, name=name: str(row[name])  # type: ignore[misc]
    for index, score in enumerate(scores_of(table)):
        cells[score] = lambda row, score=score: number(row[score])  # type: ignore[misc]
        if index == 0:
            cells["95 % interval"] = lambda row, score=score: interval(row[score + LOW], row[score + HIGH])  # type: ignore[misc]
    if "probability_best" in columns:
        cells["Best in"] = lambda row: percent(row["probability_best"], missing=NONE)
    if "parameters" in columns:
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
    if low is None or high is None or isnan(low) or isnan(high):
        return NONE
    return f"{number(low)} to {number(high)}"


def write_parquet(table: Rows, path: str | os.PathLike[str], about: dict[str, Any]) -> None:
    """Write a table into a Parquet file, completely or not at all.

    The column `layer` contains the index of a layer. It is empty for joint layers, whose names are in the column
    `joint`. Each column therefore has a single type for every ranking.

    Args:
        table: the table.
        path: path of the file.
        about: metadata, stored as JSON under "voxrank".

    Raises:
        OptionError: the extra `parquet` is not installed, or the file cannot be written.
    """
    require("parquet", "Parquet")
    import pyarrow as pa
    from pyarrow import parquet

    arrow_table = pa.Table.from_pandas(_with_joint_column(frame(table, "Parquet")), preserve_index=False)
    metadata = {
        **(arrow_table.schema.metadata or {}),
        PARQUET_KEY.encode(): json.dumps(about, ensure_ascii=False).encode(),
    }
    try:
        with replacing(Path(path)) as temporary:
            parquet.write_table(arrow_table.replace_schema_metadata(metadata), temporary)
    except OSError as error:
        raise OptionError(
            f"expected a file that can be written at {path}, got: {error.strerror or error}; choose another"
        ) from error


def _with_joint_column(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy with whole numbers in `layer`, and names of joint layers in `joint`."""
    import pandas as pd

    indices = [None if isinstance(layer, str) else layer for layer in table["layer"]]
    joint = [layer if isinstance(layer, str) else None for layer in table["layer"]]
    split = table.assign(layer=pd.Series(indices, dtype="Int64", index=table.index))
    split.insert(list(split.columns).index("layer") + 1, "joint", pd.Series(joint, dtype="str", index=table.index))
    untyped = [name for name in split.columns if split[name].dtype == object]  # columns of intervals without values
    return split.astype(dict.fromkeys(untyped, "float64"))
