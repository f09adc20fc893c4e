"""A path → `Dataset`: picks the reader for its format."""

from __future__ import annotations

import os
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from pathlib import Path

from voxrank.data.folder import read_folder
from voxrank.data.manifest import read_json_lines, read_table
from voxrank.data.rows import ALL, Request
from voxrank.data.utterance import Dataset
from voxrank.errors import DataError, did_you_mean

Reader = Callable[[Path, Request], Dataset]

READERS: dict[str, Reader] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
}
"""File ending → reader; a folder goes to `read_folder`."""
PIECE_BYTES = 1 << 20


def read_dataset(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    split: str | None = None,
    segments: str | os.PathLike[str] | None = None,
    tier: str | None = None,
    besides: Sequence[str] = (),
) -> Dataset:
    """Read labelled speech: rows and labels only, no audio.

    Columns: ``path`` (or ``audio_filepath``, ``file``, ``audio``), relative to the manifest's folder; ``label``
    (class), ``labels`` (any number of them), ``value`` (number), ``segments`` (a TextGrid, CTM, RTTM, Audacity or JSON
    file, or a JSON list) or ``text`` (transcript), the first of these that is there; optionally ``start`` (or
    ``offset``) and ``end`` (or ``duration``, after a start) in seconds, ``speaker``, ``language``, ``split``.

    Args:
        path: a .csv, .tsv, .jsonl or .ndjson manifest, or a folder of class folders.
        target: another column to predict: ``value`` as numbers, any other as classes.
        split: rows to take; by default those of ``train`` where there are any, else all; "all" for every row.
        segments: a file that says what is heard when in all recordings, or a folder with a file for each, named like
            the audio; in place of a column.
        tier: of TextGrid files; by default "phones", or the only one.
        besides: other columns to keep, such as "speaker" and "gender" (`Utterance.others`).

    Returns:
        The usable utterances; the others are in `Dataset.skipped` with reasons.

    Raises:
        DataError: the path, its format, its columns or all of its rows are unusable.
    """
    given = None if segments is None else Path(segments)
    if given is not None and not given.exists():
        raise DataError(f"no such file or folder of segments: {given}; check the path")
    return _read(Path(path), Request(target, split, segments=given, tier=tier, besides=tuple(besides)))


def read_unlabelled(path: str | os.PathLike[str]) -> Dataset:
    """Read speech whose labels do not matter, all of its rows: a manifest with or without them, or a folder.

    Raises:
        DataError: as `read_dataset`.
    """
    return _read(Path(path), Request(split=ALL, labelled=False))


def _read(source: Path, request: Request) -> Dataset:
    try:
        return _reader(source)(source, request)
    except UnicodeDecodeError as error:
        line = _first_line_not_utf8(source)
        raise DataError(f"{source}: expected UTF-8 text, got other bytes in line {line}; save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}") from error


def _first_line_not_utf8(source: Path) -> int:
    """Counted from 1; the decoder itself knows no more than its place in a buffer."""
    decoder = getincrementaldecoder("utf-8")()
    line = 1
    with source.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            try:
                line += decoder.decode(piece).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
    return line


def _reader(source: Path) -> Reader:
    if source.is_dir():
        return read_folder
    if not source.exists():
        siblings = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        near = did_you_mean(source.name, siblings).partition(" (known")[0] if siblings else ""
        hint = near if near.startswith("did you mean") else "check the path"
        raise DataError(f"no such data set: {source}; {hint}")
    suffix = source.suffix.lower()
    if suffix not in READERS:
        raise DataError(
            f"{source}: expected a folder of class folders or a file ending in {', '.join(READERS)}, "
            f"got {suffix or 'no ending'!r}"
        )
    if not source.is_file():  # a pipe would be waited for
        raise DataError(f"{source}: expected a manifest, got a device; give a file")
    if source.stat().st_size == 0:
        raise DataError(f"{source}: expected a manifest, got an empty file")
    return READERS[suffix]
