"""Which recording of the data a name in a file, or in a folder, of segments stands for.

A recording is known by its whole path, by the end of its path from any folder on, by its bare name, and by the ids of
its rows; with and without the ending. Ends that are spelled alike go first, the longest of them before all, then those
whose folders are joined by ``__``, ``-`` or ``_``, then those that differ in case and joints. A name that may stand for
two recordings stands for none of them, unless it is the whole path of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from posixpath import normpath

from voxrank.data.names import nfc
from voxrank.data.recording_keys import (
    END,
    MAX_FOLDERS,
    WHOLE,
    key_of_names,
    keys_of_id,
    keys_of_name,
    keys_of_path,
    parts_of,
)
from voxrank.errors import UtteranceError, listed

SHOWN_NAMES = 3

RECORDING_COLUMNS = ("recording", "recording_id", "file_id")
"""Columns that name the recording of a row."""
UTTERANCE_COLUMNS = ("utterance_id", "utt_id", "uttid", "utt", "utterance", "id")
"""Columns that name the utterance of a row. Times under such a name are counted from the utterance's start."""


@dataclass(frozen=True)
class RecordingNames:
    """What a recording is called in a row of the data.

    Attributes:
        path: of the audio, with slashes, as the row has it.
        recording_ids: of the recording.
        utterance_ids: of the utterance, which may be a stretch of the recording.
    """

    path: str
    recording_ids: tuple[str, ...] = ()
    utterance_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str, columns: Mapping[str, object], row_id: str | None) -> RecordingNames:
        """Return the names that a row gives.

        Args:
            path: cell with the audio.
            columns: all cells of the row.
            row_id: id that the reader gave to the row.
        """
        ids = () if row_id is None else (row_id,)
        return cls(
            normpath(path.replace("\\", "/")),
            _cells(columns, RECORDING_COLUMNS),
            (*ids, *(cell for cell in _cells(columns, UTTERANCE_COLUMNS) if not cell.isdecimal())),  # numbers of rows
        )


def _cells(columns: Mapping[str, object], names: Sequence[str]) -> tuple[str, ...]:
    cells = [cell.strip() for name in names if isinstance(cell := columns.get(name), str)]
    return tuple(dict.fromkeys(cell for cell in cells if cell))


@dataclass(frozen=True)
class Match:
    """What was found for a recording.

    Attributes:
        name: in the file or folder of segments.
        by_utterance: whether it is the utterance's name, and not the recording's.
    """

    name: str
    by_utterance: bool = False


@dataclass(frozen=True)
class _Hit:
    """A name that matches a recording.

    Attributes:
        name: in the file or folder of segments; None where it is refused.
        whole: whether it is the whole path of the recording.
        refusal: why it is refused.
    """

    name: str | None
    whole: bool = False
    refusal: str = ""


class RecordingIndex:
    """Finds the name of each recording among those in a file or folder of segments, without going through all of them.

    Args:
        names: of the segments; slashes part folders.
        recordings: all recordings of the data to which the segments may belong.
        folder: where relative paths of recordings start.
        place: file or folder with the segments. Its name without the ending may be that of the recordings' folder, as
            in ``speaker1.ctm``.
    """

    def __init__(self, names: Iterable[str], recordings: Iterable[RecordingNames], folder: Path, place: Path) -> None:
        self._root, self._where = folder.absolute().as_posix(), place.name or str(place)
        self._names: dict[str, tuple[str, ...]] = {}
        self._owners: dict[str, tuple[str, ...]] = {}
        self._claims: dict[str, tuple[str, ...]] = {}
        self._hits: dict[str, _Hit | None] = {}
        every = list(recordings)
        self._add_names(list(names), nfc(place.absolute().stem))
        self._known_folders = {folder for one in every for folder in self._folders_of(one.path)}
        for recording in every:
            audio = self._place(recording.path)
            for key in (*self._keys(recording.path), *_keys_of_ids(recording)):
                if key_of_names(key) in self._names:
                    _add(self._owners, key, audio)
        for recording in every:
            hit = self._hit(recording)
            if hit is not None and hit.name is not None:
                _add(self._claims, hit.name, self._place(recording.path))

    def _add_names(self, names: Sequence[str], outer: str) -> None:
        self._depth = 1
        self._named_folders: set[str] = set()
        for name in names:
            for key in keys_of_name(name, outer):
                _add(self._names, key, name)
                self._depth = max(self._depth, key.count("/") + 1)
            self._named_folders.update(_folders(name))
        self._depth = min(self._depth, MAX_FOLDERS)
        shown = ", ".join(map(repr, islice(names, SHOWN_NAMES))) or "none"
        self._shown_names = shown + (f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "")

    def find(self, recording: RecordingNames) -> Match | None:
        """Return the name of a recording; None where there is none.

        Args:
            recording: one of those of the data.

        Raises:
            UtteranceError: several names may stand for the recording, or its name for several recordings.
        """
        hit = self._hit(recording)
        if hit is None:
            return None
        if hit.name is None:
            raise UtteranceError(hit.refusal)
        claims = self._claims.get(hit.name, ())
        if len(claims) > 1 and not hit.whole:
            raise UtteranceError(self._several_recordings(hit.name, claims))
        by_path = self._by_path(recording.path)
        return Match(hit.name, by_utterance=not _is_good(by_path) and not self._by_ids(recording.recording_ids))

    def unknown(self, recording: RecordingNames) -> UtteranceError:
        """Return the reason why a recording without a name is skipped.

        Args:
            recording: that has none.
        """
        called = PurePosixPath(recording.path).stem
        return UtteranceError(
            f"expected segments of the recording {called!r} in {self._where}, found those of {self._shown_names}"
        )

    def _hit(self, recording: RecordingNames) -> _Hit | None:
        by_path = self._by_path(recording.path)
        by_id = self._by_ids((*recording.recording_ids, *recording.utterance_ids))
        if by_id is None or not _is_good(by_path):
            return by_id or by_path
        if by_path is not None and by_path.name != by_id.name:
            return _Hit(
                None,
                refusal=f"its file names the segments {by_path.name!r} in {self._where}, and its id names "
                f"{by_id.name!r}; rename one",
            )
        return by_path

    def _by_path(self, path: str) -> _Hit | None:
        if path not in self._hits:
            hit = self._first(self._keys(path))
            if hit is not None and hit.name is not None and not hit.whole and self._is_elsewhere(hit.name, path):
                hit = _Hit(
                    None,
                    refusal=f"the name {hit.name!r} in {self._where} has folders of other recordings than {path!r}; "
                    "name it there with its folders",
                )
            self._hits[path] = hit
        return self._hits[path]

    def _is_elsewhere(self, name: str, path: str) -> bool:
        """Whether a name has a folder that only other recordings have, or lacks one that only other names have."""
        if name.startswith("/") and parts_of(name)[-2:-1] == parts_of(self._place(path))[-2:-1]:
            return False  # folders above may be those of another machine
        named, own = _folders(name), self._folders_of(path)
        return bool((named - own) & self._known_folders or (own - named) & self._named_folders)

    def _by_ids(self, ids: Sequence[str]) -> _Hit | None:
        """Return the segments with the name of an id, where only one recording has that name."""
        hit = self._first(key for one in ids for key in keys_of_id(one))
        return replace(hit, whole=False) if hit is not None and hit.name is not None else None

    def _first(self, keys: Iterable[str]) -> _Hit | None:
        """Return what the first key that says one name of one recording finds, else why the first one does not."""
        refusal = None
        for key in keys:
            names, owners = self._names.get(key_of_names(key), ()), self._owners.get(key, ())
            if len(names) == 1 and len(owners) < 2:
                return _Hit(names[0], key.startswith(WHOLE))
            if names and refusal is None:
                several = len(names) > 1
                why = self._several_names(key, names) if several else self._several_recordings(names[0], owners)
                refusal = _Hit(None, refusal=why)
        return refusal

    def _several_names(self, key: str, names: Sequence[str]) -> str:
        return (
            f"several names in {self._where} may stand for the recording: {listed(map(repr, names))} "
            f"(all end in {key[1:].lstrip(END)!r}); keep one, or name it with the folders of the recording"
        )

    def _several_recordings(self, name: str, owners: Sequence[str]) -> str:
        shown = [self._shown(owner) for owner in owners]
        with_folders = PurePosixPath(shown[0]).with_suffix("")
        return (
            f"the name {name!r} in {self._where} may stand for several recordings of the data, such as "
            f"{' and '.join(map(repr, shown))}; name each there with its folders, such as '{with_folders}'"
        )

    def _shown(self, place: str) -> str:
        return place.removeprefix(f"{self._root}/")

    def _place(self, path: str) -> str:
        return path if path.startswith("/") else f"{self._root}/{path}"

    def _keys(self, path: str) -> Iterator[str]:
        return keys_of_path(path, self._place(path), self._depth)

    def _folders_of(self, path: str) -> set[str]:
        return _folders(self._place(path))


def _keys_of_ids(recording: RecordingNames) -> Iterator[str]:
    for one in (*recording.recording_ids, *recording.utterance_ids):
        yield from keys_of_id(one)


def _folders(name: str) -> set[str]:
    return {part.casefold() for part in parts_of(name)[:-1]}


def _add(found: dict[str, tuple[str, ...]], key: str, value: str) -> None:
    """Keep the first two different values of a key."""
    kept = found.get(key, ())
    if len(kept) < 2 and value not in kept:
        found[key] = (*kept, value)


def _is_good(hit: _Hit | None) -> bool:
    return hit is not None and hit.name is not None
