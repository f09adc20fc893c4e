"""How much of the samples the targets explain: the (T, T) matrix that H-score, CCA and VCI are read from.

    A = R C (S + κI)⁺ Cᵀ Rᵀ,   C = Σ (y − ȳ)(f − μ)ᵀ,   RᵀR = (Σ (y − ȳ)(y − ȳ)ᵀ)⁺.

For κ = 0 its eigenvalues are the squared canonical correlations of samples and targets, and its trace is that of
(total scatter)⁻¹ (scatter between the classes). A score F(A) of it has a simple gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxrank.scores.gradient import Gradient, about_mean
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.products import Array


@dataclass(frozen=True)
class Explained:
    """A, and what its gradient needs.

    Attributes:
        spectrum: what it was found from.
        whitened: (T', D) e = R c.
        inverse: (D,) 1/(λ + κ), 0 where that is 1/0.
        matrix: (T', T') A.
    """

    spectrum: Spectrum
    whitened: Array
    inverse: Array
    matrix: Array

    @classmethod
    def of(cls, s: Spectrum, ridge: float = 0.0) -> Explained:
        """A of a spectrum, with κ = `ridge`."""
        whitened = s.root @ s.cross
        denominator = s.eigenvalues + ridge
        inverse = np.divide(1.0, denominator, out=np.zeros_like(denominator), where=denominator > 0)
        return cls(s, whitened, inverse, (whitened * inverse) @ whitened.T)

    def gradient(
        self, slope: Array, *, by_eigenvalues: Array | None = None, quartic: float = 0.0, n: float = 0.0
    ) -> Gradient:
        """The gradient of F(A), and of what else a score reads.

        Args:
            slope: (T', T') ∂F/∂A, a function of A.
            by_eigenvalues: (D,) further terms by S, in its own basis.
            quartic: by Σ ‖f − μ‖⁴.
            n: by the number of samples.
        """
        s = self.spectrum
        moved = (self.whitened * self.inverse) @ s.vectors.T
        gram = -(moved.T @ slope @ moved)
        if by_eigenvalues is not None:
            gram += (s.vectors * by_eigenvalues) @ s.vectors.T
        targets = -(s.root.T @ self.matrix @ slope @ s.root)
        return about_mean(
            s,
            gram=gram,
            cross=2 * s.root.T @ slope @ moved,
            counts=np.diag(targets).copy() if s.target_gram is None else None,
            target_gram=None if s.target_gram is None else targets,
            quartic=quartic,
            n=n,
        )

    def by_ridge(self) -> float:
        """∂tr(A)/∂κ."""
        return -float(((self.whitened * self.inverse) ** 2).sum())
