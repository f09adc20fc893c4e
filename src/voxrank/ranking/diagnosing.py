"""Diagnostics of a ranking, computed from the sketches of each model while they are in memory.

The diagnostics of a layer are small: shares by class, scores of parts of the data, accuracies. Only pictures need
samples, of the best and the worst layer, which are known when all models are scored. Therefore the collector keeps the
first 1,024 samples of every layer that may still be the best or the worst. It drops a layer as soon as another layer is
better (or worse) by every score that determines the order. An order by a single score leaves one layer of each kind,
an order by several scores a few. A layer takes 4 MB at 1,024 dimensions, whatever the size of the data.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from voxrank._support.threads import one_thread
from voxrank.config import Seconds
from voxrank.diagnostics.besides import Column, probe_columns
from voxrank.diagnostics.classes import class_views, held_out_classes
from voxrank.diagnostics.curve import ModelGrowth, learning_curve, values_of_parts
from voxrank.diagnostics.picture import POINTS, Place, pictures
from voxrank.encoders.joint import layer_label, sketch_key
from voxrank.engines.local import ModelSketch
from voxrank.errors import one_line
from voxrank.ranking.plan import RankPlan
from voxrank.ranking.prepare import RankData
from voxrank.ranking.resampling import Candidate
from voxrank.ranking.tuning import higher_is_better, ordered_by
from voxrank.results.details import Details, Knowledge, LayerClasses, Picture
from voxrank.results.ranking import Ranking
from voxrank.scores import get_score
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.sample import Sample

logger = logging.getLogger(__name__)

ARITHMETIC = (np.linalg.LinAlgError, RuntimeError, ValueError)
"""Errors that finite but extremely large features can cause; the error of torch is a RuntimeError."""


@dataclass(frozen=True, eq=False)
class _RankedLayer:
    """A layer that may be the best or the worst.

    Attributes:
        model: spec of the model.
        layer: label of the layer.
        share: share of the data that the model saw; layers are ordered by it first.
        goodness: value of each score that determines the order, higher for better.
        sample: some samples of the layer; None where none are kept.
    """

    model: str
    layer: int | str
    share: float
    goodness: tuple[float, ...]
    sample: Sample | None

    def beats(self, other: _RankedLayer) -> bool:
        """Return whether this layer ranks above the other in every ranking that holds both."""
        if self.share != other.share:
            return self.share > other.share
        return all(left > right for left, right in zip(self.goodness, other.goodness, strict=True))


class DiagnosticsCollector:
    """Gathers diagnostics while the sketches of each model are there.

    Args:
        plan: the diagnostics to compute, and the scores that order the ranking.
        data: the data, the same for every model.

    Attributes:
        seconds: time of the diagnostics, in seconds.

    Raises:
        DataError: the data lack a column to probe.
    """

    def __init__(self, plan: RankPlan, data: RankData) -> None:
        self._level, self._targets, self._effective = plan.details.details, data.prepared.targets, plan.effective
        self._blocks = sorted({shard.block for shard in data.prepared.shards})
        self._order = plan.order
        self._curve_score = next((score for score in plan.scores if score.read is not None), get_score("logme"))
        self._columns = [Column.of(data.dataset, name) for name in plan.details.besides]
        self._classes: dict[tuple[str, int | str], LayerClasses] = {}
        self._knowledge: list[Knowledge] = []
        self._curves: dict[str, ModelGrowth] = {}
        self._best: list[_RankedLayer] = []
        self._worst: list[_RankedLayer] = []
        self.seconds: Seconds = 0.0

    def add(self, candidates: Sequence[Candidate], sketch: ModelSketch, share: float) -> None:
        """Compute the diagnostics of a model.

        Args:
            candidates: scored layers of the model.
            sketch: sketch of the data.
            share: share of the data that the model saw.
        """
        if self._level == "none":
            return
        started = time.perf_counter()
        ranked = [self._ranked_layer(c, sketch, share) for c in candidates]
        best = _best_of(ranked)
        try:
            with one_thread(max(c.layer.dim for c in candidates)):
                self._diagnose(candidates, ranked, best, sketch)
        except ARITHMETIC as error:  # the ranking does not depend on diagnostics
            logger.warning("%s: its details cannot be computed: %s", candidates[0].model, one_line(str(error)))
        self._best = _best_of([*self._best, *best])
        self._worst = _worst_of([*self._worst, *ranked])
        self.seconds += time.perf_counter() - started

    def complete(self, ranking: Ranking, audio: Mapping[int, Seconds]) -> Ranking:
        """Return the ranking with its diagnostics.

        Args:
            ranking: ranking of all models.
            audio: block → seconds of its audio that the models saw.
        """
        if self._level == "none":
            return ranking
        started = time.perf_counter()
        last = ranking.layers[-1]
        ends: list[tuple[Place, str, int | str]] = [("best", ranking.best.model, ranking.best.layer)]
        if (last.model, last.layer) != ends[0][1:]:
            ends.append(("worst", last.model, last.layer))
        share = max(model.share for model in ranking.models)
        curves = [self._curves[m.model] for m in ranking.models if m.share == share and m.model in self._curves]
        direction = self._curve_score.higher_is_better
        columns = [column.name for column in self._columns]
        best = [(model.model, model.layer) for model in ranking.models]
        details = Details(
            classes=tuple(self._classes[key] for key in best if key in self._classes),
            pictures=tuple(picture for end in ends for picture in self._pictures(*end)),
            knowledge=tuple(sorted(self._knowledge, key=lambda entry: columns.index(entry.column))),
            curve=learning_curve(self._curve_score.name, curves, audio, higher_is_better=direction),
        )
        seconds = time.perf_counter() - started
        self.seconds += seconds
        cost = replace(ranking.cost, detail_s=self.seconds, total_s=ranking.cost.total_s + seconds)
        return replace(ranking, details=details, cost=cost)

    def _diagnose(
        self,
        candidates: Sequence[Candidate],
        ranked: Sequence[_RankedLayer],
        best: Sequence[_RankedLayer],
        sketch: ModelSketch,
    ) -> None:
        """Compute the classes of the best layers, the probing of each layer, and the learning curve."""
        for candidate, layer in zip(candidates, ranked, strict=True):
            if layer in best:
                self._diagnose_classes(candidate, sketch)
            if layer.sample is not None:
                self._knowledge += probe_columns(layer.model, layer.layer, layer.sample, self._columns)
        self._add_curve(candidates, best[0].layer, sketch)

    def _ranked_layer(self, candidate: Candidate, sketch: ModelSketch, share: float) -> _RankedLayer:
        names = [part for name in self._order for part in ordered_by(name, candidate.estimates)]
        goodness = tuple((1 if higher_is_better(name) else -1) * candidate.estimates[name].value for name in names)
        sample = sketch.samples.get(sketch_key(candidate.layer))
        first = None if sample is None else sample.first(POINTS)
        return _RankedLayer(candidate.model, layer_label(candidate.layer), share, goodness, first)

    def _diagnose_classes(self, candidate: Candidate, sketch: ModelSketch) -> None:
        sample = sketch.samples.get(sketch_key(candidate.layer))
        if self._targets.values or sample is None:
            return
        predicted = held_out_classes(sketch.layers[sketch_key(candidate.layer)], sample)
        if predicted is not None:
            views = class_views(self._targets.names, self._targets.rows[sample.rows], predicted)
            key = candidate.model, layer_label(candidate.layer)
            self._classes[key] = LayerClasses(*key, views)

    def _add_curve(self, candidates: Sequence[Candidate], best: int | str, sketch: ModelSketch) -> None:
        """Compute the learning curve of a model.

        The layer is the best by the score of the curve, or the best of the ranking where that score is not computed.
        """
        name, read = self._curve_score.name, self._curve_score.read
        if read is None:
            return
        sign = 1 if self._curve_score.higher_is_better else -1
        if name in candidates[0].estimates:
            chosen = max(candidates, key=lambda c: sign * c.estimates[name].value)
        else:
            chosen = next(c for c in candidates if layer_label(c.layer) == best)
        moments = sketch.layers[sketch_key(chosen.layer)]
        weight = 1 / moments.total.inflation() if self._effective else 1.0

        def value(spectrum: Spectrum) -> float:
            return read(spectrum).value

        parts, estimate = values_of_parts(moments, self._blocks, value, weight), chosen.estimates.get(name)
        whole = estimate.value if estimate is not None else value(Spectrum.of(moments.total).thinned(weight))
        self._curves[chosen.model] = ModelGrowth(chosen.model, layer_label(chosen.layer), tuple(parts), whole)

    def _pictures(self, place: Place, model: str, layer: int | str) -> tuple[Picture, ...]:
        layers = self._best if place == "best" else self._worst
        (sample,) = (candidate.sample for candidate in layers if (candidate.model, candidate.layer) == (model, layer))
        if sample is None or not len(sample):
            return ()
        rows, values = self._targets.rows[sample.rows], self._targets.values
        targets, names = (rows.sum(axis=1), ()) if values else (rows, self._targets.names)
        with one_thread(sample.features.shape[1]), suppress(*ARITHMETIC):
            return pictures(model, layer, place, sample.features, targets, names, near=self._level == "full")
        return ()


def _best_of(layers: Sequence[_RankedLayer]) -> list[_RankedLayer]:
    """Return the layers that no other layer beats."""
    return [layer for layer in layers if not any(other.beats(layer) for other in layers)]


def _worst_of(layers: Sequence[_RankedLayer]) -> list[_RankedLayer]:
    """Return the layers that beat no other layer."""
    return [layer for layer in layers if not any(layer.beats(other) for other in layers)]
