"""A mapping of the columns of other tools to those of a manifest: label, transcript, speaker and language."""

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
"""Column of a manifest → other names for it, in order of preference and in any letter case. A column with the name of a
manifest column takes precedence."""


@dataclass(frozen=True)
class Naming:
    """A mapping from columns of a manifest to columns of the data.

    Attributes:
        taken: column of a manifest → column of the data that replaces it.
        notes: the same in one line, for people; empty where all columns have the names of a manifest.
    """

    taken: Mapping[str, str]
    notes: tuple[str, ...]

    def row(self, row: Row) -> Row:
        """Return a row with the columns of a manifest added."""
        return replace(
            row, columns={**row.columns, **{name: row.columns.get(column) for name, column in self.taken.items()}}
        )

    def request(self, request: Request) -> Request:
        """Return a request whose target is "text" where the user gave the transcript's column in the data."""
        return replace(request, target="text") if request.target == self.taken.get("text", ...) else request


def naming(columns: Sequence[str], target: str | None) -> Naming:
    """Find the columns that replace those of a manifest.

    Args:
        columns: all columns of the data.
        target: column that the user wants to predict; a label column is then not needed.

    Example:
        >>> naming(["audio", "emotion", "speaker_id"], None).taken
        {'label': 'emotion', 'speaker': 'speaker_id'}
    """
    by_lower_case = {name.lower(): name for name in reversed(columns)}
    has_labels = any(name in columns for name, task in TASK_COLUMNS.items() if task != "transcription")
    replacements: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for name, usual in USUAL_NAMES.items():
        if name in columns or (name == "label" and (has_labels or target is not None)):
            continue
        candidates = [by_lower_case[other] for other in (name, *usual) if other in by_lower_case]
        if candidates:
            replacements[name], others[name] = candidates[0], candidates[1:]
    descriptions = [f"{name} is the column {column!r}" for name, column in replacements.items()]
    unused = others.get("label", [])
    if "label" in replacements:
        unused += [name for name in ("text",) if name in columns or name in replacements]
    hint = f" (also there: {listed(unused)}; --target names another)" if unused else ""
    return Naming(replacements, (f"{', '.join(descriptions)}{hint}",) if descriptions else ())


def assembled(source: Path, rows: Iterable[Row], skipped: Iterable[Skipped], request: Request, form: str) -> Dataset:
    """Build a data set from rows with any columns.

    Args:
        source: path that the user gave; paths in rows are relative to its folder.
        rows: all rows, each with a column ``path``.
        skipped: items that could not be read as rows.
        request: the user's choice of columns and rows.
        form: name of the format.

    Raises:
        DataError: as `build_dataset`, or there are no rows.
    """
    all_rows, unusable = list(rows), list(skipped)
    if not all_rows:
        first = f"; the first: {unusable[0].utterance}: {unusable[0].reason}" if unusable else ""
        raise DataError(f"{source}: expected at least one usable row, found none{first}")
    columns = list(dict.fromkeys(name for row in all_rows for name in row.columns))
    mapping = naming(columns, request.target if request.segments is None else "segments")
    dataset = build_dataset(
        source, [*columns, *mapping.taken], [mapping.row(row) for row in all_rows], unusable, mapping.request(request)
    )
    return replace(dataset, format=form, notes=(*mapping.notes, *dataset.notes))
