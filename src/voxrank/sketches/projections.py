"""Samples projected on fixed directions, and what is kept of each projection: all of it sorted, or its quantiles.

Up to `limit` values a direction, everything is kept and quantiles are exact. Beyond, levels of `limit` values each
are kept; where a level is full it is sorted and every second value moves up, to stand for twice as many samples. The
offset (first or second) alternates, so that errors cancel. The rank of any quantile is then off by at most
n·L/limit, L = log₂(n/limit) the number of levels above the first: a bound that holds whatever the data.

Sources: Manku, Rajagopalan and Lindsay, SIGMOD 1998; Agarwal et al., "Mergeable Summaries", PODS 2012.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

Values = NDArray[np.float32]

LIMIT = 1 << 17
"""Values kept of each direction before quantiles are: 512 KiB a direction."""


BLOCK_LIMIT = 4096
"""The same in a block of a layer, of which there are many: 16 KiB a direction and level."""
SEED = 42
"""Of the directions that all data, layers of one dimension and models share."""


def draw_directions(dim: int, count: int, *, seed: int, orthogonal: bool = False) -> Values:
    """Unit vectors (count, dim), uniform on the sphere.

    Args:
        dim: D.
        count: how many.
        seed: of the draw.
        orthogonal: in sets of D that are orthogonal to each other, which spread more evenly.
    """
    rng = np.random.default_rng(seed)
    if not orthogonal:
        drawn = rng.standard_normal((count, dim))
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)
    sets = [np.linalg.qr(rng.standard_normal((dim, dim))) for _ in range(-(-count // dim))]
    signed = [(q * np.sign(np.diag(r))).T for q, r in sets]  # without the signs, Q is not uniform
    return np.asarray(np.concatenate(signed)[:count], dtype=np.float32)


@lru_cache(maxsize=32)
def shared_directions(dim: int, count: int) -> torch.Tensor:
    """The directions (count, dim) that all samples of `dim` numbers are projected on."""
    return torch.from_numpy(draw_directions(dim, count, seed=SEED))


def project(samples: torch.Tensor, count: int) -> Values:
    """Samples (n, D) along the shared directions: (count, n) in single precision, multiplied where they lie."""
    directions = shared_directions(samples.shape[1], count).to(samples.device)
    return (directions @ samples.float().T).cpu().numpy()


@dataclass
class Quantiles:
    """What is kept of the values of P directions, in levels: level h stands for 2ʰ samples a value.

    Attributes:
        limit: values in a level before it is compressed.
        levels: level → (P, m) values, m below `limit`.
        n: samples seen.
        offsets: how often each level was compressed.
    """

    limit: int
    levels: list[Values] = field(default_factory=list)
    n: int = 0
    offsets: list[int] = field(default_factory=list)

    def add(self, values: Values) -> None:
        """Take (P, m) more values."""
        self.n += values.shape[1]
        self._put(0, values)

    def merge(self, other: Self) -> None:
        """Take what `other` kept."""
        self.n += other.n
        for level, values in enumerate(other.levels):
            self._put(level, values)
            self.offsets[level] += other.offsets[level]

    def _put(self, level: int, values: Values) -> None:
        while len(self.levels) <= level:
            self.levels.append(values[:, :0])
            self.offsets.append(0)
        joined = np.concatenate([self.levels[level], values], axis=1)
        if joined.shape[1] <= self.limit:
            self.levels[level] = joined
            return
        even = joined.shape[1] // 2 * 2
        joined.sort(axis=1)
        self.levels[level] = joined[:, even:].copy()  # a view would keep all that was compressed
        offset = self.offsets[level] % 2
        self.offsets[level] += 1
        self._put(level + 1, np.ascontiguousarray(joined[:, offset:even:2]))

    @classmethod
    def together(cls, parts: Iterable[Self]) -> Self:
        """All that the parts kept, nothing more compressed."""
        whole = cls(sys.maxsize)
        for part in parts:
            whole.merge(part)
        return whole

    @property
    def rank_error(self) -> float:
        """How far the rank of a quantile may be off, as a share of the samples: 0 while everything is kept."""
        lost = sum(count << level for level, count in enumerate(self.offsets))
        return lost / max(self.n, 1)

    def weighted(self) -> tuple[Values, NDArray[np.int64]]:
        """The values (P, m), each row ascending, and how many samples each stands for (P, m)."""
        values = np.concatenate(self.levels, axis=1)
        weights = np.concatenate([np.full(v.shape[1], 1 << level) for level, v in enumerate(self.levels)])
        if len(self.levels) == 1:
            return np.sort(values, axis=1), np.broadcast_to(weights, values.shape)
        order = np.argsort(values, axis=1, kind="stable")
        return np.take_along_axis(values, order, axis=1), weights[order]
