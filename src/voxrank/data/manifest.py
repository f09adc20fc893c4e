"""CSV, TSV and JSONL manifests."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from voxrank.data.rows import Request, Row, build_dataset
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_table(path: Path, request: Request) -> Dataset:
    """Read a CSV or TSV manifest with a header line. Errors as `read_dataset`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise DataError(f"{path}: expected a header line with column names, got an empty file")
        rows, skipped = _table_rows(path, reader, header)
    return build_dataset(path, header, rows, skipped, request)


def _table_rows(path: Path, reader: Any, header: list[str]) -> tuple[list[Row], list[Skipped]]:
    rows, skipped = [], []
    for cells in reader:
        where = f"line {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):
            reason = (
                f"expected {len(header)} cells as in the header, got {len(cells)}; quote cells that hold the delimiter"
            )
            skipped.append(Skipped(f"{path.name}, {where}", reason))
        else:
            rows.append(Row(where, dict(zip(header, cells, strict=False))))
    return rows, skipped


def read_json_lines(path: Path, request: Request) -> Dataset:
    """Read a manifest with one JSON object a line. Errors as `read_dataset`."""
    with path.open(encoding="utf-8-sig") as file:
        lines = list(_json_rows(path, file))
    rows = [line for line in lines if isinstance(line, Row)]
    skipped = [line for line in lines if isinstance(line, Skipped)]
    columns = list(dict.fromkeys(name for row in rows for name in row.columns))
    if not rows:
        first = f"; {skipped[0].utterance}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{path}: expected one JSON object a line, found none{first}")
    return build_dataset(path, columns, rows, skipped, request)


def _json_rows(path: Path, file: TextIO) -> Iterator[Row | Skipped]:
    for number, line in enumerate(file, start=1):
        where = f"line {number}"
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            yield Skipped(f"{path.name}, {where}", "expected a JSON object, got text that is not JSON")
            continue
        if isinstance(content, dict):
            yield Row(where, content)
        else:
            yield Skipped(f"{path.name}, {where}", f"expected a JSON object, got {type(content).__name__}")
