"""Models through an engine: all of them on all data, or in a race."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial

from voxrank._support.progress import Progress
from voxrank.alignment.preparation import Prepared
from voxrank.cache.store import Cache
from voxrank.config import ExtractionOptions, StoppingOptions
from voxrank.data.shards import Shard
from voxrank.encoders.joint import SketchedLayer
from voxrank.encoders.pool import Stable
from voxrank.engines.base import Engine
from voxrank.engines.local import ModelSketch
from voxrank.ranking.collector import LabelComparison, Tally
from voxrank.ranking.early_stopping import Standing, beaten, plan_rounds
from voxrank.ranking.tuning import Asked

logger = logging.getLogger(__name__)


class Run:
    """Models through an engine.

    Args:
        running: the engine.
        stable: has the models.
        asked: their layers.
        comparison: the alternative labels, whose layers are sketched too.
        extraction: what a sample is.
        store: holds what need not be encoded.
        watcher: told of each step.
        seed: of the draw of rounds.
    """

    def __init__(
        self,
        running: Engine,
        stable: Stable,
        asked: dict[str, Asked],
        comparison: LabelComparison,
        extraction: ExtractionOptions,
        store: Cache | None,
        watcher: Progress,
        seed: int,
    ) -> None:
        self._running, self._stable, self._asked, self._comparison = running, stable, asked, comparison
        self._extraction, self._store, self._watcher, self._seed = extraction, store, watcher, seed

    def all(self, parts: Sequence[Prepared]) -> Iterator[tuple[str, list[ModelSketch]]]:
        """Each model with its sketches of the data and, where there are some, of the source data."""
        for position, spec in enumerate(self._asked, start=1):
            self._starts(spec, position, [shard for part in parts for shard in part.shards])
            runner = self._running.runner(spec, partial(self._stable.take, spec))
            layers = (self._layers(spec), self._asked[spec].read)
            yield (
                spec,
                [
                    runner.sketch(p.shards, p.targets, read, self._extraction, self._watcher.advance, self._store)
                    for p, read in zip(parts, layers, strict=False)
                ],
            )
            self._watcher.finish()

    def raced(
        self, prepared: Prepared, tally: Tally, name: str, stopping: StoppingOptions, shares: dict[str, float]
    ) -> Iterator[tuple[str, list[ModelSketch]]]:
        """Each model with its sketch of as much of the data as it took to see that it cannot be best.

        Args:
            prepared: the data.
            tally: reads scores off sketches.
            name: of the score that decides.
            stopping: when to stop.
            shares: filled in with the share of the data that each model saw.
        """
        started, before = time.perf_counter(), None
        sketches: dict[str, ModelSketch] = {}
        rounds = plan_rounds(prepared.shards, shard_s=self._extraction.shard_s, seed=self._seed)
        left = list(self._asked)
        for one in rounds:
            share, shards = one.share, one.shards
            for position, spec in enumerate(left, start=1):
                self._starts(spec, position, shards)
                runner = self._running.runner(spec, partial(self._stable.lend, spec))
                made = runner.sketch(
                    shards, prepared.targets, self._layers(spec), self._extraction, self._watcher.advance, self._store
                )
                if spec in sketches:
                    sketches[spec].merge(made)
                else:
                    sketches[spec] = made
                shares[spec] = share
                self._watcher.finish()
            last = {spec: len(self._stable.layers[spec]) - 1 for spec in left}
            now = Standing(
                share,
                {spec: tally.goodness(name, self._asked[spec], last[spec], sketches[spec]) for spec in left},
            )
            gone = beaten(now, before, confidence=stopping.confidence, models=len(self._asked), rounds=len(rounds))
            left, before = [spec for spec in left if spec not in gone], now
            for spec in sorted(gone):
                self._watcher.note(
                    f"{spec} cannot be best any more, and is dropped after {100 * share:.0f} % of the data"
                )
            spent = stopping.budget_s is not None and time.perf_counter() - started > stopping.budget_s
            if spent or len(left) == 1 < len(self._asked):
                break
        if spent and len(left) > 1:
            self._watcher.note(
                f"the budget is spent after {100 * share:.0f} % of the data, with {len(left)} models left"
            )
        encoded = sum(shares.values()) / len(shares)
        self._watcher.note(f"{100 * encoded:.0f} % of what all models on all data would take was encoded")
        for spec, sketch in sketches.items():
            yield spec, [sketch]

    def _layers(self, spec: str) -> list[SketchedLayer]:
        """Return what is sketched of a model: each layer that is read, by the labels of the ranking and by the others.

        The source data have no alternative labels.
        """
        return [*self._asked[spec].read, *self._comparison.layers(self._asked[spec])]

    def _starts(self, spec: str, position: int, shards: Sequence[Shard]) -> None:
        logger.info("%s: begins, model %d of %d", spec, position, len(self._asked))
        self._watcher.start(spec, position, len(self._asked), sum(shard.seconds for shard in shards))
