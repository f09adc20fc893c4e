"""A registry of data set formats: how to recognise each format, and its reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voxrank.data.rows import Request
from voxrank.data.utterance import Dataset
from voxrank.errors import OptionError

Matches = Callable[[str], bool]
"""A function that returns whether a path, a pattern or an id has a format."""
Reader = Callable[[str, Request], Dataset]


@dataclass(frozen=True)
class Format:
    """A format of data sets.

    Attributes:
        name: name for people, such as "Kaldi data folder".
        matches: returns whether a path, a pattern or an id has this format.
        read: reads the data set; raises `DataError` where this fails.
    """

    name: str
    matches: Matches
    read: Reader


_FORMATS: dict[str, Format] = {}


def register_reader(name: str, matches: Matches, read: Reader) -> None:
    """Register a format. Formats that were registered last are tried first.

    Args:
        name: name for people.
        matches: takes a path, a pattern or an id. It must be fast, since every format is tried, and must not raise.
        read: reads the data set. `voxrank.data.rows.build_dataset` builds a data set from rows.

    Raises:
        OptionError: a format with this name exists.
    """
    if name in _FORMATS:
        raise OptionError(f"there is a reader of {name!r} already; choose another name")
    _FORMATS[name] = Format(name, matches, read)


def format_of(source: str) -> Format | None:
    """Return the format of a path, a pattern or an id, or None where no format matches."""
    return next((candidate for candidate in reversed(_FORMATS.values()) if candidate.matches(source)), None)
