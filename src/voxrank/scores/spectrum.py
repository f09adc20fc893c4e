"""The eigendecomposition of the samples' scatter, which all scores of the moments share.

Let μ be the mean sample, and S = FᵀF − nμμᵀ = V diag(λ) Vᵀ the scatter about it. The quantities below are in the basis
V. Scores that centre the samples read λ and the centred cross products c. LogME does not centre; it adds the mean as a
rank-one term z zᵀ, z = √n·Vᵀμ, to the scatter. This is exact and numerically stable however large the mean is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from voxrank._support.threads import one_blas_thread
from voxrank.scores.centred import EPSILON, Centred, targets_about_mean
from voxrank.sketches.eigen import eigh
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array


@dataclass(frozen=True, kw_only=True)
class Spectrum(Centred):
    """Moments in the basis of the principal directions.

    Attributes:
        n: number of samples, or of independent samples that they are worth (`thinned`).
        cross: (T, D) c, rows Vᵀ Σ (y − ȳ) f.
        eigenvalues: (D,) λ of the scatter, ascending, numerical zeros as 0; fewer than n are positive.
        vectors: (D, D) V, in columns.
        mean: (D,) μ.
    """

    eigenvalues: Array
    vectors: Array
    mean: Array

    @classmethod
    def of(cls, moments: Moments) -> Spectrum:
        """Decompose the scatter of moments."""
        n = moments.n
        with one_blas_thread(moments.dim):
            centred = moments.centred()
        eigenvalues, vectors = eigh(centred.gram)
        mean = centred.centre
        threshold = max(len(mean) * EPSILON * eigenvalues[-1], n * float(mean @ mean) * (2 * EPSILON) ** 2)
        eigenvalues = np.where(eigenvalues > threshold, eigenvalues, 0.0)
        eigenvalues[: max(len(mean) - round(n) + 1, 0)] = 0.0
        used, weight, square, target_gram = targets_about_mean(
            n, moments.target_total, moments.square, moments.target_gram, moments.target_origin
        )
        cross = (centred.cross - np.outer(centred.target_total / n, centred.total))[used] @ vectors
        cross[:, eigenvalues == 0] = 0.0
        cross[square == 0] = 0.0
        return cls(
            n=n,
            eigenvalues=eigenvalues,
            vectors=vectors,
            mean=mean,
            cross=cross,
            weight=weight,
            square=square,
            used=used,
            target_gram=target_gram,
            quartic=max(centred.products.quartic, 0.0),
            rank=int(np.count_nonzero(eigenvalues)),
        )

    def thinned(self, weight: float) -> Spectrum:
        """Return the spectrum with every sample weighted by `weight`."""
        if weight == 1:
            return self
        return replace(
            self,
            n=self.n * weight,
            eigenvalues=self.eigenvalues * weight,
            cross=self.cross * weight,
            weight=self.weight * np.sqrt(weight),
            square=self.square * weight,
            target_gram=None if self.target_gram is None else self.target_gram * weight,
            quartic=self.quartic * weight,
        )

    @cached_property
    def offset(self) -> Array:
        """Scaled mean z = √n·Vᵀμ: (D,)."""
        offset: Array = np.sqrt(self.n) * (self.mean @ self.vectors)
        return offset

    @cached_property
    def power(self) -> Array:
        """Squared component c²/λ of y along each principal direction: (T, D)."""
        return np.divide(self.cross**2, self.eigenvalues, out=np.zeros_like(self.cross), where=self.eigenvalues > 0)

    @cached_property
    def total_power(self) -> Array:
        """Sum of `power` over all targets: (D,)."""
        total: Array = self.power.sum(axis=0)
        return total

    @cached_property
    def unreached(self) -> Array:
        """Square r₀ of y − ȳ that no principal direction reaches: (T,). Rounding may leave it just below 0."""
        unreached: Array = self.square - self.power.sum(axis=1)
        return unreached

    @property
    def trace(self) -> float:
        """Trace of the scatter, tr S."""
        return float(self.eigenvalues.sum())

    @property
    def squares(self) -> float:
        """Sum of the squares of the entries of the scatter, tr S²."""
        return float((self.eigenvalues**2).sum())

    @property
    def own_cross(self) -> Array:
        """Cross products C in the basis of the samples: (T, D)."""
        return np.asarray(self.cross @ self.vectors.T)

    def whitened(self, ridge: float) -> Array:
        """Return (T, D) c/√(λ + κ), 0 where the denominator is 0."""
        denominator = np.sqrt(self.eigenvalues + ridge)
        return np.divide(self.cross, denominator, out=np.zeros_like(self.cross), where=denominator > 0)

    def fit(self, ridge: float) -> tuple[float, float]:
        """Return the residual of ridge regression, a sum of positive terms, and Σ λ/(λ + t)."""
        denominator = self.eigenvalues + ridge
        residual = np.maximum(self.unreached, 0.0).sum() + self.total_power @ (ridge / denominator) ** 2
        return float(residual), float((self.eigenvalues / denominator).sum())
