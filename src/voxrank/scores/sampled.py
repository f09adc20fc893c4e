"""Base class of scores of a bounded sample, with the interface of scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError
from voxrank.scores.checks import as_tensor, checked_features, checked_labels, checked_targets, finite
from voxrank.scores.estimate import Estimate
from voxrank.scores.estimator import FittedMoments
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
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
        group_keys = _group_keys(groups, len(samples))
        self._add_moments(samples, values)
        self._add_samples(samples, values, group_keys)
        return self

    def _add_samples(self, samples: NDArray[Any], values: NDArray[Any], groups: NDArray[np.int64]) -> None:
        """Keep some of the samples, which have already been added to the moments."""
        sample = Sample.empty(self.max_samples, samples.shape[1], samples.dtype)
        sample.update(as_tensor(samples), content_keys(samples), np.arange(len(samples)), groups)
        self._merge_sample(sample, values)

    def _merge_sample(self, added: Sample, targets: NDArray[Any]) -> None:
        if self._sample is None or self._targets is None:
            self._sample, self._targets = Sample.empty(self.max_samples, added.features.shape[1]), targets[:0]
        sample = self._sample
        sample.merge(replace(added, rows=added.rows + len(self._targets)))
        self._targets = np.concatenate([self._targets, targets])[sample.rows]
        sample.rows = np.arange(len(sample))
        self._view = None

    def merge(self, other: Self) -> Self:
        """Add the samples that `other` saw.

        Raises:
            OptionError: only one of the two is a regression, or their dimensions differ.
        """
        super().merge(other)
        if other._sample is not None and other._targets is not None:
            self._merge_sample(other._sample, other._targets)
        return self

    @property
    def score_(self) -> float:
        """The score.

        Raises:
            OptionError: nothing was fitted, the labels hold a single class, or the score needs classes.
        """
        moments = self._checked_moments()
        if self._view is None:
            targets = self._targets
            if not self.regression and targets is not None:
                targets = np.searchsorted(self.classes_, targets)
            self._view = LayerView(BlockedMoments(moments), self._sample, targets)
        return finite(type(self).__name__, self._estimate_view(self._view).value)

    def _estimate_view(self, view: LayerView) -> Estimate:
        return type(self).estimate(view)


def _group_keys(groups: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Return a number for each sample's group (n,), the same for the same name."""
    if groups is None:
        return np.zeros(n, dtype=np.int64)
    labels = checked_labels(groups, n, "groups")
    names, indices = np.unique(labels, return_inverse=True)
    keys: NDArray[np.int64] = np.array([utterance_key(str(name)) for name in names]).view(np.int64)[indices]
    return keys
