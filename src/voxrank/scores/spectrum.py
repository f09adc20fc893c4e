"""One eigendecomposition of the samples' scatter, which every score of the moments shares.

With μ the mean sample and S = FᵀF − nμμᵀ = V diag(λ) Vᵀ the scatter about it, the quantities below are written in
the basis V. A score that centres its samples reads λ and the centred cross products c; one that does not (LogME) adds
the mean as a rank-one term z zᵀ, z = √n·Vᵀμ, to the scatter, which stays exact and stable however large the mean is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Spectrum:
    """Moments in the basis of the principal directions.

    Target columns without any y ≠ 0 (class ids without samples) are left out; `used` says which are kept.

    Attributes:
        n: number of samples, or of independent ones that they are worth (`thinned`).
        eigenvalues: (D,) λ of the scatter, ascending, numerical zeros as 0; fewer than samples are positive.
        vectors: (D, D) V, in columns.
        mean: (D,) μ.
        cross: (T, D) c, rows Vᵀ Σ (y − ȳ) f.
        weight: (T,) Σy/√n, how much of y is constant.
        square: (T,) Σ (y − ȳ)².
        used: (T₀,) which target columns these are.
        target_gram: (T, T) Σ (y − ȳ)(y − ȳ)ᵀ of values; None for classes.
        cubic: (D,) Σ ‖f − μ‖² (f − μ), in the samples' own basis.
        quartic: Σ ‖f − μ‖⁴.
    """

    n: float
    eigenvalues: Array
    vectors: Array
    mean: Array
    cross: Array
    weight: Array
    square: Array
    used: NDArray[np.bool_]
    target_gram: Array | None
    cubic: Array
    quartic: float

    @classmethod
    def of(cls, moments: Moments) -> Spectrum:
        """Decompose."""
        n, used = moments.n, moments.square > 0
        mean = moments.total / n
        centred = moments.products.moved(n, moments.total, -mean)
        eigenvalues, vectors = linalg.eigh(centred.gram, driver="evd", overwrite_a=True, check_finite=False)
        scale = max(eigenvalues[-1], n * float(mean @ mean) * EPSILON)
        eigenvalues = np.where(eigenvalues > len(mean) * EPSILON * scale, eigenvalues, 0.0)
        eigenvalues[: max(len(mean) - n + 1, 0)] = 0.0
        target_total = moments.target_total[used]
        cross = (moments.cross[used] - np.outer(target_total, mean)) @ vectors
        cross[:, eigenvalues == 0] = 0.0
        return cls(
            n=n,
            eigenvalues=eigenvalues,
            vectors=vectors,
            mean=mean,
            cross=cross,
            weight=target_total / np.sqrt(n),
            square=np.maximum(moments.square[used] - target_total**2 / n, 0.0),
            used=used,
            target_gram=_centred_gram(moments, used),
            cubic=centred.cubic,
            quartic=max(centred.quartic, 0.0),
        )

    def thinned(self, weight: float) -> Spectrum:
        """The spectrum where every sample counts for `weight` of one."""
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
            cubic=self.cubic * weight,
            quartic=self.quartic * weight,
        )

    @cached_property
    def offset(self) -> Array:
        """(D,) z = √n·Vᵀμ."""
        offset: Array = np.sqrt(self.n) * (self.mean @ self.vectors)
        return offset

    @cached_property
    def power(self) -> Array:
        """(T, D) c²/λ: the square of y's component along each principal direction."""
        return np.divide(self.cross**2, self.eigenvalues, out=np.zeros_like(self.cross), where=self.eigenvalues > 0)

    @cached_property
    def unreached(self) -> Array:
        """(T,) r₀, the square of y − ȳ that no principal direction reaches; rounding may leave it just below 0."""
        rest: Array = self.square - self.power.sum(axis=1)
        return rest

    @property
    def target_mean(self) -> Array:
        """(T,) ȳ."""
        mean: Array = self.weight / np.sqrt(self.n)
        return mean

    @cached_property
    def root(self) -> Array:
        """(T, T) R with RᵀR = C, C a generalised inverse of the targets' scatter, wide enough for c.

        For classes it is the diagonal matrix of 1/√(class count): c's rows add up to nothing, so that the rank that the
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

    @property
    def rank(self) -> int:
        """Positive eigenvalues."""
        return int(np.count_nonzero(self.eigenvalues))


def _centred_gram(moments: Moments, used: NDArray[np.bool_]) -> Array | None:
    if moments.target_gram is None:
        return None
    total = moments.target_total[used]
    centred: Array = moments.target_gram[np.ix_(used, used)] - np.outer(total, total) / moments.n
    return centred
