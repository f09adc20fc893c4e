"""Where a manifest's rows have their segments from: a cell, a file that a cell names, or files beside the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voxrank.data.names import name_within
from voxrank.data.segments import SUFFIXES, SegmentFiles, inline_segments
from voxrank.data.utterance import Segment
from voxrank.errors import UtteranceError


class SegmentSource:
    """Finds and reads the segments of utterances.

    Args:
        folder: of the manifest; relative names start there.
        given: a file of all recordings, or a folder with a file for each; None: the rows say.
        tier: of TextGrid files.
    """

    def __init__(self, folder: Path, given: Path | None, tier: str | None) -> None:
        self._folder, self._given = folder, given
        self._files = SegmentFiles(tier)

    def of(self, cell: Any, audio: Path) -> tuple[Segment, ...]:
        """The segments of an audio file, in seconds of the file.

        Args:
            cell: what the row says: a JSON list, or the name of a file.
            audio: the file; in files of several recordings its name without the ending is looked for.

        Raises:
            UtteranceError: there are none, or they cannot be read.
        """
        found = self._found(cell, audio)
        if not found:
            raise UtteranceError("expected segments, found none for this audio")
        return found

    def _found(self, cell: Any, audio: Path) -> tuple[Segment, ...]:
        if self._given is not None:
            path = self._given if not self._given.is_dir() else _beside(self._given, audio.stem)
            return self._files.of(path, audio.stem)
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            raise UtteranceError("the column 'segments' is empty")
        if isinstance(cell, list) or (isinstance(cell, str) and cell.lstrip().startswith("[")):
            return inline_segments(cell)
        if not isinstance(cell, str):
            raise UtteranceError(
                f"expected a file or a JSON list in the column 'segments', got {type(cell).__name__} {cell!r}"
            )
        return self._files.of(self._folder / name_within(self._folder, cell.strip()), audio.stem)


def _beside(folder: Path, stem: str) -> Path:
    """The one file of segments in a folder that is named like the audio."""
    found = [file for file in sorted(folder.glob(f"{_plain(stem)}.*")) if file.suffix.lower() in _ENDINGS]
    if not found:
        raise UtteranceError(f"expected {stem}{SUFFIXES[0]} (or {', '.join(SUFFIXES[1:])}) in {folder}, found none")
    if len(found) > 1:
        raise UtteranceError(f"expected one file of segments for it, found {' and '.join(f.name for f in found)}")
    return found[0]


def _plain(stem: str) -> str:
    """As a pattern that matches itself."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in stem)


_ENDINGS = {suffix.lower() for suffix in SUFFIXES}
