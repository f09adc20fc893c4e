"""Formats of data sets: what each looks like, and its reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voxrank.data.rows import Request
from voxrank.data.utterance import Dataset
from voxrank.errors import OptionError

Matches = Callable[[str], bool]
"""Whether a path, a pattern or an id, as the user names it, is of a format."""
Reader = Callable[[str, Request], Dataset]


@dataclass(frozen=True)
class Format:
    """A way in which data sets are kept.

    Attributes:
        name: for people, such as "Kaldi data folder".
        matches: whether a name is of one.
        read: reads it; raises `DataError` where it cannot.
    """

    name: str
    matches: Matches
    read: Reader


_FORMATS: dict[str, Format] = {}


def register_reader(name: str, matches: Matches, read: Reader) -> None:
    """Make a format known. Those that were registered last are asked first.

    Args:
        name: for people.
        matches: looks at a path, a pattern or an id; cheap, since all are asked, and raises nothing.
        read: makes the data set; `voxrank.data.rows.build_dataset` makes one of rows.

    Raises:
        OptionError: there is a format of that name.
    """
    if name in _FORMATS:
        raise OptionError(f"there is a reader of {name!r} already; choose another name")
    _FORMATS[name] = Format(name, matches, read)


def format_of(source: str) -> Format | None:
    """The format that a name is of; None where it is of none."""
    return next((one for one in reversed(_FORMATS.values()) if one.matches(source)), None)
