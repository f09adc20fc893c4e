"""Projections of samples on fixed directions, kept as all sorted values or as quantiles.

Up to `limit` values per direction, all are kept and quantiles are exact. Beyond that, levels of `limit` values each
are kept. A full level is sorted, and every second value moves up to stand for twice as many samples. The offset (first
or second) alternates, so that errors cancel. The rank of any quantile then has an error of at most n·L/limit, with
L = log₂(n/limit) the number of levels above the first: a bound that holds for any data.

Sources: Manku, Rajagopalan and Lindsay, SIGMOD 1998; Agarwal et al., "Mergeable Summaries", PODS 2012.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank._support.threads import blas_threads, on_threads, one_blas_thread
from voxrank.sketches.methods import CHOOSER, METHODS, Method, Size

Values = NDArray[np.float32]

LIMIT = 1 << 17
"""Maximum number of exact values per direction: 512 KiB a direction."""


BLOCK_LIMIT = 4096
"""Maximum number of exact values in a block of a layer, of which there are many: 16 KiB a direction and level."""
NEAR = 8.0
"""Maximum ratio of mean to spread for which samples in single precision are projected without centring."""
SOME = 2048
"""Number of samples from which the centre is computed."""
STRIP_ROWS = 4096
"""Number of samples that a core projects at a time."""
SEED = 42
"""Seed of the directions, which all data, layers of one dimension and models share."""


def draw_directions(dim: int, count: int, *, seed: int, orthogonal: bool = False) -> Values:
    """Draw unit vectors (count, dim), uniform on the sphere.

    Args:
        dim: D, the dimension.
        count: number of vectors.
        seed: seed of the draw.
        orthogonal: whether to draw sets of D orthogonal vectors, which spread more evenly.
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
    """Return the directions (count, dim) on which all samples of `dim` features are projected."""
    return torch.from_numpy(draw_directions(dim, count, seed=SEED))


@dataclass(frozen=True)
class Projected:
    """Projections of samples on P directions.

    Attributes:
        values: (P, n) projections of the samples less a centre near them, so that a large mean costs no precision.
        origin: (P,) projection of the centre.
    """

    values: Values
    origin: NDArray[np.float64]


def project(samples: torch.Tensor, count: int) -> Projected:
    """Project samples (n, D) on the shared directions, on the device of the samples."""
    return project_on(samples, shared_directions(samples.shape[1], count))


def project_on(samples: torch.Tensor, directions: torch.Tensor) -> Projected:
    """Project samples (n, D) on directions (P, D) from the CPU, on the device of the samples."""
    if not len(samples):
        return Projected(np.empty((len(directions), 0), dtype=np.float32), np.zeros(len(directions)))
    centre = torch.from_numpy(far_centre(samples[:SOME].cpu().double().numpy())).to(samples.dtype)
    near = samples - centre.to(samples.device) if centre.any() else samples
    values = directions.to(samples.device) @ near.float().T
    return Projected(values.cpu().numpy(), directions.numpy().astype(np.float64) @ centre.double().numpy())


def project_all(samples: torch.Tensor, directions: Values, out: Values) -> None:
    """Project samples on directions, on all cores.

    Args:
        samples: (n, D) in single precision, on the CPU.
        directions: (P, D).
        out: (P, n) array that receives the projections.
    """
    ways = {method: partial(_project_by, method, samples, directions, out) for method in METHODS}
    with one_blas_thread():
        CHOOSER.run(Size.of("projections", *directions.shape), directions.size * len(samples), ways)


def _project_by(method: Method, samples: torch.Tensor, directions: Values, out: Values) -> None:
    """Project samples (n, D) on directions (P, D) by a method."""

    def project_strip(rows: slice) -> None:
        np.matmul(directions, samples[rows].numpy().T, out=out[:, rows])

    if method == "torch":
        torch.mm(torch.from_numpy(directions), samples.T, out=torch.from_numpy(out))
    elif method == "blas":
        with blas_threads(torch.get_num_threads()):
            project_strip(slice(None))
    else:
        strips = [slice(start, start + STRIP_ROWS) for start in range(0, len(samples), STRIP_ROWS)]
        on_threads(project_strip, strips, torch.get_num_threads())


@np.errstate(over="ignore", invalid="ignore")  # infinite samples show in the sums
def far_centre(some: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of samples (n, D) if it is large beside their spread; else 0, as single precision suffices."""
    centre: NDArray[np.float64] = some.mean(axis=0)
    near = np.linalg.norm(centre) <= NEAR * np.linalg.norm(some.std(axis=0))
    return np.zeros_like(centre) if near else centre


@dataclass
class Quantiles:
    """Values along P directions, in levels: each value of level h stands for 2ʰ samples.

    Attributes:
        limit: number of values in a level before it is compressed.
        levels: level → (P, m) values, m below `limit`.
        n: number of samples.
        offsets: number of compressions of each level.
        origin: (P,) number subtracted from every value; None while there are no values.
    """

    limit: int
    levels: list[Values] = field(default_factory=list)
    n: int = 0
    offsets: list[int] = field(default_factory=list)
    origin: NDArray[np.float64] | None = None

    def add(self, values: Values, origin: NDArray[np.float64] | None = None) -> None:
        """Add values (P, m), from each of which `origin` (None: nothing) was subtracted."""
        self.n += values.shape[1]
        self._add_to_level(0, self._about_origin(values, origin))

    def merge(self, other: Self) -> None:
        """Add the values of `other`."""
        self.n += other.n
        for level, values in enumerate(other.levels):
            self._add_to_level(level, self._about_origin(values, other.origin))
            self.offsets[level] += other.offsets[level]

    def _about_origin(self, values: Values, origin: NDArray[np.float64] | None) -> Values:
        """Convert values less `origin` to values less the origin of this object, which the first values set."""
        origin = np.zeros(len(values)) if origin is None else origin
        if self.origin is None:
            self.origin = origin
        return _shifted(values, origin - self.origin)

    def _add_to_level(self, level: int, values: Values) -> None:
        while len(self.levels) <= level:
            self.levels.append(values[:, :0])
            self.offsets.append(0)
        joined = np.concatenate([self.levels[level], values], axis=1)
        if joined.shape[1] <= self.limit:
            self.levels[level] = joined
            return
        even = joined.shape[1] // 2 * 2
        joined.sort(axis=1)
        self.levels[level] = joined[:, even:].copy()  # a view would keep all compressed values in memory
        offset = self.offsets[level] % 2
        self.offsets[level] += 1
        self._add_to_level(level + 1, np.ascontiguousarray(joined[:, offset:even:2]))

    @classmethod
    def together(cls, parts: Iterable[Self]) -> Self:
        """Join the values of all parts, without further compression."""
        whole = cls(sys.maxsize)
        for part in parts:
            whole.merge(part)
        return whole

    @property
    def rank_error(self) -> float:
        """Return the maximum error of a quantile's rank, as a share of the samples: 0 while all values are kept."""
        lost = sum(count << level for level, count in enumerate(self.offsets))
        return lost / max(self.n, 1)

    def weighted(self, origin: NDArray[np.float64] | None = None) -> tuple[Values, NDArray[np.int64]]:
        """Return the values (P, m) less `origin` (None: 0), each row ascending, and their weights in samples (P, m)."""
        values = np.concatenate(self.levels, axis=1)
        current_origin = np.zeros(len(values)) if self.origin is None else self.origin
        values = _shifted(values, current_origin - (0.0 if origin is None else origin))
        weights = np.concatenate([np.full(v.shape[1], 1 << level) for level, v in enumerate(self.levels)])
        if len(self.levels) == 1:
            return np.sort(values, axis=1), np.broadcast_to(weights, values.shape)
        order = np.argsort(values, axis=1, kind="stable")
        return np.take_along_axis(values, order, axis=1), weights[order]


def _shifted(values: Values, shift: NDArray[np.float64]) -> Values:
    """Add a number (P,) to each row of values (P, m)."""
    return (values + shift[:, None]).astype(np.float32) if shift.any() else values
