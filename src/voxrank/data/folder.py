"""A reader of class folders: ``folder/<label>/**/<audio file>``, optionally inside split folders.

The levels of the folders that hold the class and the split are detected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxrank._support.words import count
from voxrank.data.audio_files import NO_AUDIO, audio_suffixes, ending_of, walk
from voxrank.data.rows import Request, Row, build_dataset
from voxrank.data.splits import part_of
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, listed

Parts = tuple[str, ...]
"""Names of the folders around a file, outermost first, and the name of the file."""

WRAPPERS = {"audio", "audios", "wav", "wavs", "flac", "mp3", "clips", "sounds", "recordings", "data", "samples"}
"""Names of folders that hold all recordings, in lower case. They are neither classes nor splits."""
CLASSES_OF_SPEECH_COMMANDS = {"_silence_", "_unknown_"}
"""Class folders that begin with an underscore."""
SHOWN = 6
"""Maximum number of names that a message or note shows."""
FORM = "folder of class folders"
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
    shown = listed([f"{_printable(ending)} ({count:,})" for ending, count in others.most_common()], SHOWN)
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


@dataclass(frozen=True)
class Layout:
    """Levels of the folders that hold the class and the split, counted from the outermost.

    Attributes:
        class_at: level of the class folder.
        split_at: level of the split folder; None: there is none.
        ignores_underscores: whether folders that begin with an underscore are ignored.
        notes: assumptions about the folders, one line each.
    """

    class_at: int
    split_at: int | None = None
    ignores_underscores: bool = False
    notes: tuple[str, ...] = ()

    def label(self, parts: Parts) -> str | None:
        """Return the class of a file, or None where no folder around it is a class."""
        return parts[self.class_at] if self.class_at < len(parts) - 1 else None

    def underscored(self, parts: Parts) -> str | None:
        """Return a file's class folder, or a folder around it, that begins with an underscore; None where none does."""
        around = parts[: min(self.class_at + 1, len(parts) - 1)]
        return next((name for name in around if _begins_with_underscore(name)), None)

    def split(self, parts: Parts) -> str | None:
        """Return the split of a file, or None where no folder around it is a split."""
        return None if self.split_at is None or self.split_at >= len(parts) - 1 else parts[self.split_at]


def class_layout(path: Path, files: Sequence[Parts]) -> Layout:
    """Detect the levels of class folders and split folders.

    Args:
        path: the outer folder, for messages.
        files: audio files below the folder.

    Raises:
        DataError: split folders hold no class folders, or lie beside other folders.
    """
    depth, notes = 0, []
    while (wrapper := _wrapper(files, depth)) is not None:
        notes.append(f"the folder {wrapper!r} holds all recordings and is no class")
        depth += 1
    visible = [parts for parts in files if not _begins_with_underscore(parts[depth])] or files
    outer = _folders(visible, depth)
    split_names = {name for name in outer if part_of(name)}
    if split_names == outer and split_names:
        layout = _splits_outside(path, visible, depth)
    elif split_names and (len({part_of(name) for name in split_names}) > 1 or _is_alike(visible, depth, split_names)):
        layout = _splits_beside_others(path, visible, depth, split_names)
    elif not split_names and _is_split_inside(visible, depth):
        note = f"the folders inside the class folders are splits: {_describe_level(visible, depth + 1)}"
        layout = Layout(depth, depth + 1, notes=(note,))
    else:
        notes += [f"the folder {name!r} is read as a class and not as a split" for name in sorted(split_names)]
        inner = sorted(name for name in _folders(visible, depth + 1) if part_of(name))
        if inner:
            notes.append(f"folders inside class folders are not read as splits: {listed(map(repr, inner), SHOWN)}")
        layout = Layout(depth)
    return _without_underscores(replace(layout, notes=(*notes, *layout.notes)), files)


def split_layout(files: Sequence[Parts]) -> Layout:
    """Detect whether the outermost folders are splits, where there are no class folders."""
    outer = _folders(files, 0)
    if outer and all(part_of(name) for name in outer):
        return Layout(0, 0, notes=(f"the folders are splits: {_describe_level(files, 0)}",))
    return Layout(0)


def _folders(files: Iterable[Parts], depth: int) -> set[str]:
    """Return the names of the folders with audio at a depth."""
    return {parts[depth] for parts in files if len(parts) > depth + 1}


def _begins_with_underscore(name: str) -> bool:
    return name.startswith("_") and name not in CLASSES_OF_SPEECH_COMMANDS


def _wrapper(files: Sequence[Parts], depth: int) -> str | None:
    """Return the wrapper folder, which holds all recordings and is neither a class nor a split."""
    names = _folders(files, depth)
    if len(names) != 1 or any(len(parts) <= depth + 2 for parts in files):
        return None
    [name] = names
    inner = _folders(files, depth + 1)
    holds_splits = bool(inner) and all(part_of(folder) for folder in inner) and not part_of(name)
    holds_classes = name.lower() in WRAPPERS
    is_deep = any(len(parts) > depth + 3 for parts in files)
    return name if holds_classes or (holds_splits and is_deep) else None


def _splits_outside(path: Path, files: Sequence[Parts], depth: int) -> Layout:
    nested = [parts for parts in files if len(parts) > depth + 2]
    if not nested:
        names = listed(sorted(map(repr, _folders(files, depth))), SHOWN)
        raise DataError(
            f"{path}: expected folders named after classes, got audio files in folders named after splits ({names}); "
            "put the files of each class into a folder inside them, or list files and labels in a manifest"
        )
    level = depth + 1
    if all(parts[level].lower() in WRAPPERS for parts in nested) and any(len(parts) > level + 2 for parts in nested):
        level += 1
    note = f"the folders are splits, and the folders inside them classes: {_describe_level(files, depth)}"
    return Layout(level, depth, notes=(note,))


def _splits_beside_others(path: Path, files: Sequence[Parts], depth: int, split_names: set[str]) -> Layout:
    """Return the layout of split folders beside folders with other names, which are splits too if they hold classes."""
    if len({part_of(name) for name in split_names}) > 1 and _is_alike(files, depth, split_names):
        return _splits_outside(path, files, depth)
    others = _folders(files, depth) - split_names
    raise DataError(
        f"{path}: expected folders named after classes or folders named after splits, got both: "
        f"{listed(sorted(map(repr, split_names)), SHOWN)} beside {listed(sorted(map(repr, others)), SHOWN)}; "
        "move one kind elsewhere, or list files and labels in a manifest"
    )


def _is_alike(files: Sequence[Parts], depth: int, split_names: set[str]) -> bool:
    """Return whether each folder shares a subfolder name with the folders that are named after splits."""
    inside: dict[str, set[str]] = {name: set() for name in _folders(files, depth)}
    for parts in files:
        if len(parts) > depth + 2:
            inside[parts[depth]].add(parts[depth + 1])
    split_subfolders = set().union(*(inside[name] for name in split_names))
    return all(folders & split_subfolders for folders in inside.values())


def _is_split_inside(files: Sequence[Parts], depth: int) -> bool:
    """Return whether each class folder holds only split folders."""
    inner = _folders(files, depth + 1)
    split_parts = {part_of(name) for name in inner}
    all_nested = bool(files) and all(len(parts) > depth + 2 for parts in files)
    return all_nested and None not in split_parts and ("train" in split_parts or len(split_parts) > 1)


def _without_underscores(layout: Layout, files: Sequence[Parts]) -> Layout:
    """Return the layout that ignores folders with a leading underscore, such as "_background_noise_"."""
    hidden = Counter(name for parts in files if (name := layout.underscored(parts)) is not None)
    classes = {name for parts in files if (name := layout.label(parts)) is not None}
    if not hidden or classes <= set(hidden):
        return layout
    note = f"folders that begin with an underscore are no classes: {_describe_counts(hidden)}"
    return replace(layout, ignores_underscores=True, notes=(*layout.notes, note))


def _describe_level(files: Iterable[Parts], depth: int) -> str:
    counts = Counter(parts[depth] for parts in files if len(parts) > depth + 1)
    return _describe_counts(counts)


def _describe_counts(counts: Counter[str]) -> str:
    shown = (f"{name!r} ({count(files, 'file')})" for name, files in sorted(counts.items()))
    return listed(shown, SHOWN)
