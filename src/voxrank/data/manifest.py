"""CSV, TSV and JSONL manifests."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from voxrank.data.columns import assembled
from voxrank.data.rows import PATH_COLUMNS, TASK_COLUMNS, Request, Row, build_dataset
from voxrank.data.tables import MAX_LINE, TOO_LONG, Lines, TableRow, read_header, table_form, table_rows, text_lines
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError

NEMO = "NeMo manifest"


def read_table(path: Path, request: Request) -> Dataset:
    """Read a CSV or TSV manifest with a header line. Errors as `read_dataset`."""
    header, lines = read_lines(path)
    rows = [Row(_where(line), dict(zip(header, line.cells or (), strict=False))) for line in lines if _is_filled(line)]
    skipped = [Skipped(f"{path.name}, {_where(line)}", line.reason) for line in lines if line.cells is None]
    dataset = build_dataset(path, header, rows, skipped, request)
    notes = (*dataset.notes, *_line_notes(lines, len(header)))
    return replace(dataset, format=path.suffix[1:].upper(), notes=notes)


def read_lines(path: Path) -> tuple[list[str], list[TableRow]]:
    """Return the header of a CSV or TSV file and all rows behind it, those without cells too.

    Raises:
        DataError: the file has no header.
        OSError, UnicodeDecodeError: the file cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = Lines(text_lines(file))
        header = read_header(path, lines)
        column = next((name for name in PATH_COLUMNS if name in header), None)
        return header, [_checked(row, len(header)) for row in table_rows(lines, table_form(path, header, column))]


def _checked(row: TableRow, columns: int) -> TableRow:
    """Return a row without cells, and with the reason, where it has more cells than there are columns."""
    if row.cells is None or len(row.cells) <= columns or not any(cell.strip() for cell in row.cells):
        return row
    reason = f"expected {columns} cells as in the header, got {len(row.cells)}; quote cells that hold the delimiter"
    return replace(row, cells=None, reason=reason)


def _where(row: TableRow) -> str:
    return f"line {row.first}"


def _is_filled(row: TableRow) -> bool:
    return row.cells is not None and any(cell.strip() for cell in row.cells)


def _line_notes(lines: Sequence[TableRow], columns: int) -> list[str]:
    """Return notes on rows that are not one line with a cell for each column."""
    notes = []
    long = [row for row in lines if row.last > row.first and _is_filled(row)]
    if long:
        first = long[0]
        count = first.last - first.first + 1
        notes.append(
            f"{_rows(len(long))} with a cell that spans lines; the first: lines {first.first} to {first.last} "
            f"({count} lines)"
        )
    short = [row for row in lines if _is_filled(row) and len(row.cells or ()) < columns]
    if short:
        notes.append(f"{_rows(len(short))} with fewer cells than the header has; the first: {_where(short[0])}")
    empty = [row for row in lines if row.cells and len(row.cells) > 1 and not _is_filled(row)]
    if empty:
        notes.append(f"{_rows(len(empty))} without any content, passed over; the first: {_where(empty[0])}")
    return notes


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def read_json_lines(path: Path, request: Request) -> Dataset:
    """Read a manifest with one JSON object a line. Errors as `read_dataset`."""
    found = list(json_rows(path))
    rows, skipped = [x for x in found if isinstance(x, Row)], [x for x in found if isinstance(x, Skipped)]
    columns = list(dict.fromkeys(name for row in rows for name in row.columns))
    if not rows:
        first = f"; {skipped[0].utterance}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{path}: expected one JSON object a line, found none{first}")
    if "audio_filepath" in columns:
        return assembled(path, rows, skipped, _own_first(request, columns), NEMO)
    return replace(build_dataset(path, columns, rows, skipped, request), format="JSON lines")


def _own_first(request: Request, columns: list[str]) -> Request:
    """The same request, for the manifest's own column where it has one: no ``category`` comes before its ``text``."""
    if request.target is not None or request.segments is not None:
        return request
    return replace(request, target=next((name for name in TASK_COLUMNS if name in columns), None))


def open_text(path: Path) -> TextIO:
    """A text in UTF-8, perhaps compressed by gzip."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def first_object(path: Path) -> dict[str, Any]:
    """The first line of a file as a JSON object; empty where it is none, or cannot be read."""
    try:
        with open_text(path) as file:
            content = json.loads(file.readline(MAX_LINE))
    except (OSError, EOFError, ValueError, RecursionError, zlib.error):
        return {}
    return content if isinstance(content, dict) else {}


def json_rows(path: Path) -> Iterator[Row | Skipped]:
    """The objects of a file, one a line."""
    with open_text(path) as file:
        yield from _json_rows(path, file)


def _json_rows(path: Path, file: TextIO) -> Iterator[Row | Skipped]:
    for line in text_lines(file):
        where = f"line {line.number}"
        if line.text is None:
            yield Skipped(f"{path.name}, {where}", TOO_LONG)
        elif line.text.strip():
            yield _json_row(path, where, line.text)


def _json_row(path: Path, where: str, text: str) -> Row | Skipped:
    try:
        content = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError):
        return Skipped(f"{path.name}, {where}", "expected a JSON object, got text that is not JSON")
    if isinstance(content, dict):
        return Row(where, content)
    return Skipped(f"{path.name}, {where}", f"expected a JSON object, got {type(content).__name__}")


def _constant(name: str) -> float | None:
    """Python writes a missing value as NaN, which JSON has not."""
    return None if name == "NaN" else float(name)
