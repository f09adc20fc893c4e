"""Sketches → scored layers: the candidates, by the labels and by others that are compared."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr

from voxrank.config import UseOptions
from voxrank.data.utterance import Skipped
from voxrank.encoders.base import Layer
from voxrank.engines.local import ModelSketch
from voxrank.errors import RunError
from voxrank.joint import JointLayer, LayerVersion, layer_label
from voxrank.results import Sensitivity
from voxrank.scores import Score, get_score
from voxrank.scores.estimate import Estimate
from voxrank.scores.registry import COMBINATIONS, estimate_all
from voxrank.scores.view import LayerView, SourceView
from voxrank.sketches.blocks import diagonal
from voxrank.sketches.projections import Quantiles
from voxrank.targets.labels import Targets
from voxrank.tuned import TUNED, Asked, expected, mean_of


@dataclass(frozen=True)
class Candidate:
    """One layer of one model, scored."""

    model: str
    parameters: int
    layer: Layer
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

    def _estimates(
        self, scores: Sequence[Score], asked: Asked, last: int, sketch: ModelSketch, origin: ModelSketch | None
    ) -> list[dict[str, Estimate]]:
        """Of each candidate layer."""
        found = {
            layer.index: estimate_all(
                scores, _view(layer.index, sketch, origin, self._targets, effective=self._effective)
            )
            for layer in asked.read
        }
        made = [dict(found[layer.index]) for layer in asked.ranked]
        if self._use is not None:
            parts = [name for name in COMBINATIONS[TUNED] if name in made[0]]
            known = {index: mean_of([one[name] for name in parts]) for index, one in found.items()}
            for layer, estimates in zip(asked.ranked, made, strict=True):
                estimates[TUNED] = expected(known, layer.index, last, self._use)
        return made


def _beyond_measure(spec: str) -> RunError:
    return RunError(
        f"{spec}: expected features that can be added up, got such large ones that no score of them is a number; leave "
        "the model out, or scale what it gives"
    )


class Versions:
    """The ranking by other labels of the same frames.

    Args:
        names: of the labels, in order of `Timed.versions`.
        scores: the first one orders the ranking.
        targets: of the data.
    """

    def __init__(self, names: Sequence[str], scores: Sequence[Score], targets: Targets) -> None:
        self._names, self._score, self._targets = names, scores[0], targets
        self._values: dict[str, list[float]] = {name: [] for name in names}

    def layers(self, layers: Sequence[Layer]) -> list[LayerVersion]:
        """Every layer once for each kind of labels."""
        first = max(layer.index for layer in layers) + 1
        made = itertools.product(
            range(len(self._names)), (layer for layer in layers if not isinstance(layer, JointLayer))
        )
        return [
            LayerVersion(first + place, layer.name, layer.dim, layer.frame_rate, layer.index, version)
            for place, (version, layer) in enumerate(made)
        ]

    def add(self, layers: Sequence[LayerVersion], sketch: ModelSketch) -> None:
        """Score the layers of a model."""
        for layer in layers:
            view = _view(layer.index, sketch, None, self._targets, effective=False)
            self._values[self._names[layer.version]].append(estimate_all([self._score], view)[self._score.name].value)

    def compared(self, candidates: Sequence[Candidate]) -> tuple[Sensitivity, ...]:
        """Each with the ranking itself."""
        plain = [c for c in candidates if not isinstance(c.layer, JointLayer)]
        own = [c.estimates[self._score.name].value for c in plain]
        sign = 1 if self._score.higher_is_better else -1
        found = []
        for name, values in self._values.items():
            best = plain[int(np.argmax(sign * np.array(values)))]
            same = spearmanr(own, values) if len(own) > 2 else None
            found.append(
                Sensitivity(
                    name,
                    None if same is None else float(same.statistic),
                    None if same is None else float(same.pvalue),
                    best.model,
                    layer_label(best.layer),
                )
            )
        return tuple(found)


def _view(
    layer: int, sketch: ModelSketch, origin: ModelSketch | None, targets: Targets, *, effective: bool
) -> LayerView:
    """What scores read of a layer."""
    moments = sketch.layers[layer]
    source = None
    if origin is not None:
        projected = Quantiles.together(origin.projections.get(layer, {}).values())
        source = SourceView(origin.layers[layer].total, origin.samples.get(layer), projected)
    return LayerView(
        moments,
        sketch.samples.get(layer),
        targets.rows,
        weight=1 / moments.total.inflation() if effective else 1.0,
        projections=sketch.projections.get(layer),
        source=source,
    )
