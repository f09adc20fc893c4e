"""Preparation of the data of a run: readable utterances, with their targets, in shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from voxrank.alignment.base import Aligned, Transcript
from voxrank.config import ExtractionOptions, Seconds, SequenceOptions
from voxrank.data.listening import AudioCheck, check_audio
from voxrank.data.names import counted
from voxrank.data.read import read_unlabelled
from voxrank.data.shards import Item, Shard, plan_shards
from voxrank.data.skips import check_skips
from voxrank.data.utterance import Dataset, Segment, Skipped
from voxrank.errors import DataError, UtteranceError
from voxrank.targets.labels import SHOWN_NAMES, Targets, utterance_targets
from voxrank.targets.sequence import (
    behind_the_end,
    by_words,
    is_unscored,
    labels_of,
    segment_timeline,
    spelling,
    timed_targets,
    utterance_segments,
)
from voxrank.targets.tags import describe_tags
from voxrank.targets.timeline import UNLABELLED, Timeline
from voxrank.targets.units import FIRST, UNSCORED, Inventory, Speller

Result = TypeVar("Result")

SHOWN_TAGS = 10
"""Maximum number of tags that a note lists."""
SPOKEN_SILENCE = 0.1
"""Default maximum share of the scored frames of transcripts that may be silence. It ranks best (docs/alignment)."""


@dataclass(frozen=True)
class Prepared:
    """The data that every candidate sees: usable utterances, their targets and shards; with notes for the user."""

    items: list[Item]
    skipped: tuple[Skipped, ...]
    targets: Targets
    shards: list[Shard]
    notes: list[str] = field(default_factory=list, kw_only=True)


def prepare(
    dataset: Dataset, options: ExtractionOptions, sequence: SequenceOptions, audio: AudioCheck | None = None
) -> Prepared | Unaligned:
    """Check the audio files, and divide the readable utterances into shards.

    Args:
        dataset: the utterances.
        options: threads, blocks and shards.
        sequence: units of transcripts, and silence.
        audio: result of an earlier check of the audio, if any.

    Returns:
        The data that every candidate sees; for transcripts, the data to align first.

    Raises:
        DataError: no utterance can be read, more than half are skipped, or the labels have a single class or value.
        OptionError: a unit or language is unknown.
    """
    items, skipped, notes = readable_items(dataset, dataset.source, options, audio)
    check_dataset_skips(dataset, skipped, options)
    if dataset.task == "transcription":
        spelled = _split_transcripts(dataset, items, skipped, options, sequence)
        return replace(spelled, notes=[*notes, *spelled.notes])
    if dataset.task == "segmentation":
        prepared = _prepare_segments(dataset, items, skipped, options, sequence)
    else:
        targets = utterance_targets([item.utterance for item in items], dataset.task)
        prepared = _with_shards(dataset, items, skipped, targets, options)
    return replace(prepared, notes=[*notes, *prepared.notes])


def _with_shards(
    dataset: Dataset, items: list[Item], skipped: Sequence[Skipped], targets: Targets, options: ExtractionOptions
) -> Prepared:
    shards = plan_shards(items, dataset.target, blocks=options.blocks, shard_s=options.shard_s)
    return Prepared(items, tuple(skipped), targets, shards)


def _prepare_segments(
    dataset: Dataset,
    items: Sequence[Item],
    skipped: Sequence[Skipped],
    options: ExtractionOptions,
    sequence: SequenceOptions,
) -> Prepared:
    """Prepare data with timed segments."""

    def timed(item: Item) -> tuple[Segment, ...]:
        segments = utterance_segments(item.utterance, item.seconds)
        segment_timeline(segments, dict.fromkeys(labels_of(segments), 0))  # raises where the segments form no timeline
        return segments

    usable, segmentations, left_out = _apply_to_items(items, timed)
    check_dataset_skips(dataset, [*skipped, *left_out], options)
    names = sorted({label for segments in segmentations for label in labels_of(segments)})
    numbers = {name: number for number, name in enumerate(names)}
    timelines = [segment_timeline(segments, numbers) for segments in segmentations]
    targets = timed_targets(timelines, names, sequence.silence or 0.0, _seconds(usable))
    prepared = _with_shards(dataset, usable, [*skipped, *left_out], targets, options)
    unscored = Counter(segment.label for segments in segmentations for segment in segments if is_unscored(segment))
    if unscored:
        prepared.notes.append(f"segments whose unit is unknown are not scored: {counted(unscored, SHOWN_NAMES)}")
    behind = sum(behind_the_end(item.utterance, item.seconds) for item in usable)
    if behind:
        prepared.notes.append(f"segments that begin after the end of the audio are left out: {behind:,}")
    return prepared


def _split_transcripts(
    dataset: Dataset,
    items: Sequence[Item],
    skipped: Sequence[Skipped],
    options: ExtractionOptions,
    sequence: SequenceOptions,
) -> Unaligned:
    """Split transcripts into units."""
    unit = sequence.unit or "char"
    speller = Speller("char" if unit == "word" else unit, sequence.language)
    speller.check_languages(item.utterance.language for item in items)
    usable, spellings, left_out = _apply_to_items(items, lambda item: spelling(item.utterance, unit, speller))
    check_dataset_skips(dataset, [*skipped, *left_out], options)
    inventory = Inventory.of([spelled.units for spelled in spellings])
    transcripts = [
        Transcript(item, inventory.numbers(spelled.units), spelled.units.pauses)
        for item, spelled in zip(usable, spellings, strict=True)
    ]
    notes = describe_tags((item.utterance.text or "" for item in items), SHOWN_TAGS)
    notes += speller.describe_languages(SHOWN_NAMES)
    words = [spelled.words for spelled in spellings] if unit == "word" else None
    return Unaligned(dataset, transcripts, words, inventory.names, [*skipped, *left_out], options, sequence, notes)


def _apply_to_items(
    items: Sequence[Item], work: Callable[[Item], Result]
) -> tuple[list[Item], list[Result], list[Skipped]]:
    """Return the items for which `work` succeeds, with new rows, its results, and the skipped items with reasons.

    Raises:
        DataError: `work` succeeds for no item.
    """
    usable: list[Item] = []
    results: list[Result] = []
    skipped: list[Skipped] = []
    for item in items:
        try:
            results.append(work(item))
            usable.append(replace(item, row=len(usable)))
        except UtteranceError as error:
            skipped.append(Skipped(item.utterance.id, str(error)))
    if not usable:
        raise DataError(
            f"none of the {len(items)} utterances has labels that can be used; the first: {skipped[0].utterance}: "
            f"{skipped[0].reason}"
        )
    return usable, results, skipped


def _seconds(items: Sequence[Item]) -> Seconds:
    return sum(item.seconds for item in items)


@dataclass(frozen=True)
class Unaligned:
    """Transcripts in units, whose times are not known yet.

    Attributes:
        dataset: the data set.
        transcripts: transcripts of the utterances that can be read and split into units.
        words: words of each transcript, where they are the classes; None where the units are.
        names: names of the units; number n is `names[n − 1]`.
        skipped: the other utterances, with reasons.
        options: options of the extraction.
        sequence: units and aligner of the transcripts.
        notes: notes for the user, one line each.
    """

    dataset: Dataset
    transcripts: list[Transcript]
    words: Sequence[tuple[str, ...] | None] | None
    names: tuple[str, ...]
    skipped: list[Skipped]
    options: ExtractionOptions
    sequence: SequenceOptions
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> Seconds:
        """Amount of audio to align, in seconds."""
        return sum(transcript.item.seconds for transcript in self.transcripts)

    def aligned(self, alignment: Aligned, others: Mapping[str, Aligned] | None = None) -> Prepared:
        """Return the data with the times of one alignment, and of alternative alignments.

        The first alignment alone decides which utterances are used. Therefore a ranking does not depend on the
        alternatives. An utterance that an alternative could not align has no label in that version; a note reports it.

        Args:
            alignment: the alignment of the ranking.
            others: the alternatives, by name.

        Raises:
            DataError: an alignment has no utterance, more than half are skipped, or a single class is left.
        """
        others = others or {}
        rows: list[int] = []

        def timeline_of(item: Item) -> Timeline:
            timeline = self._classes(item.row, alignment[item.row])
            rows.append(item.row)
            return timeline

        usable, timelines, left_out = _apply_to_items([transcript.item for transcript in self.transcripts], timeline_of)
        check_dataset_skips(self.dataset, [*self.skipped, *left_out], self.options)
        versions = {name: [self._alternative(row, other[row]) for row in rows] for name, other in others.items()}
        silence = SPOKEN_SILENCE if self.sequence.silence is None else self.sequence.silence
        known = [[timeline or Timeline.unlabelled() for timeline in version] for version in versions.values()]
        targets = timed_targets(timelines, self.classes, silence, _seconds(usable), known)
        prepared = _with_shards(self.dataset, usable, [*self.skipped, *left_out], targets, self.options)
        prepared.notes.extend(self.notes)
        prepared.notes.extend(line for name, version in versions.items() if (line := _missing(name, version)))
        return prepared

    def _alternative(self, row: int, timeline: Timeline | UtteranceError) -> Timeline | None:
        """Return the classes of an utterance by an alternative; None where the alternative could not align it."""
        try:
            return self._classes(row, timeline)
        except UtteranceError:
            return None

    @property
    def counts(self) -> dict[str, int]:
        """Number of occurrences of each class."""
        if self.words is None:
            sizes = np.zeros(len(self.names), dtype=np.int64)
            for transcript in self.transcripts:
                sizes += np.bincount(transcript.labels - FIRST, minlength=len(sizes))
            counts = Counter(dict(zip(self.names, sizes.tolist(), strict=True)))
        else:
            counts = Counter(word for words in self.words for word in words or ())
        return dict(sorted((name, count) for name, count in counts.items() if name != UNSCORED))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Classes of the frames: units, or words."""
        if self.words is None:
            return tuple(name for name in self.names if name != UNSCORED)
        return tuple(sorted({word for words in self.words for word in words or ()} - {UNSCORED}))

    @cached_property
    def _class_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)} | {UNSCORED: UNLABELLED}

    @cached_property
    def _classes_of_units(self) -> NDArray[np.int64]:
        """Class of each unit: (N,), in order of the numbers of units, which begin at `FIRST`."""
        return np.array([self._class_numbers[name] for name in self.names])

    def _classes(self, row: int, timeline: Timeline | UtteranceError) -> Timeline:
        """Return the timeline of classes for a timeline of numbered units."""
        if isinstance(timeline, UtteranceError):
            raise timeline
        words = None if self.words is None else self.words[row]
        if words is None:
            return replace(timeline, symbols=self._classes_of_units[timeline.symbols - FIRST])
        numbers = np.array([self._class_numbers[word] for word in words])
        return by_words(timeline, self.transcripts[row].pauses, numbers)


def _missing(name: str, version: Sequence[Timeline | None]) -> str:
    """Return a note on an alternative that lacks utterances; empty where it has all of them.

    Raises:
        DataError: the alternative has no utterance.
    """
    missing = sum(timeline is None for timeline in version)
    if missing == len(version):
        raise DataError(f"none of the {missing} utterances could be aligned by {name}; leave --against {name} out")
    return (
        f"{name} could not align {missing:,} of {len(version):,} utterances; they are left out of its scores"
        if missing
        else ""
    )


def readable_items(
    dataset: Dataset, name: str, options: ExtractionOptions, audio: AudioCheck | None = None
) -> tuple[list[Item], tuple[Skipped, ...], tuple[str, ...]]:
    """Find the utterances whose audio can be read.

    Args:
        dataset: the utterances.
        name: name of the data, for messages.
        options: threads.
        audio: result of an earlier check of the audio, if any.

    Returns:
        The readable utterances, the others with reasons, and notes on the audio for the user.

    Raises:
        DataError: no utterance can be read.
    """
    checked = audio or check_audio(dataset, options.threads)
    skipped = checked.skipped
    if not checked.usable:
        reason = f"; the first: {skipped[0].utterance}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"none of the {len(dataset)} utterances of {name} can be used{reason}")
    return [Item(p.utterance, p.seconds, row) for row, p in enumerate(checked.usable)], skipped, checked.notes


def check_dataset_skips(dataset: Dataset, skipped: Sequence[Skipped], options: ExtractionOptions) -> None:
    """Refuse a data set of which more than half is skipped, unless the options allow it.

    Args:
        dataset: the data set, with the rows that were skipped when it was read.
        skipped: utterances that were skipped later.
        options: whether skips are allowed.

    Raises:
        DataError: more than half of the utterances are skipped.
    """
    total = len(dataset) + len(set(dataset.skipped))
    check_skips(dataset.source, total, [*dataset.skipped, *skipped], allow=options.allow_skips)


@dataclass(frozen=True)
class Origin(Prepared):
    """Source data, with one dummy target."""

    dataset: Dataset


def prepare_source(source: Any, options: ExtractionOptions) -> Origin:
    """Prepare source data, whose labels are not read. The errors are those of `prepare` and `read_unlabelled`."""
    dataset = source if isinstance(source, Dataset) else read_unlabelled(source)
    items, skipped, notes = readable_items(dataset, f"the source {dataset.source}", options)
    check_dataset_skips(replace(dataset, source=f"the source {dataset.source}"), skipped, options)
    targets = Targets(("source",), np.zeros(len(items), dtype=np.int64))
    shards = plan_shards(items, dataset.target, blocks=1, shard_s=options.shard_s)
    lines = [f"source data: {note}" for note in (*dataset.notes, *notes)]
    return Origin(items, (*dataset.skipped, *skipped), targets, shards, dataset, notes=lines)
