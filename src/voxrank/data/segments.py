"""Files that say what is heard when: TextGrid, CTM, RTTM, Audacity's labels, JSON.

TextGrids are read by praatio. The others are a line, or a JSON object, for each segment:

- CTM: recording, channel, start, duration, label, perhaps a confidence; ``;;`` begins a comment.
- RTTM: ``SPEAKER`` lines (label: the name) and ``LEXEME`` lines (label: the word).
- Audacity: start, end and label with tabs between; lines that begin with a backslash are frequencies.
- JSON: a list of ``{"start", "end" or "duration", "label" (or text, word, phone, name)}`` or ``[start, end, label]``;
  the same as ``"segments"`` of an object, or by recording; or the tiers of the Montreal Forced Aligner.

CTM, RTTM and JSON by recording hold many recordings, each under the name of its audio file without the ending.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from reprlib import Repr
from stat import S_ISDIR, S_ISREG
from typing import Any

from voxrank.data.names import nfc
from voxrank.data.utterance import Segment
from voxrank.errors import UtteranceError, did_you_mean, listed, reason

MAX_BYTES = {".textgrid": 32 << 20, ".json": 64 << 20}
"""Of files that are parsed as a whole, which takes many times their size; the others are read line by line."""
MAX_LINE = 1 << 16
"""Characters of a line that holds one segment."""
SHOWN_RECORDINGS = 3
LABEL_NAMES = ("label", "text", "word", "phone", "name")
DEFAULT_TIERS = ("phones", "phone")
CTM_FIELDS = 5
RTTM_FIELDS = 8

Segments = tuple[Segment, ...]
ByRecording = dict[str, list[Segment]]
Content = Segments | ByRecording
"""Of one recording, or of several by name."""


class SegmentFiles:
    """Reads files of segments, those of several recordings once.

    Args:
        tier: of TextGrids; by default one named phones, or the only one.
    """

    def __init__(self, tier: str | None = None) -> None:
        self._tier = tier
        self._shared: dict[Path, ByRecording | UtteranceError] = {}

    def of(self, path: Path, recording: str) -> Segments:
        """The segments of one recording, in order of time.

        Args:
            path: the file.
            recording: its name, in files of several.

        Raises:
            UtteranceError: the file cannot be read, is damaged, or says nothing of the recording.
        """
        content = self._shared[path] if path in self._shared else self._content(path)
        if not isinstance(content, tuple):
            self._shared[path] = content
        if isinstance(content, UtteranceError):
            raise content
        if isinstance(content, dict):
            if recording not in content:
                names = ", ".join(map(repr, list(content)[:SHOWN_RECORDINGS])) or "none"
                more = f" and {len(content) - SHOWN_RECORDINGS} more" if len(content) > SHOWN_RECORDINGS else ""
                raise UtteranceError(
                    f"expected segments of the recording {recording!r} in {path.name}, found those of {names}{more}"
                )
            return tuple(content[recording])
        return content

    def _content(self, path: Path) -> Content | UtteranceError:
        try:
            return _sorted(_read(path, self._tier))
        except UtteranceError as error:
            return error


def inline_segments(cell: Any) -> Segments:
    """The segments of a manifest's cell, in order of time.

    Args:
        cell: a list of segments as in a JSON file, or its text.

    Raises:
        UtteranceError: it is none.
    """
    content = cell
    if isinstance(cell, str):
        try:
            content = json.loads(cell)
        except (ValueError, RecursionError):
            raise UtteranceError(f"expected a JSON list of segments, got {_short(cell)}") from None
    if not isinstance(content, list):
        raise UtteranceError(f"expected a JSON list of segments, got {type(content).__name__}")
    return tuple(sorted(_items(content, "segments"), key=_start))


def _read(path: Path, tier: str | None) -> Content:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UtteranceError(
            f"expected a file of segments ending in {', '.join(SUFFIXES)}, got {path.name!r}; rename it"
        )
    try:
        about, most = path.stat(), MAX_BYTES.get(path.suffix.lower())
        if not S_ISREG(about.st_mode):  # a pipe would be waited for
            what = "folder" if S_ISDIR(about.st_mode) else "device"
            raise UtteranceError(f"expected a file of segments, got the {what} {path.name}")
        if not about.st_size:
            raise UtteranceError(f"expected a file of segments, got an empty one: {path.name}")
        if most is not None and about.st_size > most:
            raise UtteranceError(
                f"expected a file of segments of up to {most >> 20} MiB, got {about.st_size / 1e6:,.0f} MB: {path.name}"
            )
        return reader(path, tier)
    except FileNotFoundError:
        raise UtteranceError(
            f"there is no file of segments {path}; relative names start at the manifest's folder"
        ) from None
    except OSError as error:
        raise UtteranceError(f"cannot read the segments in {path.name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UtteranceError(f"expected UTF-8 text in {path.name}, got other bytes; save it as UTF-8") from error


def _sorted(content: Content) -> Content:
    if isinstance(content, dict):
        return {name: sorted(segments, key=_start) for name, segments in content.items()}
    return tuple(sorted(content, key=_start))


def _start(segment: Segment) -> float:
    return segment.start


def _textgrid(path: Path, tier: str | None) -> Segments:
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier

    try:
        grid = textgrid.openTextgrid(
            str(path), includeEmptyIntervals=False, reportingMode="error", duplicateNamesMode="rename"
        )
    except (OSError, UnicodeError):
        raise
    except Exception as error:  # praatio raises what its parsers meet: index, key, value and its own errors
        raise UtteranceError(f"{path.name} is no TextGrid that can be read ({reason(error)}); save it again") from error
    tiers = {own.name: own for own in grid.tiers if isinstance(own, IntervalTier)}
    chosen = tiers[tier_name(list(tiers), tier, path.name)]
    return tuple(_segment(e.start, e.end, e.label, f"{path.name}") for e in chosen.entries)


def tier_name(names: list[str], wanted: str | None, where: str) -> str:
    """The tier that is read: the one that is wanted, else one named phones, or the only one.

    Raises:
        UtteranceError: there is none of that name, or none that can be told from the others.
    """
    if not names:
        raise UtteranceError(f"expected a tier of intervals in {where}, found none")
    if wanted is not None:
        if wanted not in names:
            raise UtteranceError(f"there is no tier {wanted!r} in {where}; {did_you_mean(wanted, names)}")
        return wanted
    phones = [name for name in names if name.lower().rpartition(" - ")[2] in DEFAULT_TIERS]
    found = phones or names
    if len(found) > 1:
        several = listed(map(repr, found))
        raise UtteranceError(f"expected one tier of intervals in {where}, found {several}; name one with --tier")
    return found[0]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where each line is that says something, and the line."""
    with path.open(encoding="utf-8-sig") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if line.isspace():
                continue
            where = f"{path.name}, line {number}"
            if len(line) == MAX_LINE:
                raise UtteranceError(f"{where}: expected a line of under {MAX_LINE:,} characters, got a longer one")
            yield where, line


def _ctm(path: Path, _tier: str | None) -> ByRecording:
    found: ByRecording = {}
    for where, line in _lines(path):
        if line.startswith(";;"):
            continue
        fields = line.split()
        if len(fields) < CTM_FIELDS:
            raise UtteranceError(f"{where}: expected recording, channel, start, duration and label, got {_short(line)}")
        start = _number(fields[2], where)
        segment = _segment(start, start + _number(fields[3], where), fields[4], where)
        found.setdefault(fields[0], []).append(segment)
    return found


def _rttm(path: Path, _tier: str | None) -> ByRecording:
    found: ByRecording = {}
    for where, line in _lines(path):
        fields = line.split()
        if fields[0] not in ("SPEAKER", "LEXEME"):
            continue
        if len(fields) < RTTM_FIELDS:
            raise UtteranceError(f"{where}: expected {RTTM_FIELDS} fields or more, got {_short(line)}")
        start = _number(fields[3], where)
        name = fields[7] if fields[0] == "SPEAKER" else fields[5]
        segment = _segment(start, start + _number(fields[4], where), name, where)
        found.setdefault(fields[1], []).append(segment)
    return found


def _audacity(path: Path, _tier: str | None) -> Segments:
    found = []
    for where, line in _lines(path):
        if line.startswith("\\"):
            continue
        start, tab, rest = line.partition("\t")
        end, _, name = rest.partition("\t")
        if not tab:
            raise UtteranceError(f"{where}: expected start, end and label with tabs between, got {_short(line)}")
        begin, stop = (_number(cell.replace(",", "."), where) for cell in (start, end))
        if begin != stop:  # a point
            found.append(_segment(begin, stop, name.strip(), where))
    return tuple(found)


def _json(path: Path, tier: str | None) -> Content:
    text = path.read_text(encoding="utf-8-sig")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UtteranceError(f"{path.name} is no JSON that can be read ({reason(error)})") from error
    if isinstance(content, list):
        return tuple(_items(content, path.name))
    if isinstance(content, dict) and isinstance(content.get("tiers"), dict):
        tiers = {str(name): own for name, own in content["tiers"].items() if isinstance(own, dict)}
        entries = tiers[tier_name(list(tiers), tier, path.name)].get("entries")
        return tuple(_items(entries, path.name))
    if isinstance(content, dict) and "segments" in content:
        return tuple(_items(content["segments"], path.name))
    if isinstance(content, dict):
        return {str(name): _items(own, f"{path.name}, {name}") for name, own in content.items()}
    raise UtteranceError(f"{path.name}: expected a list or an object, got {type(content).__name__}")


def _items(content: Any, where: str) -> list[Segment]:
    if not isinstance(content, list):
        raise UtteranceError(f"{where}: expected a list of segments, got {type(content).__name__}")
    return [_item(item, f"{where}, segment {number}") for number, item in enumerate(content, start=1)]


def _item(item: Any, where: str) -> Segment:
    if isinstance(item, list | tuple) and len(item) == 3:
        return _segment(_number(item[0], where), _number(item[1], where), item[2], where)
    if not isinstance(item, Mapping):
        raise UtteranceError(f"{where}: expected an object, or [start, end, label], got {_short(item)}")
    name = next((name for name in LABEL_NAMES if name in item), None)
    if name is None or "start" not in item or not {"end", "duration"} & item.keys():
        raise UtteranceError(f"{where}: expected start, end (or duration) and label, got {listed(map(str, item))}")
    start = _number(item["start"], where)
    end = _number(item["end"], where) if "end" in item else start + _number(item["duration"], where)
    return _segment(start, end, item[name], where)


def _segment(start: float, end: float, label: Any, where: str) -> Segment:
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise UtteranceError(f"{where}: expected a label as text, got {_short(label)}")
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise UtteranceError(
            f"{where}: expected a segment from 0 s on that ends after its start, got {start:g}-{end:g} s"
        )
    text = nfc(str(label)).strip()
    if text != text.encode(errors="ignore").decode():
        raise UtteranceError(f"{where}: expected UTF-8 text for a label, got {_short(text)}")
    return Segment(text, float(start), float(end))


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UtteranceError(f"{where}: expected a time in seconds, got {_short(value)}") from None


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value[: limit + 1]) if isinstance(value, str) else _SHORT.repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


_SHORT = Repr()
"""Looks a few levels deep: a list may be nested as far as it can be read."""

_READERS: dict[str, Callable[[Path, str | None], Content]] = {
    ".textgrid": _textgrid,
    ".ctm": _ctm,
    ".rttm": _rttm,
    ".txt": _audacity,
    ".json": _json,
}
SUFFIXES = (".TextGrid", ".ctm", ".rttm", ".txt", ".json")
"""Endings of the files that can be read, whatever their case."""
