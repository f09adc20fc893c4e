"""How much of the samples the targets explain: the (T, T) matrix that H-score, CCA and VCI are read from.

    A = R C (S + κI)⁺ Cᵀ Rᵀ,   C = Σ (y − ȳ)(f − μ)ᵀ,   RᵀR = (Σ (y − ȳ)(y − ȳ)ᵀ)⁺.

For κ = 0 its eigenvalues are the squared canonical correlations of samples and targets, and its trace is that of
(total scatter)⁻¹ (scatter between the classes). A score F(A) of it has a simple gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.moments import Array


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

    def by_gram(self, slope: Array) -> Array:
        """∂F/∂S (D, D) in the samples' own basis, for ∂F/∂A = `slope` (T', T')."""
        moved = (self.whitened * self.inverse) @ self.spectrum.vectors.T
        gradient: Array = -(moved.T @ slope @ moved)
        return gradient

    def by_cross(self, slope: Array) -> Array:
        """∂F/∂C (T, D) in the samples' own basis."""
        moved = (self.whitened * self.inverse) @ self.spectrum.vectors.T
        gradient: Array = 2 * self.spectrum.root.T @ slope @ moved
        return gradient

    def by_targets(self, slope: Array) -> dict[str, Any]:
        """∂F by the class counts, or by the values' scatter, as `about_mean` takes it; `slope` is a function of A."""
        root = self.spectrum.root
        gradient = -(root.T @ self.matrix @ slope @ root)
        return {"counts": np.diag(gradient).copy()} if self.spectrum.target_gram is None else {"target_gram": gradient}

    def by_ridge(self) -> float:
        """∂tr(A)/∂κ."""
        return -float(((self.whitened * self.inverse) ** 2).sum())
