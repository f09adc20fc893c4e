"""A collector of the segments of one recording. An unusable item affects no other item."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from reprlib import Repr
from types import TracebackType
from typing import Any

from voxrank.config import Seconds
from voxrank.data.names import nfc
from voxrank.data.utterance import Segment
from voxrank.errors import UtteranceError

START_TOLERANCE_S: Seconds = 0.05
"""Maximum time before 0 s at which a segment may begin, since aligners round to frames. The start becomes 0 s."""
SHORTEST_S: Seconds = 1e-6
"""Minimum length of a segment, below one sample. A shorter length is a rounding error."""


class EmptySegmentError(UtteranceError):
    """A segment ends where it starts."""


@dataclass
class Omissions:
    """Omitted items of one kind.

    Attributes:
        count: number of items.
        first: place of the first item, and what is wrong with it.
    """

    count: int = 0
    first: str = ""

    def add(self, other: Omissions) -> None:
        """Add the items of another object."""
        self.count += other.count
        self.first = self.first or other.first


@dataclass(frozen=True)
class Track:
    """The segments of one recording.

    Attributes:
        segments: segments in order of time.
        empty: omitted items without length.
        repeated: omitted items that repeat another item.
        unusable: omitted items that are unusable.
        guess: assumption where the file is not explicit, for people; empty where there is none.
    """

    segments: tuple[Segment, ...] = ()
    empty: Omissions = field(default_factory=Omissions)
    repeated: Omissions = field(default_factory=Omissions)
    unusable: Omissions = field(default_factory=Omissions)
    guess: str = ""

    def checked(self) -> Track:
        """Return the track if it has segments.

        Raises:
            UtteranceError: the track has no segments; the message says what is wrong with the first item.
        """
        if self.segments:
            return self
        raise UtteranceError(self.unusable.first or self.empty.first or "expected segments, found none for this audio")


class TrackBuilder:
    """A builder of the track of one recording.

    As a context manager, it omits an item when an `UtteranceError` is raised, and counts it.
    """

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._empty, self._unusable = Omissions(), Omissions()

    def add(self, start: Any, end: Any, label: Any, where: str) -> None:
        """Add an item. Errors as `segment_of`."""
        self._segments.append(segment_of(start, end, label, where))

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, UtteranceError):
            return False
        omissions = self._empty if isinstance(error, EmptySegmentError) else self._unusable
        omissions.add(Omissions(1, str(error)))
        return True

    def build(self) -> Track:
        """Return the track in order of time, without repeated items."""
        ordered = sorted(self._segments, key=lambda segment: (segment.start, segment.end))
        unique = tuple(dict.fromkeys(ordered))
        repeated = Omissions(len(ordered) - len(unique))
        if repeated.count:
            seen: set[Segment] = set()
            duplicate = next(segment for segment in ordered if segment in seen or seen.add(segment))  # type: ignore[func-returns-value]
            repeated.first = f"{duplicate.label!r} at {duplicate.start:g}-{duplicate.end:g} s"
        return Track(unique, self._empty, repeated, self._unusable)


def segment_of(start: Any, end: Any, label: Any, where: str) -> Segment:
    """Return a segment with valid times and label.

    Args:
        start: seconds, as a number or text.
        end: seconds, as a number or text.
        label: text or a number.
        where: place of the item, for messages.

    Raises:
        EmptySegmentError: the segment ends where it starts.
        UtteranceError: a time or the label is invalid.
    """
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise UtteranceError(f"{where}: expected a label as text, got {short(label)}")
    begins, ends = seconds_of(start, where), seconds_of(end, where)
    got = f"got {begins:g}-{ends:g} s"
    if abs(ends - begins) < SHORTEST_S:
        raise EmptySegmentError(f"{where}: expected a segment that ends after its start, {got}")
    if not (math.isfinite(begins) and math.isfinite(ends) and -START_TOLERANCE_S <= begins < ends and ends > 0):
        raise UtteranceError(f"{where}: expected a segment from 0 s on that ends after its start, {got}")
    text = nfc(str(label)).strip()
    if text != text.encode(errors="ignore").decode():
        raise UtteranceError(f"{where}: expected UTF-8 text for a label, got {short(text)}")
    return Segment(text, max(begins, 0.0), ends)


def seconds_of(value: Any, where: str) -> Seconds:
    """Return a time in seconds.

    Args:
        value: a number, or text with a decimal point, such as ``5e-05``.
        where: place of the item, for messages.

    Raises:
        UtteranceError: the value is not a time.
    """
    if isinstance(value, str) and "," in value:
        raise UtteranceError(f"{where}: expected a time in seconds with a decimal point, got {short(value)}")
    try:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # Python reads 1_0 as 10
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UtteranceError(f"{where}: expected a time in seconds, got {short(value)}") from None


def short(value: Any, limit: int = 60) -> str:
    """Return the `repr` of a value, shortened where it is long."""
    text = repr(value[: limit + 1]) if isinstance(value, str) else _SHORT.repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


_SHORT = Repr()
"""A `Repr` that is limited to a few levels, since lists may be deeply nested."""
