"""CSV, TSV and JSONL manifests."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from voxrank.data.columns import assembled
from voxrank.data.rows import TASK_COLUMNS, Request, Row, build_dataset
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, shortened

NEMO = "NeMo manifest"
DELIMITERS = {".csv": ",", ".tsv": "\t"}
UNCLOSED = "unexpected end of data"
"""What the csv module says when a quotation mark has swallowed the rest of the file."""
TOO_MUCH = "field larger than field limit"
"""How it begins to say that a cell is too long, which may be because a quotation mark has swallowed many lines."""
MAX_LINE = 1 << 22
"""Characters of a line: half a million segments, and what a machine of any size can hold."""
TOO_LONG = f"expected a line of at most {MAX_LINE:,} characters, got a longer one; part it"


def read_table(path: Path, request: Request) -> Dataset:
    """Read a CSV or TSV manifest with a header line. Errors as `read_dataset`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        text = _Lines(file)
        reader = csv.reader(text, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
        header = _header(path, reader)
        lines = list(_table_rows(path, text, reader, header))
    dataset = build_dataset(path, header, *_sorted_out(lines), request)
    return replace(dataset, format=path.suffix[1:].upper())


class _Lines:
    """The lines of a text, each with its end; one that is too long is passed over as a `_LongLineError`.

    Attributes:
        number: of the line that was given last, from 1.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) < MAX_LINE or line.endswith(("\n", "\r")):
            return line
        while line and not line.endswith(("\n", "\r")):
            line = self._file.readline(MAX_LINE)
        raise _LongLineError(TOO_LONG)


class _LongLineError(Exception):
    """A line is too long to be read."""


def _header(path: Path, reader: Any) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except (csv.Error, _LongLineError) as error:
        raise DataError(f"{path}: expected a header line with column names, got: {error}") from error
    if not any(header):
        raise DataError(f"{path}: expected a header line with column names, got an empty one")
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise DataError(
            f"{path}: expected different column names, got {shortened(twice[0])!r} more than once; rename one"
        )
    return header


def _sorted_out(lines: list[Row | Skipped]) -> tuple[list[Row], list[Skipped]]:
    return [x for x in lines if isinstance(x, Row)], [x for x in lines if isinstance(x, Skipped)]


def _table_rows(path: Path, text: _Lines, reader: Any, header: list[str]) -> Iterator[Row | Skipped]:
    while True:
        first = text.number + 1
        where = f"line {first}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _LongLineError as error:
            yield Skipped(f"{path.name}, line {text.number}", str(error))
            continue
        except csv.Error as error:
            if str(error) == UNCLOSED or (str(error).startswith(TOO_MUCH) and text.number > first):
                raise DataError(f'{path}, {where}: a cell opens with " and nothing closes it; close it') from error
            yield Skipped(f"{path.name}, {where}", f"expected plain cells, or cells in closed quotes, got: {error}")
            continue
        if len(cells) > len(header):
            yield Skipped(
                f"{path.name}, {where}",
                f"expected {len(header)} cells as in the header, got {len(cells)}; quote cells that hold the delimiter",
            )
        elif any(cell.strip() for cell in cells):
            yield Row(where, dict(zip(header, cells, strict=False)))


def read_json_lines(path: Path, request: Request) -> Dataset:
    """Read a manifest with one JSON object a line. Errors as `read_dataset`."""
    rows, skipped = _sorted_out(list(json_rows(path)))
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
    lines = _Lines(file)
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except _LongLineError as error:
            yield Skipped(f"{path.name}, line {lines.number}", str(error))
            continue
        where = f"line {lines.number}"
        if not line.strip():
            continue
        try:
            content = json.loads(line, parse_constant=_constant)
        except (ValueError, RecursionError):
            yield Skipped(f"{path.name}, {where}", "expected a JSON object, got text that is not JSON")
            continue
        if isinstance(content, dict):
            yield Row(where, content)
        else:
            yield Skipped(f"{path.name}, {where}", f"expected a JSON object, got {type(content).__name__}")


def _constant(name: str) -> float | None:
    """Python writes a missing value as NaN, which JSON has not."""
    return None if name == "NaN" else float(name)
