"""`Utterance` and `Dataset`: the output of readers and the input of all later stages."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from voxrank.config import Seconds
from voxrank.data.names import nfc
from voxrank.data.sources import AudioSource
from voxrank.errors import DataError, did_you_mean

Task = Literal["classification", "multilabel", "regression", "segmentation", "transcription"]
TIMED: tuple[Task, ...] = ("segmentation", "transcription")
"""Tasks whose labels belong to frames rather than to utterances."""

ALWAYS = ("speaker", "language", "split", "label")
"""Columns that every utterance has. Their cells may be empty."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An utterance that was left out, with the reason.

    Attributes:
        utterance: id of the utterance, or its line in the manifest when it has none.
        reason: reason in one line, shown to the user.
        model: candidate that cannot use the utterance; None when no candidate can.
    """

    utterance: str
    reason: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time with a label.

    Attributes:
        label: label as it stands in the file; empty where the file gives none.
        start, end: seconds from the beginning of the audio file.
    """

    label: str
    start: Seconds
    end: Seconds


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of an audio file, with its labels.

    Attributes:
        id: unique in its data set; the path, with its offsets when it has any.
        path: the audio file, or only a name for it where `audio` is given.
        start, end: seconds from the beginning of the file; `end` None means the end of the file.
        label: class name, for classification.
        value: number to predict, for regression.
        text: transcript.
        speaker: name of the speaker, when known; statistics are grouped by speaker.
        split: split of the row, such as "train", when the manifest has splits.
        labels: sorted names of all its classes, for multi-label classification; () where it has none of them.
        language: language of the speech, when the manifest gives it.
        segments: timed labels, in seconds from the beginning of the file.
        audio: source of the audio, when the audio is not a separate file.
        others: (column, cell) of other requested columns; empty cells are left out.
    """

    id: str
    path: Path
    start: Seconds = 0.0
    end: Seconds | None = None
    label: str | None = None
    value: float | None = None
    text: str | None = None
    speaker: str | None = None
    split: str | None = None
    labels: tuple[str, ...] | None = None
    language: str | None = None
    segments: tuple[Segment, ...] | None = None
    audio: AudioSource | None = None
    others: tuple[tuple[str, str], ...] | None = None

    @property
    def location(self) -> Path | AudioSource:
        """The location of the audio, which utterances of the same file share."""
        return self.audio or self.path

    @property
    def names(self) -> tuple[str, ...]:
        """The classes of the utterance: its one label, or any number of labels."""
        return self.labels or (() if self.label is None else (self.label,))


@dataclass(frozen=True)
class Dataset:
    """Utterances of one task, in manifest order.

    Attributes:
        source: path or name that the user gave, shown in reports.
        task: task that the labels are for.
        target: the manifest column (or "folder") that the task reads.
        utterances: usable rows.
        skipped: unusable rows, with reasons.
        split: split that was selected; "all" for every row.
        format: name of the format, for people.
        notes: assumptions of the reader, one line each.
        unused: number of rows in other splits, which are not used.
    """

    source: str
    task: Task
    target: str
    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...] = ()
    split: str = "all"
    format: str = ""
    notes: tuple[str, ...] = ()
    unused: int = 0

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted({name for utterance in self.utterances for name in utterance.names}))

    def cells(self, column: str) -> list[str | None]:
        """Return the cell of each utterance in a column: a requested column, or speaker, language, split or label.

        Raises:
            DataError: the column is missing or empty.
        """
        column = nfc(column)
        known = {name for utterance in self.utterances for name, _ in utterance.others or ()}
        if column in known:
            return [dict(utterance.others or ()).get(column) for utterance in self.utterances]
        always = {name for name in ALWAYS if any(getattr(utterance, name) is not None for utterance in self.utterances)}
        if column not in always:
            names = did_you_mean(column, known | always)
            raise DataError(f"{self.source}: no utterance has a cell in a column {column!r}; {names}")
        return [getattr(utterance, column) for utterance in self.utterances]

    def fingerprint(self) -> str:
        """Return a hex digest of task, ids, offsets and labels of all utterances, in order.

        The digest does not depend on the audio, which is not read.
        """
        digest = hashlib.sha256(repr((self.task, self.target)).encode())
        for utterance in self.utterances:
            digest.update(repr(_identity(utterance)).encode())
        return digest.hexdigest()


def _identity(u: Utterance) -> tuple[object, ...]:
    """Return what a fingerprint includes of an utterance, without paths, which differ between machines.

    Fields after the split are included where they are not None.
    """
    segments = None if u.segments is None else tuple(map(astuple, u.segments))
    where_given = (field for field in (u.labels, u.language, segments) if field is not None)
    return (u.id, u.start, u.end, u.label, u.value, u.text, u.speaker, u.split, *where_given)
