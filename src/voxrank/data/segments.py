"""Readers of files with timed segments: TextGrid, CTM, RTTM, Audacity labels, JSON.

All formats but TextGrid have a line, or a JSON object, for each segment:

- CTM: recording, channel, start, duration, label and optionally a confidence; ``;;`` begins a comment.
- RTTM: ``SPEAKER`` lines, with the name as label, and ``LEXEME`` lines, with the word as label.
- Audacity: start, end and label, separated by tabs; lines that begin with a backslash are frequencies.
- JSON: a list of ``{"start", "end" or "duration", "label" (or text, word, phone, name)}`` or ``[start, end, label]``;
  such a list under ``"segments"`` or ``"words"``, or by recording; or the tiers of the Montreal Forced Aligner.

CTM, RTTM and JSON by recording hold several recordings, each under a name (`voxrank.data.recordings`).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from voxrank._support.words import megabytes
from voxrank.data.segment_json import parse_json, tier_name, track_of
from voxrank.data.textgrids import parse_textgrid
from voxrank.data.tracks import Track, TrackBuilder, seconds_of, short
from voxrank.errors import UtteranceError

MAX_BYTES = {".textgrid": 32 << 20, ".json": 64 << 20}
"""Ending → maximum size of a file that is parsed as a whole, which needs many times its size in memory."""
MAX_LINE = 1 << 16
"""Maximum number of characters of a line with one segment."""
MAX_LONG_LINE = 1 << 24
"""Maximum number of characters of a line that is skipped; a file with a longer line is not text."""
CTM_FIELDS = 5
RTTM_FIELDS = 8
RTTM_LABELS = {"SPEAKER": 7, "LEXEME": 5}
"""Type of a line → position of its label."""
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

Content = Track | dict[str, Track]
"""The segments of one recording, or of several recordings by name."""


class SegmentFiles:
    """A reader of segment files. It keeps files of several recordings, and the last file of a single recording.

    Args:
        tier: tier of TextGrid and JSON files; by default the tier "phones", or the only tier.
    """

    def __init__(self, tier: str | None = None) -> None:
        self._tier = tier
        self._cached: dict[Path, dict[str, Track] | UtteranceError] = {}
        self._last: tuple[Path, Track] | None = None

    def read(self, path: Path) -> Content:
        """Return the segments of the recording, or of each recording by name.

        Args:
            path: the file.

        Raises:
            UtteranceError: the file cannot be read or is damaged.
        """
        if self._last is not None and self._last[0] == path:
            return self._last[1]
        if path not in self._cached:
            content = self._content(path)
            if isinstance(content, Track):
                self._last = path, content
                return content
            self._cached[path] = content
        cached = self._cached[path]
        if isinstance(cached, UtteranceError):
            raise cached
        return cached

    def _content(self, path: Path) -> Content | UtteranceError:
        try:
            return _read(path, self._tier)
        except UtteranceError as error:
            return error


def inline_track(cell: Any) -> Track:
    """Return the segments in a cell of a manifest.

    Args:
        cell: a list of segments as in a JSON file, or the JSON text of such a list.

    Raises:
        UtteranceError: the cell does not hold a list.
    """
    content = cell
    if isinstance(cell, str):
        try:
            content = json.loads(cell)
        except (ValueError, RecursionError):
            raise UtteranceError(f"expected a JSON list of segments, got {short(cell)}") from None
    if not isinstance(content, list):
        raise UtteranceError(f"expected a JSON list of segments, got {type(content).__name__}")
    return track_of(content, "segments")


def _read(path: Path, tier: str | None) -> Content:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UtteranceError(
            f"expected a file of segments ending in {', '.join(SUFFIXES)}, got {path.name!r}; rename it"
        )
    try:
        status, limit = path.stat(), MAX_BYTES.get(path.suffix.lower())
        if not S_ISREG(status.st_mode):  # reading a pipe would block
            kind = "folder" if S_ISDIR(status.st_mode) else "device"
            raise UtteranceError(f"expected a file of segments, got the {kind} {path.name}")
        if not status.st_size:
            raise UtteranceError(f"expected a file of segments, got an empty one: {path.name}")
        if limit is not None and status.st_size > limit:
            raise UtteranceError(
                f"expected a file of segments of up to {limit >> 20} MiB, got {megabytes(status.st_size / 1e6)}: "
                f"{path.name}"
            )
        return reader(path, tier)
    except FileNotFoundError:
        raise UtteranceError(
            f"there is no file of segments {path}; relative names start at the manifest's folder"
        ) from None
    except OSError as error:
        raise UtteranceError(f"cannot read the segments in {path.name}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise UtteranceError(f"expected UTF-8 text in {path.name}, got other bytes; save it as UTF-8") from error


def _encoding(path: Path) -> str:
    """Return UTF-16 where the file begins with its byte order mark, as Praat and Excel write it; else UTF-8."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in UTF16_MARKS else "utf-8-sig"


def _textgrid(path: Path, tier: str | None) -> Content:
    text = path.read_text(encoding=_encoding(path))
    if text.lstrip().startswith("{"):  # praatio also writes TextGrids as JSON
        return parse_json(text, tier, path.name)
    try:
        tiers = {item.name: item for item in parse_textgrid(text)}
    except UtteranceError as error:
        raise UtteranceError(f"{path.name} is no TextGrid that can be read ({error}); save it again") from error
    track = TrackBuilder()
    for number, (start, end, label) in enumerate(tiers[tier_name(list(tiers), tier, path.name)].entries, start=1):
        if label:
            with track:
                track.add(start, end, label, f"{path.name}, interval {number}")
    return track.build()


@dataclass(frozen=True)
class _Line:
    """A non-blank line.

    Attributes:
        where: place of the line, for messages.
        text: text of the line, or of its beginning where the line is too long.
        fault: reason why the line is unusable; empty where it is usable.
    """

    where: str
    text: str
    fault: str

    def checked(self) -> str:
        """Return the text. Raises `UtteranceError` where the line is unusable."""
        if self.fault:
            raise UtteranceError(self.fault)
        return self.text

    def fields(self) -> list[str]:
        """Return the fields, which spaces and tabs separate."""
        return _FIELD.findall(self.text)


_FIELD = re.compile(r"[^ \t\r\n]+")


def _lines(path: Path) -> Iterator[_Line]:
    encoding, name = _encoding(path), path.name
    with path.open(encoding=encoding, errors="surrogateescape") as file:
        number = 0
        while text := file.readline(MAX_LINE):
            number += 1
            if text == "\n":
                continue
            where, fault = f"{name}, line {number}", ""
            if len(text) == MAX_LINE and not text.endswith("\n"):
                fault = f"{where}: expected a line of under {MAX_LINE:,} characters, got a longer one"
                if len(file.readline(MAX_LONG_LINE)) == MAX_LONG_LINE:
                    raise UtteranceError(fault)
            elif not text.isascii() and text != text.encode(errors="ignore").decode():
                fault = f"expected UTF-8 text in {where}, got other bytes; save the file as UTF-8"
            if not text.isspace():
                yield _Line(where, text, fault)


def _ctm(path: Path, _tier: str | None) -> dict[str, Track]:
    tracks: dict[str, TrackBuilder] = defaultdict(TrackBuilder)
    for line in _lines(path):
        fields = line.fields()
        if not fields or fields[0].startswith(";;"):
            continue
        track = tracks[fields[0]]
        with track:
            if len(fields) < CTM_FIELDS:
                raise UtteranceError(
                    f"{line.where}: expected recording, channel, start, duration and label, got {short(line.checked())}"
                )
            line.checked()
            start = seconds_of(fields[2], line.where)
            track.add(start, start + seconds_of(fields[3], line.where), fields[4], line.where)
    return {name: track.build() for name, track in tracks.items()}


def _rttm(path: Path, _tier: str | None) -> dict[str, Track]:
    tracks: dict[str, TrackBuilder] = defaultdict(TrackBuilder)
    for line in _lines(path):
        fields = line.fields()
        if not fields or fields[0] not in RTTM_LABELS:
            continue
        track = tracks[fields[1] if len(fields) > 1 else ""]
        with track:
            if len(fields) < RTTM_FIELDS:
                raise UtteranceError(
                    f"{line.where}: expected {RTTM_FIELDS} fields or more, got {short(line.checked())}"
                )
            line.checked()
            start = seconds_of(fields[3], line.where)
            end = start + seconds_of(fields[4], line.where)
            track.add(start, end, fields[RTTM_LABELS[fields[0]]], line.where)
    return {name: track.build() for name, track in tracks.items()}


def _audacity(path: Path, _tier: str | None) -> Track:
    track = TrackBuilder()
    for line in _lines(path):
        if line.text.startswith("\\"):
            continue
        with track:
            start, tab, rest = line.checked().partition("\t")
            end, _, name = rest.partition("\t")
            if not tab:
                raise UtteranceError(
                    f"{line.where}: expected start, end and label with tabs between, got {short(line.text)}"
                )
            track.add(start.replace(",", "."), end.replace(",", "."), name.strip(), line.where)
    return track.build()


def _json(path: Path, tier: str | None) -> Content:
    return parse_json(path.read_text(encoding=_encoding(path)), tier, path.name)


_READERS: dict[str, Callable[[Path, str | None], Content]] = {
    ".textgrid": _textgrid,
    ".ctm": _ctm,
    ".rttm": _rttm,
    ".txt": _audacity,
    ".json": _json,
}
SUFFIXES = (".TextGrid", ".ctm", ".rttm", ".txt", ".json")
"""Endings of the files that can be read, in any letter case."""
