"""Ranks of values as unit vectors, whose products are rank correlations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


def unit_ranks(rows: Array) -> Array:
    """Return ranks within rows, (R, n), centred and of length 1, so that ρ is a dot product; NaN if all are tied."""
    ranks = stats.rankdata(rows, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit: Array = np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 0)
    return unit
