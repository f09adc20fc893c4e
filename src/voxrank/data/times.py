"""Detection of time columns, which locate an utterance in its audio file, under the names in common use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from voxrank.errors import DataError, listed

Kind = Literal["start", "end", "duration", "offset"]

WORDS: dict[str, Kind] = {
    **dict.fromkeys(("start", "starttime", "begin", "begintime", "onset", "tmin", "xmin", "from"), "start"),
    **dict.fromkeys(("end", "endtime", "stop", "stoptime", "finish", "ending", "tmax", "xmax", "to"), "end"),
    **dict.fromkeys(("duration", "dur", "length", "len"), "duration"),
    "offset": "offset",
}
"""Word in a column's name → content of the column. An offset is an end beside an onset, else a start."""
LENGTHS = {"length", "len"}
"""Words for durations with an unknown unit: seconds, samples or characters."""
PAIRS = {"from": "to", "to": "from"}
"""Words that mean times only if both columns exist."""
WITHOUT_MEANING = {"t", "time", "times", "timestamp", "ts", "segment", "seg", "clip", "event", "utterance", "utt", "in"}
SCALES: dict[str, float] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 0.001),
}
"""Unit in a column's name → length in seconds."""
UNKNOWN_SCALES = {"sample", "samples", "frame", "frames", "idx", "index", "byte", "bytes"}
"""Units that need a sample rate or a frame rate for conversion to seconds."""
MOST_OTHER_WORDS = 1
"""Number of other words in a name above which it does not mean times."""
PLAIN = {"start", "end", "offset", "duration"}
"""Time columns of a manifest, whose names are certain."""
PARTNERS = {"onset": "offset", "tmin": "tmax", "xmin": "xmax", "from": "to", "starttime": "endtime"}
"""Name of a start → name of its end, where that is not "end"."""
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CLOCK = re.compile(r"\d+:\d+(:\d+)?([.,]\d+)?")
"""Clock times, such as 00:01:05.250."""
_SPLIT_UP = re.compile(r"\b([tx])[ _]?(min|max)\b")


@dataclass(frozen=True)
class TimeColumn:
    """A column of times.

    Attributes:
        name: name of the column.
        word: word in the name that gives its content.
        kind: content of the column.
        scale: length of one unit in seconds; None where the unit is unknown.
        of: other words in the name, such as "word" in "word_start"; such a column is not read.
    """

    name: str
    word: str
    kind: Kind
    scale: float | None = 1.0
    of: str = ""


def time_column(name: str) -> TimeColumn | None:
    """Parse the name of a column. Return None where it does not mean times.

    Example:
        >>> time_column("Begin Time (s)"), time_column("gender")
        (TimeColumn(name='Begin Time (s)', word='begin', kind='start', scale=1.0, of=''), None)
    """
    words = _WORD.findall(_SPLIT_UP.sub(r"\1\2", _CAMEL.sub(" ", name).lower()))
    units = [word for word in words if word in SCALES or word in UNKNOWN_SCALES]
    time_words = [word for word in words if word in WORDS]
    others = [word for word in words if word not in (*units, *time_words, *WITHOUT_MEANING)]
    if len(time_words) != 1 or len(others) > MOST_OTHER_WORDS:
        return None
    [word] = time_words
    scale = min((SCALES.get(unit) or 0.0 for unit in units), default=0.0 if word in LENGTHS else 1.0)
    return TimeColumn(name, word, WORDS[word], scale or None, " ".join(others))


@dataclass(frozen=True)
class TimeColumns:
    """The time columns that are read.

    Attributes:
        starts: columns with the start of the utterance; the first non-empty cell in a row counts.
        end: column with its end.
        duration: column with its duration, which is used if the row has a start and no end.
        notes: assumptions about columns, and columns that are not read, one line each.
    """

    starts: tuple[TimeColumn, ...] = ()
    end: TimeColumn | None = None
    duration: TimeColumn | None = None
    notes: tuple[str, ...] = ()

    @property
    def guessed(self) -> bool:
        """True if columns with names other than a manifest's are read."""
        read = [*self.starts, *filter(None, (self.end, self.duration))]
        has_plain_names = all(
            column.name in PLAIN and (column.kind != "offset" or column in self.starts) for column in read
        )
        has_offset = any(column.kind == "offset" for column in self.starts)
        return not has_plain_names or (has_offset and self.end is None and self.duration is None)


def find_time_columns(source: object, columns: Sequence[str], cells: Callable[[str], Iterable[object]]) -> TimeColumns:
    """Find the columns that locate utterances in their files.

    Args:
        source: name of the data set, for messages.
        columns: columns of the data.
        cells: returns the cells of a column.

    Raises:
        DataError: the unit of the times is unknown.
    """
    candidates = [
        replace(column, scale=None) if _holds_clocks(cells(column.name)) else column
        for column in _time_columns(columns)
    ]
    numbers = {column.name for column in candidates if column.name in PLAIN or _holds_numbers(cells(column.name))}
    usable = [column for column in candidates if column.scale is not None and not column.of and column.name in numbers]
    starts = _starts(usable, has_onset=any(column.word == "onset" for column in candidates))
    end = _end(usable, starts[0] if starts else None)
    durations = [column for column in usable if column.kind == "duration"] if starts else []
    duration = min(durations, key=lambda column: column.name != "duration", default=None)
    present = [column for column in candidates if column.name in numbers or column.scale is None]
    _refuse_unknown_units(source, present, starts, end or duration)
    selected = TimeColumns(tuple(starts), end, duration)
    noted = [
        column for column in candidates if column.name in numbers or (not column.of and _is_filled(cells(column.name)))
    ]
    return TimeColumns(selected.starts, end, duration, tuple(_notes(noted, selected)))


def _time_columns(columns: Sequence[str]) -> list[TimeColumn]:
    """Return the columns whose names mean times."""
    candidates = [column for name in columns if (column := time_column(name))]
    words = {column.word for column in candidates}
    return [column for column in candidates if PAIRS.get(column.word, column.word) in words]


def _is_filled(cells: Iterable[object]) -> bool:
    return any(cell is not None and str(cell).strip() for cell in cells)


def _holds_numbers(cells: Iterable[object]) -> bool:
    """Return whether most non-empty cells are numbers."""
    filled = [cell for cell in cells if cell is not None and str(cell).strip()]
    return 2 * sum(map(_is_number, filled)) > len(filled)


def _holds_clocks(cells: Iterable[object]) -> bool:
    """Return whether most non-empty cells are clock times."""
    filled = [text for cell in cells if cell is not None and (text := str(cell).strip())]
    return 2 * sum(_CLOCK.fullmatch(text) is not None for text in filled) > len(filled)


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _starts(usable: Sequence[TimeColumn], *, has_onset: bool) -> list[TimeColumn]:
    offset = [column for column in usable if column.kind == "offset" and not has_onset][:1]
    starts = [column for column in usable if column.kind == "start"]
    starts = sorted(starts, key=lambda column: column.name != "start")[:1]
    return [*starts, *offset] if not starts or starts[0].name == "start" else starts


def _end(usable: Sequence[TimeColumn], start: TimeColumn | None) -> TimeColumn | None:
    """Return the column with the end for a start. Without a start, only the column "end" counts."""
    if start is None:
        return next((column for column in usable if column.name == "end"), None)
    ends = [column for column in usable if column.kind == "end" or (column.kind == "offset" and start.word == "onset")]
    partner = PARTNERS.get(start.word, "end")
    return min(ends, key=lambda column: (column.word != partner, column.scale != start.scale), default=None)


def _refuse_unknown_units(
    source: object, candidates: Sequence[TimeColumn], starts: Sequence[TimeColumn], end_or_duration: TimeColumn | None
) -> None:
    unknown = [column for column in candidates if column.scale is None and not column.of]
    begins = starts or [column for column in unknown if column.kind in ("start", "offset")]
    ends = [column for column in unknown if column.kind in ("end", "duration")]
    if begins and ends and end_or_duration is None:
        names = listed(repr(column.name) for column in (*begins, *ends))
        raise DataError(
            f"{source}: expected times in seconds, got the columns {names}, whose unit is not known; "
            "give 'start' and 'end', or 'start' and 'duration', in seconds"
        )


def _notes(candidates: Sequence[TimeColumn], selected: TimeColumns) -> list[str]:
    notes = []
    kinds = (("start", selected.starts[:1]), ("start, where that is empty,", selected.starts[1:]))
    read = [(kind, column) for kind, columns in kinds for column in columns]
    read += [
        (kind, column)
        for kind, column in (("end", selected.end), ("duration", selected.duration))
        if column is not None
    ]
    if selected.guessed:
        notes.append(", ".join(f"{kind} is the column {column.name!r} ({_unit(column)})" for kind, column in read))
    if selected.end is not None and not selected.starts:
        notes.append(f"there is no column 'start': utterances run from 0 s to {selected.end.name!r}")
    names = {column.name for _, column in read}
    unread = [column.name for column in candidates if column.name not in names and column.kind != "duration"]
    if unread:
        notes.append(f"columns that may hold times are not read: {listed(map(repr, unread))}")
    return notes


def _unit(column: TimeColumn) -> str:
    return "seconds" if column.scale == 1 else "milliseconds"
