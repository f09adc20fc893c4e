"""Readers of CSV, TSV and JSONL manifests."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from voxrank._support.words import count
from voxrank.data.columns import assembled
from voxrank.data.rows import PATH_COLUMNS, TASK_COLUMNS, Request, Row, build_dataset
from voxrank.data.tables import (
    DELIMITERS,
    MAX_LINE,
    TOO_LONG,
    Lines,
    TableRow,
    find_delimiter,
    read_header,
    table_form,
    table_rows,
    text_lines,
)
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError

NEMO = "NeMo manifest"
LINES = (".jsonl", ".ndjson", ".jsonl.gz")
"""Endings of manifests with one JSON object a line; manifests of NeMo end in .json."""
SHARED_CELLS = 1 << 16
"""Maximum number of different cells that are compared with new ones, so that equal cells are in memory once."""


def read_table(path: Path, request: Request) -> Dataset:
    """Read a CSV or TSV manifest with a header line. Errors as `read_dataset`."""
    delimiter = find_delimiter(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = Lines(text_lines(file))
        header = read_header(path, lines, delimiter)
        audio = next((name for name in PATH_COLUMNS if name in header), None)
        table = _Table(path.name, header)
        rows = request.watched(table.read(table_rows(lines, table_form(path, delimiter, header, audio))), "rows")
        dataset = build_dataset(path, header, rows, table.skipped, request)
    usual = DELIMITERS[path.suffix.lower()]
    notes = (
        () if delimiter == usual else (f"the cells of {path.name} are separated by {delimiter!r}, not by {usual!r}",)
    )
    return replace(dataset, format=path.suffix[1:].upper(), notes=(*notes, *dataset.notes, *table.notes()))


def columns_of(path: Path) -> list[str]:
    """Return the columns of a manifest from its first line alone: a header, or a JSON object.

    The list is empty where this fails, and for other files. Other objects may have further columns.
    """
    try:
        if not path.is_file():
            return []
        if path.suffix.lower() not in DELIMITERS:
            return list(first_object(path)) if path.name.lower().endswith((*LINES, ".json")) else []
        with path.open(encoding="utf-8-sig", newline="") as file:
            return read_header(path, Lines(text_lines(file)), find_delimiter(path))
    except (OSError, ValueError):
        return []


@dataclass
class _Table:
    """The rows of a CSV or TSV file.

    Attributes:
        name: name of the file.
        header: names of the columns.
        skipped: rows that cannot be read.
        remarks: remark → number of rows that it applies to, and the first of them.
    """

    name: str
    header: list[str]
    skipped: list[Skipped] = field(default_factory=list)
    remarks: dict[str, tuple[int, TableRow]] = field(default_factory=dict)
    _cells: dict[str, str] = field(default_factory=dict)

    def read(self, rows: Iterable[TableRow]) -> Iterator[Row]:
        """Yield the rows that can be read; collect those that are skipped, and remarks."""
        for row in rows:
            if (readable := self._readable(row)) is not None:
                yield readable

    def _readable(self, row: TableRow) -> Row | None:
        """Return a row, or None where it is skipped or empty."""
        where, cells, columns = f"line {row.first}", row.cells, len(self.header)
        if cells is None:
            self.skipped.append(Skipped(f"{self.name}, {where}", row.reason))
        elif not any(map(str.strip, cells)):
            if len(cells) > 1:
                self._remark("without any content", row)
        elif len(cells) > columns:
            reason = f"expected {columns} cells as in the header, got {len(cells)}; quote cells that hold the delimiter"
            self.skipped.append(Skipped(f"{self.name}, {where}", reason))
        else:
            if len(cells) < columns:
                self._remark("with fewer cells than the header", row)
            if row.last > row.first:
                self._remark("with a cell that spans lines", row)
            return Row(where, dict(zip(self.header, self._shared(cells), strict=False)))
        return None

    def _shared(self, cells: list[str]) -> Iterable[str]:
        """Return equal cells, the same object for most of those that repeat, such as labels."""
        if len(self._cells) > SHARED_CELLS:
            self._cells.clear()
        return map(self._cells.setdefault, cells, cells)

    def _remark(self, text: str, row: TableRow) -> None:
        times, first = self.remarks.get(text, (0, row))
        self.remarks[text] = (times + 1, first)

    def notes(self) -> list[str]:
        """Return the remarks, one line each."""
        return [
            f"{count(times, 'row')} {text}; the first: {_lines(first)}" for text, (times, first) in self.remarks.items()
        ]


def _lines(row: TableRow) -> str:
    if row.last == row.first:
        return f"line {row.first}"
    return f"lines {row.first} to {row.last} ({row.last - row.first + 1} lines)"


def read_json_lines(path: Path, request: Request) -> Dataset:
    """Read a manifest with one JSON object per line. Errors as `read_dataset`."""
    items = list(request.watched(json_rows(path), "rows"))
    rows = [item for item in items if isinstance(item, Row)]
    skipped = [item for item in items if isinstance(item, Skipped)]
    columns = list(dict.fromkeys(name for row in rows for name in row.columns))
    if not rows:
        first = f"; {skipped[0].utterance}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{path}: expected one JSON object a line, found none{first}")
    if "audio_filepath" in columns:
        return assembled(path, rows, skipped, _prefer_target_column(request, columns), NEMO)
    return replace(build_dataset(path, columns, rows, skipped, request), format="JSON lines")


def _prefer_target_column(request: Request, columns: list[str]) -> Request:
    """Return the request with the manifest's target column where it has one, so that ``category`` never replaces it."""
    if request.target is not None or request.segments is not None:
        return request
    return replace(request, target=next((name for name in TASK_COLUMNS if name in columns), None))


def open_text(path: Path) -> TextIO:
    """Open a UTF-8 text file, which may be compressed by gzip."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def first_object(path: Path) -> dict[str, Any]:
    """Return the first line of a file as a JSON object, or an empty object where this fails."""
    try:
        with open_text(path) as file:
            content = json.loads(file.readline(MAX_LINE))
    except (OSError, EOFError, ValueError, RecursionError, zlib.error):
        return {}
    return content if isinstance(content, dict) else {}


def json_rows(path: Path) -> Iterator[Row | Skipped]:
    """Yield the JSON objects of a file, one per line."""
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
        content = json.loads(text, parse_constant=_parse_constant)
    except (ValueError, RecursionError):
        return Skipped(f"{path.name}, {where}", "expected a JSON object, got text that is not JSON")
    if isinstance(content, dict):
        return Row(where, content)
    return Skipped(f"{path.name}, {where}", f"expected a JSON object, got {type(content).__name__}")


def _parse_constant(name: str) -> float | None:
    """Return None for NaN, which Python writes for a missing value although JSON has no NaN."""
    return None if name == "NaN" else float(name)
