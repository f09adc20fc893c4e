"""Keys under which recordings and the names of segments are compared.

A name of segments has a key for each end of its path, a recording for each way in which it may be named. The prefix of
a key says how much is alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from voxrank.data.names import nfc

MAX_FOLDERS = 12
"""Parts of a path, from its end, that are compared."""
WHOLE, END, JOINED, LOOSE = "==", "=", "+", "~"
"""How keys begin: of a whole name, of its end, of joined folders, and of an end whatever its case and joints."""
_FOLDER_JOINTS = ("__", "-", "_")
_JOINTS = re.compile(r"[\s_\-/]+")


def keys_of_name(name: str, outer: str) -> Iterator[str]:
    """Yield the keys of a name of segments, with and without the ending of an audio file.

    Args:
        name: slashes or backslashes part its folders; ``%20`` and the like stand for characters.
        outer: name of a folder in which it may lie.
    """
    for form in dict.fromkeys((name, unquote(name))):
        parts = parts_of(form)
        if not parts:
            continue
        for last in dict.fromkeys((parts[-1], _without_audio_ending(parts[-1]))):
            own = [*parts[:-1], last]
            if form == name:
                yield WHOLE + "/".join(own)
            longer = [outer, *own]
            for count in range(min(len(longer), MAX_FOLDERS), 0, -1):
                yield END + "/".join(longer[-count:])
                yield _loose("/".join(longer[-count:]))


def keys_of_path(path: str, place: str, most: int) -> Iterator[str]:
    """Yield the keys of a recording, those that say most first.

    Args:
        path: of the audio, as the data have it.
        place: the same, absolute.
        most: parts of the path that are compared.
    """
    whole = [nfc(path).strip("/"), nfc(place).strip("/")]
    yield from (WHOLE + name for name in whole)
    yield from (WHOLE + _bare(name) for name in whole)
    parts, bare = whole[1].split("/"), _bare(whole[1]).split("/")
    counts = range(min(most, len(parts)), 0, -1)
    for count in counts:
        yield END + "/".join(parts[-count:])
        yield END + "/".join(bare[-count:])
    for count in counts[:-1]:
        yield from (JOINED + joint.join(bare[-count:]) for joint in _FOLDER_JOINTS)
    yield from (_loose("/".join(bare[-count:])) for count in counts)


def keys_of_id(one: str) -> tuple[str, ...]:
    """Return the keys of an id of a recording or an utterance."""
    name = nfc(one).strip("/")
    return WHOLE + name, END + name, _loose(name)


def key_of_names(key: str) -> str:
    """Return the key under which names of segments stand. Joined folders are compared with names as they are."""
    return END + key[1:] if key.startswith(JOINED) else key


def parts_of(name: str) -> list[str]:
    """Return the folders of a name and its last part."""
    return [part for part in nfc(name).replace("\\", "/").split("/") if part not in ("", ".")]


def _loose(name: str) -> str:
    return LOOSE + _JOINTS.sub("/", name.casefold()).strip("/")


def _bare(name: str) -> str:
    """Return a path without its ending, whatever that is."""
    folders, slash, last = name.rpartition("/")
    stem, dot, _ = last.rpartition(".")
    return f"{folders}{slash}{stem}" if dot and stem else name


def _without_audio_ending(name: str) -> str:
    from voxrank.data.folder import audio_suffixes  # it reads rows, which need this module

    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in audio_suffixes() else name
