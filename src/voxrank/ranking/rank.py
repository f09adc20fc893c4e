"""The whole run, from data and models to a ranking."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from voxrank._support.memory import keep_heap_small, release_free_memory
from voxrank._support.progress import Progress
from voxrank.cache.store import Cache
from voxrank.config import DetailOptions, RankKeywords, RankRequest, spelled_out
from voxrank.data.read import read_requested
from voxrank.data.rows import Request
from voxrank.data.utterance import Dataset
from voxrank.encoders.groups import with_models
from voxrank.engines.base import engine_of
from voxrank.errors import OptionError
from voxrank.ranking.build import RankingBuilder
from voxrank.ranking.collector import Collector
from voxrank.ranking.plan import check_names, resolve
from voxrank.ranking.prepare import prepare_run
from voxrank.ranking.runner import ModelRunner
from voxrank.results.ranking import Ranking
from voxrank.sketches.methods import forced_method

logger = logging.getLogger(__name__)


@spelled_out(RankRequest, RankKeywords)
def rank(
    data: Any, models: Sequence[str], *, progress: Progress | None = None, **options: Unpack[RankKeywords]
) -> Ranking:
    """Rank pre-trained speech models, and their layers, for labelled speech, without fine-tuning any of them.

    Args:
        data: a manifest, a folder, or another data set that `read_dataset` reads, by its path, hub id or as an object
            (pandas, PyTorch, `datasets`, lhotse); or a `Dataset`.
        models: specs: hub ids, local directories, or ``scheme:rest`` (see ``voxrank models``).
        target: column to predict; by default the first of label, labels, value, segments and text that the data have;
            text where `sequence` names a unit.
        split: rows to use; by default "train", else splits whose names mean training data; "all" for every row.
        segments: a file, or a folder of files, with timed segments (TextGrid, CTM, RTTM, Audacity, JSON).
        source: speech that the models were pre-trained on, or similar speech, for the scores that compare it with
            `data`; its labels are not read.
        scores: names of the scores; the first one orders the ranking, and the next one decides ties. The default, which
            "default" stands for, begins with the result of held-out linear heads: "accuracy" for classes, "r2" for
            values, "map" for several labels. `Ranking.order` says what orders it: for classes of utterances the mean of
            the orders by "accuracy", "likelihood" and "logme", for values by "r2" and "logme", otherwise the first
            score; "tuned" where `use` says that a block will be tuned, and "logme" with early stopping.
        layers: "all", or indices such as "0,3,6" (negative ones count from the last layer); with "mean" or "concat"
            also those layers together, such as "all,mean".
        encoder: device, precision, windows.
        extraction: kind of sample, blocks, threads.
        sequence: options that turn transcripts and segments into labels of frames: units, aligner, silence.
        use: use of the layers: as they are, or with one block tuned.
        cache: the cache of sketches. With a cache nothing is encoded twice, and an interrupted run continues. None for
            no cache.
        engine: where models run: in this process, or on the workers of a cluster.
        stopping: early stopping: models see the data in rounds, and models that can no longer be best are dropped.
            None to show all data to all models.
        details: level of the diagnostics (`Ranking.details`): "quick" for classes, pictures and a learning curve,
            "full" for pictures by t-SNE too, or "none".
        besides: other columns of the data, such as "speaker"; the details report how well every layer predicts them.
        seed: seed of the resamples behind `probability_best`, and of the draw of rounds.
        progress: receives the progress.

    Returns:
        The models and the layers, best first, with 95 % intervals.

    Raises:
        DataError, ModelError, OptionError: the request is wrong; nothing was encoded.
        RunError: the run failed.

    Example:
        ``rank("train.csv", models=["openai/whisper-tiny", "facebook/hubert-base-ls960"]).best.model``
    """
    keywords: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    details = DetailOptions(keywords.pop("details", "quick"), tuple(keywords.pop("besides", ())))
    return run(data, RankRequest(models=models, details=details, **keywords), progress or Progress())


def run(data: Any, request: RankRequest, watcher: Progress) -> Ranking:
    """Rank models as a request says; see `rank`."""
    started = time.perf_counter()
    keep_heap_small()
    forced_method()  # refuses an unknown name before any work
    request = with_models(request)
    check_names(request)
    workers = engine_of(request.engine, request.encoder, watcher.note)
    dataset = _dataset(data, request, watcher)
    plan = resolve(request, dataset)
    store = None if request.cache is None else Cache(request.cache, watcher.note)
    with workers:
        run_data = prepare_run(plan, dataset, request.source, workers, store, watcher)
        builder, collector = RankingBuilder(plan, run_data, started), Collector(plan, run_data)
        for model_run in ModelRunner(plan, run_data, workers, store, watcher).run():
            collector.add(model_run)
            del model_run  # its sketches, before the next model is encoded
            release_free_memory()
            watcher.ranked(partial(builder.so_far, collector))
    return _completed(builder, collector, watcher)


def _completed(builder: RankingBuilder, collector: Collector, watcher: Progress) -> Ranking:
    """Build the ranking of all models, and log it."""
    for line in collector.comparison.left_out.values():
        watcher.note(line)
    ranking = builder.complete(collector)
    _log(ranking)
    return ranking


def _log(ranking: Ranking) -> None:
    for skipped in ranking.skipped:
        logger.warning("skipped %s (%s): %s", skipped.utterance, skipped.model or "every model", skipped.reason)
    for model in ranking.models:
        logger.info("rank %d: %s, layer %s: %s", model.rank, model.model, model.layer, model.scores)
    logger.info("%d of %d utterances used; %s", ranking.data.used, ranking.data.utterances, ranking.cost)


def _dataset(data: Any, request: RankRequest, watcher: Progress) -> Dataset:
    tier, besides = request.sequence.tier, request.details.besides
    if not isinstance(data, Dataset):
        segments = None if request.segments is None else Path(request.segments)
        rows = Request(
            request.column, request.split, segments=segments, tier=tier, besides=tuple(besides), watcher=watcher
        )
        return read_requested(data, rows)
    if any(option is not None for option in (request.target, request.split, request.segments, tier)):
        raise OptionError(
            "target, split, segments and tier are for read_dataset, and a Dataset was given; read it with them instead"
        )
    for column in besides:
        data.cells(column)
    return data
