"""A bounded sample of frames that does not depend on their order: the k frames with the smallest keys.

A sample's key is a hash of its identity (its utterance's id and its position in the utterance). So the same k frames
are kept, however the data are batched, ordered, sharded or merged: a bottom-k sample, uniform without replacement.

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
    """Return a 64-bit hash of an utterance's id."""
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


def frame_keys(utterances: Keys, lengths: Sequence[int], starts: NDArray[np.int64] | None = None) -> Keys:
    """Return a key for every frame, from the key of its utterance and its position there.

    Args:
        utterances: (R,) key of the utterance of each run of frames.
        lengths: number of frames of each run.
        starts: (R,) position of each run's first frame in its utterance; None where that is 0.

    Returns:
        (sum(lengths),)
    """
    first = np.zeros(len(lengths), dtype=np.int64) if starts is None else starts
    before = np.cumsum(lengths) - lengths
    positions = (np.arange(sum(lengths)) + np.repeat(first - before, lengths)).astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic is modulo 2⁶⁴
        mixed = np.repeat(utterances, lengths) + (positions + np.uint64(1)) * GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * MIX_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * MIX_2
        keys: Keys = mixed ^ (mixed >> np.uint64(31))
    return keys


def content_keys(features: NDArray[np.floating]) -> Keys:
    """Return a key for every row (n, D) that depends on its numbers alone, for samples without a name."""
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore"):
        high = np.ascontiguousarray(features, dtype=np.float32)
        mixed = _mixed_words(high, rng)
        if features.dtype == np.float64:  # what single precision loses; 0 if it loses nothing
            mixed += _mixed_words(np.ascontiguousarray(features - high, dtype=np.float32), rng)
    return frame_keys(mixed, [1] * len(mixed))


def _mixed_words(numbers: NDArray[np.float32], rng: np.random.Generator) -> Keys:
    """Return a 64-bit hash (n,) of each row (n, D); 0 for a row of zeros."""
    words = numbers.view(np.uint32).astype(np.uint64)
    odd = rng.integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed: Keys = (words * odd).sum(axis=1, dtype=np.uint64)
    return mixed


@dataclass
class Sample:
    """A bottom-k sample. `Sample.empty` is the neutral element of `merge`.

    Attributes:
        size: k, the maximum number of samples.
        keys: (m,) keys of the samples, ascending.
        features: (m, D) in single precision, or in double precision if the sample was created for it and samples were
            added in it.
        rows: (m,) index of each sample's target in `Targets.rows`.
        blocks: (m,) resampling block of each sample.
        utterances: (m,) key of each sample's utterance; 0 for samples without one.
    """

    size: int
    keys: Keys
    features: NDArray[Any]
    rows: NDArray[np.int64]
    blocks: NDArray[np.int64]
    utterances: Keys

    @classmethod
    def empty(cls, size: int, dim: int, dtype: Any = np.float32) -> Self:
        """Return an empty sample of at most `size`, in single precision unless `dtype` is np.float64."""
        none, no_keys = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
        return cls(size, no_keys, np.empty((0, dim), dtype=dtype), none, none, no_keys)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def limit(self) -> np.uint64 | None:
        """The largest key in a full sample, which new keys must be below; None while there is room."""
        return None if len(self) < self.size else self.keys[-1]

    def first(self, size: int) -> Sample:
        """Return the sample that a limit of `size` would have given, or this sample if it is not larger."""
        if len(self) <= size:
            return self
        sample = Sample.empty(size, self.features.shape[1], self.features.dtype)
        sample.merge(self)
        return sample

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
        """Add samples; only those with small enough keys leave their device.

        Args:
            features: (n, D).
            keys: (n,) keys of the samples.
            rows: (n,) indices in `Targets.rows`.
            block: block of all samples, or (n,) of each.
            utterances: (n,) keys of the utterances; None if samples have no utterance.
            limit: another bound that keys must be below.
        """
        chosen = self._below(keys)
        if limit is not None:
            chosen = chosen[keys[chosen] < limit]
        if len(chosen):
            indices = torch.from_numpy(chosen).to(features.device)
            selected = features.index_select(0, indices)
            host_features = (selected.double() if self.features.dtype == np.float64 else selected.float()).cpu().numpy()
            owners = np.zeros(len(keys), dtype=np.uint64) if utterances is None else utterances
            blocks = np.broadcast_to(block, len(keys))
            self._insert(keys[chosen], host_features, rows[chosen], blocks[chosen], owners[chosen])

    def merge(self, other: Sample) -> None:
        """Add the samples of `other`."""
        self._insert(other.keys, other.features, other.rows, other.blocks, other.utterances)

    def _below(self, keys: Keys) -> NDArray[np.int64]:
        """Return the positions of the keys that may be among the k smallest."""
        if len(keys) > self.size:
            limit = np.partition(keys, self.size - 1)[self.size - 1]
            chosen = np.flatnonzero(keys <= limit)
        else:
            chosen = np.arange(len(keys))
        return chosen if self.limit is None else chosen[keys[chosen] < self.limit]

    def _insert(
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
