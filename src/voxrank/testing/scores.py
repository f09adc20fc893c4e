"""Checks that every score of the scikit-learn kind must pass. Call `check_score` in your tests.

Example::

    from voxrank.testing.scores import check_score

    def test_my_score():
        check_score(MyScore)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError

TOLERANCE = 1e-6
"""Maximum relative change of a score with the order of the samples, or with their division into chunks."""


class SupervisedScore(Protocol):
    """The interface that is checked."""

    def fit(self, features: ArrayLike, targets: ArrayLike) -> Self:
        """Fit to these samples, and forget earlier ones."""

    def partial_fit(self, features: ArrayLike, targets: ArrayLike) -> Self:
        """Add these samples."""

    def merge(self, other: Any) -> Self:
        """Add the samples of `other`."""

    @property
    def score_(self) -> float:
        """The score."""


Make = Callable[[], SupervisedScore]


def check_score(make: Make, *, values: bool = False, seed: int = 0) -> None:
    """Check the score of a scikit-learn-like class.

    Args:
        make: creates a fresh score.
        values: whether its targets are values (n, T) instead of class ids (n,).
        seed: seed of the data.

    Raises:
        AssertionError: a check failed; the message says which.
    """
    features, targets = _data(seed, values=values)
    whole = make().fit(features, targets).score_
    _check_order_and_division(make, features, targets, whole)
    _check_degenerate(make, values=values)
    _check_refusals(make, features, targets, values=values)


def _data(seed: int, n: int = 240, dim: int = 12, *, values: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 4)
    features = rng.normal(size=(n, dim)) + rng.normal(size=(4, dim))[labels]
    return features, features[:, :2] + rng.normal(size=(n, 2)) if values else labels


def _check_order_and_division(make: Make, features: NDArray[Any], targets: NDArray[Any], whole: float) -> None:
    _require(bool(np.isfinite(whole)), f"expected a finite score, got {whole}")
    again = make().fit(features, targets)
    _check_close("fit twice", again.fit(features, targets).score_, whole)
    order = np.random.default_rng(1).permutation(len(features))
    _check_close("another order of the samples", make().fit(features[order], targets[order]).score_, whole)
    chunked = make()
    for start in range(0, len(features), 50):
        chunked.partial_fit(features[start : start + 50], targets[start : start + 50])
    _check_close("samples in chunks", chunked.score_, whole)
    parts = [make().fit(features[i::3], targets[i::3]) for i in range(3)]
    _check_close("merged parts", parts[0].merge(parts[1]).merge(parts[2]).score_, whole)
    late = make().fit(features[2::3], targets[2::3]).merge(parts[1]).merge(make().fit(features[::3], targets[::3]))
    _check_close("parts merged in another order", late.score_, whole)
    _check_close("merged with one that saw nothing", make().fit(features, targets).merge(make()).score_, whole)
    if targets.ndim == 1:
        _check_close("other class ids", make().fit(features, np.array([90, -3, 7, 12])[targets]).score_, whole)


def _check_degenerate(make: Make, *, values: bool) -> None:
    few_features, few_targets = _data(2, n=20, dim=60, values=values)
    features, targets = _data(3, values=values)
    cases = {
        "fewer samples than dimensions": (few_features, few_targets),
        "rank-deficient features": (np.hstack([features, features]), targets),
        "features that never change": (np.full_like(features, 3.5), targets),
        "features that are zero": (np.zeros_like(features), targets),
        "one dimension": (features[:, :1], targets),
        "a large mean": (features + 1e4, targets),
    }
    for name, (x, y) in cases.items():
        score = make().fit(x, y).score_
        _require(bool(np.isfinite(score)), f"{name}: expected a finite score, got {score}")


def _check_refusals(make: Make, features: NDArray[Any], targets: NDArray[Any], *, values: bool) -> None:
    broken = features.copy()
    broken[3, 1] = np.nan
    cases: dict[str, Callable[[], Any]] = {
        "no samples at all": lambda: make().score_,
        "NaN in the features": lambda: make().fit(broken, targets),
        "features without rows": lambda: make().fit(features[:0], targets[:0]),
        "more features than targets": lambda: make().fit(features, targets[:-1]),
        "another dimension": lambda: make().fit(features, targets).partial_fit(features[:, 1:], targets),
    }
    if values:
        cases["values that are all the same"] = lambda: make().fit(features, np.full_like(targets, 3.0)).score_
    else:
        cases["one class"] = lambda: make().fit(features, np.zeros(len(features), dtype=int)).score_
        cases["labels that are missing"] = lambda: make().fit(features, np.array([None, "a"])[targets % 2]).score_
    for name, call in cases.items():
        try:
            call()
        except OptionError:
            continue
        raise AssertionError(f"{name}: expected OptionError, got none")


def _check_close(what: str, got: float, expected: float) -> None:
    limit = TOLERANCE * max(1.0, abs(expected))
    _require(abs(got - expected) <= limit, f"{what}: expected {expected}, got {got}")


def _require(condition: bool, message: str) -> None:  # noqa: FBT001
    if not condition:
        raise AssertionError(message)
