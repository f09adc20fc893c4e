"""Features as users give them, checked."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError

Sketch = TypeVar("Sketch")

ROWS = 4096
"""Looked at at a time, so that a check takes no memory to speak of."""


def checked_features(features: ArrayLike) -> NDArray[np.floating]:
    """Features as (n, D) float32 or float64.

    Raises:
        OptionError: another shape, or values that are not finite.
    """
    samples = np.asarray(features)
    if samples.dtype not in (np.float32, np.float64):
        samples = samples.astype(np.float64)
    if samples.ndim != 2 or 0 in samples.shape:
        raise OptionError(f"expected features of shape (samples, dimensions), got {samples.shape}")
    samples = np.ascontiguousarray(samples)
    if not _finite(samples):
        raise OptionError("the features hold NaN or infinite values; drop those samples first")
    return samples


def _finite(samples: NDArray[np.floating]) -> bool:
    """Whether all are: a sum that is finite has finite terms, and is quick; one that is not may have overflowed."""
    return bool(as_tensor(samples).sum().isfinite()) or all(
        bool(np.isfinite(samples[i : i + ROWS]).all()) for i in range(0, len(samples), ROWS)
    )


def as_tensor(samples: NDArray[np.floating]) -> torch.Tensor:
    """The samples as a tensor that is only read, also where they may not be written to (a memory map)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(samples)


def checked_targets(targets: ArrayLike, n: int, *, regression: bool) -> NDArray[Any]:
    """Class ids (n,), or values (n, T).

    Raises:
        OptionError: another shape, or values that are not finite.
    """
    values = np.asarray(targets)
    if regression:
        values = np.asarray(values, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 1 + regression or len(values) != n:
        raise OptionError(f"expected {n} targets, one for each sample, got an array of shape {values.shape}")
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        raise OptionError("the targets hold NaN or infinite values; drop those samples first")
    return values


def check_same_dim(known: int, dim: int) -> None:
    """Refuse features of another dimension than before.

    Raises:
        OptionError: they have one.
    """
    if dim != known:
        raise OptionError(f"expected features of {known} numbers as before, got {dim}")


def missing_source(name: str) -> OptionError:
    """What to say where a distance has no source data."""
    return OptionError(f"{name} compares source and target data, and there are no source data; name them with --source")


def check_same_kind(*, mine: bool, theirs: bool) -> None:
    """Refuse to merge a score of values with one of classes.

    Raises:
        OptionError: one is a regression and the other not.
    """
    if mine != theirs:
        raise OptionError("a score of values cannot merge with one of classes; fit both the same way")


def fitted(name: str, sketch: Sketch | None, classes: NDArray[Any] | None) -> Sketch:
    """What a score has seen, refused when that is nothing, or one class.

    Args:
        name: of the score.
        sketch: what it has seen; None for nothing.
        classes: the class ids seen; None for values.

    Raises:
        OptionError: nothing was fitted, or the labels hold a single class.
    """
    if sketch is None:
        raise OptionError(f"{name} has seen no samples; call fit(features, targets) first")
    if classes is not None and len(classes) < 2:
        raise OptionError(f"expected at least two classes, got only {classes[0]}; one class ranks nothing")
    return sketch
