"""A walk through the files below a folder, which follows links."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path


def walk(folder: Path, unread: list[tuple[Path, str]] | None = None) -> Iterator[Path]:
    """Yield the files below a folder, without hidden files and folders.

    Links to folders are followed. A folder that was visited before, or that contains `folder`, is skipped, so that
    circular links end.

    Args:
        folder: folder to search.
        unread: list that receives the folders that cannot be read, with the reason.
    """
    visited = {_identity(parent) for parent in {*folder.absolute().parents, *folder.resolve().parents}}
    pending = deque([folder])
    while pending:
        current = pending.popleft()
        try:
            identity = _identity(current)
            if identity in visited:
                continue
            visited.add(identity)
            files, folders = _list_folder(current)
        except OSError as error:
            if unread is not None:
                unread.append((current, f"cannot read the folder: {error.strerror or error}"))
            continue
        yield from files
        pending.extend(folders)


def _identity(folder: Path) -> tuple[int, int]:
    """Return device and inode of a folder, or of the target of a link.

    Raises:
        OSError: the folder does not exist, or access is denied.
    """
    status = folder.stat()
    return status.st_dev, status.st_ino


def _list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files and the folders in a folder, including links.

    Raises:
        OSError: the folder cannot be read.
    """
    files: list[Path] = []
    folders: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                path = folder / entry.name
                is_folder = path.is_dir() if entry.is_symlink() else entry.is_dir()
                (folders if is_folder else files).append(path)
    return files, folders
