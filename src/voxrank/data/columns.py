"""Columns of data that were not made for voxrank: which of them are label, transcript, speaker and language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxrank.data.rows import TASK_COLUMNS, Request, Row, build_dataset
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, listed

USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "label": (
        *("class", "class_name", "classname", "category", "keyword", "command", "intent_class", "intent"),
        *("emotion", "major_emotion", "genre", "accent_class", "event"),
    ),
    "text": (
        *("transcription", "transcript", "sentence", "normalized_text", "transcription_normalized"),
        *("raw_transcription", "raw_text", "utterance_text"),
    ),
    "speaker": ("speaker_id", "client_id", "spk", "spk_id", "speaker_name", "talker", "actor"),
    "language": ("lang", "locale", "lang_id", "language_code", "language_id"),
}
"""A column of a manifest → other names for it, the first that is there is taken, whatever its case. A column that is
named as in a manifest comes before all of them."""


@dataclass(frozen=True)
class Naming:
    """What is read from which column.

    Attributes:
        taken: a column of a manifest → the one that stands for it.
        notes: the same for people, a line; none where all are named as in a manifest.
    """

    taken: Mapping[str, str]
    notes: tuple[str, ...]

    def row(self, row: Row) -> Row:
        """With the columns of a manifest beside its own."""
        return replace(row, columns={**row.columns, **{name: row.columns.get(own) for name, own in self.taken.items()}})

    def request(self, request: Request) -> Request:
        """The same, where a transcript is asked for by its own name."""
        return replace(request, target="text") if request.target == self.taken.get("text", ...) else request


def naming(columns: Sequence[str], target: str | None) -> Naming:
    """Which columns stand for those of a manifest.

    Args:
        columns: that there are.
        target: that was asked for; labels then need no name.

    Example:
        >>> naming(["audio", "emotion", "speaker_id"], None).taken
        {'label': 'emotion', 'speaker': 'speaker_id'}
    """
    own = {name.lower(): name for name in reversed(columns)}
    has_labels = any(name in columns for name, task in TASK_COLUMNS.items() if task != "transcription")
    taken: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for name, usual in USUAL_NAMES.items():
        if name in columns or (name == "label" and (has_labels or target is not None)):
            continue
        found = [own[other] for other in (name, *usual) if other in own]
        if found:
            taken[name], others[name] = found[0], found[1:]
    said = [f"{name} is the column {column!r}" for name, column in taken.items()]
    unused = others.get("label", [])
    if "label" in taken:
        unused += [name for name in ("text",) if name in columns or name in taken]
    also = f" (also there: {listed(unused)}; --target names another)" if unused else ""
    return Naming(taken, (f"{', '.join(said)}{also}",) if said else ())


def assembled(source: Path, rows: Iterable[Row], skipped: Iterable[Skipped], request: Request, form: str) -> Dataset:
    """Rows of any columns → `Dataset`.

    Args:
        source: as the user names it; relative paths start from its folder.
        rows: all of them, each with a column ``path``.
        skipped: what could not be read as a row.
        request: what the user asked for.
        form: what it was read as.

    Raises:
        DataError: as `build_dataset`; or there are no rows.
    """
    every, left_out = list(rows), list(skipped)
    if not every:
        first = f"; the first: {left_out[0].utterance}: {left_out[0].reason}" if left_out else ""
        raise DataError(f"{source}: expected at least one usable row, found none{first}")
    columns = list(dict.fromkeys(name for row in every for name in row.columns))
    names = naming(columns, request.target if request.segments is None else "segments")
    dataset = build_dataset(
        source, [*columns, *names.taken], [names.row(row) for row in every], left_out, names.request(request)
    )
    return replace(dataset, format=form, notes=(*names.notes, *dataset.notes))
