"""The collector of a run: it gathers scored layers, skipped utterances, costs and diagnostics of each model."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from voxrank.data.utterance import Skipped
from voxrank.errors import RunError
from voxrank.ranking.diagnosing import DiagnosticsCollector
from voxrank.ranking.plan import RankPlan
from voxrank.ranking.prepare import RankData
from voxrank.ranking.resampling import Candidate
from voxrank.ranking.runner import ModelRun
from voxrank.ranking.scoring import LayerScorer
from voxrank.ranking.sensitivity import LabelComparison
from voxrank.scores.estimate import Estimate
from voxrank.sketches.blocks import diagonal


class Collector:
    """Accumulates the results of a run, model after model.

    Args:
        plan: the scores and diagnostics.
        data: the data, the same for every model.

    Attributes:
        candidates: scored layers of all models so far.
        shares: model → share of the data that it saw.
        speeds: model → seconds of audio that it encodes per second; None where everything came from the cache.
        skipped: utterances that a model could not use.
        source_skipped: utterances of the source data that a model could not use.
        encode_s: time of encoding, in seconds.
        cached_s: amount of audio whose sketches came from the cache, in seconds.
        score_s: time of scoring, in seconds.
        comparison: the comparison with alternative alignments.
        diagnostics: the collector of diagnostics.
    """

    def __init__(self, plan: RankPlan, data: RankData) -> None:
        self._scorer = LayerScorer(plan, data.prepared.targets)
        self._pool = data.pool
        self.candidates: list[Candidate] = []
        self.shares: dict[str, float] = {}
        self.speeds: dict[str, float | None] = {}
        self.skipped: list[Skipped] = []
        self.source_skipped: list[Skipped] = []
        self.encode_s = self.cached_s = self.score_s = 0.0
        self.comparison = LabelComparison(data.versions, plan.names[0], self._scorer)
        self.diagnostics = DiagnosticsCollector(plan, data)

    def add(self, run: ModelRun) -> None:
        """Score the layers of a model, and store its results.

        Args:
            run: the sketches of the model.

        Raises:
            RunError: the model could use no utterance, or no score of it is a number.
        """
        started = time.perf_counter()
        self._add_costs(run)
        scores = self._scores(run)
        parameters = self._pool.parameters[run.model]
        candidates = [
            Candidate(run.model, parameters, layer, estimates)
            for layer, estimates in zip(run.selection.ranked, scores, strict=True)
        ]
        self.comparison.add(run)
        self.score_s += run.score_s + time.perf_counter() - started
        self.candidates += candidates
        self.diagnostics.add(candidates, run.sketch, run.share)

    def _add_costs(self, run: ModelRun) -> None:
        self.shares[run.model], self.speeds[run.model] = run.share, run.sketch.speed
        self.skipped += run.sketch.skipped
        if run.source is not None:
            self.source_skipped += run.source.skipped
        for sketch, what in ((run.sketch, ""), (run.source, " of the source")):
            if sketch is None:
                continue
            self.encode_s += sketch.encode_s
            self.cached_s += sketch.cached_s
            if not sketch.used_s:
                raise RunError(
                    f"{run.model} could use none of the utterances{what}; the first reason: {sketch.skipped[0].reason}"
                )

    def _scores(self, run: ModelRun) -> list[dict[str, Estimate]]:
        sketches = [run.sketch] if run.source is None else [run.sketch, run.source]
        layers = [blocked for sketch in sketches for blocked in sketch.layers.values()]
        if not all(
            np.isfinite(diagonal(block.triangle, moments.total.dim)).all() for moments in layers for block in moments
        ):
            raise _overflow(run.model)
        try:
            scores = self._scorer.all_scores(run.selection, run.sketch, run.source)
        except (np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
            raise _overflow(run.model) from error
        if not all(_is_finite(list(estimates.values())) for estimates in scores):
            raise _overflow(run.model)
        return scores


def _is_finite(estimates: Sequence[Estimate]) -> bool:
    return all(np.isfinite(estimate.value) and np.isfinite(estimate.influence).all() for estimate in estimates)


def _overflow(model: str) -> RunError:
    return RunError(
        f"{model}: expected features whose sums are finite, got larger ones, so that no score is a number; "
        "leave the model out, or rescale its features"
    )
