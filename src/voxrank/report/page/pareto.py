"""The Pareto front of models by score and cost."""

from __future__ import annotations

from collections.abc import Sequence


def front(goodness: Sequence[float], cheapness: Sequence[float]) -> list[bool]:
    """Return whether each candidate is on the Pareto front: no other is at least as good in both and better in one.

    Args:
        goodness: score of each candidate, higher for better.
        cheapness: cheapness of each candidate, higher for better.

    Returns:
        One truth value for each candidate; equal candidates share their value.

    Example:
        >>> front([3, 2, 1], [1, 2, 1])
        [True, True, False]
    """
    pairs = list(zip(goodness, cheapness, strict=True))
    return [not any(_beats(other, own) for other in pairs) for own in pairs]


def _beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a != b
