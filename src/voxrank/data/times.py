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
    told = [word for word in words if word in WORDS]
    others = [word for word in words if word not in (*units, *told, *WITHOUT_MEANING)]
    if len(told) != 1 or len(others) > MOST_OTHER_WORDS:
        return None
    [word] = told
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
        has_plain_names = all(one.name in PLAIN and (one.kind != "offset" or one in self.starts) for one in read)
        has_offset = any(one.kind == "offset" for one in self.starts)
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
    named = [replace(one, scale=None) if _holds_clocks(cells(one.name)) else one for one in _named(columns)]
    numbers = {one.name for one in named if one.name in PLAIN or _holds_numbers(cells(one.name))}
    usable = [one for one in named if one.scale is not None and not one.of and one.name in numbers]
    starts = _starts(usable, has_onset=any(one.word == "onset" for one in named))
    end = _end(usable, starts[0] if starts else None)
    durations = [one for one in usable if one.kind == "duration"] if starts else []
    duration = min(durations, key=lambda one: one.name != "duration", default=None)
    timed = [one for one in named if one.name in numbers or one.scale is None]
    _refuse_unknown_units(source, timed, starts, end or duration)
    found = TimeColumns(tuple(starts), end, duration)
    told = [one for one in named if one.name in numbers or (not one.of and _is_filled(cells(one.name)))]
    return TimeColumns(found.starts, end, duration, tuple(_notes(told, found)))


def _named(columns: Sequence[str]) -> list[TimeColumn]:
    """Return the columns whose names mean times."""
    named = [one for name in columns if (one := time_column(name))]
    words = {one.word for one in named}
    return [one for one in named if PAIRS.get(one.word, one.word) in words]


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
    offset = [one for one in usable if one.kind == "offset" and not has_onset][:1]
    starts = sorted((one for one in usable if one.kind == "start"), key=lambda one: one.name != "start")[:1]
    return [*starts, *offset] if not starts or starts[0].name == "start" else starts


def _end(usable: Sequence[TimeColumn], start: TimeColumn | None) -> TimeColumn | None:
    """Return the column with the end for a start. Without a start, only the column "end" counts."""
    if start is None:
        return next((one for one in usable if one.name == "end"), None)
    ends = [one for one in usable if one.kind == "end" or (one.kind == "offset" and start.word == "onset")]
    partner = PARTNERS.get(start.word, "end")
    return min(ends, key=lambda one: (one.word != partner, one.scale != start.scale), default=None)


def _refuse_unknown_units(
    source: object, named: Sequence[TimeColumn], starts: Sequence[TimeColumn], until: TimeColumn | None
) -> None:
    unknown = [one for one in named if one.scale is None and not one.of]
    begins = starts or [one for one in unknown if one.kind in ("start", "offset")]
    ends = [one for one in unknown if one.kind in ("end", "duration")]
    if begins and ends and until is None:
        names = listed(repr(one.name) for one in (*begins, *ends))
        raise DataError(
            f"{source}: expected times in seconds, got the columns {names}, whose unit is not known; "
            "give 'start' and 'end', or 'start' and 'duration', in seconds"
        )


def _notes(named: Sequence[TimeColumn], found: TimeColumns) -> list[str]:
    notes = []
    kinds = (("start", found.starts[:1]), ("start, where that is empty,", found.starts[1:]))
    read = [(kind, one) for kind, columns in kinds for one in columns]
    read += [(kind, one) for kind, one in (("end", found.end), ("duration", found.duration)) if one is not None]
    if found.guessed:
        notes.append(", ".join(f"{kind} is the column {one.name!r} ({_unit(one)})" for kind, one in read))
    if found.end is not None and not found.starts:
        notes.append(f"there is no column 'start': utterances run from 0 s to {found.end.name!r}")
    names = {one.name for _, one in read}
    unread = [one.name for one in named if one.name not in names and one.kind != "duration"]
    if unread:
        notes.append(f"columns that may hold times are not read: {listed(map(repr, unread))}")
    return notes


def _unit(column: TimeColumn) -> str:
    return "seconds" if column.scale == 1 else "milliseconds"
