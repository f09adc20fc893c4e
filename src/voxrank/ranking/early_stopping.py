"""Early stopping: models are encoded in rounds, and each round drops the models that can no longer be best.

In every round, all remaining models reach the same share of the data, drawn at random from each group of each block.
Let S be the score of a candidate (a layer of a model), S' the score of the leading candidate, and D = S − S'. On the
full data, the difference will be

    D(N) = D(n) + trend + sampling error.

- The sampling error has the standard error s √(1 − n/N). Here s is the standard error of the difference over blocks
  (paired, `Estimate`). The factor is the correction for a finite population: the part is drawn without replacement.
- The trend is the change of the score itself with more data. It is extrapolated from the last two rounds, where a score
  approaches its limit as 1/n. It counts only in favour of the candidate behind.

A model is dropped when for none of its layers

    D(n) + max(0, trend) + t s √(1 − n/N)

reaches 0. Here t is the quantile of Student's distribution for (1 − confidence), divided by the number of other models
and of rounds (Bonferroni). No model is dropped after the first round, which shows no trend. A simulation in
tests/unit/ranking checks the confidence: the model that is best on all data is kept at least that often.

Sources: Maron and Moore, "Hoeffding races", NIPS 1993; Cochran, "Sampling Techniques", 1977 (the finite population).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from voxrank._support.ranks import student_quantile
from voxrank.config import Seconds
from voxrank.data.shards import Item, Shard, cut
from voxrank.scores.estimate import Estimate

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the data that models have seen at the end of each round."""
LEAST_UTTERANCES, LEAST_OF_A_CLASS = 60, 2
"""Minimum number of utterances, and mean number per label, at the end of a round; scores of fewer are unreliable."""


@dataclass(frozen=True)
class Round:
    """The part of the data that a round adds.

    Attributes:
        share: share of all data, including the earlier rounds.
        shards: the utterances, in order of block.
    """

    share: float
    shards: list[Shard]


def plan_rounds(shards: Sequence[Shard], *, shard_s: Seconds, seed: int = 0) -> list[Round]:
    """Divide the utterances of every block into rounds, with each label and each speaker spread over all rounds.

    Args:
        shards: shards of all data.
        shard_s: approximate amount of audio in one shard, in seconds.
        seed: seed of the draw.

    Returns:
        The rounds; together they hold every utterance once. Small data form a single round.
    """
    blocks: dict[int, list[Item]] = defaultdict(list)
    for shard in shards:
        blocks[shard.block] += shard.items
    names = {item.utterance.label for items in blocks.values() for item in items}
    least = max(LEAST_UTTERANCES, LEAST_OF_A_CLASS * len(names)) / sum(map(len, blocks.values()))
    rounds = [Round(share, []) for share in SHARES if share >= min(least, 1)]
    for block, items in sorted(blocks.items()):
        drawn, begin = _spread(items, seed), 0
        for round_ in rounds:
            end = round(round_.share * len(drawn))
            round_.shards.extend(Shard(block, part) for part in cut(drawn[begin:end], shard_s))
            begin = end
    return rounds


def first_share(shards: Sequence[Shard], share: float, *, seed: int = 0) -> list[Item]:
    """Return the utterances of the rounds up to this share of the data."""
    rounds = plan_rounds(shards, shard_s=1.0, seed=seed)
    return [item for round_ in rounds if round_.share <= share for shard in round_.shards for item in shard.items]


def _spread(items: Sequence[Item], seed: int) -> list[Item]:
    """Return the utterances in random order, alternating between labels and speakers."""
    groups: dict[tuple[str | None, str | None], list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: _random_key(item.utterance.id, seed)):
        groups[item.utterance.label, item.utterance.speaker].append(item)
    taking_part = sorted(groups.values(), key=lambda group: _random_key(group[0].utterance.id, seed + 1))
    spread: list[Item] = []
    turn = 0
    while taking_part:  # a group leaves when it is used up, since one long group would make many turns of all
        spread += [group[turn] for group in taking_part]
        turn += 1
        taking_part = [group for group in taking_part if turn < len(group)]
    return spread


def _random_key(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()


@dataclass(frozen=True)
class RoundScores:
    """The scores of the models after a round.

    Attributes:
        share: share of the data that the models have seen.
        scores: model → the score of each of its layers, higher for better.
    """

    share: float
    scores: Mapping[str, Sequence[Estimate]]

    @property
    def leader(self) -> str:
        """The model with the best layer."""
        return max(self.scores, key=lambda model: max(estimate.value for estimate in self.scores[model]))


def beaten(now: RoundScores, before: RoundScores | None, *, confidence: float, models: int, rounds: int) -> set[str]:
    """Return the models that can no longer be best.

    Args:
        now: scores after this round, without the models that were dropped.
        before: scores after the previous round; None after the first round, when no model is dropped.
        confidence: probability that the best model of all data is kept.
        models: number of models at the start.
        rounds: number of rounds.
    """
    if before is None or now.share >= 1:
        return set()
    leader = now.leader
    best = max(range(len(now.scores[leader])), key=lambda layer: now.scores[leader][layer].value)
    leading, leading_before = now.scores[leader][best], before.scores[leader][best]
    blocks = len(leading.influence)
    if blocks < 2:
        return set()
    comparisons = max(models - 1, 1) * (rounds - 2)  # no model is dropped after the first and the last round
    quantile = student_quantile(1 - (1 - confidence) / comparisons, blocks - 1)
    extrapolation = (1 / now.share - 1) / (1 / before.share - 1 / now.share)
    dropped = set()
    for model, layers in now.scores.items():
        bounds = []
        for layer, estimate in enumerate(layers):
            gap = estimate.value - leading.value
            trend = extrapolation * (gap - (before.scores[model][layer].value - leading_before.value))
            difference = replace(estimate, influence=estimate.influence - leading.influence)
            bounds.append(gap + max(0.0, trend) + quantile * difference.standard_error * np.sqrt(1 - now.share))
        if model != leader and max(bounds) < 0:
            dropped.add(model)
    return dropped
