"""A reader of class folders: ``folder/<label>/**/<audio file>``, optionally inside split folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from voxrank.data.endings import NO_AUDIO, audio_suffixes, ending_of
from voxrank.data.file_tree import walk
from voxrank.data.folder_layout import Layout, Parts, class_layout, split_layout
from voxrank.data.rows import Request, Row, build_dataset
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, listed

FORM = "folder of class folders"
SHOWN_ENDINGS = 6
REASONS = {"the column 'label' is empty": "expected the file in a folder named after its class"}
"""Reason of a manifest → the same reason for a folder."""


def _printable(name: str) -> str:
    """Return a file's name as text that a report can hold. Names may hold bytes that are not text."""
    return name.encode("utf-8", "backslashreplace").decode()


def read_folder(path: Path, request: Request) -> Dataset:
    """Read each folder in `path` as a class, and every audio file below it as an utterance. Errors as `read_dataset`.

    Folders named after splits (train, test) around the class folders, or inside each of them, are splits. Where labels
    are not needed, or are in segment files, all audio files below `path` are read.
    """
    tree = _Tree.below(path)
    by_class = request.labelled and request.segments is None
    if not tree.audio and not by_class:
        raise DataError(f"{path}: expected audio files in it, found none")
    if not any(len(parts) > 1 for parts in tree.audio) and by_class:
        outside = f"{len(tree.audio):,} audio files outside of any" if tree.audio else "none"
        raise DataError(f"{path}: expected folders named after classes with audio files in them, found {outside}")
    layout = class_layout(path, tree.audio) if by_class else split_layout(tree.audio)
    rows = _rows(path, tree.audio, layout, by_class=by_class)
    columns = ["path", "label", *(["split"] if layout.split_at is not None else [])]
    dataset = build_dataset(path, columns, rows, tree.skipped, request)
    skipped = tuple(replace(skip, reason=REASONS.get(skip.reason, skip.reason)) for skip in dataset.skipped)
    return replace(dataset, format=FORM, skipped=skipped, notes=(*layout.notes, *dataset.notes, *tree.notes))


@dataclass(frozen=True)
class _Tree:
    """The files below a folder.

    Attributes:
        audio: audio files by their endings, sorted.
        skipped: files with unknown endings, and folders that cannot be read.
        notes: note on ignored files, one line.
    """

    audio: list[Parts]
    skipped: list[Skipped]
    notes: tuple[str, ...]

    @classmethod
    def below(cls, path: Path) -> _Tree:
        """Return the tree of a folder."""
        unread: list[tuple[Path, str]] = []
        top = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
        folders, files = [entry for entry in top if entry.is_dir()], [entry for entry in top if not entry.is_dir()]
        files += [file for folder in folders for file in sorted(walk(folder, unread))]
        audio, other_endings, unknown = [], Counter[str](), []
        for file in files:
            ending = ending_of(file.name)
            if ending in audio_suffixes():
                audio.append(file.relative_to(path).parts)
            elif not ending or ending in NO_AUDIO:
                other_endings[ending or "no ending"] += 1
            else:
                unknown.append((file, f"expected an audio file, got the ending {_printable(ending)!r}"))
        skipped = [
            Skipped(f"{path.name}, {_printable(str(skipped_path.relative_to(path)))}", reason)
            for skipped_path, reason in (*unknown, *unread)
        ]
        return cls(audio, skipped, _ignored_note(other_endings))


def _ignored_note(others: Counter[str]) -> tuple[str, ...]:
    if not others:
        return ()
    shown = listed([f"{_printable(ending)} ({count:,})" for ending, count in others.most_common()], SHOWN_ENDINGS)
    return (f"files of other kinds are ignored: {shown}",)


def _rows(path: Path, files: Iterable[Parts], layout: Layout, *, by_class: bool) -> list[Row]:
    """Return a row for each audio file that is not in an ignored folder."""
    return [
        Row(
            _printable("/".join(parts)),
            {"path": str(Path(path.name, *parts)), "label": layout.label(parts), "split": layout.split(parts)},
        )
        for parts in files
        if not (by_class and layout.ignores_underscores and layout.underscored(parts))
    ]
