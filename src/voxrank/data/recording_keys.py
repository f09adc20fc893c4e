"""Keys for matching recordings with the names of segments.

A recording has keys for its whole path, for the end of its path from any folder on, for its bare name, and for the ids
of its rows, with and without the ending. Folders may be joined by ``__``, ``-`` or ``_``. Names with another letter
case, or joined in another way, are compared last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath
from typing import Literal
from urllib.parse import unquote

from voxrank.data.audio_files import audio_suffixes
from voxrank.data.names import nfc

MAX_FOLDERS = 12
"""Maximum number of parts of a path, from its end, that are compared."""


Kind = Literal["whole", "end", "joined", "loose"]
"""Part of a name that a key compares: all of it, its end, an end with joined folders, an end in any spelling."""
Key = tuple[Kind, str]

RECORDING_COLUMNS = ("recording", "recording_id", "file_id")
"""Columns with the name of a row's recording."""
UTTERANCE_COLUMNS = ("utterance_id", "utt_id", "uttid", "utt", "utterance", "id")
"""Columns with the name of a row's utterance. Times under such a name are relative to the utterance's start."""
_FOLDER_JOINTS = ("__", "-", "_")
_JOINTS = re.compile(r"[\s_\-/]+")


@dataclass(frozen=True, slots=True)
class RecordingNames:
    """The names of a recording in a row of the data.

    Attributes:
        path: path of the audio in the row, with slashes.
        recording_ids: ids of the recording.
        utterance_ids: ids of the utterance, which may be a stretch of the recording.
    """

    path: str
    recording_ids: tuple[str, ...] = ()
    utterance_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str, columns: Mapping[str, object], row_id: str | None) -> RecordingNames:
        """Return the names in a row.

        Args:
            path: cell with the audio.
            columns: all cells of the row.
            row_id: id that the reader gave to the row.
        """
        ids = () if row_id is None else (row_id,)
        more = tuple(cell for cell in _cells(columns, UTTERANCE_COLUMNS) if not cell.isdecimal())  # without row numbers
        return cls(_plain(path), _cells(columns, RECORDING_COLUMNS), (*ids, *more))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the recording and of the utterance."""
        return (*self.recording_ids, *self.utterance_ids)


def _plain(path: str) -> str:
    """Return a path in a unified spelling."""
    slashed = path.replace("\\", "/")
    is_plain = "//" not in slashed and "/." not in slashed and not slashed.startswith(".")
    return slashed if is_plain else normpath(slashed)


def _cells(columns: Mapping[str, object], names: Sequence[str]) -> tuple[str, ...]:
    cells = (columns[name] for name in names if name in columns)
    return tuple(dict.fromkeys(text for cell in cells if isinstance(cell, str) and (text := cell.strip())))


def exact_keys_of_name(name: str, outer: str | None) -> Iterator[Key]:
    """Yield the keys of a name of segments, with and without the ending of an audio file.

    Args:
        name: name with slashes or backslashes between folders; escapes such as ``%20`` are decoded.
        outer: name of a folder that may contain it.
    """
    for form, parts in _forms(name):
        if form is name:
            yield "whole", "/".join(parts)
        yield from (("end", end) for end in _ends(parts, outer))


def loose_keys_of_name(name: str, outer: str | None) -> Iterator[Key]:
    """Yield the keys of a name of segments that are compared last. Arguments as `exact_keys_of_name`."""
    for _, parts in _forms(name):
        yield from (("loose", _loose(end)) for end in _ends(parts, outer))


def exact_keys_of_path(path: str, absolute: str, depth: int) -> Iterator[Key]:
    """Yield the keys of a recording, most specific first.

    Args:
        path: path of the audio in the data.
        absolute: absolute path of the audio.
        depth: number of parts of the path that are compared.
    """
    whole = [nfc(path).strip("/"), nfc(absolute).strip("/")]
    yield from (("whole", name) for name in whole)
    yield from (("whole", _bare(name)) for name in whole)
    parts, bare = whole[1].split("/"), _bare(whole[1]).split("/")
    for count in range(min(depth, len(parts)), 0, -1):
        yield "end", "/".join(parts[-count:])
        yield "end", "/".join(bare[-count:])


def loose_keys_of_path(absolute: str, depth: int) -> Iterator[Key]:
    """Yield the keys of a recording that are compared last. Arguments as `exact_keys_of_path`."""
    bare = _bare(nfc(absolute).strip("/")).split("/")
    counts = range(min(depth, len(bare)), 0, -1)
    for count in counts[:-1]:
        yield from (("joined", joint.join(bare[-count:])) for joint in _FOLDER_JOINTS)
    yield from (("loose", _loose("/".join(bare[-count:]))) for count in counts)


def exact_keys_of_id(row_id: str) -> Iterator[Key]:
    """Yield the keys of an id of a recording or an utterance."""
    name = nfc(row_id).strip("/")
    yield "whole", name
    yield "end", name


def loose_keys_of_id(row_id: str) -> Iterator[Key]:
    """Yield the keys of an id that are compared last."""
    yield "loose", _loose(nfc(row_id))


def parts_of(name: str) -> list[str]:
    """Return the folders of a name and its last part."""
    return [part for part in nfc(name).replace("\\", "/").split("/") if part not in ("", ".")]


def _forms(name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a name and its decoded form, each with its parts, with and without the ending of an audio file."""
    for form in (name, unquote(name)) if "%" in name else (name,):
        parts = parts_of(form)
        if parts:
            yield form, parts
            bare = _without_audio_ending(parts[-1])
            if bare != parts[-1]:
                yield form, [*parts[:-1], bare]


def _ends(parts: list[str], outer: str | None) -> Iterator[str]:
    all_parts = parts if outer is None else [outer, *parts]
    for count in range(min(len(all_parts), MAX_FOLDERS), 0, -1):
        yield "/".join(all_parts[-count:])


def _loose(name: str) -> str:
    return _JOINTS.sub("/", name.casefold()).strip("/")


def _bare(name: str) -> str:
    """Return a path without any ending."""
    folders, slash, last = name.rpartition("/")
    stem, dot, _ = last.rpartition(".")
    return f"{folders}{slash}{stem}" if dot and stem else name


def _without_audio_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in audio_suffixes() else name
