"""Sums of products of samples with themselves, which merge exactly and stay precise despite a large mean.

The sums are kept about a centre near the mean. With a large mean, an uncentred sum of products loses the small
directions, and an uncentred fourth power loses everything. `sketches.multiplication` computes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Targets = NDArray[Any]
"""Class ids, shape (n,), or values, shape (n, T)."""

SAFE = 1e6
"""Range limit: the sums of third powers of numbers from 1/SAFE to SAFE stay in the range of single precision."""
EPSILON = float(np.finfo(np.float64).eps)


@dataclass
class Products:
    """Sums of n samples f less a centre c that lies among them, and of their products: g = f − c.

    A large mean costs no precision. The sums of two sets of samples merge exactly, by moving one centre to the other
    (the parallel axis theorem).

    Attributes:
        n: number of samples; after `times` it need not be an integer.
        centre: (D,) c.
        total: (D,) Σ g.
        gram: (D, D) Σ g gᵀ.
        cubic: (D,) Σ ‖g‖² g.
        quartic: Σ ‖g‖⁴.
    """

    n: int
    centre: Array
    total: Array
    gram: Array
    cubic: Array
    quartic: float

    @classmethod
    def zeros(cls, dim: int) -> Self:
        """Return the sums of no samples."""
        return cls(0, np.zeros(dim), np.zeros(dim), np.zeros((dim, dim)), np.zeros(dim), 0.0)

    @property
    def mean(self) -> Array:
        """The mean sample (D,); the centre if there are no samples."""
        return self.centre + self.total / max(self.n, 1)

    @property
    def scatter_diagonal(self) -> Array:
        """The sum Σ (f − μ)² of each dimension, (D,)."""
        return np.maximum(self.gram.diagonal() - self.total**2 / max(self.n, 1), 0.0)

    def about(self, centre: Array) -> Products:
        """Return the sums of the same samples about another centre; they may share arrays with this object."""
        shift = self.centre - centre
        if not shift.any() or not self.n:
            return replace(self, centre=centre)
        half = self.total + self.n / 2 * shift
        gram = np.column_stack([shift, half]) @ np.stack([half, shift])  # s tᵀ + t sᵀ + n s sᵀ
        gram += self.gram
        cubic, quartic = moved_sums(
            self.cubic,
            self.quartic,
            self.n,
            self.total,
            shift,
            trace=float(np.trace(self.gram)),
            pull=self.gram @ shift,
        )
        return Products(self.n, centre, self.total + self.n * shift, gram, cubic, quartic)

    def about_mean(self) -> Products:
        """Return the sums of the same samples about their mean."""
        return self.about(self.mean)

    @np.errstate(over="ignore", invalid="ignore")
    def merge(self, other: Products) -> None:
        """Add the samples of `other`. The centre moves if it would lie far from the mean of both."""
        if not other.n:
            return
        if not self.n:
            self.centre, self.total, self.gram = other.centre.copy(), other.total.copy(), other.gram.copy()
            self.cubic, self.quartic, self.n = other.cubic.copy(), other.quartic, other.n
            return
        centre = common_centre(self, other)
        left, right = self.about(centre), other.about(centre)
        self.gram = left.gram
        self.gram += right.gram
        self.centre, self.total, self.cubic = centre, left.total + right.total, left.cubic + right.cubic
        self.quartic, self.n = left.quartic + right.quartic, left.n + right.n

    def without(self, other: Products) -> Products:
        """Return the sums without the samples of `other`, which must be among these."""
        moved = other.about(self.centre)
        return Products(
            self.n - moved.n,
            self.centre,
            self.total - moved.total,
            self.gram - moved.gram,
            self.cubic - moved.cubic,
            self.quartic - moved.quartic,
        )

    def times(self, weight: float) -> Products:
        """Return the sums with every sample weighted by `weight`."""
        return Products(
            cast("int", self.n * weight),
            self.centre,
            self.total * weight,
            self.gram * weight,
            self.cubic * weight,
            self.quartic * weight,
        )


def common_centre(first: Products, second: Products) -> Array:
    """Return a centre for both sets of samples.

    It is the centre of the first set, if that lies within the spread of all samples in every dimension; so it rarely
    moves. Otherwise it is the mean of all samples.
    """
    n, gap = first.n + second.n, second.mean - first.mean
    step = first.total / first.n + second.n / n * gap  # from the centre of the first set to the mean of both
    scatter = first.scatter_diagonal + second.scatter_diagonal + first.n * second.n / n * gap**2
    far = n * step**2 > scatter + n * (4 * EPSILON * first.centre) ** 2
    centre: Array = first.centre + step if far.any() else first.centre
    return centre


def moved_sums(
    cubic: Array, quartic: float, n: float, total: Array, shift: Array, *, trace: float, pull: Array
) -> tuple[Array, float]:
    """Return the cubic and quartic sums of f + c, with c = `shift`, from the sums of the n samples f.

    Args:
        cubic: (D,) Σ ‖f‖² f.
        quartic: Σ ‖f‖⁴.
        n: number of samples.
        total: (D,) Σ f.
        shift: (D,) c.
        trace: Σ ‖f‖².
        pull: (D,) Σ f fᵀc.
    """
    c, k, total_c = shift, float(shift @ shift), float(total @ shift)
    moved: Array = cubic + 2 * pull + k * total + (trace + 2 * total_c + n * k) * c
    fourth = 4 * (c @ cubic) + 2 * k * trace + 4 * (c @ pull) + 4 * k * total_c + n * k**2
    return moved, quartic + float(fourth)


def safe_unit(largest: Any) -> float:
    """Return the divisor that keeps third powers within the range of single precision.

    Args:
        largest: the largest of the numbers.

    Returns:
        1, or a power of two near `largest` if that is very large or very small: the division is exact.
    """
    size = float(largest)
    if size == 0 or not np.isfinite(size) or 1 / SAFE < size < SAFE:
        return 1.0
    return float(2.0 ** np.round(np.log2(size)))


def on_host(values: torch.Tensor) -> Array:
    """Copy values to the CPU, in double precision."""
    moved: Array = values.cpu().numpy().astype(np.float64)
    return moved
