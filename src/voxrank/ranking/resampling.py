"""The order of all candidates by their scores, and its uncertainty by resampling.

A candidate is one layer of one model. All candidates saw the same utterances. Therefore their scores are resampled
together (paired): a resample draws the same blocks for all candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxrank._support.ranks import average_ranks
from voxrank.encoders.joint import CandidateLayer
from voxrank.ranking.tuning import ordered_by
from voxrank.results.ranking import ScoreValue
from voxrank.scores.estimate import CONFIDENCE, Estimate, resample

Array = NDArray[np.float64]

N_RESAMPLES = 10_000
"""Number of resamples of a complete ranking."""


@dataclass(frozen=True)
class Candidate:
    """A candidate: one layer of one model, with its scores.

    Attributes:
        model: the spec of the model.
        parameters: number of weights of its encoder.
        layer: the layer.
        estimates: score name → estimate.
    """

    model: str
    parameters: int
    layer: CandidateLayer
    estimates: dict[str, Estimate]


@dataclass(frozen=True)
class Column:
    """A column of a ranking: one score of every candidate.

    Attributes:
        values: (C,) the score with its 95 % interval.
        higher_is_better: the direction of the score.
        resampled: (R, C) resamples of the score; None where the data form a single block.
    """

    values: tuple[ScoreValue, ...]
    higher_is_better: bool
    resampled: Array | None

    @classmethod
    def of(
        cls, estimates: Sequence[Estimate], *, higher_is_better: bool, seed: int, n_resamples: int = N_RESAMPLES
    ) -> Column:
        """Build the column from the estimates of the candidates."""
        values = tuple(ScoreValue(e.value, *(e.interval() or (None, None))) for e in estimates)
        return cls(values, higher_is_better, resample(list(estimates), n_resamples=n_resamples, seed=seed))

    @classmethod
    def combined(cls, columns: Sequence[Column]) -> Column:
        """Return the share of other candidates that each candidate is above, averaged over the scores.

        The share lies between 0 (below all by every score) and 1 (above all by every score); equal candidates count
        half. The interval holds the middle 95 % of the paired resamples.
        """
        shares = np.mean([_shares_below(column.goodness[None]) for column in columns], axis=0)[0]
        parts = [column.resampled_goodness for column in columns]
        resampled = None
        bounds: Sequence[tuple[float | None, float | None]] = [(None, None)] * len(shares)
        if all(part is not None for part in parts):
            resampled = np.mean([_shares_below(part) for part in parts if part is not None], axis=0)
            ends = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
            bounds = [(min(low, v), max(high, v)) for (low, high), v in zip(ends.T.tolist(), shares, strict=True)]
        values = tuple(ScoreValue(float(v), *ends) for v, ends in zip(shares, bounds, strict=True))
        return cls(values, higher_is_better=True, resampled=resampled)

    @property
    def goodness(self) -> Array:
        """(C,) the score, higher for better."""
        return self._signed(np.array([value.value for value in self.values]))

    @property
    def resampled_goodness(self) -> Array | None:
        """(R, C) the resamples, higher for better."""
        return None if self.resampled is None else self._signed(self.resampled)

    def put_last(self, candidates: NDArray[np.bool_]) -> Column:
        """Return the column with these candidates below all others in every resample."""
        if not candidates.any() or self.resampled is None:
            return self
        worst = -np.inf if self.higher_is_better else np.inf
        return replace(self, resampled=np.where(candidates, worst, self.resampled))

    def order(self, *others: Column) -> list[int]:
        """Return the candidates, best first. Other columns, in turn, decide ties; equal candidates keep their order."""
        keys = [-column.goodness for column in (self, *others)]
        return [int(i) for i in np.lexsort(keys[::-1])]

    def _signed(self, values: Array) -> Array:
        return values if self.higher_is_better else -values


def _shares_below(goodness: Array) -> Array:
    """Return (R, C): the share of the other candidates of the row that lies below; 1 where there is no other."""
    others = goodness.shape[1] - 1
    if not others:
        return np.ones_like(goodness)
    shares: Array = (average_ranks(goodness) - 1) / others
    return shares


def goodness_by(name: str, estimates: Sequence[Mapping[str, Estimate]], higher_is_better: Mapping[str, bool]) -> Array:
    """Return the score of each candidate that a ranking is ordered by, higher for better.

    Args:
        name: name of the score, or of a combination.
        estimates: estimates of each candidate, by score.
        higher_is_better: direction of each score.

    Returns:
        (C,).
    """
    parts = ordered_by(name, estimates[0])
    columns = [
        Column(tuple(ScoreValue(e[part].value, None, None) for e in estimates), higher_is_better[part], None)
        for part in parts
    ]
    return columns[0].goodness if len(parts) == 1 else Column.combined(columns).goodness


def best_of_each(order: Sequence[int], models: Sequence[str]) -> list[int]:
    """Return the best candidate of each model, best first.

    Args:
        order: candidates, best first.
        models: (C,) the model of each candidate.
    """
    best: dict[str, int] = {}
    for candidate in order:
        best.setdefault(models[candidate], candidate)
    return list(best.values())


def beats(column: Column, models: Sequence[str], ranked: Sequence[str]) -> tuple[tuple[float, ...], ...] | None:
    """Return the share of resamples in which the best layer of one ranked model is above that of another."""
    goodness = column.resampled_goodness
    if goodness is None:
        return None
    candidates = _candidates_by_model(models)
    best = [goodness[:, candidates[name]].max(axis=1) for name in ranked]
    return tuple(tuple(float((a > b).mean()) for b in best) for a in best)


def probability_best(column: Column, models: Sequence[str]) -> dict[str, float]:
    """Return the share of resamples in which the best layer of a model is best of all; empty without resamples.

    Candidates that tie for best divide the resample equally.
    """
    goodness = column.resampled_goodness
    if goodness is None:
        return {}
    first = goodness == goodness.max(axis=1, keepdims=True)
    wins = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return {name: float(wins[candidates].sum()) for name, candidates in _candidates_by_model(models).items()}


def _candidates_by_model(models: Sequence[str]) -> dict[str, list[int]]:
    """Return the candidates of each model: model → its candidates."""
    return {name: [i for i, model in enumerate(models) if model == name] for name in dict.fromkeys(models)}
