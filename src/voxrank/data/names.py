"""Names of files in a manifest: one spelling for each, and none that leaves the manifest's folder."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePath

from voxrank.errors import UtteranceError

MAX_NAME = 4096
"""Characters: no system has longer paths."""


def nfc(text: str) -> str:
    """Return the text in Unicode normalisation form C, in which names and labels are compared."""
    return unicodedata.normalize("NFC", text)


def name_within(folder: Path, name: str) -> str:
    """The name of a file as `folder` / name finds it, in one spelling.

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
        return pure.as_posix()
    spelled = posixpath.normpath(pure.as_posix())
    if PurePath(spelled).parts[:1] == ("..",):
        raise UtteranceError(
            f"expected a file in the manifest's folder, got {name!r}, which leaves it; write an absolute path"
        )
    return spelled


class FileSpellings:
    """Finds files whose names are normalised differently on the disk and in a manifest.

    macOS and some archive tools write "é" as "e" and a combining accent (NFD); most manifests have one character
    (NFC). Each folder is listed once, and only where a name in it has more than one normal form.
    """

    def __init__(self) -> None:
        self._listings: dict[Path, Mapping[str, str]] = {}

    def on_disk(self, path: Path) -> Path:
        """Return the path as the disk spells it; the path itself where no such file exists.

        Args:
            path: a file or a folder, in any normal form.
        """
        if has_one_form(str(path)):
            return path
        parent = self.on_disk(path.parent)
        if has_one_form(path.name):
            return parent / path.name
        names = self._listing(parent)
        return parent / names.get(path.name, names.get(nfc(path.name), path.name))

    def _listing(self, folder: Path) -> Mapping[str, str]:
        """Map each name in a folder, and its NFC form, to the name on the disk; a name comes before other forms."""
        if folder not in self._listings:
            try:
                names = [name for name in sorted(os.listdir(folder)) if not has_one_form(name)]  # noqa: PTH208, names alone
            except (OSError, ValueError):
                names = []
            self._listings[folder] = {nfc(name): name for name in names} | {name: name for name in names}
        return self._listings[folder]


def has_one_form(text: str) -> bool:
    """Return whether the text is the same in the normal forms C and D."""
    return text.isascii() or (unicodedata.is_normalized("NFC", text) and unicodedata.is_normalized("NFD", text))
