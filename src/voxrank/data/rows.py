"""A builder of data sets from rows: interprets the columns, selects the rows and determines the task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from voxrank._support.progress import Progress
from voxrank.data.cells import as_text, checked_text
from voxrank.data.labels import LabelCells, read_label_cells
from voxrank.data.names import name_within, nfc, tidied
from voxrank.data.sources import AudioSource
from voxrank.data.splits import ALL, TRAIN, SplitChoice, choose_splits, find_split_column, path_notes
from voxrank.data.timed import SegmentSource, TimedRow
from voxrank.data.times import TimeColumn, TimeColumns, find_time_columns
from voxrank.data.tracks import START_TOLERANCE_S
from voxrank.data.utterance import Dataset, Skipped, Task, Utterance
from voxrank.errors import DataError, UtteranceError, did_you_mean, listed, shortened

Item = TypeVar("Item")

__all__ = ["ALL", "SEGMENTS", "TRAIN", "Request", "Row", "build_dataset"]

PATH_COLUMNS = ("path", "audio_filepath", "file", "audio")
"""Names of the column with the audio file, in order of preference; the second name is NeMo's."""
TASK_COLUMNS: dict[str, Task] = {
    "label": "classification",
    "labels": "multilabel",
    "value": "regression",
    "segments": "segmentation",
    "text": "transcription",
}
"""Column → task, in order of preference."""
OFFSET_DECIMALS = 9
"""Decimals of the sum of a start and a duration, in seconds, so that 0.1 + 0.2 is 0.3."""
SEGMENTS = "segments"
"""Name of the column with timed segments."""
SPLIT = "split"
WATCHED_ROWS = 1000
"""Number of rows between two reports of progress."""
SHOWN_LABELS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a manifest.

    Attributes:
        where: place of the row in the manifest, such as "line 7".
        columns: column → cell: text, a number or None.
        id: id of the utterance. None: its path, with its offsets when it has any.
        audio: source of the audio, when the audio is not a separate file; the path is then only a name for it.
    """

    where: str
    columns: Mapping[str, Any]
    id: str | None = None
    audio: AudioSource | None = None


@dataclass(frozen=True)
class Request:
    """The user's choice of columns and rows. None stands for the default.

    Attributes:
        target: column to predict.
        split: split to select.
        labelled: whether labels are read; if not, the path of each utterance is its label.
        segments: a file, or a folder of files, with timed segments, which replaces a column.
        tier: tier of TextGrid files.
        besides: other columns to keep.
        watcher: receives the number of rows that are read.
    """

    target: str | None = None
    split: str | None = None
    labelled: bool = True
    segments: Path | None = None
    tier: str | None = None
    besides: tuple[str, ...] = ()
    watcher: Progress = field(default_factory=Progress, compare=False, repr=False)

    def watched(self, items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
        """Yield the items, and report their number to the watcher.

        Args:
            items: the items.
            what: what they are, in the plural.
            total: their number, where it is known.
        """
        self.watcher.scan(what, total)
        for number, item in enumerate(items, start=1):
            yield item
            if number % WATCHED_ROWS == 0:
                self.watcher.scanned(WATCHED_ROWS)


def build_dataset(
    source: Path, columns: Sequence[str], rows: Iterable[Row], skipped: Iterable[Skipped], request: Request
) -> Dataset:
    """Build a data set from rows.

    Args:
        source: path of the manifest; audio paths are relative to its folder.
        columns: all columns of the manifest.
        rows: rows of the manifest.
        skipped: lines that could not be read as rows.
        request: the user's choice of columns and rows.

    Raises:
        DataError: a column is missing, the split is unknown, or nothing usable is left.
    """
    columns, rows = _in_nfc(columns, rows)
    path_column = _path_column(source, columns)
    for name in request.besides:
        if name not in columns:
            raise DataError(f"{source}: there is no column {name!r} to probe layers for; {did_you_mean(name, columns)}")
    target, task = _target(source, columns, request if request.labelled else Request(path_column))
    chosen = _choose_rows(source, columns, list(rows), _Choice(request, path_column, target, task))
    unusable = list(skipped)
    usable = _usable_utterances(source, chosen, request, unusable)
    if not usable:
        first = f"; the first: {unusable[0].utterance}: {unusable[0].reason}" if unusable else ""
        raise DataError(f"{source}: expected at least one usable row, found none{first}")
    notes = (
        *chosen.notes,
        *(_case_notes(usable) if request.labelled else ()),
        *(() if chosen.segments is None else chosen.segments.notes),
    )
    return Dataset(
        str(source),
        chosen.layout.labels.task,
        target,
        usable,
        tuple(unusable),
        chosen.split,
        notes=notes,
        unused=chosen.unused,
    )


@dataclass(frozen=True)
class _Choice:
    """The user's choice, with the columns that it means in the data: of the audio, and to predict, for a task."""

    request: Request
    path: str
    target: str
    task: Task


@dataclass(frozen=True)
class _ChosenRows:
    """The rows to use, and how to read them.

    Attributes:
        rows: rows of the chosen splits, which are dropped one by one as they are read.
        unused: number of rows in other splits.
        split: names of the chosen splits.
        layout: the columns that are read.
        segments: source of timed segments; None for other tasks.
        notes: assumptions about splits, times and labels, one line each.
    """

    rows: list[Row]
    unused: int
    split: str
    layout: _Layout
    segments: SegmentSource | None
    notes: tuple[str, ...]


def _choose_rows(source: Path, columns: Sequence[str], rows: list[Row], choice: _Choice) -> _ChosenRows:
    """Interpret the columns, and select the rows to use."""

    def cells(name: str) -> Iterator[Any]:
        return (row.columns.get(name) for row in rows)

    request, path, target = choice.request, choice.path, choice.target
    split_column = find_split_column(columns, cells)
    splits, chosen = _select_rows(source, rows, request.split, split_column)
    labels = read_label_cells([row.columns.get(target) for row in chosen], target, choice.task)
    times = find_time_columns(source, columns, cells)
    layout = _Layout(source.parent, path, target, split_column or SPLIT, times, labels)
    segments = _segment_source(source, rows, path, target, request) if labels.task == "segmentation" else None
    notes = (*_split_notes(splits, split_column, cells(path)), *times.notes, *labels.notes)
    return _ChosenRows(chosen, len(rows) - len(chosen), splits.name, layout, segments, notes)


def _usable_utterances(
    source: Path, chosen: _ChosenRows, request: Request, unusable: list[Skipped]
) -> tuple[Utterance, ...]:
    """Return the utterances of the chosen rows, and append the rows that cannot be used to a list.

    Rows are dropped as they are read, so that millions of them are not in memory beside their utterances.
    """
    layout, rows = chosen.layout, chosen.rows
    utterances: dict[str, Utterance] = {}
    shared = _Shared(layout.folder)
    rows.reverse()
    popped = (rows.pop() for _ in range(len(rows)))
    for row in request.watched(popped, "labels of rows", len(rows)):
        try:
            utterance = _utterance(row, layout, shared)
            if chosen.segments is not None:
                timed = _timed_row(row, layout.path, layout.target)
                utterance = replace(utterance, segments=chosen.segments.of(timed, utterance))
            if request.besides:
                utterance = replace(utterance, others=_others(row, request.besides))
            utterance = _with_unique_id(utterance, utterances)
            _refuse_duplicate(utterance, utterances, layout.target)
            utterances[utterance.id] = utterance
        except UtteranceError as error:
            unusable.append(Skipped(f"{source.name}, {row.where}", shortened(str(error))))
    return tuple(utterances.values())


class _Shared:
    """Objects that many rows share: paths of files with several utterances, and repeated texts such as labels.

    Args:
        folder: folder that paths are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._texts: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """Return the path of a file, the same object for the same name."""
        if name not in self._paths:
            self._paths[name] = self._folder / name
        return self._paths[name]

    def text(self, text: str | None) -> str | None:
        """Return an equal text, the same object for equal texts."""
        return None if text is None else self._texts.setdefault(text, text)


def _segment_source(
    source: Path, rows: Sequence[Row], path_column: str, target: str, request: Request
) -> SegmentSource:
    timed_rows = [_timed_row(row, path_column, target) for row in rows if row.columns.get(path_column) is not None]
    return SegmentSource(source.parent, request.segments, request.tier, timed_rows)


def _timed_row(row: Row, path_column: str, target: str) -> TimedRow:
    return TimedRow(str(row.columns.get(path_column)).strip(), row.columns, row.id, row.columns.get(target))


@dataclass(frozen=True)
class _Layout:
    """The columns that are read.

    Attributes:
        folder: folder that paths are relative to.
        path: the column with the audio file.
        target: the column to predict.
        split: the column with the split.
        times: the columns with start and end.
        labels: reader of the cells in the target column.
    """

    folder: Path
    path: str
    target: str
    split: str
    times: TimeColumns
    labels: LabelCells


def _in_nfc(columns: Sequence[str], rows: Iterable[Row]) -> tuple[Sequence[str], Iterable[Row]]:
    """Return columns and rows with column names in NFC, the form in which columns are looked up."""
    changed = {name: nfc(name) for name in columns if name != nfc(name)}
    if not changed:
        return columns, rows
    named = [replace(row, columns={changed.get(name, name): row.columns[name] for name in row.columns}) for row in rows]
    return list(dict.fromkeys(changed.get(name, name) for name in columns)), named


def _with_unique_id(utterance: Utterance, seen: Mapping[str, Utterance]) -> Utterance:
    """Return the utterance, with another id where its path differs from an earlier path only in its normal form."""
    first = seen.get(utterance.id)
    if first is None or first.path == utterance.path or nfc(str(first.path)) != nfc(str(utterance.path)):
        return utterance
    return replace(utterance, id=f"{utterance.id} ({utterance.path.name!a})")


def _path_column(source: Path, columns: Sequence[str]) -> str:
    for name in PATH_COLUMNS:
        if name in columns:
            return name
    raise DataError(
        f"{source}: expected a column 'path' (or 'audio_filepath') with the audio files, "
        f"found: {listed(columns)}; rename one"
    )


def _target(source: Path, columns: Sequence[str], request: Request) -> tuple[str, Task]:
    target = request.target
    if request.segments is not None:
        if target is not None:
            raise DataError(f"{source}: both a column, {target!r}, and a file of segments were named; name one of them")
        return SEGMENTS, "segmentation"
    if target is not None:
        if target not in columns:
            raise DataError(f"{source}: there is no column {target!r} to predict; {did_you_mean(target, columns)}")
        return target, TASK_COLUMNS.get(target, "classification")
    for name, task in TASK_COLUMNS.items():
        if name in columns:
            return name, task
    raise DataError(
        f"{source}: expected a column 'label' (class), 'labels' (several), 'value' (number), 'segments' (times) or "
        f"'text' (transcript), found: {listed(columns)}; rename one, or name it with --target"
    )


def _select_rows(source: Path, rows: list[Row], split: str | None, column: str | None) -> tuple[SplitChoice, list[Row]]:
    """Return the selected splits and their rows."""
    if column is None and split is None:
        return SplitChoice(ALL, None), rows
    names = [_split_of(row, column or SPLIT) for row in rows]
    choice = choose_splits(source, names, split)
    return choice, [row for row, name in zip(rows, names, strict=True) if choice.keeps(name)]


def _split_of(row: Row, column: str) -> str:
    """Return the split of a row in lower case, so that "Train" and "train" are the same split."""
    value = row.columns.get(column)
    return "" if value is None else tidied(str(value)).lower()


def _split_notes(choice: SplitChoice, column: str | None, paths: Iterable[Any]) -> tuple[str, ...]:
    if column is None:
        return path_notes(paths)
    column_note = () if column == SPLIT else (f"split is the column {column!r}",)
    return (*column_note, *choice.notes)


def _case_notes(utterances: Iterable[Utterance]) -> tuple[str, ...]:
    """Return a note on labels that differ only in letter case."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in {name for utterance in utterances for name in utterance.names}:
        spellings[name.casefold()].add(name)
    alike = [" and ".join(map(repr, sorted(names))) for names in spellings.values() if len(names) > 1]
    if not alike:
        return ()
    return (f"labels that differ in letter case alone are different classes: {listed(sorted(alike), SHOWN_LABELS)}",)


def _utterance(row: Row, layout: _Layout, shared: _Shared) -> Utterance:
    name = checked_text(row.columns.get(layout.path), layout.path)
    if name is None:
        raise UtteranceError(f"the column {layout.path!r} is empty")
    start, end = _offsets(row, layout.times)
    name = name if row.audio else name_within(layout.folder, name)
    target, task = layout.target, layout.labels.task
    cell = row.columns.get(target)
    labels = layout.labels.labels(cell, target) if task == "multilabel" else None
    label = layout.labels.label(cell, target) if task == "classification" else None
    text = _text(row, target) if task in ("regression", "transcription") else None
    if task != "segmentation" and label is None and labels is None and text is None:
        raise UtteranceError(f"the column {target!r} is empty")
    is_part = end is not None or bool(start)
    return Utterance(
        id=nfc(row.id or (_name_with_offsets(name, start, end) if is_part else name)),
        path=shared.path(name) if is_part else layout.folder / name,
        start=start,
        end=end,
        label=shared.text(label),
        value=_number(row, target) if task == "regression" else None,
        text=text if task == "transcription" else _text(row, "text"),
        speaker=shared.text(_text(row, "speaker")),
        split=shared.text(_text(row, layout.split)),
        labels=labels,
        language=shared.text(_text(row, "language")),
        audio=row.audio,
    )


def _name_with_offsets(name: str, start: float, end: float | None) -> str:
    return f"{name} [{_exact(start)}-{'' if end is None else _exact(end)}]"


def _others(row: Row, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the cells of other columns. Cells that are neither text nor a number count as empty."""
    others = []
    for column in columns:
        with suppress(UtteranceError):
            if (cell := _text(row, column)) is not None:
                others.append((column, cell))
    return tuple(others)


def _exact(seconds: float) -> str:
    """Return the shortest text that identifies a number."""
    return repr(seconds).removesuffix(".0")


def _offsets(row: Row, columns: TimeColumns) -> tuple[float, float | None]:
    """Return start and end in seconds. A duration needs a start; without one it is the length of the whole file."""
    given_start = next((time for column in columns.starts if (time := _seconds(row, column)) is not None), None)
    end, duration = _seconds(row, columns.end), _seconds(row, columns.duration)
    start = given_start or 0.0
    if -START_TOLERANCE_S <= start < 0:  # aligners round to whole frames
        start = 0.0
    if start < 0:
        raise UtteranceError(f"expected a start of at least 0 s, got {_exact(start)}")
    if end is None and duration is not None and given_start is not None:
        end = round(start + duration, OFFSET_DECIMALS)
    if end is not None and end <= start:
        raise UtteranceError(f"expected an end after the start, got start {_exact(start)} s and end {_exact(end)} s")
    return start, end


def _seconds(row: Row, column: TimeColumn | None) -> float | None:
    number = None if column is None else _number(row, column.name)
    if number is None or column is None or column.scale is None:
        return number
    return number if column.scale == 1 else round(number * column.scale, OFFSET_DECIMALS)


def _text(row: Row, column: str) -> str | None:
    """Return the stripped text of a cell, or None where it is empty. Errors as `as_text`."""
    value = row.columns.get(column)
    return None if value is None else as_text(value, column)


def _number(row: Row, column: str) -> float | None:
    text = _text(row, column)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        raise UtteranceError(f"expected a number in the column {column!r}, got {text!r}") from None
    if not math.isfinite(number):
        raise UtteranceError(f"expected a finite number in the column {column!r}, got {text!r}")
    return number


def _refuse_duplicate(utterance: Utterance, seen: Mapping[str, Utterance], target: str) -> None:
    first = seen.get(utterance.id)
    if first is None:
        return
    if _labels_of(first) == _labels_of(utterance):
        raise UtteranceError("a duplicate of an earlier row")
    raise UtteranceError(f"a duplicate of an earlier row, with another {target}; the first one is kept")


def _labels_of(utterance: Utterance) -> tuple[Any, ...]:
    """Return all labels of an utterance."""
    return utterance.label, utterance.labels, utterance.value, utterance.text, utterance.segments
