"""The runner of models. It sends them through an engine, with all data for every model or with early stopping."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from voxrank._support.progress import Progress
from voxrank._support.words import percent
from voxrank.alignment.preparation import Prepared
from voxrank.cache.store import Cache
from voxrank.config import Seconds, StoppingOptions
from voxrank.data.shards import Shard
from voxrank.encoders.joint import LayerVersion, SketchedLayer
from voxrank.engines.base import Engine, Runner
from voxrank.engines.local import ModelSketch
from voxrank.ranking.early_stopping import Round, RoundScores, beaten, plan_rounds
from voxrank.ranking.plan import RankPlan
from voxrank.ranking.prepare import RankData
from voxrank.ranking.scoring import LayerScorer
from voxrank.ranking.tuning import LayerSelection

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelRun:
    """The sketches of one model.

    Attributes:
        model: spec of the model.
        selection: layers of the model.
        sketch: sketch of the data.
        source: sketch of the source data; None where no score reads them.
        share: share of the data that the model saw.
        score_s: time that early stopping took to score it, in seconds.
    """

    model: str
    selection: LayerSelection
    sketch: ModelSketch
    source: ModelSketch | None = None
    share: float = 1.0
    score_s: Seconds = 0.0


class ModelRunner:
    """Sends the models of a plan through an engine.

    Args:
        plan: the plan of the run.
        data: the data, the loaded models and their layers.
        engine: where models run; the caller enters it.
        store: the cache; None to encode everything.
        watcher: receives the progress.
    """

    def __init__(self, plan: RankPlan, data: RankData, engine: Engine, store: Cache | None, watcher: Progress) -> None:
        self._plan, self._data, self._engine, self._store, self._watcher = plan, data, engine, store, watcher

    def run(self) -> Iterator[ModelRun]:
        """Yield the run of each model as soon as its sketch is complete."""
        return self._run_all() if self._plan.stopping is None else self._run_in_rounds(self._plan.stopping)

    def _run_all(self) -> Iterator[ModelRun]:
        for position, model in enumerate(self._data.selections, start=1):
            yield self._run_model(model, position)  # in no variable, which would keep it during the next model
            self._watcher.finish()

    def _run_model(self, model: str, position: int) -> ModelRun:
        """Show a model all data, and the source data if there are any."""
        prepared, origin = self._data.prepared, self._data.origin
        selection = self._data.selections[model]
        self._start(model, position, [*prepared.shards, *(origin.shards if origin else ())])
        runner = self._engine.runner(model, partial(self._data.pool.take, model))
        sketch = self._sketch(runner, prepared, prepared.shards, self._sketched(selection))
        source = self._sketch(runner, origin, origin.shards, selection.read) if origin else None
        return ModelRun(model, selection, sketch, source)

    def _run_in_rounds(self, stopping: StoppingOptions) -> Iterator[ModelRun]:
        """Show the data in rounds, drop models that can no longer be best, and yield all models at the end."""
        started, before = time.perf_counter(), None
        scorer = LayerScorer(self._plan, self._data.prepared.targets)
        selections = self._data.selections
        runs: dict[str, ModelRun] = {}
        rounds = plan_rounds(self._data.prepared.shards, shard_s=self._plan.extraction.shard_s, seed=self._plan.seed)
        remaining, over_budget = list(selections), False
        for round_ in rounds:
            for position, model in enumerate(remaining, start=1):
                runs[model] = self._run_round(model, position, round_, runs.get(model))
                self._watcher.finish()
            goodness = {}
            for model in remaining:
                scoring_started = time.perf_counter()
                goodness[model] = scorer.goodness(self._plan.order[0], selections[model], runs[model].sketch)
                runs[model] = replace(runs[model], score_s=runs[model].score_s + time.perf_counter() - scoring_started)
            scores = RoundScores(round_.share, goodness)
            dropped = beaten(scores, before, confidence=stopping.confidence, models=len(selections), rounds=len(rounds))
            remaining, before = [model for model in remaining if model not in dropped], scores
            for model in sorted(dropped):
                self._watcher.note(
                    f"{model} cannot be best any more, and is dropped after {percent(round_.share)} of the data"
                )
            over_budget = stopping.budget_s is not None and time.perf_counter() - started > stopping.budget_s
            if over_budget or len(remaining) == 1 < len(selections):
                break
        if over_budget and len(remaining) > 1:
            self._watcher.note(
                f"the budget is spent after {percent(round_.share)} of the data, with {len(remaining)} models left"
            )
        encoded = sum(run.share for run in runs.values()) / len(runs)
        self._watcher.note(f"{percent(encoded)} of the audio was encoded; all data for all models would be 100 %")
        yield from runs.values()

    def _run_round(self, model: str, position: int, round_: Round, run: ModelRun | None) -> ModelRun:
        """Show a model one more round."""
        self._start(model, position, round_.shards)
        selection = self._data.selections[model]
        runner = self._engine.runner(model, partial(self._data.pool.lend, model))
        sketch = self._sketch(runner, self._data.prepared, round_.shards, self._sketched(selection))
        if run is None:
            return ModelRun(model, selection, sketch, share=round_.share)
        run.sketch.merge(sketch)
        return replace(run, share=round_.share)

    def _sketch(
        self, runner: Runner, data: Prepared, shards: Sequence[Shard], layers: Sequence[SketchedLayer]
    ) -> ModelSketch:
        return runner.sketch(shards, data.targets, layers, self._plan.extraction, self._watcher.advance, self._store)

    def _sketched(self, selection: LayerSelection) -> list[SketchedLayer]:
        """Return the layers to sketch, by the labels of the ranking and by those of every alternative alignment."""
        versions = self._data.versions
        return [*selection.read, *(LayerVersion(layer, version) for version in versions for layer in selection.read)]

    def _start(self, model: str, position: int, shards: Sequence[Shard]) -> None:
        models = len(self._data.selections)
        logger.info("%s: begins, model %d of %d", model, position, models)
        self._watcher.start(model, position, models, sum(shard.seconds for shard in shards))
