"""Moments kept in blocks of independent groups, so that the data can be resampled without a second pass.

Frames of one utterance, and utterances of one speaker, are not independent. Groups (speakers, or utterances
where speakers are unknown) are dealt into a few blocks; leaving blocks out, or drawing them again, then respects
the dependence (`scores.estimate`). A finished block is kept in single precision and as a triangle, since it
serves the uncertainty only: the total is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import strmm

from voxrank.sketches.moments import Array, Moments


@dataclass(frozen=True)
class PackedMoments:
    """A block's moments with the Gram matrix as its lower triangle in single precision."""

    n: int
    triangle: NDArray[np.float32]
    cross: NDArray[np.float32]
    square: NDArray[np.float64]

    @classmethod
    def pack(cls, moments: Moments) -> Self:
        """Round and halve `moments`."""
        triangle = moments.gram.astype(np.float32)[_lower_half(moments.dim)]
        return cls(moments.n, triangle, moments.cross.astype(np.float32), moments.square.copy())

    @property
    def dim(self) -> int:
        """D, the numbers in a sample."""
        return int(self.cross.shape[1])

    def unpack(self) -> Moments:
        """The moments again, to single precision."""
        lower = self._lower().astype(np.float64)
        gram = lower + np.tril(lower, -1).T
        return Moments(self.n, gram, self.cross.astype(np.float64), self.square)

    def quadratic(self, directions: NDArray[np.float32]) -> Array:
        """vᵀFᵀFv for each column v of `directions` (D, K), to single precision: (K,).

        With L the lower triangle of FᵀF and half of its diagonal, vᵀFᵀFv = 2·vᵀLv, and a product with a triangle is
        half the work of one with the whole.
        """
        lower = self._lower()
        lower.flat[:: self.dim + 1] /= 2
        product = strmm(1.0, lower.T, directions.T, side=1)  # column-major: (L V)ᵀ = Vᵀ Lᵀ without a copy
        summed: Array = 2 * np.einsum("ki,ik->k", product, directions, dtype=np.float64)
        return summed

    def _lower(self) -> NDArray[np.float32]:
        lower = np.zeros((self.dim, self.dim), dtype=np.float32)
        lower[_lower_half(self.dim)] = self.triangle
        return lower


@lru_cache(maxsize=8)
def _lower_half(dim: int) -> NDArray[np.bool_]:
    return np.tri(dim, dtype=bool)


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
    def zeros(cls, dim: int, n_targets: int) -> Self:
        """No samples yet."""
        return cls(Moments.zeros(dim, n_targets))

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
