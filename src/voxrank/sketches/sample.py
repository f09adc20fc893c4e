"""A bounded sample of frames that does not depend on their order: the k with the smallest keys.

A sample's key is a hash of what it is (its utterance's id and its place in the utterance), so that the same k are kept
however the data are batched, ordered, sharded or merged: a bottom-k sample, uniform without replacement.

Source: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""The increment and the multipliers of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""


def utterance_key(name: str) -> np.uint64:
    """64 bits of an utterance's id."""
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


def frame_keys(utterances: Keys, lengths: Sequence[int], starts: NDArray[np.int64] | None = None) -> Keys:
    """A key for every frame, from the key of its utterance and its place there.

    Args:
        utterances: (R,) a key for each run of frames of one utterance.
        lengths: frames of each run.
        starts: (R,) place of each run's first frame in its utterance; None where that is 0.

    Returns:
        (sum(lengths),)
    """
    first = np.zeros(len(lengths), dtype=np.int64) if starts is None else starts
    before = np.cumsum(lengths) - lengths
    places = (np.arange(sum(lengths)) + np.repeat(first - before, lengths)).astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2⁶⁴ is meant
        mixed = np.repeat(utterances, lengths) + (places + np.uint64(1)) * GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * MIX_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * MIX_2
        keys: Keys = mixed ^ (mixed >> np.uint64(31))
    return keys


def content_keys(features: NDArray[np.floating]) -> Keys:
    """A key for every row (n, D) that depends on nothing but its numbers, for samples that have no name."""
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore"):
        high = np.ascontiguousarray(features, dtype=np.float32)
        mixed = _mixed_words(high, rng)
        if features.dtype == np.float64:  # what single precision does not hold; nothing where that holds all
            mixed += _mixed_words(np.ascontiguousarray(features - high, dtype=np.float32), rng)
    return frame_keys(mixed, [1] * len(mixed))


def _mixed_words(numbers: NDArray[np.float32], rng: np.random.Generator) -> Keys:
    """(n,) 64 bits of each row (n, D); 0 for a row of zeros."""
    words = numbers.view(np.uint32).astype(np.uint64)
    odd = rng.integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed: Keys = (words * odd).sum(axis=1, dtype=np.uint64)
    return mixed


@dataclass
class Sample:
    """The samples kept so far. `Sample.empty` is the neutral element of `merge`.

    Attributes:
        size: k, how many are kept at most.
        keys: (m,) of those kept, ascending.
        features: (m, D) in single precision, or in double precision where samples were offered in it to a sample
            that keeps it.
        rows: (m,) the row in `Targets.rows` that each belongs to.
        blocks: (m,) the resampling block that each belongs to.
        utterances: (m,) the key of each one's utterance; 0 where samples have none.
    """

    size: int
    keys: Keys
    features: NDArray[Any]
    rows: NDArray[np.int64]
    blocks: NDArray[np.int64]
    utterances: Keys

    @classmethod
    def empty(cls, size: int, dim: int, dtype: Any = np.float32) -> Self:
        """None kept, room for `size`, in single precision unless `dtype` is np.float64."""
        none, no_keys = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
        return cls(size, no_keys, np.empty((0, dim), dtype=dtype), none, none, no_keys)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def limit(self) -> np.uint64 | None:
        """The largest key kept, which others must stay below; None while there is room."""
        return None if len(self) < self.size else self.keys[-1]

    def first(self, size: int) -> Sample:
        """The sample that would have been kept with room for so many; itself where that is all."""
        if len(self) <= size:
            return self
        made = Sample.empty(size, self.features.shape[1], self.features.dtype)
        made.merge(self)
        return made

    def update(
        self,
        features: torch.Tensor,
        keys: Keys,
        rows: NDArray[np.int64],
        block: int | NDArray[np.int64],
        *,
        utterances: Keys | None = None,
        limit: np.uint64 | None = None,
    ) -> None:
        """Offer samples; only those that are kept leave their device.

        Args:
            features: (n, D).
            keys: (n,).
            rows: (n,) in `Targets.rows`.
            block: that all of them belong to, or (n,) each.
            utterances: (n,) their keys; None where samples have no utterance.
            limit: another bound that keys must stay below.
        """
        chosen = self._below(keys)
        if limit is not None:
            chosen = chosen[keys[chosen] < limit]
        if len(chosen):
            wanted = torch.from_numpy(chosen).to(features.device)
            kept = features.index_select(0, wanted)
            kept_there = (kept.double() if self.features.dtype == np.float64 else kept.float()).cpu().numpy()
            owners = np.zeros(len(keys), dtype=np.uint64) if utterances is None else utterances
            blocks = np.broadcast_to(block, len(keys))
            self._take(keys[chosen], kept_there, rows[chosen], blocks[chosen], owners[chosen])

    def merge(self, other: Sample) -> None:
        """Offer what `other` keeps."""
        self._take(other.keys, other.features, other.rows, other.blocks, other.utterances)

    def _below(self, keys: Keys) -> NDArray[np.int64]:
        """Places of the keys that may be among the k smallest."""
        if len(keys) > self.size:
            limit = np.partition(keys, self.size - 1)[self.size - 1]
            chosen = np.flatnonzero(keys <= limit)
        else:
            chosen = np.arange(len(keys))
        return chosen if self.limit is None else chosen[keys[chosen] < self.limit]

    def _take(
        self,
        keys: Keys,
        features: NDArray[Any],
        rows: NDArray[np.int64],
        blocks: NDArray[np.int64],
        utterances: Keys,
    ) -> None:
        joined = np.concatenate([self.keys, keys])
        order = np.argsort(joined, kind="stable")[: self.size]
        self.keys = joined[order]
        self.features = np.concatenate([self.features, features])[order]
        self.rows = np.concatenate([self.rows, rows])[order]
        self.blocks = np.concatenate([self.blocks, blocks])[order]
        self.utterances = np.concatenate([self.utterances, utterances])[order]
