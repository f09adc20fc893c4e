"""Names in data: unified spelling for all normal forms, and no paths outside the manifest's folder."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePath

from voxrank.errors import UtteranceError

MAX_NAME = 4096
"""Maximum number of characters of a path. No operating system allows more."""
LISTED_FOLDERS = 1024
"""Number of folders whose listing is cached, so that rows do not list the same folder again."""
INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff\u00ad"
"""Zero-width characters that occur in cells by mistake: spaces, direction marks, joiners, byte order marks."""
_UNUSUAL = re.compile(r"\\|//|\./|\.\.|/\.?\Z|\A\.?\Z")
"""Parts of a path that may be spelled in another way."""
_LAST_SPACE = 0x3000
_EDGES = INVISIBLE + "".join(filter(str.isspace, map(chr, range(_LAST_SPACE + 1))))
"""Characters that are removed from both ends of a text."""


def nfc(text: str) -> str:
    """Return the text in Unicode normalisation form C, the form in which names and labels are compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def tidied(text: str) -> str:
    r"""Return the text in NFC, without white space and invisible characters around it.

    Example:
        >>> tidied("\ufeff ne\u0301\u00a0")
        'né'
    """
    return text.strip() if text.isascii() else nfc(text.strip(_EDGES))


def name_within(folder: Path, name: str) -> str:
    """Return the name of a file as the disk spells it, whatever the normal form in the manifest.

    Backslashes separate folders, as in manifests from Windows, unless a file name contains them. An absolute name is
    not restricted. In a relative name, ``..`` is removed with the name before it, so that it cannot lead out through a
    symbolic link. Links themselves are followed.

    Args:
        folder: folder of the manifest.
        name: name in the manifest.

    Raises:
        UtteranceError: the name is too long, or a relative name leads out of the folder.

    Example:
        >>> name_within(Path("data"), "./clips/../more/a.wav")
        'more/a.wav'
    """
    if len(name) > MAX_NAME:
        raise UtteranceError(f"expected a path of at most {MAX_NAME:,} characters, got {len(name):,}")
    if _is_plain(name):
        return name
    if "\\" in name and not os.path.exists(folder / name):  # noqa: PTH110, pathlib raises for invalid names
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


def _is_plain(name: str) -> bool:
    """Return whether a name is spelled in one way only, as nearly all are: ASCII, without dots or empty parts."""
    return name.isascii() and not _UNUSUAL.search(name)


def _spelled(folder: Path, name: PurePath) -> str:
    """Return a name below `folder`, or an absolute name, as the disk spells it."""
    text = name.as_posix()
    if has_one_form(text) or name.is_absolute():
        return _on_disk(text)
    return _on_disk(text, _on_disk(str(folder)))


def on_disk(path: Path) -> Path:
    """Return the path as the disk spells it, or unchanged where the file does not exist.

    macOS and some archive tools write "é" as "e" and an accent (NFD), while most manifests use one character (NFC). A
    folder is listed once, and only if a name in it has several normal forms.

    Args:
        path: path of a file or a folder, in any normal form.
    """
    return Path(_on_disk(str(path)))


def _on_disk(path: str, start: str = "") -> str:
    """Return a path below `start` as the disk spells it. It uses text, since `Path` is slow for many rows."""
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
            pass  # the file is missing, which is reported when it is read
    return os.path.join(parent, name)  # noqa: PTH118


@lru_cache(maxsize=LISTED_FOLDERS)
def _listing(folder: str, _changed_ns: int) -> Mapping[str, str]:
    """Map each name with several normal forms in a folder, and its NFC form, to the name on the disk."""
    names = [name for name in sorted(os.listdir(folder)) if not has_one_form(name)]  # noqa: PTH208, only names are needed
    return {nfc(name): name for name in names} | {name: name for name in names}


def has_one_form(text: str) -> bool:
    """Return whether the text is the same in the normal forms C and D."""
    return text.isascii() or (unicodedata.is_normalized("NFC", text) and unicodedata.is_normalized("NFD", text))


def counted(counts: Counter[str], shown: int) -> str:
    """List the most frequent names with their counts, and the number of other names.

    Example:
        >>> counted(Counter(["a", "b", "a"]), 1)
        "'a' (2) and 1 more"
    """
    first = ", ".join(f"{name!r} ({count:,})" for name, count in counts.most_common(shown))
    return first + (f" and {len(counts) - shown} more" if len(counts) > shown else "")
