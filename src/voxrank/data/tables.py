"""A reader of CSV and TSV rows in which a damaged line affects no other line.

An unclosed quotation mark would turn the rows after it into one cell. Therefore a cell may span lines only if none of
these lines is a row by itself. TSV has no quoting unless every cell that begins with a quotation mark is quoted as in
CSV.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from voxrank.data.audio_files import has_audio_ending
from voxrank.errors import DataError, shortened

DELIMITERS = {".csv": ",", ".tsv": "\t"}
OTHER_DELIMITERS = (";", "\t", ",", "|")
"""Delimiters to try if the header does not contain the usual delimiter of the format."""
QUOTE = '"'
OPEN_REASON = 'a cell opens with " and nothing closes it; close it'
LEAST_COLUMNS = 2
"""Number of columns up to which a path must have an ending for a line to count as a row."""
UNCLOSED = "unexpected end of data"
"""Message of the csv module on an unclosed quotation mark."""
MAX_LINE = 1 << 22
"""Maximum number of characters of a line: room for half a million segments, but small enough for any machine."""
TOO_LONG = f"expected a line of at most {MAX_LINE:,} characters, got a longer one; split it"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file.

    Attributes:
        number: number of the line, from 1.
        text: text with the line ending; None where the line is too long.
    """

    number: int
    text: str | None


def text_lines(file: TextIO) -> Iterator[Line]:
    """Yield the lines of a file. Lines that are too long have no text."""
    number = 0
    while text := file.readline(MAX_LINE):
        number += 1
        is_whole = len(text) < MAX_LINE or text.endswith(("\n", "\r"))
        while text and not (is_whole or text.endswith(("\n", "\r"))):
            text = file.readline(MAX_LINE)
        yield Line(number, text if is_whole else None)


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table.

    Attributes:
        first, last: numbers of the first and the last line.
        cells: cells of the row; None where it cannot be read.
        reason: reason why it cannot be read.
    """

    first: int
    last: int
    cells: list[str] | None
    reason: str = ""


@dataclass(frozen=True)
class Form:
    """The form of the lines of a table.

    Attributes:
        delimiter: delimiter between cells.
        columns: number of columns.
        path: index of the column with audio files; None where there is none.
        is_quoted: whether cells may be in quotation marks.
    """

    delimiter: str
    columns: int
    path: int | None
    is_quoted: bool = True


def find_delimiter(path: Path) -> str:
    """Return the delimiter of a file: that of its ending, unless only another delimiter occurs in the header."""
    usual = DELIMITERS[path.suffix.lower()]
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline(MAX_LINE)
    if usual in header:
        return usual
    return next((sign for sign in OTHER_DELIMITERS if sign in header), usual)


def table_form(path: Path, delimiter: str, header: Sequence[str], path_column: str | None) -> Form:
    """Detect the form of the lines of a table.

    Args:
        path: path of the file, which is read once if tabs separate its cells.
        delimiter: delimiter between cells.
        header: names of the columns.
        path_column: column with audio files, where there is one.
    """
    path_index = header.index(path_column) if path_column in header else None
    form = Form(delimiter, len(header), path_index)
    if delimiter != "\t":
        return form
    with path.open(encoding="utf-8-sig", newline="") as file:
        return Form(delimiter, len(header), path_index, is_quoted=_shows_quoting(text_lines(file), form))


def _shows_quoting(lines: Iterable[Line], form: Form) -> bool:
    """Return whether all cells that begin with a quotation mark are quoted as in CSV."""
    remaining = Lines(lines)
    remaining.take()
    for line in remaining:
        if line.text is None or QUOTE not in line.text or not _has_opening_quote(line.text, form.delimiter):
            continue
        row = _quoted_row(line, remaining, form)
        if row.cells is None:
            return False
        if len(row.cells) != form.columns == len(_split(line.text, form.delimiter)):
            return False
    return True


def _has_opening_quote(text: str, delimiter: str) -> bool:
    return text.startswith(QUOTE) or delimiter + QUOTE in text


class Lines:
    """An iterator of lines to which lines can be returned.

    Args:
        lines: lines of a file.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines, self._back = iter(lines), deque[Line]()

    def __iter__(self) -> Iterator[Line]:
        while (line := self.take()) is not None:
            yield line

    def take(self) -> Line | None:
        """Return the next line, or None at the end."""
        return self._back.popleft() if self._back else next(self._lines, None)

    def put_back(self, lines: Sequence[Line]) -> None:
        """Put lines back, in their order."""
        self._back.extendleft(reversed(lines))


def read_header(path: Path, lines: Lines, delimiter: str) -> list[str]:
    """Return the names of the columns, from the first line.

    Args:
        path: path of the file, for messages.
        lines: lines of the file.
        delimiter: delimiter between cells.

    Raises:
        DataError: there are no columns, or a name occurs twice.
    """

    def texts() -> Iterator[str]:
        for line in lines:
            if line.text is None:
                raise csv.Error(TOO_LONG)
            yield line.text

    try:
        header = [name.strip() for name in next(csv.reader(texts(), delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise DataError(f"{path}: expected a header line with column names, got: {error}") from error
    if any("\0" in name for name in header):
        raise DataError(f"{path}: expected UTF-8 text, got zero bytes in line 1; save it as UTF-8")
    if not any(header):
        raise DataError(f"{path}: expected a header line with column names, got an empty one")
    duplicates = [name for name, count in Counter(header).items() if name and count > 1]
    if duplicates:
        raise DataError(
            f"{path}: expected different column names, got {shortened(duplicates[0])!r} more than once; rename one"
        )
    return header


def table_rows(lines: Lines, form: Form) -> Iterator[TableRow]:
    """Yield the rows after the header, which span one or several lines. Every line is part of one row."""
    for line in lines:
        if line.text is None:
            yield TableRow(line.number, line.number, None, TOO_LONG)
        elif form.is_quoted and QUOTE in line.text:
            yield _quoted_row(line, lines, form)
        else:
            yield _plain_row(line.number, line.text, form)


def _plain_row(number: int, text: str, form: Form) -> TableRow:
    cells, limit = _split(text, form.delimiter), csv.field_size_limit()
    if len(text) > limit and max(map(len, cells)) > limit:
        return TableRow(number, number, None, _cells_reason(f"field larger than field limit ({limit})"))
    return TableRow(number, number, cells)


def _split(text: str, delimiter: str) -> list[str]:
    return text.rstrip("\r\n").split(delimiter)


def _quoted_row(first: Line, lines: Lines, form: Form) -> TableRow:
    """Return the row that begins with a line. Lines that are not part of it are put back."""
    row_lines = [first]
    ended_by: list[Line] = []
    text = first.text or ""

    def texts() -> Iterator[str]:
        yield text
        is_row = _is_row(_unquoted_cells(text, form.delimiter), form)
        for line in lines:
            if line.text is None or _is_swallowed(line.text, form, by_row=is_row):
                ended_by.append(line)
                return
            row_lines.append(line)
            yield line.text

    try:
        cells = next(csv.reader(texts(), delimiter=form.delimiter, strict=True))
    except csv.Error as error:
        lines.put_back([*row_lines[1:], *ended_by])
        is_open = str(error) == UNCLOSED or len(row_lines) > 1
        return TableRow(first.number, first.number, None, OPEN_REASON if is_open else _cells_reason(str(error)))
    return TableRow(first.number, row_lines[-1].number, cells)


def _cells_reason(error: str) -> str:
    return f"expected plain cells, or cells in closed quotes, got: {error}"


def _is_swallowed(text: str, form: Form, *, by_row: bool) -> bool:
    """Return whether a line is a row by itself rather than part of a cell that an earlier line opened.

    Args:
        text: text of the line.
        form: form of the table.
        by_row: whether the line with the opening quotation mark is a row by itself. If not, a line with a quotation
            mark may complete it.
    """
    if QUOTE not in text:
        return _is_row(_split(text, form.delimiter), form)
    return by_row and _is_row(_unquoted_cells(text, form.delimiter), form)


def _unquoted_cells(text: str, delimiter: str) -> list[str]:
    """Return the cells of one line. A quotation mark that the line does not close is plain text."""
    try:
        cells = next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        if str(error) != UNCLOSED:
            return _split(text, delimiter)
        cells = next(csv.reader([text], delimiter=delimiter), [""])
        return [*cells[:-1], *_split(cells[-1], delimiter)]
    return cells


def _is_row(cells: Sequence[str], form: Form) -> bool:
    """Return whether cells form a row: their number is that of the columns, and the path cell is the name of a file."""
    if len(cells) != form.columns or form.path is None:
        return False
    name = cells[form.path].strip()
    is_bare = len(cells) > LEAST_COLUMNS and name.isprintable() and not {" ", "."} & set(name)
    return has_audio_ending(name) or (bool(name) and is_bare)
