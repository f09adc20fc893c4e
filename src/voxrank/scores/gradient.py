"""How a score moves with the moments that it reads, and with it how it moves with each block of the data.

A score S that is a smooth function of the moments M = (n, Σf, FᵀF, YᵀF, Σy, Σy², YᵀY) has, since moments add up,
the derivative with respect to the weight of block b

    U_b = ⟨∂S/∂M, M_b⟩,

one inner product with the block's own moments. The gradient is found once, so that the uncertainty of a score costs
about one (D, D) product and no further decomposition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from voxrank.sketches.blocks import PackedMoments, fold
from voxrank.sketches.moments import Array


@dataclass(frozen=True)
class Gradient:
    """∂S/∂M. Parts that S does not depend on are None.

    Attributes:
        n: ∂S/∂n.
        total: (D,) by Σf.
        gram: (D, D) by FᵀF, symmetric.
        cross: (T, D) by YᵀF.
        target_total: (T,) by Σy.
        square: (T,) by Σy².
        products: (T, T) by YᵀY off the diagonal (the diagonal is `square`), for values.
    """

    n: float = 0.0
    total: Array | None = None
    gram: Array | None = None
    cross: Array | None = None
    target_total: Array | None = None
    square: Array | None = None
    products: Array | None = None

    def along(self, block: PackedMoments) -> float:
        """⟨∂S/∂M, M_b⟩."""
        change = self.n * block.n
        if self.total is not None:
            change += self.total @ block.total
        if self._folded is not None and self.gram is not None:
            change += self._folded @ block.triangle.astype(np.float64) + block.total @ self.gram @ block.mean
        if self.cross is not None:
            change += np.vdot(self.cross, block.cross) + block.target_total @ (self.cross @ block.mean)
        if self.target_total is not None:
            change += self.target_total @ block.target_total
        if self.square is not None:
            change += self.square @ block.square
        if self.products is not None and block.products is not None:
            change += np.vdot(self.products, block.products)
        return float(change)

    @cached_property
    def _folded(self) -> Array | None:
        return None if self.gram is None else fold(self.gram)


def influence(gradient: Gradient, blocks: Iterable[PackedMoments]) -> Array:
    """U_b of every block: (B,)."""
    return np.array([gradient.along(block) for block in blocks])
