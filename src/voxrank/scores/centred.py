"""Sums about the means, in the two forms that scores read: decomposed (`Spectrum`), or factored (`Remainder`).

A score in these terms is a single function. It gives the value from all data, and also from the data without a block,
for which it needs no eigendecomposition.
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
    """Samples f about their mean μ, with the scatter S = Σ (f − μ)(f − μ)ᵀ, and targets y about their mean ȳ.

    Target columns without any y ≠ 0 (class ids without samples) are left out; `used` marks the columns that are kept.

    Attributes:
        n: number of samples; not an integer where half of a block counts.
        cross: (T, D) C = Σ (y − ȳ)(f − μ)ᵀ, in the basis of the class.
        weight: (T,) Σy/√n, the constant part of y.
        square: (T,) Σ (y − ȳ)².
        used: (T₀,) mask of the target columns that are kept.
        target_gram: (T, T) Σ (y − ȳ)(y − ȳ)ᵀ of values; None for classes.
        quartic: Σ ‖f − μ‖⁴.
        rank: rank of S.
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
        """Dimension D of a sample."""
        return int(self.cross.shape[1])

    @property
    @abstractmethod
    def trace(self) -> float:
        """Trace of the scatter, tr S."""

    @property
    @abstractmethod
    def squares(self) -> float:
        """Sum of the squares of the entries of the scatter, tr S²."""

    @property
    @abstractmethod
    def own_cross(self) -> Array:
        """Cross products C in the basis of the samples: (T, D)."""

    @abstractmethod
    def whitened(self, ridge: float) -> Array:
        """Return (T, D) Z with ZZᵀ = C (S + κI)⁺ Cᵀ, κ = `ridge`."""

    @abstractmethod
    def fit(self, ridge: float) -> tuple[float, float]:
        """Fit ridge regression with t = `ridge`; return the residual over all targets, and tr S(S + tI)⁻¹."""

    @property
    def target_mean(self) -> Array:
        """Mean ȳ of the targets: (T,)."""
        mean: Array = self.weight / np.sqrt(self.n)
        return mean

    @property
    def root(self) -> Array:
        """Root R of a generalised inverse RᵀR of the targets' scatter, valid on the range of C: (T', T).

        For classes it is the diagonal matrix of 1/√(class count). The rows of C add up to 0, so that the rank that the
        centred one-hot scatter lacks does not matter. Linearly dependent values count once.
        """
        if self.target_gram is None:
            return np.diag(1 / np.sqrt(self.weight * np.sqrt(self.n)))
        values, vectors = np.linalg.eigh(self.target_gram)
        positive = values > len(values) * EPSILON * values[-1]
        return np.asarray((vectors[:, positive] / np.sqrt(values[positive])).T)

    @property
    def target_rank(self) -> int:
        """Rank of the targets about their means: classes less one, or linearly independent values."""
        return len(self.root) - (self.target_gram is None)

    @cached_property
    def correlated(self) -> Array:
        """Matrix `explained` without a ridge: (T', T').

        Its eigenvalues are the squared canonical correlations of samples and targets. Its trace equals that of (total
        scatter)⁻¹ (scatter between the classes).
        """
        return self.explained(0.0)

    def explained(self, ridge: float) -> Array:
        """Return (T', T') A = R C (S + κI)⁺ Cᵀ Rᵀ, κ = `ridge`: the part of the samples that the targets explain."""
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
    squares = np.maximum(square[used] - total**2 / n, 0.0)
    if gram is None:
        return used, total / np.sqrt(n), squares, None
    constant = squares <= n * (4 * EPSILON * (origin + total / n)) ** 2  # only rounding is left
    squares[constant] = 0.0
    gram = gram[np.ix_(used, used)] - np.outer(total, total) / n
    gram[constant] = gram[:, constant] = 0.0
    return used, total / np.sqrt(n) + np.sqrt(n) * origin, squares, gram
