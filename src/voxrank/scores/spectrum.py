"""One eigendecomposition of the samples' scatter, which every score of the second moments shares.

With μ the mean sample and S = FᵀF − nμμᵀ = V diag(λ) Vᵀ the scatter about it, the quantities below are written in
the basis V. A score that centres its samples reads λ and the centred cross products c; one that does not (LogME) adds
the mean as a rank-one term z zᵀ, z = √n·Vᵀμ, to the scatter, which stays exact and stable however large the mean is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voxrank.sketches.moments import Array, Moments


@dataclass(frozen=True)
class Spectrum:
    """Moments in the basis of the principal directions.

    Target columns without any y ≠ 0 (class ids without samples) are left out; `used` says which are kept.

    Attributes:
        n: number of samples.
        eigenvalues: (D,) λ of the scatter, ascending, numerical zeros as 0; at most n − 1 are positive.
        vectors: (D, D) V, in columns.
        mean: (D,) μ.
        cross: (T, D) c, rows Vᵀ Σ (y − ȳ) f.
        weight: (T,) Σy/√n, how much of y is constant.
        square: (T,) Σ (y − ȳ)².
        used: (T₀,) which target columns these are.
    """

    n: int
    eigenvalues: Array
    vectors: Array
    mean: Array
    cross: Array
    weight: Array
    square: Array
    used: NDArray[np.bool_]

    @classmethod
    def of(cls, moments: Moments) -> Spectrum:
        """Decompose."""
        n, used = moments.n, moments.square > 0
        mean = moments.total / n
        eigenvalues, vectors = np.linalg.eigh(moments.gram - n * np.outer(mean, mean))
        scale = max(eigenvalues[-1], n * float(mean @ mean) * np.finfo(np.float64).eps)
        eigenvalues = np.where(eigenvalues > len(mean) * np.finfo(np.float64).eps * scale, eigenvalues, 0.0)
        eigenvalues[: max(len(mean) - n + 1, 0)] = 0.0
        target_total = moments.target_total[used]
        cross = (moments.cross[used] - np.outer(target_total, mean)) @ vectors
        cross[:, eigenvalues == 0] = 0.0
        square = moments.square[used]
        return cls(
            n=n,
            eigenvalues=eigenvalues,
            vectors=vectors,
            mean=mean,
            cross=cross,
            weight=target_total / np.sqrt(n),
            square=np.maximum(square - target_total**2 / n, 0.0),
            used=used,
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

    @property
    def rank(self) -> int:
        """Positive eigenvalues."""
        return int(np.count_nonzero(self.eigenvalues))
