"""Ranks of values, rank correlations and quantiles, without `scipy.stats`, whose import takes half a second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]


def average_ranks(rows: NDArray[np.floating]) -> Array:
    """Return the ranks within rows (R, n), from 1 on; equal values share the mean of their ranks.

    A row with NaN has the rank NaN throughout, as with `scipy.stats.rankdata`.
    """
    order = np.argsort(rows, axis=1, kind="stable")
    ascending = np.take_along_axis(rows, order, axis=1)
    begins = np.ones(rows.shape, dtype=bool)  # where a run of equal values begins
    begins[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    starts = np.flatnonzero(begins)
    sizes = np.diff(starts, append=rows.size)
    shared = starts % max(rows.shape[1], 1) + (sizes + 1) / 2
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, np.repeat(shared, sizes).reshape(rows.shape), axis=1)
    ranks[np.isnan(rows).any(axis=1)] = np.nan
    return ranks


def unit_ranks(rows: Array) -> Array:
    """Return ranks within rows, (R, n), centred and of length 1, so that ρ is a dot product; NaN if all are tied."""
    ranks = average_ranks(rows)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit: Array = np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 0)
    return unit


def spearman(left: Array, right: Array) -> float | None:
    """Return Spearman's rank correlation of two arrays (n,); None below three values, and where all are equal."""
    if len(left) < 3 or not np.ptp(left) or not np.ptp(right):
        return None
    first, second = unit_ranks(np.stack([left, right]).astype(np.float64))
    return float(np.clip(first @ second, -1, 1))


def student_quantile(share: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution.

    Args:
        share: probability below the quantile.
        degrees: degrees of freedom.

    Example:
        >>> round(student_quantile(0.975, 9), 3)
        2.262
    """
    return float(stdtrit(degrees, share))
