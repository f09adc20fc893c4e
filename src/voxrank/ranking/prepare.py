"""The prepared data of a run: targets with their times, loaded models, and the layers to read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxrank._support.progress import Progress
from voxrank.alignment.base import AlignerRecord, AlignmentContext
from voxrank.alignment.labels import label
from voxrank.alignment.preparation import Origin, Prepared, prepare, prepare_source
from voxrank.cache.store import Cache
from voxrank.config import Seconds
from voxrank.data.listening import check_audio
from voxrank.data.shards import holds_out_speakers
from voxrank.data.skips import skips_warning
from voxrank.data.utterance import Dataset
from voxrank.encoders.joint import RANKED_LABELS
from voxrank.encoders.pool import ModelPool, parse_layers
from voxrank.engines.base import Engine
from voxrank.errors import OptionError, listed
from voxrank.ranking.plan import RankPlan
from voxrank.ranking.tuning import LayerSelection
from voxrank.scores.head import can_test, groups_of_classes
from voxrank.targets.labels import SHOWN_NAMES, remarks
from voxrank.targets.timeline import UNLABELLED

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankData:
    """The data of a run, the same for every model.

    Attributes:
        dataset: the labelled speech, as it was read.
        prepared: the utterances that can be used, with their targets, in shards.
        origin: the source data; None where no score reads them.
        pool: the models.
        selections: model → its layers, for every model that takes part.
        record: the record of the aligner; None where targets have no times.
        against: names of the alternative alignments, in order of their versions.
        align_s: time that alignment took, in seconds.
    """

    dataset: Dataset
    prepared: Prepared
    origin: Origin | None
    pool: ModelPool
    selections: Mapping[str, LayerSelection]
    record: AlignerRecord | None
    against: tuple[str, ...]
    align_s: Seconds

    @cached_property
    def held_out(self) -> Literal["speakers", "utterances"]:
        """The groups that heads are tested on: speakers where all are known and heads can be tested on them."""
        items, targets = self.prepared.items, self.prepared.targets
        by_speaker = holds_out_speakers(items, self.dataset.target) and all(item.utterance.speaker for item in items)
        classes = None if targets.values or targets.timed is not None else targets.rows
        return "speakers" if by_speaker and can_test(block_of_rows(self.prepared), classes) else "utterances"

    @property
    def versions(self) -> dict[int, str]:
        """Version of the labels → name of the alternative alignment."""
        return dict(enumerate(self.against, start=RANKED_LABELS + 1))


def prepare_run(
    plan: RankPlan, dataset: Dataset, source: Any, engine: Engine, store: Cache | None, watcher: Progress
) -> RankData:
    """Read the audio, load the models once, align the transcripts where needed, and report notes to the user.

    Args:
        plan: the plan of the run.
        dataset: the labelled speech.
        source: the source data, read where a score needs them.
        engine: aligns transcripts.
        store: the cache of alignments; None to align again.
        watcher: receives the progress.

    Raises:
        DataError: too few utterances can be used.
        ModelError: a model cannot be loaded.
        OptionError: a model has no such layers, or the labels would favour a candidate.
    """
    audio = check_audio(dataset, plan.extraction.threads, watcher)
    unaligned = prepare(dataset, plan.extraction, plan.sequence, audio)
    origin = prepare_source(source, plan.extraction) if plan.reads_source else None
    pool = ModelPool(plan.models, plan.encoder, watcher, store)
    selections = select_layers(plan, pool)
    context = AlignmentContext(pool.layers, pool.lend, plan.encoder, engine, plan.extraction.threads)
    labelled = label(unaligned, plan.sequence, context, watcher, store=store)
    prepared = labelled.prepared
    times = [] if labelled.record is None else [f"times: {labelled.record}"]
    without_block = [f"{spec} has no block to tune and is left out" for spec in plan.models if spec not in selections]
    skipped = skips_warning(len(dataset) + len(dataset.skipped), (*dataset.skipped, *prepared.skipped))
    notes = (
        _introduction(dataset, prepared),
        *filter(None, [skipped]),
        *dataset.notes,
        *prepared.notes,
        *(origin.notes if origin else ()),
        *remarks(prepared.targets),
        *_untested_classes(prepared),
        *times,
        *plan.left_out,
        *without_block,
    )
    for line in notes:
        logger.info(line)
        watcher.note(line)
    return RankData(dataset, prepared, origin, pool, selections, labelled.record, labelled.against, labelled.seconds)


def select_layers(plan: RankPlan, pool: ModelPool) -> dict[str, LayerSelection]:
    """Return the layers of every model that takes part.

    Args:
        plan: the layers that the user asked for; where a block will be tuned, a model without blocks takes no part.
        pool: the models.

    Raises:
        OptionError: a model has no such layers, or no model takes part.
    """
    chosen = {spec: parse_layers(plan.layers, pool.layers[spec], spec) for spec in plan.models}
    if plan.tuned is None:
        return {spec: LayerSelection.all_of(layers, pool.layers[spec]) for spec, layers in chosen.items()}
    selections = {
        spec: LayerSelection.for_tuning(layers, pool.layers[spec], plan.tuned.use) for spec, layers in chosen.items()
    }
    taking_part = {spec: selection for spec, selection in selections.items() if selection.ranked}
    if not taking_part:
        raise OptionError(
            f"none of the layers {plan.layers!r} is made by a block that can be tuned; leave --strategy out"
        )
    return taking_part


def block_of_rows(prepared: Prepared) -> NDArray[np.int64]:
    """Return the block of each utterance, in the order of the rows of the targets."""
    count = sum(len(shard.items) for shard in prepared.shards)
    rows = np.fromiter((item.row for shard in prepared.shards for item in shard.items), np.int64, count)
    blocks = np.repeat([shard.block for shard in prepared.shards], [len(shard.items) for shard in prepared.shards])
    return blocks.astype(np.int64)[np.argsort(rows, kind="stable")]


def _untested_classes(prepared: Prepared) -> list[str]:
    """Return a note about the classes of which all utterances are in one block."""
    targets = prepared.targets
    if targets.values or targets.timed is not None:
        return []
    sizes = np.bincount(targets.rows)
    groups = groups_of_classes(block_of_rows(prepared), targets.rows)
    names = [targets.names[index] for index in np.flatnonzero((groups == 1) & (sizes[sizes > 0] > 1))]
    if not names:
        return []
    shown = listed(map(repr, names), SHOWN_NAMES)
    return [
        (
            f"all utterances of {shown} are of one group of speakers: heads that have not heard them cannot know "
            f"{'it' if len(names) == 1 else 'them'}; add speakers, or read the other classes alone"
        )
    ]


def _introduction(dataset: Dataset, prepared: Prepared) -> str:
    """Return one line that says what will be scored."""
    noun = {
        "classification": "classes",
        "multilabel": "labels",
        "segmentation": "labels of frames",
        "transcription": "units",
    }.get(dataset.task)
    timed = prepared.targets.timed
    silence = timed is not None and timed.rest != UNLABELLED
    classes = f", {prepared.targets.count - silence} {noun}{' and silence' if silence else ''}" if noun else ""
    unused = f"{dataset.unused:,} rows of other splits are not used; " if dataset.unused else ""
    split = "" if dataset.split == "all" else f" of split {dataset.split!r} ({unused}--split all takes every row)"
    blocks = len({shard.block for shard in prepared.shards})
    return f"{dataset.task} of {dataset.target!r}: {len(prepared.items):,} utterances{split}{classes}, {blocks} blocks"
