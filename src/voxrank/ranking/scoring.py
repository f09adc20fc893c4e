"""The scorer of layers. It computes the scores of a model's layers from its sketch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from voxrank.encoders.joint import RANKED_LABELS, SketchKey, layer_label
from voxrank.engines.local import ModelSketch
from voxrank.ranking.plan import RankPlan
from voxrank.ranking.tuning import LayerSelection, add_expected, higher_is_better, ordered_by
from voxrank.scores import Score
from voxrank.scores.estimate import Estimate
from voxrank.scores.names import COMBINATIONS, TUNED
from voxrank.scores.registry import estimate_all
from voxrank.scores.view import LayerView, SourceView
from voxrank.sketches.projections import Quantiles
from voxrank.targets.labels import Targets


class LayerScorer:
    """Scores the candidate layers of a model.

    Args:
        plan: the scores, and whether a block will be tuned.
        targets: targets of the data.
    """

    def __init__(self, plan: RankPlan, targets: Targets) -> None:
        self._scores, self._tuned, self._effective = plan.scores, plan.tuned, plan.effective
        self._targets = targets

    def all_scores(
        self, selection: LayerSelection, sketch: ModelSketch, source: ModelSketch | None
    ) -> list[dict[str, Estimate]]:
        """Return every score of each candidate layer, in order of the candidates.

        Args:
            selection: the layers of the model.
            sketch: sketch of the data.
            source: sketch of the source data, where there are some.
        """
        return self._estimates(self._scores, selection, sketch, source, RANKED_LABELS)

    def goodness(self, name: str, selection: LayerSelection, sketch: ModelSketch) -> list[Estimate]:
        """Return one score of each candidate layer, higher for better; of `TUNED`, the first of its predictions.

        Args:
            name: the score.
            selection: the layers of the model.
            sketch: sketch of the data.
        """
        estimates = self._estimates(self._parts(name), selection, sketch, None, RANKED_LABELS)
        first = ordered_by(name, estimates[0])[0]
        sign = 1 if higher_is_better(first) else -1
        return [Estimate(sign * scores[first].value, sign * scores[first].influence) for scores in estimates]

    def by_version(
        self, name: str, selection: LayerSelection, sketch: ModelSketch, source: ModelSketch | None, version: int
    ) -> list[dict[str, Estimate]] | None:
        """Return one score, or the parts of a combination, of each candidate layer by one version of the labels.

        Args:
            name: the score, or a combination.
            selection: the layers of the model.
            sketch: sketch of the data.
            source: sketch of the source data, where there are some.
            version: the version of the labels.

        Returns:
            The estimates by score, in order of the candidates; None where a score is not a number.
        """
        try:
            estimates = self._estimates(self._parts(name), selection, sketch, source, version)
        except (np.linalg.LinAlgError, ArithmeticError, RuntimeError, ValueError):  # that of torch is a RuntimeError
            return None
        finite = all(np.isfinite(estimate.value) for scores in estimates for estimate in scores.values())
        return estimates if finite else None

    def _parts(self, name: str) -> list[Score]:
        of_block = self._tuned.scores if name == TUNED and self._tuned else None
        wanted = of_block or COMBINATIONS.get(name, (name,))
        return [score for score in self._scores if score.name in wanted]

    def _estimates(
        self,
        scores: Sequence[Score],
        selection: LayerSelection,
        sketch: ModelSketch,
        source: ModelSketch | None,
        version: int,
    ) -> list[dict[str, Estimate]]:
        keys = [SketchKey(layer_label(layer), version) for layer in selection.read]
        by_layer = {
            key.layer: estimate_all(scores, _view(key, sketch, source, self._targets, effective=self._effective))
            for key in keys
        }
        estimates = [dict(by_layer[layer_label(layer)]) for layer in selection.ranked]
        if self._tuned is not None:
            add_expected(estimates, by_layer, selection, self._tuned)
        return estimates


def _view(
    key: SketchKey, sketch: ModelSketch, source: ModelSketch | None, targets: Targets, *, effective: bool
) -> LayerView:
    """Return the sketches of a layer that scores read; the source data have one version of the labels."""
    moments = sketch.layers[key]
    source_view = None
    if source is not None:
        source_key = replace(key, version=RANKED_LABELS)
        projected = Quantiles.together(source.projections.get(source_key, {}).values())
        source_view = SourceView(source.layers[source_key].total, source.samples.get(source_key), projected)
    return LayerView(
        moments,
        sketch.samples.get(key),
        targets.rows,
        weight=1 / moments.total.inflation() if effective else 1.0,
        projections=sketch.projections.get(key),
        source=source_view,
    )
