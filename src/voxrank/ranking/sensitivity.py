"""Comparison of the ranking with rankings by alternative alignments of the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr

from voxrank.encoders.joint import CandidateLayer, LayerVersion, layer_label, sketch_key
from voxrank.engines.local import ModelSketch
from voxrank.ranking.resampling import Array, Candidate, goodness_by
from voxrank.ranking.runner import ModelRun
from voxrank.ranking.scoring import LayerScorer
from voxrank.ranking.tuning import higher_is_better
from voxrank.results.ranking import Sensitivity, is_equal
from voxrank.scores.estimate import Estimate


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
                what = f"no frame of layer {layer_label(unlabelled[0])}" if unlabelled else "too few frames"
                line = f"{what} of {run.model} can be scored by {name} labels; they are not compared"
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
    result = spearmanr(left, right)
    return float(result.statistic), float(result.pvalue)
