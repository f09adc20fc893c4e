"""The data without a block, for scores that need no eigendecomposition of it.

Let S be the scatter of all n samples about their mean μ, and S_b the scatter of the block's samples about their mean
μ + d. Let m be the number of samples that are removed: all samples of the block (h = 1), or half of them (h = ½) where
a score cannot be computed without the block. Then

    n' = n − m,   μ' = μ − (m/n') d,   S' = S − h S_b − (n m/n') ddᵀ.

Scores read only products of S' with (S' + κI)⁻¹. They need one Cholesky factorisation LLᵀ, which costs a twentieth of
an eigendecomposition. Blocks have single precision, and so has the remainder.
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
"""Shares of the diagonal of S to add to that of S'. The first share that makes S' regular for every block is used."""


@dataclass(frozen=True, kw_only=True)
class Remainder(Centred):
    """The data without a block, in the basis of the samples.

    Attributes:
        rank: rank of the scatter of all data.
        whole: all data.
        triangle: (D(D+1)/2,) the upper triangle, by rows, of S'.
        floor: share of the diagonal of S that is added to the diagonal of S' before the factorisation.
    """

    whole: Whole
    triangle: Array
    floor: float

    @property
    def trace(self) -> float:
        """Trace of the scatter, tr S'."""
        return float(diagonal(self.triangle, self.dim).sum())

    @property
    def squares(self) -> float:
        """Sum of the squares of the entries of the scatter, tr S'²."""
        entries = diagonal(self.triangle, self.dim)
        return 2 * float(self.triangle @ self.triangle) - float(entries @ entries)

    @property
    def own_cross(self) -> Array:
        """Cross products C: (T, D)."""
        return self.cross

    def whitened(self, ridge: float) -> Array:
        """Return (T, D) L⁻¹ applied to the rows of C.

        Raises:
            LinAlgError: S' + κI is singular to single precision.
        """
        triangle = self.triangle if ridge else self.triangle + self.whole.missing
        factor = _factor(triangle, self._added_diagonal(ridge))
        return np.asarray(linalg.solve_triangular(factor, self.cross.T, lower=True, check_finite=False).T)

    def fit(self, ridge: float) -> tuple[float, float]:
        """Return the residual ‖Y‖² − tr CW − tr Wᵀ(tI)W, W = (S' + tI)⁻¹Cᵀ, and D − t tr(S' + tI)⁻¹.

        The errors are those of `whitened`.
        """
        added = self._added_diagonal(ridge)
        inverse = dtrtri(_factor(self.triangle, added), lower=1, overwrite_c=1)[0]
        rows = inverse @ self.cross.T
        residual = self.square.sum() - (rows**2).sum() - (added @ (inverse.T @ rows) ** 2).sum()
        return max(float(residual), 0.0), self.dim - float(added @ np.einsum("ij,ij->j", inverse, inverse))

    def _added_diagonal(self, ridge: float) -> Array:
        """Return (D,) the diagonal of the matrix that is added to S'."""
        return ridge + self.floor * diagonal(self.whole.triangle, self.dim)


def _factor(triangle: Array, added: Array) -> Array:
    """Return the lower Cholesky factor L of a matrix, with `added` on its diagonal."""
    matrix = dtpttr(len(added), triangle, uplo="L")[0]
    np.einsum("ii->i", matrix)[:] += added
    return np.asarray(linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False))


@dataclass(frozen=True)
class Whole:
    """All data about their mean, from which blocks can be left out.

    Attributes:
        moments: moments about the mean.
        triangle: (D(D+1)/2,) the upper triangle, by rows, of S.
        spectrum: spectrum of the moments.
    """

    moments: Moments
    triangle: Array
    spectrum: Spectrum

    @classmethod
    def of(cls, moments: Moments, spectrum: Spectrum) -> Whole:
        """Build it from the moments and their spectrum."""
        centred = moments.centred().targets_about(None)
        return cls(centred, upper(centred.gram), spectrum)

    @cached_property
    def missing(self) -> Array | float:
        """Triangle of (tr S/D) V₀V₀ᵀ, V₀ the directions that S does not reach. Added to S, it makes S regular."""
        s = self.spectrum
        vectors = s.vectors[:, s.eigenvalues == 0]
        return upper(vectors @ vectors.T) * s.trace / s.dim if vectors.size else 0.0

    def without(self, block: PackedMoments, *, share: float = 1.0, floor: float = 0.0) -> Remainder:
        """Leave out a block.

        Args:
            block: the block to leave out.
            share: share h of the block to leave out.
            floor: see `Remainder.floor`.
        """
        moments, offset, n_removed = self.moments, block.mean - self.spectrum.mean, share * block.n
        n, target_total, target_gram = (
            moments.n - n_removed,
            moments.target_total - share * block.target_total,
            moments.target_gram,
        )
        if target_gram is not None and block.target_gram is not None:
            target_gram = target_gram - share * block.target_gram
        used, weight, square, target_gram = targets_about_mean(
            n, target_total, moments.square - share * block.square, target_gram, np.zeros(len(target_total))
        )
        cross = moments.cross - share * (block.cross + np.outer(block.target_total, offset))
        cross += np.outer(target_total, n_removed / n * offset)
        triangle = self.triangle - np.float32(share) * block.triangle
        triangle = dspr(block.dim, -moments.n * n_removed / n, offset, triangle, lower=1, overwrite_ap=1)
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
        """Return Σ ‖f − μ'‖⁴ of the remainder: the sums about μ of all data less those of the block, moved to μ'."""
        products, n_removed, pull = self.moments.products, share * block.n, block.scatter_times(offset)
        cubic, quartic = moved_sums(
            block.cubic, block.quartic, block.n, np.zeros(block.dim), offset, trace=block.trace, pull=pull
        )
        step = n_removed / (self.moments.n - n_removed)
        return moved_sums(
            products.cubic - share * cubic,
            products.quartic - share * quartic,
            self.moments.n - n_removed,
            -n_removed * offset,
            step * offset,
            trace=float(np.trace(products.gram)) - share * block.trace - n_removed * float(offset @ offset),
            pull=step * (products.gram @ offset - share * pull - n_removed * float(offset @ offset) * offset),
        )[1]
