"""Manifest rows → `Dataset`: which columns mean what, which rows can be used, and which task they are for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxrank.data.names import name_within, nfc, tidied
from voxrank.data.sources import AudioSource
from voxrank.data.timed import SegmentSource
from voxrank.data.utterance import Dataset, Skipped, Task, Utterance
from voxrank.errors import DataError, UtteranceError, did_you_mean, listed, shortened

PATH_COLUMNS = ("path", "audio_filepath", "file", "audio")
"""Names of the column with the audio file, the preferred one first; the second is NeMo's."""
TASK_COLUMNS: dict[str, Task] = {
    "label": "classification",
    "labels": "multilabel",
    "value": "regression",
    "segments": "segmentation",
    "text": "transcription",
}
"""Column → task, in the order in which they are looked for."""
OFFSET_DECIMALS = 9
"""A start and a duration are added to the nanosecond, so that 0.1 + 0.2 is 0.3."""
SEGMENTS = "segments"
"""The column of timed segments."""
TRAIN = "train"
ALL = "all"


@dataclass(frozen=True)
class Row:
    """One row of a manifest.

    Attributes:
        where: it stands, such as "line 7".
        columns: as text, numbers or None.
        id: of the utterance; None: its path, with its offsets when it has any.
        audio: where the audio is, when it is no file of its own; the path is then a name for it.
    """

    where: str
    columns: Mapping[str, Any]
    id: str | None = None
    audio: AudioSource | None = None


@dataclass(frozen=True)
class Request:
    """What the user asked of a data set: a column to predict and a split, or None for the defaults.

    Attributes:
        target: the column.
        split: rows to take.
        labelled: whether labels matter; else each utterance is labelled with its own file.
        segments: a file, or a folder of files, that tells what is heard when in place of a column.
        tier: of TextGrid files.
        besides: other columns that are wanted.
    """

    target: str | None = None
    split: str | None = None
    labelled: bool = True
    segments: Path | None = None
    tier: str | None = None
    besides: tuple[str, ...] = ()


def build_dataset(
    source: Path, columns: Sequence[str], rows: Iterable[Row], skipped: Iterable[Skipped], request: Request
) -> Dataset:
    """Turn rows into utterances.

    Args:
        source: the manifest; relative audio paths start from its folder.
        columns: all that the manifest has.
        rows: read so far.
        skipped: lines that could not be read as rows.
        request: what the user asked for.

    Raises:
        DataError: a column is missing, the split is unknown, or nothing usable is left.
    """
    columns, rows = _in_nfc(columns, rows)
    path_column = _path_column(source, columns)
    for name in request.besides:
        if name not in columns:
            raise DataError(f"{source}: there is no column {name!r} to look at; {did_you_mean(name, columns)}")
    target, task = _target(source, columns, request if request.labelled else Request(path_column))
    split, kept = _of_split(source, list(rows), request.split)
    separator = _separator(kept, target) if task == "multilabel" else None
    timed = SegmentSource(source.parent, request.segments, request.tier) if task == "segmentation" else None
    utterances: dict[str, Utterance] = {}
    left_out = list(skipped)
    for row in kept:
        try:
            utterance = _utterance(row, source.parent, path_column, target, task, separator)
            if timed is not None:
                utterance = replace(utterance, segments=timed.of(row.columns.get(target), utterance.path))
            if request.besides:
                utterance = replace(utterance, others=_others(row, request.besides))
            utterance = _told_apart(utterance, utterances)
            _refuse_duplicate(utterance, utterances, target)
            utterances[utterance.id] = utterance
        except UtteranceError as error:
            left_out.append(Skipped(f"{source.name}, {row.where}", shortened(str(error))))
    if not utterances:
        first = f"; the first: {left_out[0].utterance}: {left_out[0].reason}" if left_out else ""
        raise DataError(f"{source}: expected at least one usable row, found none{first}")
    return Dataset(str(source), task, target, tuple(utterances.values()), tuple(left_out), split)


def _in_nfc(columns: Sequence[str], rows: Iterable[Row]) -> tuple[Sequence[str], Iterable[Row]]:
    """The names of columns in NFC, in which they are asked for."""
    changed = {name: nfc(name) for name in columns if name != nfc(name)}
    if not changed:
        return columns, rows
    named = [replace(row, columns={changed.get(name, name): row.columns[name] for name in row.columns}) for row in rows]
    return list(dict.fromkeys(changed.get(name, name) for name in columns)), named


def _told_apart(utterance: Utterance, seen: Mapping[str, Utterance]) -> Utterance:
    """Another id for the second of two files whose names differ in their normal form alone."""
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
    wanted = request.target
    if request.segments is not None:
        if wanted is not None:
            raise DataError(f"{source}: both a column, {wanted!r}, and a file of segments were named; name one of them")
        return SEGMENTS, "segmentation"
    if wanted is not None:
        if wanted not in columns:
            raise DataError(f"{source}: there is no column {wanted!r} to predict; {did_you_mean(wanted, columns)}")
        return wanted, TASK_COLUMNS.get(wanted, "classification")
    for name, task in TASK_COLUMNS.items():
        if name in columns:
            return name, task
    raise DataError(
        f"{source}: expected a column 'label' (class), 'labels' (several), 'value' (number), 'segments' (times) or "
        f"'text' (transcript), found: {listed(columns)}; rename one, or name it with --target"
    )


def _of_split(source: Path, rows: list[Row], wanted: str | None) -> tuple[str, list[Row]]:
    """The split and its rows. Unasked, test rows do not choose a model: "train" is taken where there is one."""
    splits = [_split_of(row) for row in rows]
    known = set(splits) - {""}
    split = TRAIN if wanted is None else wanted.strip().lower()
    if split == ALL or (wanted is None and TRAIN not in known):
        return ALL, rows
    if split not in known:
        names = did_you_mean(split, [*known, ALL])
        raise DataError(f"{source}: no row has the split {split!r}; {names}")
    return split, [row for row, its in zip(rows, splits, strict=True) if its == split]


def _split_of(row: Row) -> str:
    """In lower case, so that "Train" does not let test rows in."""
    value = row.columns.get("split")
    return "" if value is None else tidied(str(value)).lower()


def _separator(rows: Iterable[Row], target: str) -> str:
    """What parts the labels of a cell: semicolons where any cell has one, else commas."""
    return ";" if any(";" in cell for row in rows if isinstance(cell := row.columns.get(target), str)) else ","


def _utterance(row: Row, folder: Path, path_column: str, target: str, task: Task, separator: str | None) -> Utterance:
    name = _checked(row.columns.get(path_column), path_column)
    if name is None:
        raise UtteranceError(f"the column {path_column!r} is empty")
    start, end = _offsets(row)
    name = name if row.audio else name_within(folder, name)
    labels = _labels(row, target, separator) if separator else None
    content = None if separator or task == "segmentation" else _text(row, target)
    if content is None and labels is None and task != "segmentation":
        raise UtteranceError(f"the column {target!r} is empty")
    return Utterance(
        id=nfc(row.id or (name if end is None and not start else _stretch(name, start, end))),
        path=folder / name,
        start=start,
        end=end,
        label=content if task == "classification" else None,
        value=_number(row, target) if task == "regression" else None,
        text=content if task == "transcription" else _text(row, "text"),
        speaker=_text(row, "speaker"),
        split=_text(row, "split"),
        labels=labels,
        language=_text(row, "language"),
        audio=row.audio,
    )


def _stretch(name: str, start: float, end: float | None) -> str:
    return f"{name} [{_exact(start)}-{'' if end is None else _exact(end)}]"


def _others(row: Row, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Cells of other columns; one that no text or number stands in counts as empty, and costs no utterance."""
    found = []
    for column in columns:
        with suppress(UtteranceError):
            if (cell := _text(row, column)) is not None:
                found.append((column, cell))
    return tuple(found)


def _labels(row: Row, column: str, separator: str) -> tuple[str, ...] | None:
    """The names in the cell, a list (which may be empty) or parted by `separator`; None where there is no cell."""
    cell = row.columns.get(column)
    if not isinstance(cell, list):
        whole = _as_text(cell, column)
        if whole is None:
            return None
        cell = whole.split(separator)
    return tuple(sorted({name for part in cell if (name := _as_text(part, column))}))


def _exact(seconds: float) -> str:
    """As short as possible, and different for every number."""
    return repr(seconds).removesuffix(".0")


def _offsets(row: Row) -> tuple[float, float | None]:
    """Start and end in seconds, from `start` (or NeMo's `offset`) and `end` (or `duration` after a start)."""
    given, end, duration = _number(row, "start"), _number(row, "end"), _number(row, "duration")
    if given is None:
        given = _number(row, "offset")
    start = given or 0.0
    if start < 0:
        raise UtteranceError(f"expected a start of at least 0 s, got {_exact(start)}")
    if end is None and duration is not None and given is not None:  # alone, it is the length of the whole file
        end = round(start + duration, OFFSET_DECIMALS)
    if end is not None and end <= start:
        raise UtteranceError(f"expected an end after the start, got start {_exact(start)} s and end {_exact(end)} s")
    return start, end


def _text(row: Row, column: str) -> str | None:
    """The cell, stripped; None where it is empty. Errors as `_as_text`."""
    return _as_text(row.columns.get(column), column)


def _as_text(value: Any, column: str) -> str | None:
    """What a cell, or a part of it, says, in NFC and stripped; None where that is nothing. Errors as `_checked`."""
    text = _checked(value, column)
    return None if text is None else tidied(text) or None


def _checked(value: Any, column: str) -> str | None:
    """The same in its own normal form, as names of files are.

    Raises:
        UtteranceError: neither text nor a number; or text that no file name and no report can hold.
    """
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise UtteranceError(f"expected text or a number in the column {column!r}, got {type(value).__name__}")
    text = str(value).strip()
    if "\0" in text or text != text.encode(errors="ignore").decode():
        raise UtteranceError(f"expected UTF-8 text in the column {column!r}, got {text!a}")
    return text or None


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
    if _content(first) == _content(utterance):
        raise UtteranceError("a duplicate of an earlier row")
    raise UtteranceError(f"a duplicate of an earlier row, with another {target}; the first one is kept")


def _content(utterance: Utterance) -> tuple[Any, ...]:
    """What the row says of the audio."""
    return utterance.label, utterance.labels, utterance.value, utterance.text, utterance.segments
