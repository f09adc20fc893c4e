"""Checks of features and targets from users. Input that scores cannot read is refused with a message of one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from voxrank.errors import OptionError
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import EPSILON

Sketch = TypeVar("Sketch")

ROWS = 4096
"""Number of samples that are checked at a time, so that a check needs little memory."""
LARGEST = 1e70
"""Largest number whose fourth powers can be summed; 1/LARGEST is the smallest spread."""
MOST_ROUNDING = 1e-3
"""Minimum ratio of the rounding of features to their spread for a warning."""
REAL, LABELS = "biuf", "biufUS"
"""Kinds of NumPy dtypes that are real numbers, and kinds that can be labels."""


def checked_features(features: ArrayLike) -> NDArray[np.floating]:
    """Return features as (n, D) float32 or float64.

    Tensors of any device and precision, lists, frames of pandas, whole numbers and booleans are converted.

    Raises:
        OptionError: another shape, sparse features, or values that are not real and finite numbers.
    """
    samples = shaped_features(features)
    if samples.dtype != np.float64:
        check_finite(samples)
    return samples


def shaped_features(features: ArrayLike) -> NDArray[np.floating]:
    """Return features as `checked_features` does. Those in single precision may hold NaN or infinite values.

    Raises:
        OptionError: those of `checked_features`, except for such values in single precision.
    """
    samples = _real_numbers(checked_array(features, "features"), "features")
    if samples.dtype not in (np.float32, np.float64):
        samples = samples.astype(np.float64)
    if samples.ndim != 2 or 0 in samples.shape:
        raise OptionError(f"expected features of shape (samples, dimensions), got {samples.shape}")
    samples = np.ascontiguousarray(samples)
    if samples.dtype == np.float64:
        check_finite(samples)
        _check_size(samples, "features")
    return samples


def check_finite(samples: NDArray[np.floating]) -> None:
    """Refuse samples that are NaN or infinite.

    Raises:
        OptionError: there are such samples.
    """
    if not _all_finite(samples):
        raise OptionError("the features hold NaN or infinite values; drop those samples first")


def checked_array(values: Any, what: str) -> NDArray[Any]:
    """Return an array-like object of numbers or labels as an array.

    Raises:
        OptionError: the object is sparse, masked, ragged, or does not convert to an array.
    """
    if issparse(values) or getattr(values, "layout", torch.strided) != torch.strided:
        raise OptionError(f"expected {what} as a dense array, got a sparse one; convert it, such as with toarray()")
    if np.ma.is_masked(values):
        raise OptionError(f"the {what} hold masked values; drop those samples first")
    try:
        if isinstance(values, torch.Tensor):
            return _host_array(values)
        if isinstance(values, list | tuple):
            values = [_host_array(item) if isinstance(item, torch.Tensor) else item for item in values]
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(
            f"expected {what} as an array, got a {type(values).__name__} that does not convert to one ({error}); "
            "use a NumPy array or a dense tensor"
        ) from error


def _host_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor as an array on the host, without gradient, in a precision that NumPy supports."""
    known = (torch.float16, torch.float32, torch.float64)
    if tensor.is_floating_point() and tensor.dtype not in known:
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy(force=True)
    return array


def _real_numbers(values: NDArray[Any], what: str) -> NDArray[Any]:
    """Return values that are real numbers; objects that are numbers become floats.

    Raises:
        OptionError: text, complex numbers, dates or other objects.
    """
    refusal = OptionError(
        f"expected {what} that are real numbers, got {_kind_name(values)}; convert them, such as with astype(float)"
    )
    if values.dtype.kind == "O" and not any(isinstance(value, str | bytes) for value in values.flat):
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise refusal from error
    if values.dtype.kind not in REAL:
        raise refusal
    return values


def _kind_name(values: NDArray[Any]) -> str:
    names = {"U": "text", "T": "text", "S": "bytes", "c": "complex numbers", "M": "dates", "m": "times", "O": "objects"}
    return names.get(values.dtype.kind, str(values.dtype))


def _check_size(values: NDArray[np.floating], what: str) -> None:
    """Refuse numbers whose powers overflow. Single precision has no such numbers."""
    if values.dtype == np.float64:
        largest = float(torch.linalg.vector_norm(as_tensor(values), ord=torch.inf))
        if largest > LARGEST:
            raise OptionError(f"expected {what} up to {LARGEST:g}, got {largest:.3g}; rescale them")


def _all_finite(samples: NDArray[np.floating]) -> bool:
    """Return whether all samples are finite.

    A finite sum proves it quickly. If the sum is not finite, it may have overflowed, and all samples are checked.
    """
    return bool(as_tensor(samples).sum().isfinite()) or all(
        bool(np.isfinite(samples[i : i + ROWS]).all()) for i in range(0, len(samples), ROWS)
    )


def as_tensor(samples: NDArray[np.floating]) -> torch.Tensor:
    """Return the samples as a tensor to read only, also where they are not writable (a memory map)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(samples)


def checked_targets(targets: ArrayLike, n: int, *, regression: bool) -> NDArray[Any]:
    """Return class ids (n,), or values (n, T).

    Raises:
        OptionError: another shape, labels that are missing or of several kinds, or values that are not finite.
    """
    values = _target_values(targets, n) if regression else checked_labels(targets, n)
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        raise OptionError("the targets hold NaN or infinite values; drop those samples first")
    if regression:
        _check_size(values, "targets")
    return values


def _target_values(targets: ArrayLike, n: int) -> NDArray[Any]:
    values = _real_numbers(checked_array(targets, "targets"), "targets").astype(np.float64)
    if values.ndim not in (1, 2) or len(values) != n or values.shape[1:] == (0,):
        raise _wrong_shape("targets", n, values)
    return values[:, None] if values.ndim == 1 else values


def checked_labels(labels: ArrayLike, n: int, what: str = "targets") -> NDArray[Any]:
    """Return labels (n,) that are numbers or text.

    Args:
        labels: one label for each sample.
        n: number of samples.
        what: name of the labels in messages.

    Raises:
        OptionError: another shape, missing labels, numbers among text, or other objects.
    """
    values = checked_array(labels, what)
    if values.ndim != 1 or len(values) != n:
        raise _wrong_shape(what, n, values)
    if isinstance(labels, list | tuple) or values.dtype.kind in "OT":
        values = _labels_of_one_kind(labels if isinstance(labels, list | tuple) else values.tolist(), what)
    if values.dtype.kind not in LABELS:
        raise OptionError(
            f"expected {what} that are numbers or text, got {_kind_name(values)}; convert them, as with str()"
        )
    return values


def _labels_of_one_kind(labels: Iterable[Any], what: str) -> NDArray[Any]:
    items = [label.item() if isinstance(label, torch.Tensor | np.generic) else label for label in labels]
    if any(label is None or type(label).__name__ in ("NAType", "NaTType") or label != label for label in items):
        raise OptionError(f"the {what} hold missing values (None or NaN); drop those samples first")
    kinds = sorted({_kind(label) for label in items})
    if len(kinds) > 1:
        raise OptionError(f"expected {what} of one kind, got {' and '.join(kinds)}; make them all text or all numbers")
    return np.asarray(items)


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "text"
    return "numbers" if isinstance(label, Real) else type(label).__name__


def _wrong_shape(what: str, n: int, values: NDArray[Any]) -> OptionError:
    return OptionError(f"expected {n} {what}, one for each sample, got an array of shape {values.shape}")


def check_same_labels(known: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse labels of another kind (text or numbers) than before.

    Raises:
        OptionError: the labels are of two kinds.
    """
    kinds = [_kind_name(array) if array.dtype.kind in "US" else "numbers" for array in (known, labels)]
    if len(known) and len(labels) and kinds[0] != kinds[1]:
        raise OptionError(f"expected labels that are {kinds[0]} as before, got {kinds[1]}; make them of one kind")


def check_same_dim(known: int, dim: int) -> None:
    """Refuse features of another dimension than before.

    Raises:
        OptionError: the dimensions differ.
    """
    if dim != known:
        raise OptionError(f"expected features of {known} numbers as before, got {dim}")


def missing_source(name: str) -> OptionError:
    """Return the error of a distance without source data."""
    return OptionError(f"{name} compares source and target data, and there are no source data; name them with --source")


def check_same_kind(*, left: bool, right: bool) -> None:
    """Refuse to merge a score of values with one of classes.

    Raises:
        OptionError: only one of the two scores is a regression.
    """
    if left != right:
        raise OptionError("a score of values cannot merge with one of classes; fit both the same way")


def fitted(name: str, moments: Moments | None, classes: NDArray[Any] | None) -> Moments:
    """Return the moments that a score has seen, and refuse moments that do not allow a score.

    Args:
        name: name of the score.
        moments: moments of the samples seen; None without samples.
        classes: the class ids seen; None for values.

    Raises:
        OptionError: nothing was fitted, the labels hold a single class, all values are equal, or the spread of the
            features is too small to be squared.
    """
    if moments is None:
        raise OptionError(f"{name} has seen no samples; call fit(features, targets) first")
    if classes is not None and len(classes) < 2:
        raise OptionError(f"expected at least two classes, got only {classes[0]}; one class ranks nothing")
    if classes is None and not _targets_vary(moments):
        raise OptionError("expected values that differ between samples, got a single value; nothing to predict")
    spread = np.sqrt(float(moments.products.scatter_diagonal.max()) / moments.n)
    if 0 < spread < 1 / LARGEST:
        raise OptionError(f"expected features that differ by {1 / LARGEST:g} or more, got {spread:.3g}; rescale them")
    return moments


def rounding_warning(moments: Moments, precision: float) -> str | None:
    """Return a warning where features lie so far from 0 that rounding hides their differences; otherwise None.

    Args:
        moments: moments of the features.
        precision: relative rounding of the input features.
    """
    spread = float(np.sqrt(moments.products.scatter_diagonal.sum() / max(moments.n, 1)))
    offset = float(np.linalg.norm(moments.mean))
    if not spread or precision * offset <= MOST_ROUNDING * spread:
        return None
    return (
        f"the mean of the features is {offset / spread:.1e} times their spread, so that their own rounding hides more "
        f"than {MOST_ROUNDING:g} of it; subtract a constant in double precision before they are rounded"
    )


def _targets_vary(moments: Moments) -> bool:
    """Return whether any target column has more than one value, up to rounding."""
    mean = moments.target_total / moments.n
    squares = moments.square - moments.n * mean**2
    return bool((squares > moments.n * (4 * EPSILON * (moments.target_origin + mean)) ** 2).any())


def finite(name: str, value: float) -> float:
    """Return a score, and refuse one that is not finite.

    Raises:
        OptionError: the score is infinite or NaN.
    """
    if not np.isfinite(value):
        raise OptionError(f"{name} gives no finite number for these features; rescale them, or leave out constant ones")
    return value
