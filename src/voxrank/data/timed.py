"""A source of segments for a manifest's rows: a cell, a file that a cell names, or files beside the manifest."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import normpath
from typing import Any

from voxrank._support.words import count
from voxrank.config import Seconds
from voxrank.data.names import name_within, nfc
from voxrank.data.recording_keys import RecordingNames
from voxrank.data.recordings import Match, RecordingIndex
from voxrank.data.segments import SUFFIXES, SegmentFiles, inline_track
from voxrank.data.tracks import Omissions, Track
from voxrank.data.utterance import Segment, Utterance
from voxrank.errors import UtteranceError

APPLE_DOUBLE = "._"
"""Prefix of files in which macOS stores metadata."""
END_TOLERANCE_S: Seconds = 0.05
"""Maximum distance of a segment's end past the utterance's end, for times relative to the utterance's start."""
SHIFTED_GUESS = "segments named after an utterance are read in seconds from its start"


@dataclass(frozen=True)
class TimedRow:
    """The cells of a row that identify its segments.

    Attributes:
        path: cell with the audio, as text.
        columns: column → cell, for all columns.
        id: id that the reader gave to the row.
        cell: cell in the column of segments; None where there is none.
    """

    path: str
    columns: Mapping[str, Any]
    id: str | None
    cell: Any

    @cached_property
    def names(self) -> RecordingNames:
        """The names of the recording."""
        return RecordingNames.of(self.path, self.columns, self.id)


class SegmentSource:
    """A reader that finds the segments of utterances.

    Args:
        folder: folder of the manifest, which names are relative to.
        segments: file of all recordings, or folder with a file for each recording. None: the rows have a column for it.
        tier: tier of TextGrid files.
        rows: all rows of the data, among which names must be unique.
    """

    def __init__(self, folder: Path, segments: Path | None, tier: str | None, rows: Iterable[TimedRow]) -> None:
        self._folder, self._segments_path, self._rows = folder, segments, list(rows)
        self._files = SegmentFiles(tier)
        self._indices: dict[str, RecordingIndex] = {}
        self._omissions: dict[tuple[str, str], Track] = {}
        self._guesses: dict[str, None] = {}

    def of(self, row: TimedRow, utterance: Utterance) -> tuple[Segment, ...]:
        """Return the segments of an utterance, in seconds of its audio file.

        Args:
            row: cells of the row.
            utterance: utterance of the row.

        Raises:
            UtteranceError: the segments are missing or cannot be read.
        """
        if self._segments_path is None:
            return self._segments_in_cell(row, utterance)
        if self._segment_folder is None:
            return self._segments_in_file(self._segments_path, row.names, utterance, "")
        path = self._segment_folder.file_of(row.names)
        content = self._files.read(path)
        if isinstance(content, Track):
            return self._checked_segments(content, str(path), "")
        index = RecordingIndex(content, [row.names], self._folder, path)
        return self._segments_of_recording(content, index, path, row.names, utterance)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes on assumptions and omissions in the segments that were read, one line each."""
        tracks = list(self._omissions.values())
        kinds = {
            "of zero length": [track.empty for track in tracks],
            "given twice": [track.repeated for track in tracks],
            "without usable times or label": [track.unusable for track in tracks],
        }
        return (*self._guesses, *(line for kind, parts in kinds.items() for line in _omission_notes(kind, parts)))

    def _segments_in_cell(self, row: TimedRow, utterance: Utterance) -> tuple[Segment, ...]:
        cell = row.cell
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            raise UtteranceError("the column 'segments' is empty")
        if isinstance(cell, list) or (isinstance(cell, str) and cell.lstrip().startswith("[")):
            return self._checked_segments(inline_track(cell), utterance.id, "")
        if not isinstance(cell, str):
            raise UtteranceError(
                f"expected a file or a JSON list in the column 'segments', got {type(cell).__name__} {cell!r}"
            )
        path = self._folder / name_within(self._folder, cell.strip())
        content = self._files.read(path)
        if isinstance(content, Track):
            return self._checked_segments(content, str(path), "")
        return self._segments_in_file(path, row.names, utterance, _file_name(cell))

    def _segments_in_file(
        self, path: Path, names: RecordingNames, utterance: Utterance, file_name: str
    ) -> tuple[Segment, ...]:
        """Return the segments of an utterance in a file of several recordings.

        Args:
            path: path of the file.
            names: names of the recording.
            utterance: utterance with the segments.
            file_name: name of the file in the rows; empty where the file holds the segments of all rows.
        """
        content = self._files.read(path)
        if isinstance(content, Track):
            self._check_recording(path, names)
            return self._checked_segments(content, str(path), "")
        index = self._indices.get(file_name)
        if index is None:
            index = RecordingIndex(content, self._recordings[file_name], self._folder, path)
            self._indices[file_name] = index
        return self._segments_of_recording(content, index, path, names, utterance)

    def _segments_of_recording(
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
        segments = self._checked_segments(content[match.name], str(path), match.name)
        return self._in_file_time(segments, match, utterance)

    def _in_file_time(self, segments: tuple[Segment, ...], match: Match, utterance: Utterance) -> tuple[Segment, ...]:
        """Return segments in seconds of the file, where their name means only a part of the file."""
        start, end = utterance.start, utterance.end
        if not match.by_utterance or not start:
            return segments
        if end is not None and segments[-1].end > end - start + END_TOLERANCE_S and segments[0].start >= start:
            return segments
        self._guesses[SHIFTED_GUESS] = None
        return tuple(Segment(segment.label, segment.start + start, segment.end + start) for segment in segments)

    def _checked_segments(self, track: Track, file: str, name: str) -> tuple[Segment, ...]:
        """Return the segments of a track, and store its omissions for the notes."""
        if track.guess:
            self._guesses[track.guess] = None
        segments = track.checked().segments
        if track.empty.count or track.repeated.count or track.unusable.count:
            self._omissions[file, name] = track
        return segments

    def _check_recording(self, path: Path, names: RecordingNames) -> None:
        """Check that a file of one recording belongs to the row. Raises `UtteranceError` where it does not."""
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
        """The names of the recordings by file in the rows; the key is empty where one file holds all segments."""
        recordings: dict[str, list[RecordingNames]] = defaultdict(list)
        for row in self._rows:
            if self._segments_path is not None:
                recordings[""].append(row.names)
            elif isinstance(row.cell, str):
                recordings[_file_name(row.cell)].append(row.names)
        return recordings

    @cached_property
    def _is_one_recording(self) -> bool:
        return len({recording.path for recording in self._recordings[""]}) == 1

    @cached_property
    def _segment_folder(self) -> _SegmentFolder | None:
        """The folder of segments, or None where the segments are in a file."""
        if self._segments_path is None or not self._segments_path.is_dir():
            return None
        return _SegmentFolder(self._segments_path, [row.names for row in self._rows], self._folder)


class _SegmentFolder:
    """An index of the segment files below a folder, by the recordings with the same names.

    Args:
        folder: folder that is searched, once.
        recordings: recordings of the data.
        start: folder that paths of recordings are relative to.
    """

    def __init__(self, folder: Path, recordings: Iterable[RecordingNames], start: Path) -> None:
        self._folder = folder
        self._paths: dict[str, list[Path]] = defaultdict(list)
        for path in _files_below(folder):
            self._paths[nfc(path.relative_to(folder).with_suffix("").as_posix())].append(path)
        self._index = RecordingIndex(self._paths, recordings, start, folder)

    def file_of(self, recording: RecordingNames) -> Path:
        """Return the segment file of a recording.

        Raises:
            UtteranceError: there is no file, or there are several.
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
    """Yield all segment files below a folder. Links to folders are followed, and no folder is visited twice."""
    seen: set[str] = set()
    pending = [folder]
    while pending:
        current = pending.pop()
        real_path = os.path.realpath(current)
        if real_path in seen:
            continue
        seen.add(real_path)
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir():
                    if not entry.name.startswith("."):
                        pending.append(current / entry.name)
                elif _ending(entry.name) in _ENDINGS and not entry.name.startswith(APPLE_DOUBLE):
                    yield current / entry.name


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122, pathlib takes ten times as long


def _file_name(cell: str) -> str:
    return normpath(cell.strip().replace("\\", "/"))


def _omission_notes(kind: str, parts: Iterable[Omissions]) -> Iterator[str]:
    """Yield a note on omitted items of one kind, if there are any."""
    total = Omissions()
    for part in parts:
        total.add(part)
    if total.count:
        what = count(total.count, f"segment {kind} is", f"segments {kind} are")
        yield f"{what} left out; the first: {total.first}"


_ENDINGS = {suffix.lower() for suffix in SUFFIXES}
