"""What is left of the data when a block is left out, without an eigendecomposition of its own.

With S the scatter of all n samples about their mean μ, S_b that of the block's samples about their own mean μ + d, and
m how many of them go (all, or half of them where the data cannot do without the block: h = 1 or ½),

    n' = n − m,   μ' = μ − (m/n') d,   S' = S − h S_b − (n m/n') ddᵀ,

and all that a score reads of S' is a product with (S' + κI)⁻¹, by one Cholesky factorisation LLᵀ, which costs a
twentieth of an eigendecomposition. Blocks are known to single precision, and so is the remainder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.linalg.blas import dspr
from scipy.linalg.lapack import dtpttr, dtrtri

from voxrank.scores.centred import Centred, targets_about_mean
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import PackedMoments, diagonal, upper
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array, moved_sums

FLOORS = (0.0, 1e-6, 1e-4, 1e-2)
"""Added to the diagonal of S', as a share of that of S: the first is used that leaves S' singular without no block."""


@dataclass(frozen=True, kw_only=True)
class Remainder(Centred):
    """The data less a block, in the samples' own basis.

    Attributes:
        rank: that of the scatter of all the data.
        whole: all the data.
        triangle: (D(D+1)/2,) the upper triangle, by rows, of S'.
        floor: what is added to the diagonal of S' before it is factored, as a share of that of S.
    """

    whole: Whole
    triangle: Array
    floor: float

    @property
    def trace(self) -> float:
        """Tr S'."""
        return float(diagonal(self.triangle, self.dim).sum())

    @property
    def squares(self) -> float:
        """Tr S'²."""
        own = diagonal(self.triangle, self.dim)
        return 2 * float(self.triangle @ self.triangle) - float(own @ own)

    @property
    def own_cross(self) -> Array:
        """(T, D) C."""
        return self.cross

    def whitened(self, ridge: float) -> Array:
        """(T, D) L⁻¹ of C's rows.

        Raises:
            LinAlgError: S' + κI is singular to single precision.
        """
        triangle = self.triangle if ridge else self.triangle + self.whole.missing
        factor = _factor(triangle, self._added(ridge))
        return np.asarray(linalg.solve_triangular(factor, self.cross.T, lower=True, check_finite=False).T)

    def fit(self, ridge: float) -> tuple[float, float]:
        """The residual ‖Y‖² − tr CW − tr Wᵀ(tI)W, W = (S' + tI)⁻¹Cᵀ, and D − t tr(S' + tI)⁻¹. Errors as `whitened`."""
        added = self._added(ridge)
        inverse = dtrtri(_factor(self.triangle, added), lower=1, overwrite_c=1)[0]
        rows = inverse @ self.cross.T
        residual = self.square.sum() - (rows**2).sum() - (added @ (inverse.T @ rows) ** 2).sum()
        return max(float(residual), 0.0), self.dim - float(added @ np.einsum("ij,ij->j", inverse, inverse))

    def _added(self, ridge: float) -> Array:
        """(D,) the diagonal matrix that is added to S'."""
        return ridge + self.floor * diagonal(self.whole.triangle, self.dim)


def _factor(triangle: Array, added: Array) -> Array:
    """L, zeros above, of a matrix with something added to its diagonal."""
    matrix = dtpttr(len(added), triangle, uplo="L")[0]
    np.einsum("ii->i", matrix)[:] += added
    return np.asarray(linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False))


@dataclass(frozen=True)
class Whole:
    """All the data about their mean, to take blocks from.

    Attributes:
        moments: about the mean.
        triangle: (D(D+1)/2,) the upper triangle, by rows, of S.
        spectrum: what was found of them.
    """

    moments: Moments
    triangle: Array
    spectrum: Spectrum

    @classmethod
    def of(cls, moments: Moments, spectrum: Spectrum) -> Whole:
        """Of the moments, and what was found of them."""
        centred = moments.centred().targets_about(None)
        return cls(centred, upper(centred.gram), spectrum)

    @cached_property
    def missing(self) -> Array | float:
        """The triangle of (tr S/D) V₀V₀ᵀ, V₀ the directions that S does not reach: with it S is regular."""
        s = self.spectrum
        vectors = s.vectors[:, s.eigenvalues == 0]
        return upper(vectors @ vectors.T) * s.trace / s.dim if vectors.size else 0.0

    def without(self, block: PackedMoments, *, share: float = 1.0, floor: float = 0.0) -> Remainder:
        """Leave out a block.

        Args:
            block: what goes.
            share: how much of it goes: h.
            floor: as `Remainder.floor`.
        """
        mine, offset, taken = self.moments, block.mean - self.spectrum.mean, share * block.n
        n, target_total, target_gram = mine.n - taken, mine.target_total - share * block.target_total, mine.target_gram
        if target_gram is not None and block.target_gram is not None:
            target_gram = target_gram - share * block.target_gram
        used, weight, square, target_gram = targets_about_mean(
            n, target_total, mine.square - share * block.square, target_gram, np.zeros(len(target_total))
        )
        cross = mine.cross - share * (block.cross + np.outer(block.target_total, offset))
        cross += np.outer(target_total, taken / n * offset)
        triangle = self.triangle - np.float32(share) * block.triangle
        triangle = dspr(block.dim, -mine.n * taken / n, offset, triangle, lower=1, overwrite_ap=1)
        return Remainder(
            n=n,
            cross=cross[used],
            weight=weight,
            square=square,
            used=used,
            target_gram=target_gram,
            quartic=self._quartic(block, offset, share),
            rank=self.spectrum.rank,
            whole=self,
            triangle=triangle,
            floor=floor,
        )

    def _quartic(self, block: PackedMoments, offset: Array, share: float) -> float:
        """Σ ‖f − μ'‖⁴ of what is left: the block about μ, taken from all about μ, moved to μ'."""
        mine, taken, pull = self.moments.products, share * block.n, block.scatter_times(offset)
        cubic, quartic = moved_sums(
            block.cubic, block.quartic, block.n, np.zeros(block.dim), offset, trace=block.trace, pull=pull
        )
        step = taken / (self.moments.n - taken)
        return moved_sums(
            mine.cubic - share * cubic,
            mine.quartic - share * quartic,
            self.moments.n - taken,
            -taken * offset,
            step * offset,
            trace=float(np.trace(mine.gram)) - share * block.trace - taken * float(offset @ offset),
            pull=step * (mine.gram @ offset - share * pull - taken * float(offset @ offset) * offset),
        )[1]
