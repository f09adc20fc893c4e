"""Names in data: one spelling for each, whatever its normal form, and no file that leaves the manifest's folder."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePath

from voxrank.errors import UtteranceError

MAX_NAME = 4096
"""Characters: no system has longer paths."""
LISTED_FOLDERS = 1024
"""Folders whose names are kept, so that a row does not list its folder anew."""
INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff\u00ad"
"""Characters of no width that stray into cells: spaces and marks of direction, joiners, byte order marks."""
_LAST_SPACE = 0x3000
_EDGES = INVISIBLE + "".join(filter(str.isspace, map(chr, range(_LAST_SPACE + 1))))
"""What is no part of a text at its ends."""


def nfc(text: str) -> str:
    """Return the text in Unicode normalisation form C, in which names and labels are compared."""
    return unicodedata.normalize("NFC", text)


def tidied(text: str) -> str:
    r"""Return the text in NFC, without white space and invisible characters around it.

    Example:
        >>> tidied("\ufeff ne\u0301\u00a0")
        'né'
    """
    return nfc(text.strip(_EDGES))


def name_within(folder: Path, name: str) -> str:
    """The name of a file as `folder` / name finds it, in one spelling: that of the disk, whatever its normal form.

    Backslashes part folders, as in manifests from Windows, unless a file has them. An absolute name is taken as it
    is: whoever writes one means it. In a relative one, ``..`` is taken out with the name before it, so that it cannot
    climb over a symbolic link; links themselves are followed.

    Args:
        folder: of the manifest.
        name: as the manifest has it.

    Raises:
        UtteranceError: the name is too long, or a relative one leads out of the folder.

    Example:
        >>> name_within(Path("data"), "./clips/../more/a.wav")
        'more/a.wav'
    """
    if len(name) > MAX_NAME:
        raise UtteranceError(f"expected a path of at most {MAX_NAME:,} characters, got {len(name):,}")
    if "\\" in name and not os.path.exists(folder / name):  # noqa: PTH110, pathlib's raises for odd names
        name = name.replace("\\", "/")
    pure = PurePath(name)
    if pure.is_absolute() or ".." not in pure.parts:
        return _spelled(folder, pure)
    spelled = posixpath.normpath(pure.as_posix())
    if PurePath(spelled).parts[:1] == ("..",):
        raise UtteranceError(
            f"expected a file in the manifest's folder, got {name!r}, which leaves it; write an absolute path"
        )
    return _spelled(folder, PurePath(spelled))


def _spelled(folder: Path, name: PurePath) -> str:
    """The name of a file below `folder`, or of any file where it is absolute, as the disk spells it."""
    text = name.as_posix()
    if has_one_form(text) or name.is_absolute():
        return _on_disk(text)
    return _on_disk(text, _on_disk(str(folder)))


def on_disk(path: Path) -> Path:
    """Return the path as the disk spells it; the path itself where the disk has no such file.

    macOS and some archive tools write "é" as "e" and an accent (NFD), and most manifests have one character (NFC). A
    folder is listed once, and only where a name in it has more than one normal form.

    Args:
        path: of a file or a folder, in any normal form.
    """
    return Path(_on_disk(str(path)))


def _on_disk(path: str, start: str = "") -> str:
    """The same of a path that starts in a folder. It is text, since rows are many and `Path` takes its time."""
    if has_one_form(path):
        return path
    parent, name = os.path.split(path)
    parent = _on_disk(parent, start)
    if not has_one_form(name):
        folder = os.path.join(start, parent) or os.curdir  # noqa: PTH118
        try:
            names = _listing(folder, os.stat(folder).st_mtime_ns)  # noqa: PTH116
            name = names.get(name, names.get(nfc(name), name))
        except (OSError, ValueError):
            pass  # the file is not there, which is said when it is read
    return os.path.join(parent, name)  # noqa: PTH118


@lru_cache(maxsize=LISTED_FOLDERS)
def _listing(folder: str, _changed_ns: int) -> Mapping[str, str]:
    """Map each name in a folder that has several normal forms, and its NFC, to the name that the disk has."""
    names = [name for name in sorted(os.listdir(folder)) if not has_one_form(name)]  # noqa: PTH208, names alone
    return {nfc(name): name for name in names} | {name: name for name in names}


def has_one_form(text: str) -> bool:
    """Return whether the text is the same in the normal forms C and D."""
    return text.isascii() or (unicodedata.is_normalized("NFC", text) and unicodedata.is_normalized("NFD", text))


def counted(found: Counter[str], shown: int) -> str:
    """The most frequent names, each with its number, and how many others there are.

    Example:
        >>> counted(Counter(["a", "b", "a"]), 1)
        "'a' (2) and 1 more"
    """
    first = ", ".join(f"{name!r} ({count:,})" for name, count in found.most_common(shown))
    return first + (f" and {len(found) - shown} more" if len(found) > shown else "")
