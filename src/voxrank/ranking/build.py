"""The builder of rankings from scored layers, of all models or of the models that are scored so far."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from platform import python_version
from typing import Any

import numpy as np

from voxrank._support.memory import peak_rss_mb
from voxrank._support.packages import version
from voxrank.config import Seconds
from voxrank.data.shards import Item
from voxrank.data.utterance import Skipped
from voxrank.encoders.joint import layer_label
from voxrank.encoders.published import published_ranks
from voxrank.ranking.collector import Collector
from voxrank.ranking.early_stopping import first_share
from voxrank.ranking.plan import RankPlan
from voxrank.ranking.prepare import RankData, block_of_rows
from voxrank.ranking.resampling import N_RESAMPLES, Candidate, Column, beats, best_of_each, probability_best
from voxrank.ranking.tuning import higher_is_better, ordered_by
from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity
from voxrank.scores.names import COMBINATIONS
from voxrank.targets.labels import class_sizes

Columns = dict[str, Column]
"""Score name → the score of every candidate."""

RESAMPLES_SO_FAR = N_RESAMPLES // 10
"""Number of resamples of an incomplete ranking, built after each model: enough for two digits of a share."""


@dataclass(frozen=True)
class RankingBuilder:
    """Builds rankings from the results of a collector.

    Attributes:
        plan: the scores and options.
        data: the data, the same for every model.
        started: start of the run, by `time.perf_counter`, in seconds.
    """

    plan: RankPlan
    data: RankData
    started: float

    def so_far(self, collector: Collector) -> Ranking:
        """Return the ranking of the models that are scored, with fewer resamples and without diagnostics.

        Args:
            collector: holds the layers of at least one model.
        """
        return self._ranking(collector, (), RESAMPLES_SO_FAR)

    def complete(self, collector: Collector) -> Ranking:
        """Return the ranking of all models, with its diagnostics.

        Args:
            collector: holds the layers of all models.
        """
        sensitivity = collector.comparison.compared(collector.candidates, collector.shares)
        ranking = self._ranking(collector, sensitivity, N_RESAMPLES)
        return collector.diagnostics.complete(ranking, self._audio(collector))

    def _ranking(self, collector: Collector, sensitivity: Sequence[Sensitivity], n_resamples: int) -> Ranking:
        candidates, shares, seen = collector.candidates, collector.shares, max(collector.shares.values())
        columns = self._columns(candidates, n_resamples)
        models = [c.model for c in candidates]
        dropped = np.array([shares[model] < seen for model in models])
        first = self._order(columns).put_last(dropped)
        order = sorted(first.order(*columns.values()), key=lambda candidate: -shares[models[candidate]])
        best = best_of_each(order, models)
        probability = probability_best(first, models)
        behind = {i: self._behind(candidates[best[0]], candidates[i]) for i in best[1:] if not dropped[i]}
        unusable = (*self.data.dataset.skipped, *self.data.prepared.skipped, *collector.skipped)
        return Ranking(
            task=self.data.dataset.task,
            data=self._summary(seen, unusable),
            models=tuple(
                _model_score(
                    candidates[i], position, _values(columns, i), probability, shares, collector.speeds, behind.get(i)
                )
                for position, i in enumerate(best, start=1)
            ),
            beats=beats(first, models, [models[i] for i in best]),
            layers=tuple(_layer_score(candidates[i], _values(columns, i)) for i in order),
            cost=self._cost(collector),
            skipped=tuple(dict.fromkeys([*unusable, *self._unusable_source(collector)])),
            options=self._options(columns),
            sensitivity=tuple(sensitivity),
        )

    def _order(self, columns: Columns) -> Column:
        """Return the column that orders the ranking: one score, or the mean order by several."""
        own = [columns[name] for name in self.plan.order]
        return own[0] if len(own) == 1 else Column.combined(own)

    def _behind(self, best: Candidate, other: Candidate) -> ScoreValue | None:
        """Return how much better the best layer is by the first score, with a paired interval; None if combined."""
        name = self.plan.names[0]
        if name not in best.estimates:
            return None
        pair = best.estimates[name], other.estimates[name]
        difference = pair[0].less(pair[1]) if higher_is_better(name) else pair[1].less(pair[0])
        return ScoreValue(difference.value, *(difference.interval() or (None, None)))

    def _audio(self, collector: Collector) -> dict[int, Seconds]:
        """Return the audio of each block, in seconds, that the models with the largest share of the data saw."""
        blocks = block_of_rows(self.data.prepared)
        seconds = dict.fromkeys(np.unique(blocks).tolist(), 0.0)
        unusable = (*self.data.prepared.skipped, *collector.skipped)
        for item in self._items(max(collector.shares.values()), unusable):
            seconds[int(blocks[item.row])] += item.seconds
        return seconds

    def _columns(self, candidates: Sequence[Candidate], n_resamples: int) -> Columns:
        """Return the columns of all requested scores, in their order; the scores of a combination follow it."""
        plain = {
            name: Column.of(
                [c.estimates[name] for c in candidates],
                higher_is_better=higher_is_better(name),
                seed=self.plan.seed,
                n_resamples=n_resamples,
            )
            for name in candidates[0].estimates
        }
        columns: Columns = {}
        for name in self.plan.names:
            parts = ordered_by(name, plain)
            columns[name] = plain[parts[0]] if len(parts) == 1 else Column.combined([plain[part] for part in parts])
            columns |= {part: plain[part] for part in COMBINATIONS.get(name, ()) if part not in columns}
        return columns

    def _unusable_source(self, collector: Collector) -> list[Skipped]:
        """Return the skipped utterances of the source data, with reasons that name it."""
        unusable = [] if self.data.origin is None else [*self.data.origin.skipped, *collector.source_skipped]
        return [replace(skipped, reason=f"source data: {skipped.reason}") for skipped in unusable]

    def _summary(self, seen: float, unusable: Sequence[Skipped]) -> DataSummary:
        used = self._items(seen, unusable)
        total = len(self.data.dataset) + len(self.data.dataset.skipped)
        targets = self.data.prepared.targets
        sizes = class_sizes(targets)
        return DataSummary(
            total,
            len(used),
            sum(item.seconds for item in used),
            self._fingerprint,
            held_out=self.data.held_out,
            classes=None if sizes is None else int((sizes > 0).sum()),
            majority=None if sizes is None else float(sizes.max() / sizes.sum()),
            deviation=targets.deviation,
        )

    def _items(self, seen: float, unusable: Sequence[Skipped]) -> list[Item]:
        """Return the utterances of this share of the data that every model could use."""
        items = self._items_of(seen)
        unusable_ids = {skipped.utterance for skipped in unusable}
        return [item for item in items if item.utterance.id not in unusable_ids]

    def _items_of(self, seen: float) -> list[Item]:
        """Return the utterances of this share of the data, which are drawn once."""
        if seen == 1:
            return self.data.prepared.items
        if seen not in self._drawn:
            self._drawn[seen] = first_share(self.data.prepared.shards, seen, seed=self.plan.seed)
        return self._drawn[seen]

    @cached_property
    def _drawn(self) -> dict[float, list[Item]]:
        """Share of the data → its utterances."""
        return {}

    def _cost(self, collector: Collector) -> Cost:
        total_s = time.perf_counter() - self.started
        return Cost(
            collector.encode_s, collector.score_s, total_s, peak_rss_mb(), self.data.align_s, collector.cached_s
        )

    def _options(self, columns: Columns) -> dict[str, Any]:
        return {
            **{name: version(name) for name in ("voxrank", "torch", "transformers")},
            "python": python_version(),
            "data": self.data.dataset.source,
            "target": self.data.dataset.target,
            "split": self.data.dataset.split,
            "notes": list(self.data.dataset.notes),
            "source": None if self.data.origin is None else self.data.origin.dataset.source,
            "source_fingerprint": None if self.data.origin is None else self.data.origin.dataset.fingerprint(),
            "scores": list(columns),
            "higher_is_better": {name: column.higher_is_better for name, column in columns.items()},
            **self.plan.options,
            **self._alignment(),
        }

    def _alignment(self) -> dict[str, Any]:
        """Return the options of the alignment and its record; empty where frames have no labels."""
        record = self.data.record
        return {} if record is None else asdict(self.plan.sequence) | {"aligner": asdict(record)}

    @cached_property
    def _fingerprint(self) -> str:
        return self.data.dataset.fingerprint()


def _model_score(
    c: Candidate,
    rank: int,
    values: dict[str, ScoreValue],
    probability: Mapping[str, float],
    shares: Mapping[str, float],
    speeds: Mapping[str, float | None],
    behind: ScoreValue | None,
) -> ModelScore:
    """Return the scores of a model at its best layer."""
    name = c.model
    label = layer_label(c.layer)
    return ModelScore(
        name,
        label,
        rank,
        probability.get(name),
        c.parameters,
        values,
        shares[name],
        behind,
        speeds[name],
        published_ranks(name),
    )


def _values(columns: Columns, candidate: int) -> dict[str, ScoreValue]:
    return {name: column.values[candidate] for name, column in columns.items()}


def _layer_score(c: Candidate, values: dict[str, ScoreValue]) -> LayerScore:
    return LayerScore(c.model, layer_label(c.layer), c.layer.name, c.layer.dim, values)
