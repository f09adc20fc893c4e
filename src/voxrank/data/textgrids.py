"""A parser of Praat's TextGrid files, in the long and the short text format.

Both formats hold the same values in the same order. Praat reads numbers, texts in double quotes and flags in angle
brackets, with white space around them. It ignores everything else, such as ``xmin =`` and ``intervals [3]:``.

Source: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from voxrank.data.tracks import short
from voxrank.errors import UtteranceError

INTERVALS, POINTS = "IntervalTier", "TextTier"
FILE_TYPE, CLASS = "ooTextFile", "TextGrid"
ENTRY_VALUES = {INTERVALS: 3, POINTS: 2}
"""Number of values per entry: start, end and label of an interval, time and label of a point."""

_BEGINS = r"(?<![^\s=])"
"""Beginning of a value: after white space, or after an equals sign, since some tools write no space."""
_OTHER_VALUES = rf"""
    | {_BEGINS} (?P<number> [-+]? (?: \d+\.?\d* | \.\d+ ) (?: [eE][-+]?\d+ )? | --undefined-- ) (?!\S)
    | {_BEGINS} (?P<flag> <\w+> ) (?!\S)
    | {_BEGINS} ![^\n]*
    | (?P<stray> ")
"""
_STRICT = re.compile(_BEGINS + r'"(?P<text>(?>""|[^"])*+)"(?!\S)' + _OTHER_VALUES, re.VERBOSE)
"""Values in strict form: quotation marks within a text are doubled."""
_LENIENT = re.compile(_BEGINS + r'"(?P<text>(?>"(?![ \t]*$)|[^"])*+)"(?!\S)' + _OTHER_VALUES, re.VERBOSE | re.MULTILINE)
"""Values in lenient form: a text ends at the last quotation mark of a line, since other tools do not double them."""

Value = str | float


@dataclass(frozen=True)
class Tier:
    """A tier of intervals.

    Attributes:
        name: name of the tier.
        entries: start and end in seconds, and label, in file order.
    """

    name: str
    entries: tuple[tuple[float, float, str], ...]


def parse_textgrid(text: str) -> list[Tier]:
    """Read the interval tiers of a TextGrid. Point tiers are ignored.

    Args:
        text: content of the file.

    Returns:
        The tiers. A number is added to the name of an earlier tier: ``phones_2``.

    Raises:
        UtteranceError: the text is not a TextGrid, or is incomplete.
    """
    content = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tiers = _tiers(_values(content, _STRICT))
    except UtteranceError:
        tiers = _tiers(_values(content, _LENIENT))
    named: dict[str, Tier] = {}
    for tier in tiers:
        name, number = tier.name, 1
        while name in named:
            number += 1
            name = f"{tier.name}_{number}"
        named[name] = Tier(name, tier.entries)
    return list(named.values())


def _values(text: str, pattern: re.Pattern[str]) -> Iterator[Value]:
    for match in pattern.finditer(text):
        if match["stray"]:
            raise UtteranceError("a quotation mark neither opens nor closes a text")
        if match["number"] is not None:
            yield float("nan") if match["number"].startswith("--") else float(match["number"])
        elif match["flag"] is not None:
            yield match["flag"]
        elif match["text"] is not None:
            yield match["text"].replace('""', '"').strip()


def _tiers(values: Iterator[Value]) -> list[Tier]:
    kind = _text(values, "the file type")
    if not kind.startswith(FILE_TYPE) or _text(values, "the class") != CLASS:
        raise UtteranceError(f"expected a text of the class TextGrid, got {short(kind)}")
    _number(values, "the start")
    _number(values, "the end")
    if _text(values, "whether there are tiers") != "<exists>":
        return []
    tiers = [_tier(values) for _ in range(_count(values, "tiers"))]
    if next(values, None) is not None:
        raise UtteranceError("values follow the last tier")
    return [tier for tier in tiers if tier is not None]


def _tier(values: Iterator[Value]) -> Tier | None:
    """Read a tier. Return None for a tier of points."""
    kind, name = _text(values, "the class of a tier"), _text(values, "the name of a tier")
    if kind not in ENTRY_VALUES:
        raise UtteranceError(f"expected a tier of the class {INTERVALS} or {POINTS}, got {short(kind)}")
    _number(values, "the start of a tier")
    _number(values, "the end of a tier")
    width, entries = ENTRY_VALUES[kind], []
    for number in range(1, _count(values, "entries") + 1):
        entry = tuple(islice(values, width))
        if len(entry) < width or [isinstance(value, str) for value in entry] != [False] * (width - 1) + [True]:
            raise UtteranceError(f"expected {width - 1} times and a label as entry {number} of the tier {short(name)}")
        entries.append(entry)
    return Tier(name, tuple(entries)) if kind == INTERVALS else None  # type: ignore[arg-type]  # checked above


def _text(values: Iterator[Value], what: str) -> str:
    value = next(values, None)
    if not isinstance(value, str):
        raise UtteranceError(f"expected {what}, got {'the end of the file' if value is None else value}")
    return value


def _number(values: Iterator[Value], what: str) -> float:
    value = next(values, None)
    if not isinstance(value, float):
        raise UtteranceError(f"expected {what} in seconds, got {'the end of the file' if value is None else value}")
    return value


def _count(values: Iterator[Value], what: str) -> int:
    value = _number(values, f"the number of {what}")
    if not value.is_integer() or value < 0:
        raise UtteranceError(f"expected a number of {what}, got {value:g}")
    return int(value)
