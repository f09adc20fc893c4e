"""Class folders: ``folder/<label>/**/<audio file>``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from voxrank.data.endings import audio_suffixes
from voxrank.data.rows import Request, Row, build_dataset
from voxrank.data.utterance import Dataset
from voxrank.errors import DataError


def _printable(name: str) -> str:
    """A file name need not be UTF-8; a report must be."""
    return name.encode("utf-8", "backslashreplace").decode()


def _hidden(file: Path) -> bool:
    """Whether it, or a folder on the way to it, is hidden."""
    return any(part.startswith(".") for part in file.parts)


def read_folder(path: Path, request: Request) -> Dataset:
    """Take each folder in `path` as a class and every audio file below it as an utterance. Errors as `read_dataset`.

    Where labels do not matter, or are in files of segments, all audio files below `path` are taken.
    """
    suffixes = audio_suffixes()
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    by_class = request.labelled and request.segments is None
    rows = [
        Row(_printable(str(file.relative_to(path))), {"path": str(file.relative_to(path.parent)), "label": folder.name})
        for folder in (folders if by_class else [path])
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in suffixes and not _hidden(file.relative_to(folder))
    ]
    if not rows and not by_class:
        raise DataError(f"{path}: expected audio files in it, found none")
    if not rows:
        raise DataError(f"{path}: expected folders named after classes with audio files in them, found none")
    return replace(build_dataset(path, ["path", "label"], rows, [], request), format="folder of class folders")
