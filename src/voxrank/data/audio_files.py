"""The search for audio files: endings of file names, and a walk through folders, which follows links."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import soundfile

CONTAINERS = frozenset(
    f".{name}"
    for name in (
        *("3gp", "aac", "ac3", "aif", "aifc", "amr", "ape", "asf", "avi", "dsf", "dts", "f4a", "flv", "m4a", "m4b"),
        *("m4v", "mka", "mkv", "mov", "mp2", "mp4", "mpeg", "mpg", "mts", "oga", "ogv", "opus", "qt", "ra", "shn"),
        *("sph", "spx", "tta", "vob", "weba", "webm", "wma", "wmv", "wv"),
    )
)
"""Endings of audio files besides libsndfile's. Files that libsndfile cannot read are skipped and listed."""
NO_AUDIO = frozenset(
    f".{name}"
    for name in (
        *("txt", "md", "rst", "pdf", "doc", "docx", "html", "htm", "rtf", "tex", "log", "nfo", "url", "lnk", "bib"),
        *("csv", "tsv", "json", "jsonl", "ndjson", "xml", "yaml", "yml", "toml", "ini", "cfg", "conf", "xls", "xlsx"),
        *("parquet", "arrow", "feather", "db", "sqlite", "dat", "npy", "npz", "pt", "pth", "pkl", "pickle", "h5"),
        *("hdf5", "mat", "ark", "scp", "bin", "safetensors", "onnx", "ckpt", "mfc", "feat", "f0", "pitch"),
        *("lab", "label", "labels", "textgrid", "ctm", "rttm", "stm", "trn", "trs", "trans", "eaf", "phn", "wrd"),
        *("srt", "vtt", "ass", "sub", "cha", "mlf", "align", "ali", "par", "segments", "annot", "svl", "ges"),
        *("png", "jpg", "jpeg", "gif", "bmp", "svg", "webp", "tif", "tiff", "eps", "ico", "heic", "psd"),
        *("py", "ipynb", "sh", "js", "m", "c", "cpp", "h", "r", "java", "bat", "pl", "css", "pyc"),
        *("zip", "gz", "tar", "tgz", "bz2", "xz", "7z", "rar", "zst", "iso"),
        *("md5", "sha1", "sha256", "sha512", "sig", "asc", "lock", "tmp", "temp", "bak", "old", "orig", "part", "swp"),
        *("mid", "midi", "musicxml", "sfk", "pkf", "reapeaks", "asd", "cue", "m3u", "m3u8", "pls", "praat", "done"),
    )
)
"""Endings of other files beside recordings, which are ignored."""


@cache
def audio_suffixes() -> frozenset[str]:
    """Return the endings of audio files, in lower case with the dot."""
    formats = {f".{name.lower()}" for name in soundfile.available_formats()}
    return frozenset(formats | CONTAINERS)


def ending_of(name: str) -> str:
    """Return the ending of a file's name, in lower case with the dot, or empty text where it has none.

    Example:
        >>> ending_of("clips/a.WAV"), ending_of("README")
        ('.wav', '')
    """
    base = name.replace("\\", "/").rpartition("/")[2].strip()
    stem, dot, ending = base.rpartition(".")
    return f".{ending.lower()}" if dot and stem and ending else ""


def has_audio_ending(name: str) -> bool:
    """Return whether a file's name has the ending of an audio file."""
    return ending_of(name) in audio_suffixes()


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
