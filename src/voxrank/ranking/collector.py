"""Sketches → scored layers: the candidates, by the labels and by others that are compared."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import spearmanr

from voxrank.config import UseOptions
from voxrank.data.utterance import Skipped
from voxrank.encoders.joint import (
    RANKED_LABELS,
    CandidateLayer,
    LayerVersion,
    SketchKey,
    front,
    layer_label,
    sketch_key,
)
from voxrank.engines.local import ModelSketch
from voxrank.errors import RunError
from voxrank.ranking.resampling import Array, goodness_by
from voxrank.ranking.tuning import TUNED, Asked, expected, mean_of
from voxrank.results.ranking import Sensitivity, is_equal
from voxrank.scores import Score, get_score
from voxrank.scores.estimate import Estimate
from voxrank.scores.registry import COMBINATIONS, estimate_all
from voxrank.scores.view import LayerView, SourceView
from voxrank.sketches.blocks import diagonal
from voxrank.sketches.projections import Quantiles
from voxrank.targets.labels import Targets


@dataclass(frozen=True)
class Candidate:
    """One layer of one model, scored."""

    model: str
    parameters: int
    layer: CandidateLayer
    estimates: dict[str, Estimate]


class Tally:
    """Collects scored layers, skipped utterances and times as the models finish.

    Args:
        scores: of every layer.
        targets: of the data.
        use: of the layers, where what is to be expected of it is asked for.
        effective: whether samples count for no more than the independent ones that they are worth.
    """

    def __init__(self, scores: Sequence[Score], targets: Targets, use: UseOptions | None, *, effective: bool) -> None:
        self._scores, self._targets, self._use, self._effective = scores, targets, use, effective
        self.candidates: list[Candidate] = []
        self.skipped: list[Skipped] = []
        self.source_skipped: list[Skipped] = []
        self.encode_s = 0.0
        self.score_s = 0.0
        self.cached_s = 0.0
        self.speeds: dict[str, float | None] = {}

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Direction of each score."""
        return {score.name: score.higher_is_better for score in self._scores} | {TUNED: True}

    def add(self, spec: str, parameters: int, asked: Asked, last: int, sketches: Sequence[ModelSketch]) -> None:
        """Score the layers of a model, from its sketch of the data and, where there are some, of the source data.

        Args:
            spec: of the model.
            parameters: of its encoder.
            asked: its layers that are candidates, and those that are read.
            last: index of its last layer.
            sketches: of the data, and of the source data.
        """
        started = time.perf_counter()
        sketch, origin = sketches[0], sketches[1] if len(sketches) > 1 else None
        self.skipped += sketch.skipped
        self.speeds[spec] = sketch.speed
        self.source_skipped += origin.skipped if origin is not None else []
        for made, what in zip(sketches, ("", " of the source"), strict=False):
            self.encode_s += made.encode_s
            self.cached_s += made.cached_s
            if not made.used_s:
                raise RunError(
                    f"{spec} could use none of the utterances{what}; the first reason: {made.skipped[0].reason}"
                )
        moments = [blocked for made in sketches for blocked in made.layers.values()]
        if not all(np.isfinite(diagonal(block.triangle, own.total.dim)).all() for own in moments for block in own):
            raise _beyond_measure(spec)
        try:
            found = self._estimates(self._scores, asked, last, sketch, origin)
        except (np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
            raise _beyond_measure(spec) from error
        each = [one for estimates in found for one in estimates.values()]
        if not all(np.isfinite(one.value) and np.isfinite(one.influence).all() for one in each):
            raise _beyond_measure(spec)
        self.candidates += [
            Candidate(spec, parameters, layer, estimates) for layer, estimates in zip(asked.ranked, found, strict=True)
        ]
        self.score_s += time.perf_counter() - started

    def goodness(self, name: str, asked: Asked, last: int, sketch: ModelSketch) -> list[Estimate]:
        """Of each candidate layer by one score, higher for better."""
        started = time.perf_counter()
        scores = [score for score in self._scores if score.name in COMBINATIONS.get(name, (name,))]
        sign = 1 if name == TUNED or get_score(name).higher_is_better else -1
        found = [one[name] for one in self._estimates(scores, asked, last, sketch, None)]
        self.score_s += time.perf_counter() - started
        return [Estimate(sign * one.value, sign * one.influence) for one in found]

    def by_version(
        self, name: str, asked: Asked, last: int, sketches: Sequence[ModelSketch], version: int
    ) -> list[dict[str, Estimate]] | None:
        """Estimate what one score is made of for each candidate layer, by one version of the labels.

        Args:
            name: of the score, or of a combination.
            asked: as that of `add`.
            last: as that of `add`.
            sketches: as those of `add`.
            version: of the labels.

        Returns:
            The estimates by score, in order of the candidates; None where some of them are not numbers.
        """
        started = time.perf_counter()
        scores = [score for score in self._scores if score.name in COMBINATIONS.get(name, (name,))]
        origin = sketches[1] if len(sketches) > 1 else None
        try:
            found = self._estimates(scores, asked, last, sketches[0], origin, version)
        except (np.linalg.LinAlgError, ArithmeticError, RuntimeError, ValueError):  # torch's own is a RuntimeError
            return None
        self.score_s += time.perf_counter() - started
        return found if all(np.isfinite(one.value) for estimates in found for one in estimates.values()) else None

    def _estimates(
        self,
        scores: Sequence[Score],
        asked: Asked,
        last: int,
        sketch: ModelSketch,
        origin: ModelSketch | None,
        version: int = RANKED_LABELS,
    ) -> list[dict[str, Estimate]]:
        """Estimate every score of each candidate layer, by one version of the labels."""
        keys = [SketchKey(layer_label(layer), version) for layer in asked.read]
        known = {
            key.layer: estimate_all(scores, _view(key, sketch, origin, self._targets, effective=self._effective))
            for key in keys
        }
        made = [dict(known[layer_label(layer)]) for layer in asked.ranked]
        parts = [name for name in COMBINATIONS[TUNED] if name in made[0]]
        if self._use is not None and parts:
            means = {label: mean_of([one[name] for name in parts]) for label, one in known.items()}
            for layer, estimates in zip(asked.ranked, made, strict=True):
                estimates[TUNED] = expected(means, front(layer), last, self._use)
        return made


def _beyond_measure(spec: str) -> RunError:
    return RunError(
        f"{spec}: expected features that can be added up, got such large ones that no score of them is a number; leave "
        "the model out, or scale what it gives"
    )


class LabelComparison:
    """Compares the ranking with rankings by alternative labels of the same frames.

    Args:
        names: of the alternatives, in order of `Timed.versions`.
        score: that orders the ranking.
        tally: scores the layers.

    Attributes:
        left_out: why an alternative cannot be compared, by its name.
    """

    def __init__(self, names: Sequence[str], score: str, tally: Tally) -> None:
        self._versions = dict(enumerate(names, start=1))
        self._score, self._tally = score, tally
        self._scored: dict[str, list[dict[str, Estimate]]] = {name: [] for name in names}
        self.left_out: dict[str, str] = {}

    def layers(self, asked: Asked) -> list[LayerVersion]:
        """Return what is sketched of a model beside its layers: each layer that is scored, by each alternative."""
        return [LayerVersion(layer, version) for version in self._versions for layer in asked.read]

    def add(self, spec: str, asked: Asked, last: int, sketches: Sequence[ModelSketch]) -> None:
        """Score the layers of a model by every alternative. Arguments as those of `Tally.add`."""
        for version, name in self._versions.items():
            empty = [x for x in self.layers(asked) if x.version == version and not _frames(x, sketches[0])]
            scored = None if empty else self._tally.by_version(self._score, asked, last, sketches, version)
            if scored is None:
                what = f"no frame of layer {layer_label(empty[0])}" if empty else "too few frames"
                line = f"{what} of {spec} can be scored by {name} labels; they are not compared"
                self.left_out.setdefault(name, line)
            else:
                self._scored[name] += scored

    def compared(self, candidates: Sequence[Candidate], shares: Mapping[str, float]) -> tuple[Sensitivity, ...]:
        """Return how each alternative ranks the candidates.

        Args:
            candidates: all layers, scored by the labels of the ranking, in the order of `add`.
            shares: of the data that each model saw; the best layer is one of a model that saw most.
        """
        direction = self._tally.higher_is_better
        ranked = goodness_by(self._score, [c.estimates for c in candidates], direction)
        seen = np.array([shares[c.model] for c in candidates])
        found = []
        for name, scored in self._scored.items():
            if name in self.left_out:
                continue
            goodness = goodness_by(self._score, scored, direction)
            rivals = np.where(seen == seen.max(), goodness, -np.inf)
            best = candidates[int(np.argmax(rivals))]
            equal = sum(is_equal(value, rivals.max()) for value in rivals) - 1
            rho, p = _rank_correlation(ranked, goodness)
            found.append(Sensitivity(name, rho, p, best.model, layer_label(best.layer), equal))
        return tuple(found)


def _frames(layer: LayerVersion, sketch: ModelSketch) -> int:
    """Return how many frames of a layer have a label."""
    return sketch.layers[sketch_key(layer)].total.n


def _rank_correlation(one: Array, other: Array) -> tuple[float | None, float | None]:
    """Return Spearman's correlation and its p-value; None where there are under three values, or all are equal."""
    if len(one) < 3 or not np.ptp(one) or not np.ptp(other):
        return None, None
    found = spearmanr(one, other)
    return float(found.statistic), float(found.pvalue)


def _view(
    key: SketchKey, sketch: ModelSketch, origin: ModelSketch | None, targets: Targets, *, effective: bool
) -> LayerView:
    """Return what scores read of a layer; the source data have one version of the labels."""
    moments = sketch.layers[key]
    source = None
    if origin is not None:
        there = replace(key, version=RANKED_LABELS)
        projected = Quantiles.together(origin.projections.get(there, {}).values())
        source = SourceView(origin.layers[there].total, origin.samples.get(there), projected)
    return LayerView(
        moments,
        sketch.samples.get(key),
        targets.rows,
        weight=1 / moments.total.inflation() if effective else 1.0,
        projections=sketch.projections.get(key),
        source=source,
    )
