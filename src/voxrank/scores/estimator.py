"""Scores with the interface of scikit-learn: fit, partial_fit, merge, score_."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError
from voxrank.scores.checks import (
    as_tensor,
    check_finite,
    check_same_kind,
    check_same_labels,
    checked_targets,
    finite,
    fitted,
    rounding_warning,
    shaped_features,
)
from voxrank.scores.gradient import Reading
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.moments import Moments

logger = logging.getLogger(__name__)


class FittedMoments:
    """A base class of scores, which accumulates the moments of one set of features and targets.

    Attributes:
        higher_is_better: direction of the score.
        classes_: the class ids seen, sorted (classification).
    """

    higher_is_better: ClassVar[bool] = True

    def __init__(self, *, regression: bool = False) -> None:
        self.regression = regression
        self._reset()

    def _reset(self) -> None:
        self.classes_: NDArray[Any] = np.empty(0, dtype=np.int64)
        self._moments: Moments | None = None
        self._spectrum: Spectrum | None = None
        self._precision = 0.0
        self._warned_of_rounding = False

    def fit(self, features: ArrayLike, targets: ArrayLike) -> Self:
        """Fit these samples, and discard samples seen before.

        Args:
            features: (n, D) finite floats.
            targets: (n,) class ids; with `regression` (n,) or (n, T) values.

        Raises:
            OptionError: shapes that do not fit, or values that are not finite.
        """
        self._reset()
        return self.partial_fit(features, targets)

    def partial_fit(self, features: ArrayLike, targets: ArrayLike) -> Self:
        """Add samples, which may have new classes. The arguments and errors are those of `fit`."""
        samples = shaped_features(features)
        self._add_moments(samples, checked_targets(targets, len(samples), regression=self.regression))
        return self

    def _add_moments(self, samples: NDArray[Any], values: NDArray[Any]) -> None:
        dim, classes = samples.shape[1], self.classes_
        if not self.regression:
            classes = self._union_of_classes(np.unique(values))
            values = np.searchsorted(classes, values)
        n_targets = values.shape[1] if self.regression else len(classes)
        self._check_shape(dim, n_targets)
        added = Moments.zeros(dim, n_targets, values=self.regression)
        with np.errstate(over="ignore", invalid="ignore"):  # samples that are not finite are refused below
            added.update(as_tensor(samples), values)
        if not np.isfinite(added.products.quartic):  # every value is in this sum
            check_finite(samples)
        self._extend_classes(classes)
        self._ensure_moments(dim, n_targets).merge(added)
        self._spectrum = None
        self._precision = max(self._precision, float(np.finfo(samples.dtype).eps))

    def merge(self, other: Self) -> Self:
        """Add the samples that `other` saw.

        Raises:
            OptionError: only one of the two is a regression, or their dimensions differ.
        """
        if not isinstance(other, FittedMoments):
            raise OptionError(f"expected another score to merge with, got a {type(other).__name__}")
        if other._moments is None:
            return self
        check_same_kind(left=self.regression, right=other.regression)
        if self.regression:
            self._check_shape(other._moments.dim, len(other._moments.square))
        else:
            classes = self._union_of_classes(other.classes_)
            self._check_shape(other._moments.dim, len(classes))
            self._extend_classes(classes)
        added = other._moments_of_classes(self.classes_)
        self._ensure_moments(added.dim, len(added.square)).merge(added)
        self._spectrum = None
        self._precision = max(self._precision, other._precision)
        return self

    def _checked_moments(self) -> Moments:
        moments = fitted(type(self).__name__, self._moments, None if self.regression else self.classes_)
        if not self._warned_of_rounding and (warning := rounding_warning(moments, self._precision)):
            logger.warning("%s", warning)
            self._warned_of_rounding = True
        return moments

    def _checked_spectrum(self) -> Spectrum:
        moments = self._checked_moments()
        if self._spectrum is None:
            self._spectrum = Spectrum.of(moments)
        return self._spectrum

    def _union_of_classes(self, classes: NDArray[Any]) -> NDArray[Any]:
        """Return the classes seen and new classes, in sorted order."""
        check_same_labels(self.classes_, classes)
        union: NDArray[Any] = np.union1d(self.classes_, classes) if len(self.classes_) else classes
        return union

    def _extend_classes(self, classes: NDArray[Any]) -> None:
        """Extend the moments to `classes`, a sorted superset of the classes seen."""
        if self._moments is not None:
            self._moments = self._moments_of_classes(classes)
        self.classes_ = classes

    def _check_shape(self, dim: int, n_targets: int) -> None:
        if self._moments is None:
            return
        expected = (self._moments.dim, len(self._moments.square) if self.regression else n_targets)
        if expected != (dim, n_targets):
            if not self.regression:
                expected = (expected[0], len(self._moments.square))
            raise OptionError(f"expected (dimensions, targets) {expected} as before, got {(dim, n_targets)}")

    def _moments_of_classes(self, classes: NDArray[Any]) -> Moments:
        """Return the moments with a row for each of `classes`, a superset of the classes seen."""
        moments = self._ensure_moments(0, 0)
        if self.regression or len(classes) == len(self.classes_):
            return moments
        return moments.spread(np.searchsorted(classes, self.classes_), len(classes))

    def _ensure_moments(self, dim: int, n_targets: int) -> Moments:
        if self._moments is None:
            self._moments = Moments.zeros(dim, n_targets, values=self.regression)
        return self._moments


class MomentScore(FittedMoments):
    """A score that is computed from the moments of one set of features.

    Memory does not depend on the number of samples, and objects fitted on parts of the data merge.

    Args:
        regression: targets are values, (n,) or (n, T), instead of class ids. Multi-label targets are T columns of 0 and
            1, fitted as values.

    Attributes:
        higher_is_better: direction of the score.
        classes_: the class ids seen, sorted (classification).
    """

    @staticmethod
    def read(spectrum: Spectrum, /) -> Reading:
        """Read the score of a spectrum, with its gradient. Subclasses implement it."""
        raise NotImplementedError

    @property
    def score_(self) -> float:
        """The score.

        Raises:
            OptionError: nothing was fitted, the labels hold a single class, all values are equal, or the features are
                too large or too small for a finite score.
        """
        return finite(type(self).__name__, type(self).read(self._checked_spectrum()).value)
