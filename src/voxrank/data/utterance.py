"""`Utterance` and `Dataset`: what a reader makes and everything downstream takes."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, replace
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
"""Columns that every utterance has, if only empty."""
NAMED_ALWAYS = 7
"""Of an utterance's fields behind its path, those that are in every fingerprint; others are where they are given."""


@dataclass(frozen=True)
class Skipped:
    """An utterance that was left out, and why.

    Attributes:
        utterance: its id, or the manifest line when it has none.
        reason: one line, shown to the user.
        model: the candidate that could not use it; None when no candidate can.
    """

    utterance: str
    reason: str
    model: str | None = None


@dataclass(frozen=True)
class Segment:
    """A stretch of time and what is heard in it.

    Attributes:
        label: as the file says it; empty where it says nothing.
        start, end: seconds from the beginning of the audio file.
    """

    label: str
    start: Seconds
    end: Seconds


@dataclass(frozen=True)
class Utterance:
    """A stretch of one audio file, and what is known of it.

    Attributes:
        id: unique in its data set; the path, with its offsets when it has any.
        path: the audio file; a name for it where `audio` says where it is.
        start, end: seconds from the beginning of the file; `end` None means the end of the file.
        label: class name, for classification.
        value: number to predict, for regression.
        text: transcript.
        speaker: who speaks, when known; statistics are grouped by it.
        split: the row's part of the data (such as "train"), when the manifest says.
        labels: names of all that it shows, sorted, for tasks where that may be any number; () for none of them.
        language: that it is in, when the manifest says.
        segments: what is heard when, in seconds of the file.
        audio: where the audio is, when it is no file of its own.
        others: (column, cell) of what else was asked for; columns without a cell are not in it.
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
    def place(self) -> Path | AudioSource:
        """Where its audio is; utterances of one file share it."""
        return self.audio or self.path

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that it shows: its one label, or any number of them."""
        return self.labels or (() if self.label is None else (self.label,))


@dataclass(frozen=True)
class Dataset:
    """Utterances of one task, in manifest order.

    Attributes:
        source: what the user named (a path), shown in reports.
        task: what the utterances are labelled with.
        target: the manifest column (or "folder") that the task reads.
        utterances: the usable rows.
        skipped: the rows that are not, with reasons.
        split: the part of the data that was taken; "all" for every row.
        format: what it was read as, for people.
        notes: what the reader took for what, a line each.
        unused: number of rows of other splits, which are not used.
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
        return tuple(sorted({name for u in self.utterances for name in u.names}))

    def cells(self, column: str) -> list[str | None]:
        """What a column says of each utterance: one that was asked for, or speaker, language, split or label.

        Raises:
            DataError: there is no such column, or it is empty.
        """
        column = nfc(column)
        known = {name for utterance in self.utterances for name, _ in utterance.others or ()}
        if column in known:
            return [dict(utterance.others or ()).get(column) for utterance in self.utterances]
        always = {name for name in ALWAYS if any(getattr(one, name) is not None for one in self.utterances)}
        if column not in always:
            names = did_you_mean(column, known | always)
            raise DataError(f"{self.source}: no utterance has a cell in a column {column!r}; {names}")
        return [getattr(utterance, column) for utterance in self.utterances]

    def fingerprint(self) -> str:
        """Hex digest of what is asked: task, ids, offsets and labels of all utterances, in order.

        It identifies the question, not the audio behind it, which is not read.
        """
        digest = hashlib.sha256(repr((self.task, self.target)).encode())
        for utterance in self.utterances:
            identity, _, *fields = astuple(
                replace(utterance, audio=None, others=None)
            )  # without the machine's own paths
            always, where_given = fields[:NAMED_ALWAYS], fields[NAMED_ALWAYS:]
            given = [field for field in where_given if field is not None]
            digest.update(repr((identity, *always, *given)).encode())
        return digest.hexdigest()
