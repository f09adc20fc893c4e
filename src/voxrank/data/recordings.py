"""Which recording of the data a name in a file, or in a folder, of segments stands for.

A recording is known by its whole path, by the end of its path from any folder on, by its bare name, and by the ids of
its rows; with and without the ending. A slash, ``-``, ``_`` or ``__`` may join folders, in upper or lower case. A name
that matches in more folders goes first. A name that may stand for two recordings stands for none of them, unless it is
the whole path of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from posixpath import normpath
from urllib.parse import unquote

from voxrank.data.names import nfc
from voxrank.errors import UtteranceError, listed

MAX_FOLDERS = 12
"""Folders of a path, from its end, in which names may match."""
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
    """Finds the name of each recording among those in a file or folder of segments, in time that does not grow.

    Args:
        names: of the segments; slashes part folders.
        recordings: all recordings of the data to which the segments may belong.
        folder: where relative paths of recordings start.
        place: file or folder with the segments. Its name without the ending may be that of the recordings' folder, as
            in ``speaker1.ctm``.
    """

    def __init__(self, names: Iterable[str], recordings: Iterable[RecordingNames], folder: Path, place: Path) -> None:
        self._root, self._where = folder.absolute().as_posix(), place.name or str(place)
        outer = nfc(place.absolute().stem)
        self._names: dict[str, tuple[str, ...]] = {}
        self._owners: dict[str, tuple[str, ...]] = {}
        self._claims: dict[str, tuple[str, ...]] = {}
        self._hits: dict[str, _Hit | None] = {}
        self._folders = 1
        for known in names:
            for key in _keys_of_name(known, outer):
                _add(self._names, key, known)
                self._folders = max(self._folders, key.count("/") + 1)
        self._folders = min(self._folders, MAX_FOLDERS)
        every = list(recordings)
        for recording in every:
            audio = self._place(recording.path)
            for key in (*self._keys_of_path(recording.path), *_keys_of_ids(recording)):
                if key in self._names:
                    _add(self._owners, key, audio)
        for recording in every:
            hit = self._hit(recording)
            if hit is not None and hit.name is not None:
                _add(self._claims, hit.name, self._place(recording.path))

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

    def unknown(self, recording: RecordingNames, names: Sequence[str]) -> UtteranceError:
        """Return the reason why a recording without a name is skipped.

        Args:
            recording: that has none.
            names: that there are.
        """
        shown = ", ".join(map(repr, names[:SHOWN_NAMES])) or "none"
        more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
        called = PurePosixPath(recording.path).stem
        return UtteranceError(
            f"expected segments of the recording {called!r} in {self._where}, found those of {shown}{more}"
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
            self._hits[path] = self._first(self._keys_of_path(path))
        return self._hits[path]

    def _by_ids(self, ids: Sequence[str]) -> _Hit | None:
        """Return the segments of which an id is the whole name, and only one recording has that name."""
        hit = self._first(key for one in ids for key in _keys_of_id(one))
        return replace(hit, whole=False) if hit is not None and hit.name is not None else None

    def _first(self, keys: Iterable[str]) -> _Hit | None:
        for key in keys:
            names, owners = self._names.get(key, ()), self._owners.get(key, ())
            if len(names) > 1:
                return _Hit(None, refusal=self._several_names(key, names))
            if names:
                several = len(owners) > 1
                refusal = self._several_recordings(names[0], owners) if several else ""
                return _Hit(None if several else names[0], key.startswith(_WHOLE), refusal)
        return None

    def _several_names(self, key: str, names: Sequence[str]) -> str:
        return (
            f"several names in {self._where} may stand for the recording: {listed(map(repr, names))} "
            f"(all end in {key[1:].lstrip(_WHOLE)!r}); keep one, or name it with the folders of the recording"
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

    def _keys_of_path(self, path: str) -> Iterator[str]:
        """Yield what a recording is known by, what says most first."""
        whole = [nfc(path), nfc(self._place(path))]
        yield from (_WHOLE + name.strip("/") for name in whole)
        yield from (_WHOLE + _bare(name).strip("/") for name in whole)
        parts = [part for part in whole[1].split("/") if part]
        bare = [*parts[:-1], _bare(parts[-1])] if parts else []
        for count in range(min(self._folders, len(parts)), 0, -1):
            yield _END + "/".join(parts[-count:])
            yield _END + "/".join(bare[-count:])
            yield _loose("/".join(bare[-count:]))


_WHOLE, _END, _LOOSE = "==", "=", "~"
"""How keys begin: of the whole name, of its end, and of an end whatever its case and what joins its parts."""
_JOINTS = re.compile(r"[\s_\-/]+")


def _keys_of_name(name: str, outer: str) -> Iterator[str]:
    """Yield keys of a name of segments, alone and within a folder of the name `outer`."""
    raw = nfc(name)
    for form in dict.fromkeys((raw, nfc(unquote(name)))):
        parts = [part for part in form.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            continue
        for last in dict.fromkeys((parts[-1], _without_audio_ending(parts[-1]))):
            own = [*parts[:-1], last]
            if form == raw:
                yield _WHOLE + "/".join(own)
            longer = [outer, *own]
            for count in range(min(len(longer), MAX_FOLDERS), 0, -1):
                yield _END + "/".join(longer[-count:])
                yield _loose("/".join(longer[-count:]))


def _keys_of_ids(recording: RecordingNames) -> Iterator[str]:
    for one in (*recording.recording_ids, *recording.utterance_ids):
        yield from _keys_of_id(one)


def _keys_of_id(one: str) -> Iterator[str]:
    yield _WHOLE + nfc(one).strip("/")
    yield _loose(nfc(one))


def _loose(name: str) -> str:
    return _LOOSE + _JOINTS.sub("/", name.casefold()).strip("/")


def _bare(name: str) -> str:
    """Return a path without its ending, whatever that is."""
    folders, slash, last = name.rpartition("/")
    stem, dot, _ = last.rpartition(".")
    return f"{folders}{slash}{stem}" if dot and stem else name


def _without_audio_ending(name: str) -> str:
    from voxrank.data.folder import audio_suffixes  # it reads rows, which need this module

    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in audio_suffixes() else name


def _add(found: dict[str, tuple[str, ...]], key: str, value: str) -> None:
    """Keep the first two different values of a key."""
    kept = found.get(key, ())
    if len(kept) < 2 and value not in kept:
        found[key] = (*kept, value)


def _is_good(hit: _Hit | None) -> bool:
    return hit is not None and hit.name is not None
