"""Scored layers → a ranking: of all models, or of those that are scored so far."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from platform import python_version
from typing import Any

import numpy as np

from voxrank._support.memory import peak_rss_mb
from voxrank._support.versions import version
from voxrank.alignment.preparation import Origin, Prepared
from voxrank.config import Seconds
from voxrank.data.shards import Item
from voxrank.data.utterance import Dataset, Skipped
from voxrank.encoders.joint import layer_label
from voxrank.ranking.collector import Candidate, Tally
from voxrank.ranking.early_stopping import first_share
from voxrank.ranking.resampling import N_RESAMPLES, Column, beats, best_of_each, probability_best
from voxrank.ranking.tuning import TUNED
from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity
from voxrank.scores import Score
from voxrank.scores.registry import COMBINATIONS

Columns = dict[str, Column]
"""Score name → that score of every candidate; the first one orders the ranking."""

RESAMPLES_SO_FAR = N_RESAMPLES // 10
"""Of a ranking that is not complete, which is made after each model: enough for two digits of a share."""


@dataclass(frozen=True)
class Assembly:
    """All that a ranking says beside its candidates.

    Attributes:
        dataset: what was asked for.
        prepared: what of it every candidate sees.
        origin: the source data, where scores compare with them.
        names: of the scores; the first one orders the ranking.
        scores: that these stand for.
        asked: what a ranking's options say beside its data and scores.
        seed: of the resamples, and of the draw of rounds.
        align_s: what alignment took.
        started: when the run began, by `time.perf_counter`.
    """

    dataset: Dataset
    prepared: Prepared
    origin: Origin | None
    names: Sequence[str]
    scores: Sequence[Score]
    asked: Mapping[str, Any]
    seed: int
    align_s: Seconds = 0.0
    started: float = field(default_factory=time.perf_counter)

    def so_far(self, tally: Tally, shares: Mapping[str, float]) -> Ranking:
        """The ranking of the models that are scored, with fewer resamples. Arguments as `ranking`."""
        return self.ranking(tally, shares, n_resamples=RESAMPLES_SO_FAR)

    def ranking(
        self,
        tally: Tally,
        shares: Mapping[str, float],
        sensitivity: Sequence[Sensitivity] = (),
        *,
        n_resamples: int = N_RESAMPLES,
    ) -> Ranking:
        """The ranking of the models that are scored.

        Args:
            tally: has their layers, at least one.
            shares: of the data that each model saw.
            sensitivity: the ranking by other labels.
            n_resamples: behind shares of resamples.
        """
        candidates, seen = tally.candidates, max(shares.values())
        columns = self._columns(candidates, n_resamples)
        models = [c.model for c in candidates]
        behind = np.array([shares[model] < seen for model in models])
        first = columns[self.names[0]].put_last(behind)
        order = sorted(first.order(), key=lambda candidate: -shares[models[candidate]])
        best = best_of_each(order, models)
        probability = probability_best(first, models)
        unusable = (*self.dataset.skipped, *self.prepared.skipped, *tally.skipped)
        return Ranking(
            task=self.dataset.task,
            data=self._summary(seen, unusable),
            models=tuple(
                _model_score(candidates[i], position, _values(columns, i), probability, shares, tally.speeds)
                for position, i in enumerate(best, start=1)
            ),
            beats=beats(first, models, [models[i] for i in best]),
            layers=tuple(_layer_score(candidates[i], _values(columns, i)) for i in order),
            cost=self._cost(tally),
            skipped=tuple(dict.fromkeys([*unusable, *self._unusable_source(tally)])),
            options=self._options(columns),
            sensitivity=tuple(sensitivity),
        )

    def audio(self, tally: Tally, shares: Mapping[str, float]) -> dict[int, Seconds]:
        """Block → seconds of it that the models saw which saw most."""
        blocks = {item.row: shard.block for shard in self.prepared.shards for item in shard.items}
        found = dict.fromkeys(sorted(set(blocks.values())), 0.0)
        unusable = (*self.prepared.skipped, *tally.skipped)
        for item in self._items(max(shares.values()), unusable):
            found[blocks[item.row]] += item.seconds
        return found

    def _columns(self, candidates: Sequence[Candidate], n_resamples: int) -> Columns:
        """Every score asked for, in the order asked for; a combination is followed by what it is made of."""
        direction = {score.name: score.higher_is_better for score in self.scores} | {TUNED: True}
        plain = {
            name: Column.of(
                [c.estimates[name] for c in candidates],
                higher_is_better=direction[name],
                seed=self.seed,
                n_resamples=n_resamples,
            )
            for name in candidates[0].estimates
        }
        columns: Columns = {}
        for name in self.names:
            parts = [part for part in COMBINATIONS.get(name, ()) if part in plain]
            columns[name] = plain[name] if name in plain else Column.combined([plain[part] for part in parts])
            columns |= {part: plain[part] for part in parts if part not in columns}
        return columns

    def _unusable_source(self, tally: Tally) -> list[Skipped]:
        return [] if self.origin is None else _of_source([*self.origin.skipped, *tally.source_skipped])

    def _summary(self, seen: float, unusable: Sequence[Skipped]) -> DataSummary:
        used = self._items(seen, unusable)
        asked = len(self.dataset) + len(self.dataset.skipped)
        return DataSummary(asked, len(used), sum(i.seconds for i in used), self._fingerprint)

    def _items(self, seen: float, unusable: Sequence[Skipped]) -> list[Item]:
        """Utterances that every model could use, of this share of the data."""
        items = self.prepared.items if seen == 1 else first_share(self.prepared.shards, seen, seed=self.seed)
        gone = {one.utterance for one in unusable}
        return [item for item in items if item.utterance.id not in gone]

    def _cost(self, tally: Tally) -> Cost:
        taken = time.perf_counter() - self.started
        return Cost(tally.encode_s, tally.score_s, taken, peak_rss_mb(), self.align_s, tally.cached_s)

    def _options(self, columns: Columns) -> dict[str, Any]:
        return {
            **{name: version(name) for name in ("voxrank", "torch", "transformers")},
            "python": python_version(),
            "data": self.dataset.source,
            "target": self.dataset.target,
            "split": self.dataset.split,
            "notes": list(self.dataset.notes),
            "source": None if self.origin is None else self.origin.dataset.source,
            "source_fingerprint": None if self.origin is None else self.origin.dataset.fingerprint(),
            "scores": list(columns),
            "higher_is_better": {name: column.higher_is_better for name, column in columns.items()},
            **self.asked,
        }

    @cached_property
    def _fingerprint(self) -> str:
        return self.dataset.fingerprint()


def _of_source(skipped: Sequence[Skipped]) -> list[Skipped]:
    """The same, said to be of the source data."""
    return [replace(one, reason=f"source data: {one.reason}") for one in skipped]


def _model_score(
    c: Candidate,
    rank: int,
    values: dict[str, ScoreValue],
    probability: Mapping[str, float],
    shares: Mapping[str, float],
    speeds: Mapping[str, float | None],
) -> ModelScore:
    """A model at its best layer."""
    name = c.model
    label = layer_label(c.layer)
    return ModelScore(name, label, rank, probability.get(name), c.parameters, values, shares[name], speeds[name])


def _values(columns: Columns, candidate: int) -> dict[str, ScoreValue]:
    return {name: column.values[candidate] for name, column in columns.items()}


def _layer_score(c: Candidate, values: dict[str, ScoreValue]) -> LayerScore:
    return LayerScore(c.model, layer_label(c.layer), c.layer.name, c.layer.dim, values)
