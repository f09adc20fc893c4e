"""Rounding to significant digits, so that sums in another order give the same file."""

from __future__ import annotations


def significant(number: float, digits: int) -> float:
    """Round a number to so many significant digits.

    Example:
        >>> significant(-0.036345, 3)
        -0.0363
    """
    return float(f"{number:.{digits}g}")
