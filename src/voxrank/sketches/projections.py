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
NEAR = 8.0
"""Largest mean over the spread beside which samples in single precision are projected as they are."""
SOME = 2048
"""Samples whose mean is a centre of all."""
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


@dataclass(frozen=True)
class Projected:
    """Samples along P directions.

    Attributes:
        values: (P, n) of the samples less a centre near them, so that single precision loses nothing to a large mean.
        origin: (P,) the centre along the directions.
    """

    values: Values
    origin: NDArray[np.float64]


def project(samples: torch.Tensor, count: int) -> Projected:
    """Project samples (n, D) on the shared directions, where they lie."""
    return project_on(samples, shared_directions(samples.shape[1], count))


def project_on(samples: torch.Tensor, directions: torch.Tensor) -> Projected:
    """Project samples (n, D) on directions (P, D) of the host, where the samples lie."""
    if not len(samples):
        return Projected(np.empty((len(directions), 0), dtype=np.float32), np.zeros(len(directions)))
    centre = torch.from_numpy(far_centre(samples[:SOME].cpu().double().numpy())).to(samples.dtype)
    near = samples - centre.to(samples.device) if centre.any() else samples
    values = directions.to(samples.device) @ near.float().T
    return Projected(values.cpu().numpy(), directions.numpy().astype(np.float64) @ centre.double().numpy())


@np.errstate(over="ignore", invalid="ignore")  # infinite samples are found in the sums
def far_centre(some: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of samples (n, D) where it is large beside their spread, and 0 where single precision keeps both."""
    centre: NDArray[np.float64] = some.mean(axis=0)
    near = np.linalg.norm(centre) <= NEAR * np.linalg.norm(some.std(axis=0))
    return np.zeros_like(centre) if near else centre


@dataclass
class Quantiles:
    """What is kept of the values of P directions, in levels: level h stands for 2ʰ samples a value.

    Attributes:
        limit: values in a level before it is compressed.
        levels: level → (P, m) values, m below `limit`.
        n: samples seen.
        offsets: how often each level was compressed.
        origin: (P,) what was taken from every value; None before there are any.
    """

    limit: int
    levels: list[Values] = field(default_factory=list)
    n: int = 0
    offsets: list[int] = field(default_factory=list)
    origin: NDArray[np.float64] | None = None

    def add(self, values: Values, origin: NDArray[np.float64] | None = None) -> None:
        """Take (P, m) more values, from each of which `origin` was taken; None: nothing."""
        self.n += values.shape[1]
        self._put(0, self._about_origin(values, origin))

    def merge(self, other: Self) -> None:
        """Take what `other` kept."""
        self.n += other.n
        for level, values in enumerate(other.levels):
            self._put(level, self._about_origin(values, other.origin))
            self.offsets[level] += other.offsets[level]

    def _about_origin(self, values: Values, origin: NDArray[np.float64] | None) -> Values:
        """Values less `origin` as values less that of these quantiles, which the first values set."""
        origin = np.zeros(len(values)) if origin is None else origin
        if self.origin is None:
            self.origin = origin
        return _moved(values, origin - self.origin)

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

    def weighted(self, origin: NDArray[np.float64] | None = None) -> tuple[Values, NDArray[np.int64]]:
        """The values (P, m) less `origin` or 0, each row ascending, and how many samples each stands for (P, m)."""
        values = np.concatenate(self.levels, axis=1)
        mine = np.zeros(len(values)) if self.origin is None else self.origin
        values = _moved(values, mine - (0.0 if origin is None else origin))
        weights = np.concatenate([np.full(v.shape[1], 1 << level) for level, v in enumerate(self.levels)])
        if len(self.levels) == 1:
            return np.sort(values, axis=1), np.broadcast_to(weights, values.shape)
        order = np.argsort(values, axis=1, kind="stable")
        return np.take_along_axis(values, order, axis=1), weights[order]


def _moved(values: Values, shift: NDArray[np.float64]) -> Values:
    """Values (P, m) with a number (P,) added to each row."""
    return (values + shift[:, None]).astype(np.float32) if shift.any() else values
