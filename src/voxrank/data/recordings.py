"""An index that matches names in a segment file, or in a folder of them, with the recordings of the data.

Names are compared by `voxrank.data.recording_keys`. A name that may mean two recordings matches neither of them, unless
it is the whole path of one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath

from voxrank.data.names import nfc
from voxrank.data.recording_keys import (
    MAX_FOLDERS,
    Key,
    Kind,
    RecordingNames,
    exact_keys_of_id,
    exact_keys_of_name,
    exact_keys_of_path,
    loose_keys_of_id,
    loose_keys_of_name,
    loose_keys_of_path,
    parts_of,
)
from voxrank.errors import UtteranceError, listed

SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True)
class Match:
    """The name that matches a recording.

    Attributes:
        name: name in the file or folder of segments.
        by_utterance: whether it is the name of the utterance rather than of the recording.
    """

    name: str
    by_utterance: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A candidate for a match.

    Attributes:
        name: name in the file or folder of segments; None where it is refused.
        whole: whether the name is the whole path of the recording.
        refusal: reason for the refusal.
    """

    name: str | None
    whole: bool = False
    refusal: str = ""


class _Table:
    """A table of values by key. For each key, it keeps the first two that differ.

    Attributes:
        depth: number of parts of the longest key.
    """

    def __init__(self) -> None:
        self._first: dict[Kind, dict[str, str]] = defaultdict(dict)
        self._second: dict[Key, str] = {}
        self.depth = 0

    def add(self, key: Key, value: str) -> None:
        kind, text = key
        if self._first[kind].setdefault(text, value) != value:
            self._second.setdefault(key, value)
        self.depth = max(self.depth, text.count("/") + 1)

    def __getitem__(self, key: Key) -> tuple[str, ...]:
        kind, text = key
        first = self._first[kind].get(text)
        if first is None:
            return ()
        second = self._second.get(key) if self._second else None
        return (first,) if second is None else (first, second)


class RecordingIndex:
    """An index that finds the name of a recording in a file or folder of segments without a full search.

    Args:
        names: names of the segments, with slashes between folders.
        recordings: all recordings of the data that the segments may belong to.
        folder: folder that paths of recordings are relative to.
        source: file or folder with the segments. Its name without the ending may be the name of the recordings' folder,
            as in ``speaker1.ctm``.
    """

    def __init__(self, names: Iterable[str], recordings: Iterable[RecordingNames], folder: Path, source: Path) -> None:
        self._root, self._where = folder.absolute().as_posix(), source.name or str(source)
        self._all_names, self._recordings = list(names), list(recordings)
        parents = {recording.path.rpartition("/")[0] for recording in self._recordings}
        self._folders = {part.casefold() for path in parents for part in parts_of(self._absolute(path))}
        self._named_folders = set(chain.from_iterable(map(_folders, self._all_names)))
        outer = nfc(source.absolute().stem)
        self._outer = outer if outer.casefold() in self._folders else None
        self._candidates: dict[str, _Candidate | None] = {}
        self._claims = _Table()
        for recording in self._recordings:
            candidate = self._find_candidate(recording)
            if candidate is not None and candidate.name is not None:
                self._claims.add(("whole", candidate.name), self._absolute(recording.path))

    def find(self, recording: RecordingNames) -> Match | None:
        """Return the name of a recording, or None where there is none.

        Args:
            recording: recording of the data.

        Raises:
            UtteranceError: several names may mean the recording, or its name may mean several recordings.
        """
        candidate = self._find_candidate(recording)
        if candidate is None:
            return None
        if candidate.name is None:
            raise UtteranceError(candidate.refusal)
        claims = self._claims["whole", candidate.name]
        if len(claims) > 1 and not candidate.whole:
            raise UtteranceError(self._several_recordings(candidate.name, claims))
        by_path = self._by_path(recording.path)
        return Match(candidate.name, by_utterance=not _is_match(by_path) and not self._by_ids(recording.recording_ids))

    def unknown(self, recording: RecordingNames) -> UtteranceError:
        """Return the reason for skipping a recording without a name.

        Args:
            recording: recording without a name.
        """
        names = self._all_names
        shown = ", ".join(map(repr, names[:SHOWN_NAMES])) or "none"
        more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
        stem = PurePosixPath(recording.path).stem
        return UtteranceError(
            f"expected segments of the recording {stem!r} in {self._where}, found those of {shown}{more}"
        )

    def _find_candidate(self, recording: RecordingNames) -> _Candidate | None:
        by_path = self._by_path(recording.path)
        by_id = self._by_ids(recording.ids) if recording.ids else None
        if by_id is None or not _is_match(by_path):
            return by_id or by_path
        if by_path is not None and by_path.name != by_id.name:
            return _Candidate(
                None,
                refusal=f"its file names the segments {by_path.name!r} in {self._where}, and its id names "
                f"{by_id.name!r}; rename one",
            )
        return by_path

    def _by_path(self, path: str) -> _Candidate | None:
        if path not in self._candidates:
            candidate = self._first(lambda: self._exact_keys(path), lambda: self._loose_keys(path))
            if (
                candidate is not None
                and candidate.name is not None
                and not candidate.whole
                and self._is_elsewhere(candidate.name, path)
            ):
                candidate = _Candidate(
                    None,
                    refusal=f"the name {candidate.name!r} in {self._where} is in other folders than "
                    f"{path!r}; name the recording there with its folders",
                )
            self._candidates[path] = candidate
        return self._candidates[path]

    def _is_elsewhere(self, name: str, path: str) -> bool:
        """Return whether a name has a folder of other recordings only, or lacks a folder that only other names have."""
        if not self._named_folders:
            return False
        absolute = self._absolute(path)
        if name.startswith("/") and parts_of(name)[-2:-1] == parts_of(absolute)[-2:-1]:
            return False  # outer folders may be those of another machine
        named, folders = _folders(name), _folders(absolute)
        return bool((named - folders) & self._folders or (folders - named) & self._named_folders)

    def _by_ids(self, ids: Sequence[str]) -> _Candidate | None:
        """Return the segments whose name is an id, where only one recording has that id."""
        candidate = self._first(
            lambda: chain.from_iterable(map(exact_keys_of_id, ids)),
            lambda: chain.from_iterable(map(loose_keys_of_id, ids)),
        )
        return replace(candidate, whole=False) if candidate is not None and candidate.name is not None else None

    def _first(self, exact: Callable[[], Iterable[Key]], loose: Callable[[], Iterable[Key]]) -> _Candidate | None:
        """Return the match of the first key with one name and one recording, else the refusal of the first key."""
        candidate = self._first_candidate(exact(), self._exact_owners)
        if _is_match(candidate):
            return candidate
        last = self._first_candidate(loose(), self._loose_owners)
        return last if candidate is None or _is_match(last) else candidate

    def _first_candidate(self, keys: Iterable[Key], all_owners: _Table) -> _Candidate | None:
        refusal = None
        for key in keys:
            names = self._names(key)
            if not names:
                continue
            owners = all_owners[key]
            if len(names) == 1 and len(owners) < 2:
                return _Candidate(names[0], key[0] == "whole")
            if refusal is None:
                several = len(names) > 1
                reason = self._several_names(key[1], names) if several else self._several_recordings(names[0], owners)
                refusal = _Candidate(None, refusal=reason)
        return refusal

    def _names(self, key: Key) -> tuple[str, ...]:
        """Return the names that a key may mean, at most two."""
        kind, text = key
        return (
            self._loose_names[key] if kind == "loose" else self._exact_names["end" if kind == "joined" else kind, text]
        )

    @cached_property
    def _exact_names(self) -> _Table:
        return self._table_of_names(exact_keys_of_name)

    @cached_property
    def _loose_names(self) -> _Table:
        return self._table_of_names(loose_keys_of_name)

    @cached_property
    def _exact_owners(self) -> _Table:
        return self._table_of_owners(self._exact_keys, exact_keys_of_id)

    @cached_property
    def _loose_owners(self) -> _Table:
        """The owners of loose keys. The table is built only when a recording has no name with the same spelling."""
        return self._table_of_owners(self._loose_keys, loose_keys_of_id)

    def _table_of_names(self, keys_of: Callable[[str, str | None], Iterator[Key]]) -> _Table:
        table = _Table()
        for name in self._all_names:
            for key in keys_of(name, self._outer):
                table.add(key, name)
        return table

    def _table_of_owners(self, of_path: _Keys, of_id: _Keys) -> _Table:
        """Return a table of the recordings, at most two, that each key of names may mean."""
        table = _Table()
        for recording in self._recordings:
            absolute = self._absolute(recording.path)
            for key in chain(of_path(recording.path), *map(of_id, recording.ids)):
                if self._names(key):
                    table.add(key, absolute)
        return table

    def _exact_keys(self, path: str) -> Iterator[Key]:
        return exact_keys_of_path(path, self._absolute(path), min(self._exact_names.depth, MAX_FOLDERS))

    def _loose_keys(self, path: str) -> Iterator[Key]:
        return loose_keys_of_path(self._absolute(path), min(self._loose_names.depth, MAX_FOLDERS))

    def _several_names(self, end: str, names: Sequence[str]) -> str:
        return (
            f"several names in {self._where} may stand for the recording: {listed(map(repr, names))} "
            f"(all end in {end!r}); keep one, or name it with the folders of the recording"
        )

    def _several_recordings(self, name: str, owners: Sequence[str]) -> str:
        shown = [owner.removeprefix(f"{self._root}/") for owner in owners]
        with_folders = PurePosixPath(shown[0]).with_suffix("")
        return (
            f"the name {name!r} in {self._where} may stand for several recordings of the data, such as "
            f"{' and '.join(map(repr, shown))}; name each there with its folders, such as '{with_folders}'"
        )

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else f"{self._root}/{path}"


_Keys = Callable[[str], Iterator[Key]]


def _folders(name: str) -> set[str]:
    return {part.casefold() for part in parts_of(name)[:-1]}


def _is_match(candidate: _Candidate | None) -> bool:
    return candidate is not None and candidate.name is not None
