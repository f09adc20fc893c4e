"""The collector of a run: scored layers, skipped utterances, costs, diagnostics, and alternative alignments."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from voxrank.data.utterance import Skipped
from voxrank.encoders.joint import CandidateLayer, LayerVersion, layer_label, sketch_key
from voxrank.engines.local import ModelSketch
from voxrank.errors import RunError
from voxrank.ranking.diagnosing import DiagnosticsCollector
from voxrank.ranking.plan import RankPlan
from voxrank.ranking.prepare import RankData
from voxrank.ranking.resampling import Array, Candidate, goodness_by
from voxrank.ranking.runner import ModelRun
from voxrank.ranking.scoring import LayerScorer
from voxrank.ranking.tuning import higher_is_better
from voxrank.results.ranking import Sensitivity, is_equal
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
        self.comparison = LabelComparison(data.versions, plan.order[0], self._scorer)
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
        for sketch, suffix in ((run.sketch, ""), (run.source, " of the source")):
            if sketch is None:
                continue
            self.encode_s += sketch.encode_s
            self.cached_s += sketch.cached_s
            if not sketch.used_s:
                reason = sketch.skipped[0].reason
                raise RunError(f"{run.model} could use none of the utterances{suffix}; the first reason: {reason}")

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


class LabelComparison:
    """Compares the ranking with rankings by alternative labels of the same frames.

    Args:
        versions: version of the labels → name of the alternative, as `RankData.versions`.
        score: the score that orders the ranking.
        scorer: scores the layers.

    Attributes:
        left_out: why an alternative cannot be compared, by its name.
    """

    def __init__(self, versions: Mapping[int, str], score: str, scorer: LayerScorer) -> None:
        self._versions = versions
        self._score, self._scorer = score, scorer
        self._scored: dict[str, list[dict[str, Estimate]]] = {name: [] for name in versions.values()}
        self.left_out: dict[str, str] = {}

    def add(self, run: ModelRun) -> None:
        """Score the layers of a model by every alternative.

        Args:
            run: the sketches of the model.
        """
        for version, name in self._versions.items():
            unlabelled = [layer for layer in run.selection.read if not _labelled_frames(layer, version, run.sketch)]
            scored = (
                None
                if unlabelled
                else self._scorer.by_version(self._score, run.selection, run.sketch, run.source, version)
            )
            if scored is None:
                reason = f"no frame of layer {layer_label(unlabelled[0])}" if unlabelled else "too few frames"
                line = f"{reason} of {run.model} can be scored by {name} labels; they are not compared"
                self.left_out.setdefault(name, line)
            else:
                self._scored[name] += scored

    def compared(self, candidates: Sequence[Candidate], shares: Mapping[str, float]) -> tuple[Sensitivity, ...]:
        """Return the comparison with the ranking by each alternative.

        Args:
            candidates: all layers, scored by the labels of the ranking, in the order of `add`.
            shares: share of the data that each model saw; only models with the largest share can have the best layer.
        """
        direction = {name: higher_is_better(name) for name in candidates[0].estimates}
        ranked = goodness_by(self._score, [c.estimates for c in candidates], direction)
        seen_shares = np.array([shares[c.model] for c in candidates])
        comparisons = []
        for name, scored in self._scored.items():
            if name in self.left_out:
                continue
            goodness = goodness_by(self._score, scored, direction)
            eligible = np.where(seen_shares == seen_shares.max(), goodness, -np.inf)
            best = candidates[int(np.argmax(eligible))]
            equal = sum(is_equal(value, eligible.max()) for value in eligible) - 1
            rho, p = _rank_correlation(ranked, goodness)
            comparisons.append(Sensitivity(name, rho, p, best.model, layer_label(best.layer), equal))
        return tuple(comparisons)


def _labelled_frames(layer: CandidateLayer, version: int, sketch: ModelSketch) -> int:
    """Return how many frames of a layer have a label in a version of the labels."""
    return sketch.layers[sketch_key(LayerVersion(layer, version))].total.n


def _rank_correlation(left: Array, right: Array) -> tuple[float | None, float | None]:
    """Return Spearman's correlation and its p-value; None where there are under three values, or all are equal."""
    if len(left) < 3 or not np.ptp(left) or not np.ptp(right):
        return None, None
    from scipy.stats import spearmanr  # for its p-value, of alternative alignments alone; its import is slow

    result = spearmanr(left, right)
    return float(result.statistic), float(result.pvalue)
