"""Squared Fréchet distance between source and target features of one layer, both approximated as normal.

    F² = ‖μ_s − μ_t‖² + tr(Σ_s + Σ_t − 2(Σ_s^½ Σ_t Σ_s^½)^½).

Lower is better. The score reads the moments alone, and costs two eigendecompositions.

Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule …", arXiv 1706.08500.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from voxrank.errors import OptionError
from voxrank.scores.checks import as_tensor, check_same_dim, checked_features, finite, missing_source
from voxrank.scores.estimate import Estimate
from voxrank.scores.score import Score
from voxrank.scores.view import LayerView
from voxrank.sketches.eigen import eigh
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array


class FrechetDistance:
    """Squared Fréchet distance of source and target features; lower is better. Memory does not grow with the samples.

    Attributes:
        higher_is_better: False.
    """

    higher_is_better = False

    def __init__(self) -> None:
        self._moments: list[Moments | None] = [None, None]

    def fit(self, source: ArrayLike, target: ArrayLike) -> Self:
        """Fit source (n, D) and target (m, D), and discard samples seen before.

        Raises:
            OptionError: shapes that do not fit, or values that are not finite.
        """
        checked = checked_features(source), checked_features(target)
        self._moments = [None, None]
        return self.partial_fit(*checked)

    def partial_fit(self, source: ArrayLike | None = None, target: ArrayLike | None = None) -> Self:
        """Add samples of either set. The errors are those of `fit`."""
        for side, features in enumerate((source, target)):
            if features is not None:
                samples = checked_features(features)
                self._ensure_moments(side, samples.shape[1]).update(
                    as_tensor(samples), np.zeros(len(samples), dtype=np.int64)
                )
        return self

    def merge(self, other: FrechetDistance) -> Self:
        """Add the samples that `other` saw.

        Raises:
            OptionError: their dimensions differ.
        """
        for side, moments in enumerate(other._moments):
            if moments is not None:
                self._ensure_moments(side, moments.dim).merge(moments)
        return self

    @property
    def score_(self) -> float:
        """The squared distance F².

        Raises:
            OptionError: source or target samples are missing.
        """
        source, target = self._moments
        if source is None or target is None:
            raise OptionError("FrechetDistance needs source and target samples; call fit(source, target) first")
        return finite("FrechetDistance", _distance_from(source)(target))

    def _ensure_moments(self, side: int, dim: int) -> Moments:
        check_same_dim(next((m.dim for m in self._moments if m is not None), dim), dim)
        moments = self._moments[side]
        if moments is None:
            moments = self._moments[side] = Moments.zeros(dim, 1)
        return moments


def estimate_frechet(view: LayerView) -> Estimate:
    """Estimate F² of source and target, with each block of the target left out in turn.

    Raises:
        OptionError: the source is missing.
    """
    if view.source is None:
        raise missing_source("the Fréchet distance")
    squared, moments = _distance_from(view.source.moments), view.moments
    all_blocks = set(moments.blocks)

    def distance_of(blocks: Sequence[int]) -> float:
        remaining = moments.total
        for left_out in all_blocks.difference(blocks):
            remaining = remaining.without(moments.blocks[left_out].unpack())
        return squared(remaining)

    return view.left_out(distance_of)


def _distance_from(source: Moments) -> Callable[[Moments], float]:
    """Return a function of a target that computes F² from this source, which is decomposed once."""
    cov_s = _covariance(source)
    values, vectors = eigh(cov_s)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T

    def squared(target: Moments) -> float:
        cov_t = _covariance(target)
        cross_term = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_t @ root), 0)).sum()
        gap = source.centre - target.centre + (source.total / source.n - target.total / target.n)
        squared_distance = gap @ gap + np.trace(cov_s) + np.trace(cov_t) - 2 * cross_term
        return max(float(squared_distance), 0.0)  # negative by rounding only

    return squared


def _covariance(moments: Moments) -> Array:
    return moments.centred().gram / moments.n


SCORE = Score(
    "frechet",
    "Fréchet",
    FrechetDistance.higher_is_better,
    estimate_frechet,
    needs_source=True,
    estimator=FrechetDistance,
    summary="squared Fréchet distance, as if both were normal",
)
