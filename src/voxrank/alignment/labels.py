"""Labels of frames from transcripts. All candidates share one alignment, which is checked for leaks."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from voxrank._support.memory import release_free_memory
from voxrank._support.packages import ALIGNMENT, require
from voxrank._support.progress import Progress
from voxrank.alignment.base import AlignerRecord, AlignmentContext
from voxrank.alignment.cached import Alignments, KnownAlignment
from voxrank.alignment.preparation import Prepared, Unaligned
from voxrank.alignment.registry import favoured, load_aligner, parse_aligner
from voxrank.cache.store import Cache
from voxrank.config import ExtractionOptions, Seconds, SequenceOptions
from voxrank.data.utterance import Task
from voxrank.errors import OptionError

logger = logging.getLogger(__name__)

JITTER = "jitter"
"""Name of the alternative alignment with jittered boundaries."""
JITTER_S: Seconds = 0.02
"""Jitter of boundaries in seconds: a frame at 50 Hz."""


@dataclass(frozen=True)
class Labelled:
    """Prepared data whose targets have their times.

    Attributes:
        prepared: the data, the same for every candidate.
        record: the record of the aligner; None where the targets have no times.
        against: names of the alternative alignments, in order of `Timed.versions`.
        seconds: time of the alignment, in seconds.
    """

    prepared: Prepared
    record: AlignerRecord | None = None
    against: tuple[str, ...] = ()
    seconds: Seconds = 0.0


def check_sequence(options: SequenceOptions, extraction: ExtractionOptions, task: Task) -> None:
    """Check that the options fit the task and each other, before anything is loaded.

    Raises:
        OptionError: the options do not fit, or the extra `align` is not installed.
    """
    timed = task in ("segmentation", "transcription")
    if timed and extraction.sample == "utterance":
        raise OptionError(f"in a {task} every frame has a label of its own; take --sample frame, segment or effective")
    parse_aligner(options.aligner)
    if task == "transcription" and options.searches:
        require("align", ALIGNMENT)
    if len(set(options.against)) < len(options.against):
        repeated = next(name for name in options.against if options.against.count(name) > 1)
        raise OptionError(f"--against {repeated} is given twice; name each alternative once")
    for name in options.against:
        if not timed:
            raise OptionError(f"--against compares alignments, and a {task} needs none; leave it out")
        if name != JITTER:
            parse_aligner(name)
        if name != JITTER and task == "segmentation":
            raise OptionError(f"segments have their times already; expected --against {JITTER}, got {name!r}")


def label(
    prepared: Prepared | Unaligned,
    options: SequenceOptions,
    context: AlignmentContext,
    watcher: Progress,
    *,
    ranked: bool = True,
    store: Cache | None = None,
) -> Labelled:
    """Align the data where they need it.

    Args:
        prepared: prepared data, or transcripts to align.
        options: the aligner, and the alternatives.
        context: the candidates, whose features the aligner may use, and the engine.
        watcher: receives the progress.
        ranked: whether the labels rank the candidates; then they must not favour a candidate.
        store: the cache of alignments; None to align again.

    Raises:
        OptionError: the labels would favour a candidate.
        ModelError, DataError: the model does not exist, or no utterance can be aligned.
    """
    started = time.perf_counter()
    if isinstance(prepared, Prepared):
        record = None if prepared.targets.timed is None else AlignerRecord("segments")
        return Labelled(_jittered(prepared, options.against), record, options.against)

    transcripts, names = prepared.transcripts, prepared.names
    alignments = None if store is None else Alignments(store, transcripts, names, context)

    def load_or_align(text: str) -> KnownAlignment:
        spec = parse_aligner(text)
        watcher.align(text, prepared.seconds)
        known = None if alignments is None else alignments.load(text)
        if known is None:
            aligner = load_aligner(spec, transcripts, names, context)
            favours = favoured(aligner, context) if ranked else []
            _check_leaks(aligner.record, favours, options, watcher)
            aligned = aligner.align(transcripts, names, watcher.advance)
            known = KnownAlignment(aligned, aligner.record, favours, aligner.notes)
            if alignments is not None:
                alignments.keep(text, known)
        else:
            _check_leaks(known.record, known.favoured, options, watcher)
        release_free_memory()
        watcher.finish()
        for line in known.notes:
            watcher.note(line)
            logger.info(line)
        return known

    first = load_or_align(options.aligner)
    others = {name: load_or_align(name).aligned for name in options.against if name != JITTER}
    ready = _jittered(prepared.aligned(first.aligned, others), options.against)
    return Labelled(ready, first.record, options.against, time.perf_counter() - started)


def _jittered(prepared: Prepared, against: Sequence[str]) -> Prepared:
    """Return the data with jittered boundaries in the version `JITTER`, where it is requested."""
    targets = prepared.targets
    if targets.timed is None or JITTER not in against:
        return prepared
    rng = np.random.default_rng(0)
    moved = tuple(timeline.jittered(rng, JITTER_S) for timeline in targets.timed.timelines)
    other_versions = iter(targets.timed.versions)
    versions = tuple(moved if name == JITTER else next(other_versions) for name in against)
    return replace(prepared, targets=replace(targets, timed=replace(targets.timed, versions=versions)))


def _check_leaks(record: AlignerRecord, favours: Sequence[str], options: SequenceOptions, watcher: Progress) -> None:
    for candidate in favours:
        line = f"the aligner {record} was trained on {candidate} or from the same weights"
        if not options.allow_leak:
            raise OptionError(
                f"{line}: its labels would favour that candidate; take --aligner flat or another model, leave the "
                "candidate out, or insist with --allow-leak"
            )
        watcher.note(f"{line}: its score also reflects the training of the aligner")
