"""How a score moves with the moments that it reads, and with it how it moves with each block of the data.

A score S that is a smooth function of the moments M has, since moments add up, the derivative with respect to the
weight of block b

    U_b = ⟨∂S/∂M, M_b⟩,

one inner product with the block's own moments. The gradient is found once, so that the uncertainty of a score costs
about one (D, D) product and no further decomposition.

The moments may be taken about any fixed centre. They are taken about the mean of all samples, beside which no digits
are lost. Where a score reads the scatter about the mean, that the mean moves with the weights does not matter: Σ(f − μ)
= 0, so that the scatter does not change with μ to first order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from voxrank.scores.centred import Centred
from voxrank.sketches.blocks import PackedMoments, fold
from voxrank.sketches.products import Array

LeftOut = Callable[[Centred], float]
"""A score's value from the data less a block."""


@dataclass(frozen=True)
class Gradient:
    """∂S/∂M, with M the sums of samples less a centre, g = f − c. Parts that S does not depend on are None, or 0.

    Attributes:
        n: ∂S/∂n.
        total: (D,) by Σg.
        gram: (D, D) by Σg gᵀ, symmetric.
        cross: (T, D) by Σy gᵀ.
        target_total: (T,) by Σy.
        square: (T,) by Σy².
        centre: (D,) c; None for 0.
    """

    n: float = 0.0
    total: Array | None = None
    gram: Array | None = None
    cross: Array | None = None
    target_total: Array | None = None
    square: Array | None = None
    centre: Array | None = None

    def along(self, block: PackedMoments) -> float:
        """⟨∂S/∂M, M_b⟩."""
        offset = block.mean if self.centre is None else block.mean - self.centre
        change = self.n * block.n
        if self.total is not None:
            change += block.n * float(self.total @ offset)
        if self.gram is not None:
            change += float(self._folded @ block.triangle) + block.n * float(offset @ self.gram @ offset)
        if self.cross is not None:
            change += float(np.vdot(self.cross, block.cross)) + float(block.target_total @ (self.cross @ offset))
        if self.target_total is not None:
            change += float(self.target_total @ block.target_total)
        if self.square is not None:
            change += float(self.square @ block.square)
        return change

    @cached_property
    def _folded(self) -> Array:
        return fold(self.gram) if self.gram is not None else np.zeros(0)


@dataclass(frozen=True)
class Reading:
    """A score read off a spectrum, and how its influence by the blocks is found.

    Without `gradient` and `left_out` the score is read again without each block, at the price of an eigendecomposition
    each.

    Attributes:
        value: the score.
        gradient: finds how it moves with the moments.
        left_out: finds its value from the data less a block.
        unridged: whether `left_out` inverts the scatter as it is, so that its rank must stay.
    """

    value: float
    gradient: Callable[[], Gradient] | None = None
    left_out: LeftOut | None = None
    unridged: bool = False


def influence(gradient: Gradient, blocks: Iterable[PackedMoments]) -> Array:
    """U_b of every block: (B,)."""
    return np.array([gradient.along(block) for block in blocks])
