"""Rank correlations, with exact p-values for few candidates.

Sources: Spearman, "The proof and measurement of association between two things", American J. of Psychology 15, 1904;
Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945; Vigna, "A weighted correlation index for
rankings with ties", WWW 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from voxrank._support.ranks import unit_ranks
from voxrank.errors import OptionError

Array = NDArray[np.float64]

EXACT_SPEARMAN = 9
"""Maximum number of candidates for which all permutations are counted: 362,880 of them."""
EXACT_KENDALL = 33
"""Maximum number of candidates without ties for which SciPy counts all permutations by default."""
FEWEST = 3
"""Minimum number of candidates for a correlation; with two, it is always 1 or −1."""
DECIMALS = 12
"""Decimals of mean truths and of correlations; equal values computed in another order differ only after these."""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, −1 to 1.

    Attributes:
        value: the correlation; None where it is undefined: below three candidates, or if one side is all tied.
        p: two-sided p-value of "no association"; None where undefined or not known.
        n: number of candidates.
        exact: whether `p` counts permutations; otherwise it is an approximation for many candidates.
    """

    value: float | None
    p: float | None
    n: int
    exact: bool


def spearman(a: ArrayLike, b: ArrayLike) -> Correlation:
    """Return Spearman's ρ: Pearson's correlation of the ranks; ties take the mean of their ranks.

    Up to nine candidates, p is the share of all n! orders of the observed ranks whose ρ is as far from 0. Beyond, it
    is SciPy's approximation by Student's t, but at least 2/n!, the share of the two extreme orders.

    Args:
        a: (n,) without NaN.
        b: as `a`.

    Returns:
        The correlation; value and p are None below three candidates and if one side is all tied.

    Raises:
        OptionError: the two lists differ in length.

    Example:
        >>> spearman([1, 2, 3, 4], [1, 3, 2, 4]).value
        0.8
    """
    x, y = paired(a, b)
    n = len(x)
    if undefined(x, y):
        return Correlation(None, None, n, exact=False)
    if n > EXACT_SPEARMAN:
        result = stats.spearmanr(x, y)
        return Correlation(bounded(result.statistic), max(float(result.pvalue), 2 / factorial(n)), n, exact=False)
    ranks_a, ranks_b = unit_ranks(x[None])[0], unit_ranks(y[None])[0]
    value = float(ranks_a @ ranks_b)
    permuted = np.abs(ranks_b[_orders(n)] @ ranks_a)
    return Correlation(bounded(value), float((permuted >= abs(value) - 10.0**-DECIMALS).mean()), n, exact=True)


def kendall(a: ArrayLike, b: ArrayLike) -> Correlation:
    """Return Kendall's τ-b.

    τ-b is the number of pairs in the same order minus the number of pairs in opposite order, over √(pairs untied in a ·
    pairs untied in b). p is exact up to 33 candidates without ties. Arguments, undefined cases and errors are as for
    `spearman`.
    """
    x, y = paired(a, b)
    if undefined(x, y):
        return Correlation(None, None, len(x), exact=False)
    exact = len(x) <= EXACT_KENDALL and len(np.unique(x)) == len(np.unique(y)) == len(x)
    result = stats.kendalltau(x, y, method="exact" if exact else "asymptotic")
    return Correlation(bounded(result.statistic), float(result.pvalue), len(x), exact)


def weighted_kendall(a: ArrayLike, b: ArrayLike) -> Correlation:
    """Return Kendall's τ with more weight on exchanges near the top; higher is better on both sides.

    Candidates at ranks r and s, counted from 0 at the best, have the joint weight 1/(r+1) + 1/(s+1): hyperbolic and
    additive, SciPy's default and the usual form in papers on transferability. The measure is symmetric: the mean of the
    τ with ranks by `a` and of the τ with ranks by `b`. Its distribution is not known, so p is None. Arguments,
    undefined cases and errors are as for `spearman`.
    """
    x, y = paired(a, b)
    value = None if undefined(x, y) else bounded(stats.weightedtau(x, y, rank=True, additive=True).statistic)
    return Correlation(value, None, len(x), exact=False)


def paired(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Return both lists as float64 (n,).

    Raises:
        OptionError: the two are not lists of the same length without NaN.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or np.isnan(x).any() or np.isnan(y).any():
        raise OptionError(
            f"expected two lists of as many numbers without NaN, got shapes {x.shape} and {y.shape}; "
            "leave out candidates that miss one"
        )
    return x, y


def undefined(x: Array, y: Array) -> bool:
    """Return whether the correlation is undefined: too few candidates, or one side all tied."""
    return len(x) < FEWEST or bool((x == x[0]).all() or (y == y[0]).all())


def bounded(value: Any) -> float:
    """Return a correlation without rounding errors, within −1 and 1."""
    return float(np.clip(value, -1, 1).round(DECIMALS))


def _orders(n: int) -> NDArray[np.int8]:
    """Return all orders of 0 … n−1, (n!, n), built by inserting the last element at every position."""
    orders = np.zeros((1, 0), dtype=np.int8)
    for last in range(n):
        orders = np.concatenate([np.insert(orders, position, last, axis=1) for position in range(last + 1)])
    return orders


def rhos(a: Array, b: Array) -> Array:
    """Return Spearman's ρ of each row of (R, n) with the row of the other, or its single row; NaN where undefined."""
    correlations: Array = (unit_ranks(a) * unit_ranks(b)).sum(axis=1)
    return correlations
