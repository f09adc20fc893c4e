"""Names of files in a manifest: one spelling for each, and none that leaves the manifest's folder."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path, PurePath

from voxrank.errors import UtteranceError

MAX_NAME = 4096
"""Characters: no system has longer paths."""


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
