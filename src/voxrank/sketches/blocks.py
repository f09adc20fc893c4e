"""Moments kept in blocks of independent groups, so that the data can be resampled without a second pass.

Frames of one utterance, and utterances of one speaker, are not independent. Groups (speakers, or utterances
where speakers are unknown) are dealt into a few blocks; leaving blocks out, or drawing them again, then respects
the dependence (`scores.estimate`). A finished block is kept centred, in single precision and as a triangle, since it
serves the uncertainty only: the total is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from voxrank.sketches.moments import Array, Moments


@dataclass(frozen=True)
class PackedMoments:
    """A block's moments about the block's own mean μ, the large parts in single precision.

    Attributes:
        n: number of samples.
        total: (D,) Σ f.
        triangle: (D(D+1)/2,) the upper triangle, by rows, of Σ (f − μ)(f − μ)ᵀ.
        cross: (T, D) Σ y (f − μ)ᵀ.
        target_total: (T,) Σ y.
        square: (T,) Σ y².
        products: (T, T) YᵀY of values; None for classes.
    """

    n: int
    total: Array
    triangle: NDArray[np.float32]
    cross: NDArray[np.float32]
    target_total: Array
    square: Array
    products: Array | None

    @classmethod
    def pack(cls, moments: Moments) -> Self:
        """Centre, round and halve `moments`."""
        mean = moments.total / max(moments.n, 1)
        scatter = moments.gram - np.outer(moments.total, mean)
        return cls(
            n=moments.n,
            total=moments.total.copy(),
            triangle=scatter[_upper_half(moments.dim)].astype(np.float32),
            cross=(moments.cross - np.outer(moments.target_total, mean)).astype(np.float32),
            target_total=moments.target_total.copy(),
            square=moments.square.copy(),
            products=None if moments.products is None else moments.products.copy(),
        )

    @property
    def dim(self) -> int:
        """D, the numbers in a sample."""
        return len(self.total)

    @property
    def mean(self) -> Array:
        """(D,) μ."""
        return self.total / max(self.n, 1)

    def unpack(self) -> Moments:
        """The moments again, to single precision."""
        upper = np.zeros((self.dim, self.dim))
        upper[_upper_half(self.dim)] = self.triangle
        scatter = upper + np.triu(upper, 1).T
        return Moments(
            n=self.n,
            total=self.total.copy(),
            gram=scatter + np.outer(self.total, self.mean),
            cross=self.cross + np.outer(self.target_total, self.mean),
            target_total=self.target_total.copy(),
            square=self.square.copy(),
            products=None if self.products is None else self.products.copy(),
        )


def fold(matrix: Array) -> Array:
    """The upper triangle of a symmetric P, all but its diagonal doubled: Σ_ij P_ij G_ij = fold(P) · triangle of G."""
    doubled = 2 * matrix
    doubled.flat[:: len(matrix) + 1] /= 2
    folded: Array = doubled[_upper_half(len(matrix))]
    return folded


@dataclass
class BlockedMoments:
    """The exact total, and its blocks.

    Attributes:
        total: moments of every sample.
        blocks: block number → that block's moments.
    """

    total: Moments
    blocks: dict[int, PackedMoments] = field(default_factory=dict)

    @classmethod
    def zeros(cls, dim: int, n_targets: int, *, values: bool = False) -> Self:
        """No samples yet."""
        return cls(Moments.zeros(dim, n_targets, values=values))

    def close_block(self, block: int, moments: Moments) -> None:
        """Add a whole block (or one more part of it) to the total, and keep it apart too."""
        self.total.merge(moments)
        if block in self.blocks:
            moments.merge(self.blocks[block].unpack())
        self.blocks[block] = PackedMoments.pack(moments)

    def __iter__(self) -> Iterator[PackedMoments]:
        """The blocks one by one, in order of number."""
        for block in sorted(self.blocks):
            yield self.blocks[block]


@lru_cache(maxsize=8)
def _upper_half(dim: int) -> NDArray[np.bool_]:
    return np.tri(dim, dtype=bool).T
