"""Gradients of scores by the moments, and the influence of each block of the data.

Let a score S be a smooth function of the moments M. Moments are additive. Therefore the derivative of S by the weight
of block b is an inner product with the moments of the block,

    U_b = ⟨∂S/∂M, M_b⟩.

The gradient is computed once, so that the uncertainty of a score costs about one (D, D) product and no further
decomposition.

The moments may be taken about any fixed centre. The mean of all samples is used, which loses no digits. The mean itself
depends on the weights. This does not matter where a score reads the scatter about the mean: Σ(f − μ) = 0, so that the
scatter does not change with μ to first order.
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
"""Function that computes a score from the data without a block."""


@dataclass(frozen=True)
class Gradient:
    """The gradient ∂S/∂M, where M are sums of samples about a centre, g = f − c.

    Parts that S does not depend on are None, or 0.

    Attributes:
        n: derivative by n.
        total: (D,) derivative by Σg.
        gram: (D, D) derivative by Σg gᵀ, symmetric.
        cross: (T, D) derivative by Σy gᵀ.
        target_total: (T,) derivative by Σy.
        square: (T,) derivative by Σy².
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
        """Return the influence ⟨∂S/∂M, M_b⟩ of a block."""
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
    """A score of a spectrum, with the means to compute its influence by block.

    Without `gradient` and `left_out`, the score is computed again without each block, which costs an eigendecomposition
    for each block.

    Attributes:
        value: the score.
        gradient: function that computes the gradient by the moments.
        left_out: function that computes the score from the data without a block.
        unridged: whether `left_out` inverts the scatter without a ridge, so that its rank must not change.
    """

    value: float
    gradient: Callable[[], Gradient] | None = None
    left_out: LeftOut | None = None
    unridged: bool = False


def influence(gradient: Gradient, blocks: Iterable[PackedMoments]) -> Array:
    """Return U_b of every block: (B,)."""
    return np.array([gradient.along(block) for block in blocks])
