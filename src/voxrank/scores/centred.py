"""Sums about the means, in the two forms that scores read: decomposed (`Spectrum`), or factored (`Remainder`).

A score that is written in these terms alone is one function, which gives its value from all the data and again, without
an eigendecomposition, from the data less a block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voxrank.sketches.products import Array

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class Centred(ABC):
    """Samples f about their mean μ, with the scatter S = Σ (f − μ)(f − μ)ᵀ, and targets y about theirs.

    Target columns without any y ≠ 0 (class ids without samples) are left out; `used` says which are kept.

    Attributes:
        n: number of samples; not a whole one where a block counts by half.
        cross: (T, D) C = Σ (y − ȳ)(f − μ)ᵀ, in the basis of the class.
        weight: (T,) Σy/√n, how much of y is constant.
        square: (T,) Σ (y − ȳ)².
        used: (T₀,) which target columns these are.
        target_gram: (T, T) Σ (y − ȳ)(y − ȳ)ᵀ of values; None for classes.
        quartic: Σ ‖f − μ‖⁴.
        rank: that of S.
    """

    n: float
    cross: Array
    weight: Array
    square: Array
    used: NDArray[np.bool_]
    target_gram: Array | None
    quartic: float
    rank: int

    @property
    def dim(self) -> int:
        """D, the numbers in a sample."""
        return int(self.cross.shape[1])

    @property
    @abstractmethod
    def trace(self) -> float:
        """Tr S."""

    @property
    @abstractmethod
    def squares(self) -> float:
        """Tr S², the sum of the squares of its entries."""

    @property
    @abstractmethod
    def own_cross(self) -> Array:
        """(T, D) C in the samples' own basis."""

    @abstractmethod
    def whitened(self, ridge: float) -> Array:
        """(T, D) Z with ZZᵀ = C (S + κI)⁺ Cᵀ, κ = `ridge`."""

    @abstractmethod
    def fit(self, ridge: float) -> tuple[float, float]:
        """Ridge regression of the targets, t = `ridge`: the residual over all of them, and tr S(S + tI)⁻¹."""

    @property
    def target_mean(self) -> Array:
        """(T,) ȳ."""
        mean: Array = self.weight / np.sqrt(self.n)
        return mean

    @property
    def root(self) -> Array:
        """(T', T) R with RᵀR a generalised inverse of the targets' scatter, wide enough for C.

        For classes it is the diagonal matrix of 1/√(class count): C's rows add up to nothing, so that the rank that the
        centred one-hot scatter lacks does not matter. Values that repeat each other count once.
        """
        if self.target_gram is None:
            return np.diag(1 / np.sqrt(self.weight * np.sqrt(self.n)))
        values, vectors = np.linalg.eigh(self.target_gram)
        kept = values > len(values) * EPSILON * values[-1]
        return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T)

    @property
    def target_rank(self) -> int:
        """Independent target columns about their means: classes less one, or values that do not repeat each other."""
        return len(self.root) - (self.target_gram is None)

    @cached_property
    def correlated(self) -> Array:
        """(T', T') `explained` without a ridge.

        Its eigenvalues are the squared canonical correlations of samples and targets, and its trace is that of (total
        scatter)⁻¹ (scatter between the classes).
        """
        return self.explained(0.0)

    def explained(self, ridge: float) -> Array:
        """(T', T') A = R C (S + κI)⁺ Cᵀ Rᵀ, κ = `ridge`: how much of the samples the targets explain."""
        whitened = self.root @ self.whitened(ridge)
        return np.asarray(whitened @ whitened.T)


def targets_about_mean(
    n: float, total: Array, square: Array, gram: Array | None, origin: Array
) -> tuple[NDArray[np.bool_], Array, Array, Array | None]:
    """Return `used`, `weight`, `square` and `target_gram` of `Centred`.

    Args:
        n: number of samples.
        total: (T,) Σ z, z = y − b.
        square: (T,) Σ z².
        gram: (T, T) Σ z zᵀ of values; None for classes.
        origin: (T,) b.
    """
    used = (square > 0) | (origin != 0)
    total, origin = total[used], origin[used]
    about = np.maximum(square[used] - total**2 / n, 0.0)
    if gram is None:
        return used, total / np.sqrt(n), about, None
    constant = about <= n * (4 * EPSILON * (origin + total / n)) ** 2  # all that is left is rounding
    about[constant] = 0.0
    gram = gram[np.ix_(used, used)] - np.outer(total, total) / n
    gram[constant] = gram[:, constant] = 0.0
    return used, total / np.sqrt(n) + np.sqrt(n) * origin, about, gram
