"""Moments in blocks of independent groups, so that the data can be resampled without a second pass.

Frames of one utterance, and utterances of one speaker, are not independent. Groups are speakers, or utterances where
speakers are unknown. They are assigned to a few blocks. Leaving out or redrawing blocks then respects the dependence
(`scores.estimate`). A finished block is stored centred, in single precision and as a triangle, because only the
uncertainty uses it: the total is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import sspmv

from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array, Products, moved_sums

Number = TypeVar("Number", np.float32, np.float64)


@dataclass(frozen=True)
class PackedMoments:
    """The moments of a block about its mean μ, with the large parts in single precision.

    Attributes:
        n: number of samples.
        mean: (D,) μ.
        triangle: (D(D+1)/2,) the upper triangle, by rows, of S = Σ (f − μ)(f − μ)ᵀ.
        cubic: (D,) Σ ‖f − μ‖² (f − μ).
        quartic: Σ ‖f − μ‖⁴.
        cross: (T, D) Σ y (f − μ)ᵀ.
        target_total: (T,) Σ y.
        square: (T,) Σ y².
        target_gram: (T, T) YᵀY for values; None for classes.
    """

    n: int
    mean: Array
    triangle: NDArray[np.float32]
    cubic: Array
    quartic: float
    cross: NDArray[np.float32]
    target_total: Array
    square: Array
    target_gram: Array | None

    @classmethod
    def pack(cls, moments: Moments) -> Self:
        """Centre `moments`, round them to single precision, and drop the lower triangle."""
        about = moments.centred().targets_about(None)
        return cls(
            n=about.n,
            mean=about.centre.copy(),
            triangle=_single(upper(about.gram)),
            cubic=about.products.cubic.copy(),
            quartic=about.products.quartic,
            cross=_single(about.cross),
            target_total=about.target_total.copy(),
            square=about.square.copy(),
            target_gram=None if about.target_gram is None else about.target_gram.copy(),
        )

    @property
    def dim(self) -> int:
        """D, the number of features in a sample."""
        return len(self.mean)

    @property
    def trace(self) -> float:
        """Trace of S."""
        return float(diagonal(self.triangle, self.dim).sum(dtype=np.float64))

    def cross_about(self, centre: Array) -> Array:
        """Return (T, D) Σ y (f − c)ᵀ: for classes, the sum of each class's samples less the centre c."""
        sums: Array = self.cross + np.outer(self.target_total, self.mean - centre)
        return sums

    def scatter_times(self, vector: Array) -> Array:
        """Return S v for a vector v (D,)."""
        product: Array = sspmv(self.dim, 1.0, self.triangle, vector.astype(np.float32), lower=1).astype(np.float64)
        return product

    def joined(self, other: PackedMoments) -> PackedMoments:
        """Return the moments of both sets of samples, about the mean of all.

        S = S₁ + S₂ + n₁ n₂ / (n₁ + n₂) δ δᵀ,  δ = μ₁ − μ₂
        """
        n, gap = self.n + other.n, self.mean - other.mean
        mean = other.mean + self.n / max(n, 1) * gap
        pulled = self.n * other.n / max(n, 1) * gap
        triangle = self.triangle + other.triangle
        triangle += np.concatenate([pulled[i] * gap[i:] for i in range(self.dim)])
        cubic, quartic, cross = np.zeros(self.dim), 0.0, self.cross + other.cross
        for part in (self, other):
            shift = part.mean - mean
            moved = moved_sums(
                part.cubic,
                part.quartic,
                part.n,
                np.zeros(self.dim),
                shift,
                trace=part.trace,
                pull=part.scatter_times(shift),
            )
            cubic, quartic = cubic + moved[0], quartic + moved[1]
            cross += np.outer(part.target_total, shift)
        gram = None
        if self.target_gram is not None and other.target_gram is not None:
            gram = self.target_gram + other.target_gram
        return PackedMoments(
            n,
            mean,
            triangle,
            cubic,
            quartic,
            cross,
            self.target_total + other.target_total,
            self.square + other.square,
            gram,
        )

    def unpack(self) -> Moments:
        """Return the moments with all their parts, to single precision."""
        products = Products(
            self.n, self.mean, np.zeros(self.dim), whole(self.triangle, self.dim), self.cubic, self.quartic
        )
        return Moments(
            products=products,
            cross=self.cross.astype(np.float64),
            target_total=self.target_total.copy(),
            square=self.square.copy(),
            target_gram=None if self.target_gram is None else self.target_gram.copy(),
        )


def _single(numbers: Array) -> NDArray[np.float32]:
    """Convert to single precision; values out of range become infinite, which the scores report."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def upper(matrix: Array) -> Array:
    """Return the upper triangle, by rows: (D, D) → (D(D+1)/2,)."""
    triangle: Array = matrix[_upper_half(len(matrix))]
    return triangle


def whole(triangle: NDArray[Number], dim: int) -> Array:
    """Return the symmetric matrix (D, D) with this upper triangle, by rows."""
    half = np.zeros((dim, dim))
    half[_upper_half(dim)] = triangle
    matrix: Array = half + np.triu(half, 1).T
    return matrix


def diagonal(triangle: NDArray[Number], dim: int) -> NDArray[Number]:
    """Return the diagonal of the matrix (D, D) with this upper triangle, by rows."""
    return triangle[_diagonal(dim)]


def fold(matrix: Array) -> Array:
    """Return the upper triangle of a symmetric P, doubled off the diagonal; its product with S's is Σ_ij P_ij S_ij."""
    doubled = 2 * matrix
    doubled.flat[:: len(matrix) + 1] /= 2
    return upper(doubled)


@dataclass
class BlockedMoments:
    """The exact moments of all samples, and the moments of each block.

    Attributes:
        total: moments of all samples.
        blocks: block number → that block's moments.
    """

    total: Moments
    blocks: dict[int, PackedMoments] = field(default_factory=dict)

    @classmethod
    def zeros(cls, dim: int, n_targets: int, *, values: bool = False) -> Self:
        """Return the moments of no samples."""
        return cls(Moments.zeros(dim, n_targets, values=values))

    def close_block(self, block: int, moments: Moments) -> None:
        """Add a block (or another part of it) to the total, and store it separately."""
        self.total.merge(moments)
        self._add_block(block, PackedMoments.pack(moments))

    def merge(self, other: BlockedMoments) -> None:
        """Add the samples of `other`, whose blocks have the same numbering."""
        self.total.merge(other.total)
        for block, packed in other.blocks.items():
            self._add_block(block, packed)

    def _add_block(self, block: int, packed: PackedMoments) -> None:
        self.blocks[block] = self.blocks[block].joined(packed) if block in self.blocks else packed

    def __iter__(self) -> Iterator[PackedMoments]:
        """Iterate over the blocks in order of number."""
        for block in sorted(self.blocks):
            yield self.blocks[block]


@lru_cache(maxsize=8)
def _upper_half(dim: int) -> NDArray[np.bool_]:
    return np.tri(dim, dtype=bool).T


@lru_cache(maxsize=8)
def _diagonal(dim: int) -> NDArray[np.int64]:
    """Return the indices of the diagonal in the triangle, whose rows have D, D − 1, … numbers."""
    rows = np.arange(dim)
    return rows * dim - rows * (rows - 1) // 2
