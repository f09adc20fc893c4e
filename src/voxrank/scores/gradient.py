"""How a score moves with the moments that it reads, and with it how it moves with each block of the data.

A score S that is a smooth function of the moments M has, since moments add up, the derivative with respect to the
weight of block b

    U_b = ⟨∂S/∂M, M_b⟩,

one inner product with the block's own moments. The gradient is found once, so that the uncertainty of a score costs
about one (D, D) product and no further decomposition.

The moments may be taken about any fixed centre. Where a score reads the scatter about the mean, the mean may be that
centre although it moves with the weights: Σ(f − μ) = 0, so that the scatter does not change with μ to first order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import PackedMoments, fold
from voxrank.sketches.products import Array


@dataclass(frozen=True)
class Gradient:
    """∂S/∂M, with M about a centre. Parts that S does not depend on are None, or 0.

    Attributes:
        n: ∂S/∂n.
        total: (D,) by Σf.
        gram: (D, D) by FᵀF, symmetric.
        quartic: by Σ‖f‖⁴.
        cross: (T, D) by YᵀF.
        target_total: (T,) by Σy.
        square: (T,) by Σy².
        target_gram: (T, T) by YᵀY, for values; None where `square` says all.
        centre: (D,) what is taken from f before anything else; None for nothing.
        target_centre: (T,) what is taken from y; None for nothing.
    """

    n: float = 0.0
    total: Array | None = None
    gram: Array | None = None
    quartic: float = 0.0
    cross: Array | None = None
    target_total: Array | None = None
    square: Array | None = None
    target_gram: Array | None = None
    centre: Array | None = None
    target_centre: Array | None = None

    def along(self, block: PackedMoments) -> float:
        """⟨∂S/∂M, M_b⟩."""
        offset = block.mean if self.centre is None else block.mean - self.centre
        change = self.n * block.n + self._of_targets(block)
        if self.total is not None:
            change += block.n * float(self.total @ offset)
        if self.gram is not None:
            change += float(self._folded @ block.triangle) + block.n * float(offset @ self.gram @ offset)
        if self.quartic:
            change += self.quartic * _quartic_about(block, offset)
        if self.cross is not None:
            change += float(np.vdot(self.cross, block.cross)) + float(self._total_of(block) @ (self.cross @ offset))
        return change

    def _total_of(self, block: PackedMoments) -> Array:
        return block.target_total if self.target_centre is None else block.target_total - block.n * self.target_centre

    def _of_targets(self, block: PackedMoments) -> float:
        centre = np.zeros(len(block.target_total)) if self.target_centre is None else self.target_centre
        total, change = block.target_total, 0.0
        if self.target_total is not None:
            change += float(self.target_total @ self._total_of(block))
        if self.square is not None:
            change += float(self.square @ (block.square - 2 * centre * total + block.n * centre**2))
        if self.target_gram is not None and block.target_gram is not None:
            outer = np.outer(centre, total)
            gram = block.target_gram - outer - outer.T + block.n * np.outer(centre, centre)
            change += float(np.vdot(self.target_gram, gram))
        return change

    @cached_property
    def _folded(self) -> Array:
        return fold(self.gram) if self.gram is not None else np.zeros(0)


def _quartic_about(block: PackedMoments, offset: Array) -> float:
    """Σ ‖f − centre‖⁴ of a block whose mean lies `offset` from the centre."""
    length = float(offset @ offset)
    own = block.quartic + 4 * float(offset @ block.cubic)
    return own + 2 * length * block.trace + 4 * float(offset @ block.scatter_times(offset)) + block.n * length**2


@dataclass(frozen=True)
class Reading:
    """A score read off a spectrum.

    Attributes:
        value: the score.
        gradient: finds how it moves with the moments; None where it has no gradient: blocks are then left out in turn.
    """

    value: float
    gradient: Callable[[], Gradient] | None


def about_mean(
    s: Spectrum,
    *,
    gram: Array,
    cross: Array | None = None,
    square: Array | None = None,
    counts: Array | None = None,
    target_gram: Array | None = None,
    quartic: float = 0.0,
    n: float = 0.0,
) -> Gradient:
    """The gradient of a score that reads the scatter about the mean.

    Args:
        s: what the score was read from.
        gram: (D, D) by the scatter S, in the samples' own basis.
        cross: (T, D) by Σ (y − ȳ) fᵀ, in that basis, for the used columns.
        square: (T,) by Σ (y − ȳ)², for the used columns.
        counts: (T,) by the class counts, for the used columns.
        target_gram: (T, T) by the scatter of values.
        quartic: by Σ ‖f − μ‖⁴.
        n: by the number of samples.
    """
    columns, size = np.flatnonzero(s.used), len(s.used)
    centre = _spread(s.target_mean, columns, (size,))
    if counts is not None:
        n += float(counts @ s.target_mean)  # Σy about the centre lacks n·ȳ
    return Gradient(
        n=n,
        total=-4 * quartic * s.cubic / s.n if quartic else None,
        gram=gram,
        quartic=quartic,
        cross=None if cross is None else _spread(cross, columns, (size, len(s.mean))),
        target_total=None if counts is None else _spread(counts, columns, (size,)),
        square=None if square is None else _spread(square, columns, (size,)),
        target_gram=None if target_gram is None else _spread(target_gram, np.ix_(columns, columns), (size, size)),
        centre=s.mean,
        target_centre=centre,
    )


def _spread(used: Array, where: Any, shape: tuple[int, ...]) -> Array:
    """Put what holds for the used columns among all columns."""
    wide = np.zeros(shape)
    wide[where] = used
    return wide


def influence(gradient: Gradient, blocks: Iterable[PackedMoments]) -> Array:
    """U_b of every block: (B,)."""
    return np.array([gradient.along(block) for block in blocks])
