"""Manifest rows → `Dataset`: which columns mean what, which rows can be used, and which task they are for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxrank.data.utterance import Dataset, Skipped, Task, Utterance
from voxrank.errors import DataError, UtteranceError, did_you_mean

PATH_COLUMNS = ("path", "audio_filepath", "file", "audio")
"""Names of the column with the audio file, the preferred one first; the second is NeMo's."""
TASK_COLUMNS: dict[str, Task] = {"label": "classification", "value": "regression", "text": "transcription"}
"""Column → task, in the order in which they are looked for."""
TRAIN = "train"
ALL = "all"


@dataclass(frozen=True)
class Row:
    """One row of a manifest: where it stands ("line 7"), and its columns as text, numbers or None."""

    where: str
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """What the user asked of a data set: a column to predict and a split, or None for the defaults."""

    target: str | None = None
    split: str | None = None


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
    path_column = _path_column(source, columns)
    target, task = _target(source, columns, request.target)
    split, kept = _of_split(source, list(rows), request.split)
    utterances: dict[str, Utterance] = {}
    left_out = list(skipped)
    for row in kept:
        try:
            utterance = _utterance(row, source.parent, path_column, target, task)
            _refuse_duplicate(utterance, utterances, target)
            utterances[utterance.id] = utterance
        except UtteranceError as error:
            left_out.append(Skipped(f"{source.name}, {row.where}", str(error)))
    if not utterances:
        first = f"; the first: {left_out[0].utterance}: {left_out[0].reason}" if left_out else ""
        raise DataError(f"{source}: expected at least one usable row, found none{first}")
    return Dataset(str(source), task, target, tuple(utterances.values()), tuple(left_out), split)


def _path_column(source: Path, columns: Sequence[str]) -> str:
    for name in PATH_COLUMNS:
        if name in columns:
            return name
    found = ", ".join(columns) or "none"
    raise DataError(f"{source}: expected a column 'path' (or 'audio_filepath') with the audio files, found: {found}")


def _target(source: Path, columns: Sequence[str], wanted: str | None) -> tuple[str, Task]:
    if wanted is not None:
        if wanted not in columns:
            raise DataError(f"{source}: there is no column {wanted!r} to predict; {did_you_mean(wanted, columns)}")
        return wanted, TASK_COLUMNS.get(wanted, "classification")
    for name, task in TASK_COLUMNS.items():
        if name in columns:
            return name, task
    raise DataError(
        f"{source}: expected a column 'label' (class), 'value' (number) or 'text' (transcript), "
        f"found: {', '.join(columns)}; rename one, or name it with --target"
    )


def _of_split(source: Path, rows: list[Row], wanted: str | None) -> tuple[str, list[Row]]:
    """The split and its rows. Unasked, test rows do not choose a model: "train" is taken where there is one."""
    known = {str(row.columns["split"]) for row in rows if row.columns.get("split")}
    if wanted == ALL or (wanted is None and TRAIN not in known):
        return ALL, rows
    split = wanted or TRAIN
    if split not in known:
        names = did_you_mean(split, [*known, ALL])
        raise DataError(f"{source}: no row has the split {split!r}; {names}")
    return split, [row for row in rows if row.columns.get("split") == split]


def _utterance(row: Row, folder: Path, path_column: str, target: str, task: Task) -> Utterance:
    name = _text(row, path_column)
    if name is None:
        raise UtteranceError(f"the column {path_column!r} is empty")
    start, end = _offsets(row)
    content = _text(row, target)
    if content is None:
        raise UtteranceError(f"the column {target!r} is empty")
    return Utterance(
        id=name if end is None and not start else f"{name} [{start:g}-{'' if end is None else format(end, 'g')}]",
        path=folder / name,
        start=start,
        end=end,
        label=content if task == "classification" else None,
        value=_number(row, target) if task == "regression" else None,
        text=content if task == "transcription" else _text(row, "text"),
        speaker=_text(row, "speaker"),
        split=_text(row, "split"),
    )


def _offsets(row: Row) -> tuple[float, float | None]:
    """Start and end in seconds, from `start` and `end` or from NeMo's `offset` and `duration`."""
    start = _number(row, "start") if _text(row, "start") is not None else _number(row, "offset", default=0.0)
    if start is None or start < 0:
        raise UtteranceError(f"expected a start of at least 0 s, got {start:g}" if start is not None else "no start")
    end = _number(row, "end", default=None)
    duration = _number(row, "duration", default=None)
    if end is None and duration is not None and _text(row, "offset") is not None:
        end = start + duration
    if end is not None and end <= start:
        raise UtteranceError(f"expected an end after the start, got start {start:g} s and end {end:g} s")
    return start, end


def _text(row: Row, column: str) -> str | None:
    value = row.columns.get(column)
    if value is None:
        return None
    return str(value).strip() or None


def _number(row: Row, column: str, default: float | None = None) -> float | None:
    text = _text(row, column)
    if text is None:
        return default
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
    if (first.label, first.value, first.text) == (utterance.label, utterance.value, utterance.text):
        raise UtteranceError(f"a duplicate of an earlier row: {utterance.id}")
    raise UtteranceError(f"a duplicate of an earlier row, with another {target}: {utterance.id}; the first one is kept")
