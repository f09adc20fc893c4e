"""Scores of a bounded sample with the interface of scikit-learn: kNN, NCM, LOO, GBC, TransRate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError
from voxrank.scores.checks import as_tensor, checked_features, checked_labels, checked_targets, finite
from voxrank.scores.estimate import Estimate
from voxrank.scores.estimator import FittedMoments
from voxrank.scores.heldout import HeldOut, estimate_knn, estimate_loo, estimate_ncm
from voxrank.scores.separation import estimate_gbc, estimate_transrate
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.groups import GroupSums
from voxrank.sketches.sample import Sample, content_keys, utterance_key


class SampledScore(FittedMoments):
    """A score of one set of features that reads a bounded sample of them.

    At most `max_samples` samples are kept. The choice depends on their contents alone, not on the order of the data or
    on batches. Memory does not depend on the number of samples, nor on the number of groups.

    Args:
        regression: targets are values, (n,) or (n, T), instead of class ids.
        max_samples: maximum number of samples to keep.

    Attributes:
        higher_is_better: direction of the score.
        classes_: the class ids seen, sorted (classification).
    """

    def __init__(self, *, regression: bool = False, max_samples: int = 4096) -> None:
        if max_samples < 1:
            raise OptionError(f"expected max_samples of at least 1, got {max_samples}")
        self.max_samples = max_samples
        super().__init__(regression=regression)

    def _reset(self) -> None:
        super()._reset()
        self._sample: Sample | None = None
        self._targets: NDArray[Any] | None = None  # of the kept samples, in their order
        self._view: LayerView | None = None

    @staticmethod
    def estimate(view: LayerView, /) -> Estimate:
        """Estimate the score from a layer's sketches. Subclasses implement it.

        Here the moments are those of all samples, without blocks, and the block of a sample is its group.
        """
        raise NotImplementedError

    def fit(self, features: ArrayLike, targets: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Fit these samples, and discard samples seen before.

        Args:
            features: (n, D) finite floats.
            targets: (n,) class ids; with `regression` (n,) or (n, T) values.
            groups: (n,) groups such as speakers. Samples of one group do not predict each other. None: each sample is
                a separate group.

        Raises:
            OptionError: shapes that do not fit, or values that are not finite.
        """
        self._reset()
        return self.partial_fit(features, targets, groups)

    def partial_fit(self, features: ArrayLike, targets: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Add samples. The arguments and errors are those of `fit`."""
        samples = checked_features(features)
        values = checked_targets(targets, len(samples), regression=self.regression)
        members = _group_keys(groups, len(samples))
        self._take(samples, values)
        self._observe(samples, values, members)
        return self

    def _observe(self, samples: NDArray[Any], values: NDArray[Any], groups: NDArray[np.int64]) -> None:
        """Keep some of the samples, which have already been added to the moments."""
        offered = Sample.empty(self.max_samples, samples.shape[1], samples.dtype)
        offered.update(as_tensor(samples), content_keys(samples), np.arange(len(samples)), groups)
        self._keep(offered, values)

    def _keep(self, offered: Sample, targets: NDArray[Any]) -> None:
        if self._sample is None or self._targets is None:
            self._sample, self._targets = Sample.empty(self.max_samples, offered.features.shape[1]), targets[:0]
        kept = self._sample
        kept.merge(replace(offered, rows=offered.rows + len(self._targets)))
        self._targets = np.concatenate([self._targets, targets])[kept.rows]
        kept.rows = np.arange(len(kept))
        self._view = None

    def merge(self, other: Self) -> Self:
        """Add the samples that `other` saw.

        Raises:
            OptionError: only one of the two is a regression, or their dimensions differ.
        """
        super().merge(other)
        if other._sample is not None and other._targets is not None:
            self._keep(other._sample, other._targets)
        return self

    @property
    def score_(self) -> float:
        """The score.

        Raises:
            OptionError: nothing was fitted, the labels hold a single class, or the score needs classes.
        """
        moments = self._seen()
        if self._view is None:
            targets = self._targets
            if not self.regression and targets is not None:
                targets = np.searchsorted(self.classes_, targets)
            self._view = LayerView(BlockedMoments(moments), self._sample, targets)
        return finite(type(self).__name__, self._estimated(self._view).value)

    def _estimated(self, view: LayerView) -> Estimate:
        return type(self).estimate(view)


def _group_keys(groups: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Return a number for each sample's group (n,), the same for the same name."""
    if groups is None:
        return np.zeros(n, dtype=np.int64)
    members = checked_labels(groups, n, "groups")
    names, places = np.unique(members, return_inverse=True)
    keys: NDArray[np.int64] = np.array([utterance_key(str(name)) for name in names]).view(np.int64)[places]
    return keys


class KNN(SampledScore):
    """Accuracy (R² for values) of the 5 nearest neighbours; higher is better (`voxrank.scores.heldout`)."""

    estimate = staticmethod(estimate_knn)


class NearestClassMean(SampledScore):
    """Accuracy of the nearest class mean over other groups; higher is better (`voxrank.scores.heldout`).

    The means are those of all samples outside the group of the sample. Beyond 16,384 pairs of group and class, groups
    are divided into ten blocks by a hash of their names, as the ranking divides speakers. Then the block of the sample
    is held out, which includes its group. Where all samples are in one group (or `groups` is None), no sample is held
    out.
    """

    estimate = staticmethod(estimate_ncm)

    def _reset(self) -> None:
        super()._reset()
        self._sums: GroupSums | None = None

    def _know(self, classes: NDArray[Any]) -> None:
        before = self.classes_
        super()._know(classes)
        if self._sums is not None:
            self._sums.classes = np.searchsorted(self.classes_, before)[self._sums.classes]

    def _observe(self, samples: NDArray[Any], values: NDArray[Any], groups: NDArray[np.int64]) -> None:
        super()._observe(samples, values, groups)
        if not self.regression:
            self._started_sums(samples.shape[1]).add(samples, np.searchsorted(self.classes_, values), groups)

    def merge(self, other: Self) -> Self:
        """Add the samples that `other` saw. The errors are those of `SampledScore.merge`."""
        super().merge(other)
        if other._sums is not None:
            places = np.searchsorted(self.classes_, other.classes_)
            theirs = replace(other._sums, classes=places[other._sums.classes])
            self._started_sums(theirs.sums.shape[1]).merge(theirs)
        return self

    def _started_sums(self, dim: int) -> GroupSums:
        if self._sums is None:
            self._sums = GroupSums.empty(dim)
        return self._sums

    def _estimated(self, view: LayerView) -> Estimate:
        if self._sums is None:
            return super()._estimated(view)
        sums = self._sums.about(view.moments.total.mean)
        total = replace(view.moments.total.about(sums.centre), cross=sums.class_sums(len(self.classes_)))
        return estimate_ncm(replace(view, moments=BlockedMoments(total)), _held_out(sums, view))


def _held_out(sums: GroupSums, view: LayerView) -> Iterator[HeldOut]:
    """Yield the groups of the sampled frames; none where there is a single group."""
    if len(np.unique(sums.groups)) > 1:
        blocks = sums.blocks_of(view.sampled.blocks)
        for block in np.unique(blocks):
            pairs = sums.pairs_of(block)
            yield HeldOut(blocks == block, sums.classes[pairs], sums.sums[pairs], sums.counts[pairs])


class LeaveOneOut(SampledScore):
    """Leave-one-out accuracy (R² for values) of ridge regression; higher is better (`voxrank.scores.heldout`)."""

    estimate = staticmethod(estimate_loo)


class GBC(SampledScore):
    """Gaussian Bhattacharyya class separability; higher is better (`voxrank.scores.separation`)."""

    estimate = staticmethod(estimate_gbc)


class TransRate(SampledScore):
    """TransRate; higher is better (`voxrank.scores.separation`)."""

    estimate = staticmethod(estimate_transrate)
