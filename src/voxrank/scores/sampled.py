"""Scores of a bounded sample in the manner of scikit-learn: kNN, NCM, LOO, GBC, TransRate."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError
from voxrank.scores.checks import (
    as_tensor,
    check_same_dim,
    check_same_kind,
    checked_features,
    checked_targets,
    fitted,
)
from voxrank.scores.estimate import Estimate
from voxrank.scores.heldout import estimate_knn, estimate_loo, estimate_ncm
from voxrank.scores.separation import estimate_gbc, estimate_transrate
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import Keys, Sample, content_keys


class SampledScore:
    """A score of one set of features that looks at some of them one by one.

    At most `max_samples` are kept, chosen by their contents: the same ones however the data come.

    Args:
        regression: targets are values, (n,) or (n, T), instead of class ids.
        max_samples: kept at most.

    Attributes:
        higher_is_better: the direction.
    """

    higher_is_better: ClassVar[bool] = True

    def __init__(self, *, regression: bool = False, max_samples: int = 4096) -> None:
        self.regression, self.max_samples = regression, max_samples
        self._reset()

    def _reset(self) -> None:
        self._parts: list[tuple[NDArray[Any], NDArray[Any], Moments]] = []  # group, classes, moments of each part
        self._sample: Sample | None = None
        self._targets: list[NDArray[Any]] = []
        self._groups: list[NDArray[Any]] = []
        self._view: LayerView | None = None

    @staticmethod
    def estimate(view: LayerView, /) -> Estimate:
        """The score of a layer's sketches: what a subclass gives."""
        raise NotImplementedError

    def fit(self, features: ArrayLike, targets: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Forget what was seen and take these.

        Args:
            features: (n, D) finite floats.
            targets: (n,) class ids; with `regression` (n,) or (n, T) values.
            groups: (n,) such as speakers: samples of one group do not predict each other. None: each stands alone.

        Raises:
            OptionError: shapes that do not fit, or values that are not finite.
        """
        self._reset()
        return self.partial_fit(features, targets, groups)

    def partial_fit(self, features: ArrayLike, targets: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Add samples to those seen. Arguments and errors as `fit`."""
        samples = checked_features(features)
        values = checked_targets(targets, len(samples), regression=self.regression)
        members = np.zeros(len(samples), dtype=np.int64) if groups is None else np.asarray(groups)
        if len(members) != len(samples):
            raise OptionError(f"expected {len(samples)} groups, one for each sample, got {len(members)}")
        if self._sample is not None:
            check_same_dim(self._sample.features.shape[1], samples.shape[1])
        for group in np.unique(members):
            chosen = members == group
            self._parts.append((np.asarray(group), *_moments(samples[chosen], values[chosen])))
        self._keep(samples, values, members, content_keys(samples))
        return self

    def _keep(self, samples: NDArray[Any], values: NDArray[Any], members: NDArray[Any], keys: Keys) -> None:
        if self._sample is None:
            self._sample = Sample.empty(self.max_samples, samples.shape[1])
        rows = np.arange(len(samples)) + sum(map(len, self._targets))
        self._sample.update(as_tensor(samples), keys, rows, 0)
        self._targets.append(values)
        self._groups.append(members)
        self._view = None

    def merge(self, other: SampledScore) -> Self:
        """Add the samples that `other` saw.

        Raises:
            OptionError: one is a regression and the other not.
        """
        if other._sample is None:
            return self
        check_same_kind(mine=self.regression, theirs=other.regression)
        if self._sample is None:
            self._sample = Sample.empty(self.max_samples, other._sample.features.shape[1])
        theirs = other._sample
        offset = sum(map(len, self._targets))
        self._sample.merge(Sample(theirs.size, theirs.keys, theirs.features, theirs.rows + offset, theirs.blocks))
        self._targets += other._targets
        self._groups += other._groups
        self._parts += other._parts
        self._view = None
        return self

    @property
    def classes_(self) -> NDArray[Any]:
        """The class ids seen, sorted."""
        return np.unique(np.concatenate([classes for _, classes, _ in self._parts])) if self._parts else np.empty(0)

    @property
    def score_(self) -> float:
        """The score.

        Raises:
            OptionError: nothing was fitted, the labels hold a single class, or the score needs classes.
        """
        sample = fitted(type(self).__name__, self._sample, None if self.regression else self.classes_)
        if self._view is None:
            self._view = self._made_view(sample)
        return type(self).estimate(self._view).value

    def _made_view(self, sample: Sample) -> LayerView:
        classes = self.classes_
        groups, members = np.unique(np.concatenate(self._groups), return_inverse=True)
        width = len(classes) if not self.regression else self._targets[0].shape[1]
        dim = sample.features.shape[1]
        moments = BlockedMoments.zeros(dim, width, values=self.regression)
        for number, group in enumerate(groups):
            block = Moments.zeros(dim, width, values=self.regression)
            for of, theirs, part in self._parts:
                if of == group:
                    block.merge(part if self.regression else part.spread(np.searchsorted(classes, theirs), width))
            moments.close_block(number, block)
        targets = np.concatenate(self._targets)
        blocks = members[sample.rows]
        kept = Sample(sample.size, sample.keys, sample.features, sample.rows, blocks)
        return LayerView(moments, kept, targets if self.regression else np.searchsorted(classes, targets))


def _moments(samples: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], Moments]:
    """Classes, and moments; for values, no classes."""
    regression = values.ndim == 2
    classes = np.empty(0) if regression else np.unique(values)
    moments = Moments.zeros(samples.shape[1], values.shape[1] if regression else len(classes), values=regression)
    moments.update(as_tensor(samples), values if regression else np.searchsorted(classes, values))
    return classes, moments


class KNN(SampledScore):
    """Accuracy (R² for values) of the 5 nearest neighbours; higher is better (`voxrank.scores.heldout`)."""

    estimate = staticmethod(estimate_knn)


class NearestClassMean(SampledScore):
    """Accuracy of the nearest class mean over other groups; higher is better (`voxrank.scores.heldout`)."""

    estimate = staticmethod(estimate_ncm)


class LeaveOneOut(SampledScore):
    """Leave-one-out accuracy (R² for values) of ridge regression; higher is better (`voxrank.scores.heldout`)."""

    estimate = staticmethod(estimate_loo)


class GBC(SampledScore):
    """Gaussian Bhattacharyya class separability; higher is better (`voxrank.scores.separation`)."""

    estimate = staticmethod(estimate_gbc)


class TransRate(SampledScore):
    """TransRate; higher is better (`voxrank.scores.separation`)."""

    estimate = staticmethod(estimate_transrate)
