"""Where a manifest's rows have their segments from: a cell, a file that a cell names, or files beside the manifest."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import normpath
from typing import Any

from voxrank.config import Seconds
from voxrank.data.names import name_within, nfc
from voxrank.data.recording_keys import RecordingNames
from voxrank.data.recordings import Match, RecordingIndex
from voxrank.data.segments import SUFFIXES, SegmentFiles, inline_track
from voxrank.data.tracks import Omissions, Track
from voxrank.data.utterance import Segment, Utterance
from voxrank.errors import UtteranceError

APPLE_DOUBLE = "._"
"""How the names of files begin in which macOS keeps what is no content."""
END_TOLERANCE_S: Seconds = 0.05
"""How far segments that are counted from an utterance's start may end behind its end."""
SHIFTED_GUESS = "segments named after an utterance are read in seconds from its start"


@dataclass(frozen=True)
class TimedRow:
    """What a row says of its segments.

    Attributes:
        path: cell with the audio, as text.
        columns: all cells.
        id: that the reader gave to the row.
        cell: in the column of segments; None where there is none.
    """

    path: str
    columns: Mapping[str, Any]
    id: str | None
    cell: Any

    @cached_property
    def names(self) -> RecordingNames:
        """What the recording is called."""
        return RecordingNames.of(self.path, self.columns, self.id)


class SegmentSource:
    """Finds and reads the segments of utterances.

    Args:
        folder: of the manifest; relative names start there.
        given: a file of all recordings, or a folder with a file for each; None: the rows say.
        tier: of TextGrid files.
        rows: all rows of the data, of which names are told apart.
    """

    def __init__(self, folder: Path, given: Path | None, tier: str | None, rows: Iterable[TimedRow]) -> None:
        self._folder, self._given, self._rows = folder, given, list(rows)
        self._files = SegmentFiles(tier)
        self._indices: dict[str, RecordingIndex] = {}
        self._left_out: dict[tuple[str, str], Track] = {}
        self._guesses: dict[str, None] = {}

    def of(self, row: TimedRow, utterance: Utterance) -> tuple[Segment, ...]:
        """Return the segments of an utterance, in seconds of its audio file.

        Args:
            row: what it says of them.
            utterance: of the row.

        Raises:
            UtteranceError: there are none, or they cannot be read.
        """
        if self._given is None:
            return self._of_cell(row, utterance)
        if self._beside is None:
            return self._of_file(self._given, row.names, utterance, "")
        path = self._beside.file_of(row.names)
        content = self._files.read(path)
        if isinstance(content, Track):
            return self._noted(content, str(path), "")
        index = RecordingIndex(content, [row.names], self._folder, path)
        return self._of_recording(content, index, path, row.names, utterance)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed and what was left out of the segments that were asked for, a line each."""
        tracks = list(self._left_out.values())
        kinds = {
            "of zero length": [track.empty for track in tracks],
            "given twice": [track.repeated for track in tracks],
            "without usable times or label": [track.unusable for track in tracks],
        }
        return (*self._guesses, *(line for kind, parts in kinds.items() for line in _omitted(kind, parts)))

    def _of_cell(self, row: TimedRow, utterance: Utterance) -> tuple[Segment, ...]:
        cell = row.cell
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            raise UtteranceError("the column 'segments' is empty")
        if isinstance(cell, list) or (isinstance(cell, str) and cell.lstrip().startswith("[")):
            return self._noted(inline_track(cell), utterance.id, "")
        if not isinstance(cell, str):
            raise UtteranceError(
                f"expected a file or a JSON list in the column 'segments', got {type(cell).__name__} {cell!r}"
            )
        path = self._folder / name_within(self._folder, cell.strip())
        content = self._files.read(path)
        if isinstance(content, Track):
            return self._noted(content, str(path), "")
        return self._of_file(path, row.names, utterance, _file_named(cell))

    def _of_file(self, path: Path, names: RecordingNames, utterance: Utterance, named: str) -> tuple[Segment, ...]:
        """Return the segments of an utterance in a file of several recordings.

        Args:
            path: the file.
            names: of the recording.
            utterance: whose segments are asked for.
            named: how the rows name the file; empty where it holds those of all rows.
        """
        content = self._files.read(path)
        if isinstance(content, Track):
            self._check_recording(path, names)
            return self._noted(content, str(path), "")
        index = self._indices.get(named)
        if index is None:
            index = RecordingIndex(content, self._recordings[named], self._folder, path)
            self._indices[named] = index
        return self._of_recording(content, index, path, names, utterance)

    def _of_recording(
        self,
        content: Mapping[str, Track],
        index: RecordingIndex,
        path: Path,
        names: RecordingNames,
        utterance: Utterance,
    ) -> tuple[Segment, ...]:
        match = index.find(names)
        if match is None:
            raise index.unknown(names)
        found = self._noted(content[match.name], str(path), match.name)
        return self._in_file(found, match, utterance)

    def _in_file(self, found: tuple[Segment, ...], match: Match, utterance: Utterance) -> tuple[Segment, ...]:
        """Return segments in seconds of the file, where their name is that of a part of it."""
        start, end = utterance.start, utterance.end
        if not match.by_utterance or not start:
            return found
        if end is not None and found[-1].end > end - start + END_TOLERANCE_S and found[0].start >= start:
            return found
        self._guesses[SHIFTED_GUESS] = None
        return tuple(Segment(one.label, one.start + start, one.end + start) for one in found)

    def _noted(self, track: Track, file: str, name: str) -> tuple[Segment, ...]:
        """Return the segments of a track, and keep what was left out of it for the notes."""
        if track.guess:
            self._guesses[track.guess] = None
        found = track.checked().segments
        if track.empty.count or track.repeated.count or track.unusable.count:
            self._left_out[file, name] = track
        return found

    def _check_recording(self, path: Path, names: RecordingNames) -> None:
        """See that a file of one recording is that of the row. Raises `UtteranceError` where it is another's."""
        if self._is_one_recording:
            return
        index = self._indices.get("")
        if index is None:
            name = path.absolute().with_suffix("").as_posix()
            index = self._indices[""] = RecordingIndex([name], self._recordings[""], self._folder, path)
        if index.find(names) is None:
            raise UtteranceError(
                f"expected segments of {names.path!r}, but {path.name} holds those of one recording of another name; "
                "give a folder with a file for each recording, or one CTM, RTTM or JSON file of all of them"
            )

    @cached_property
    def _recordings(self) -> dict[str, list[RecordingNames]]:
        """File that rows name, or nothing where one holds those of all rows → names of the recordings."""
        found: dict[str, list[RecordingNames]] = defaultdict(list)
        for row in self._rows:
            if self._given is not None:
                found[""].append(row.names)
            elif isinstance(row.cell, str):
                found[_file_named(row.cell)].append(row.names)
        return found

    @cached_property
    def _is_one_recording(self) -> bool:
        return len({one.path for one in self._recordings[""]}) == 1

    @cached_property
    def _beside(self) -> _SegmentFolder | None:
        """The folder of segments; None where a file was given."""
        if self._given is None or not self._given.is_dir():
            return None
        return _SegmentFolder(self._given, [row.names for row in self._rows], self._folder)


class _SegmentFolder:
    """Files of segments in a folder and in the folders below it, by the recordings whose names they have.

    Args:
        folder: that is looked through, once.
        recordings: of the data.
        start: where relative paths of recordings start.
    """

    def __init__(self, folder: Path, recordings: Iterable[RecordingNames], start: Path) -> None:
        self._folder = folder
        self._paths: dict[str, list[Path]] = defaultdict(list)
        for path in _files_below(folder):
            self._paths[nfc(path.relative_to(folder).with_suffix("").as_posix())].append(path)
        self._index = RecordingIndex(self._paths, recordings, start, folder)

    def file_of(self, recording: RecordingNames) -> Path:
        """Return the file of segments of a recording.

        Raises:
            UtteranceError: there is none, or there are several.
        """
        match = self._index.find(recording)
        if match is None:
            name = Path(recording.path).stem
            raise UtteranceError(
                f"expected {name}{SUFFIXES[0]} (or {', '.join(SUFFIXES[1:])}) in {self._folder}, found none"
            )
        paths = self._paths[match.name]
        if len(paths) > 1:
            names = sorted(path.name for path in paths)
            raise UtteranceError(f"expected one file of segments for it, found {' and '.join(names)}")
        return paths[0]


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files of segments below a folder. Linked folders are entered, and none twice."""
    seen: set[str] = set()
    left = [folder]
    while left:
        here = left.pop()
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir():
                    if not entry.name.startswith("."):
                        left.append(here / entry.name)
                elif _ending(entry.name) in _ENDINGS and not entry.name.startswith(APPLE_DOUBLE):
                    yield here / entry.name


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122, pathlib's takes ten times as long


def _file_named(cell: str) -> str:
    return normpath(cell.strip().replace("\\", "/"))


def _omitted(kind: str, parts: Iterable[Omissions]) -> Iterator[str]:
    """Yield a note on items of one kind that were left out; nothing where there are none."""
    every = Omissions()
    for part in parts:
        every.add(part)
    if every.count:
        what, are = ("segment", "is") if every.count == 1 else ("segments", "are")
        yield f"{every.count:,} {what} {kind} {are} left out; the first: {every.first}"


_ENDINGS = {suffix.lower() for suffix in SUFFIXES}
