"""Scores that predict each sampled frame from others: nearest neighbours, nearest class mean, leave-one-out ridge.

The first two hold out the whole block (of speakers, or of utterances) that a sample belongs to, so that no frame is
predicted from another frame of the same utterance. All three predict the frames of a bounded `Sample`. The value is the
share of correct predictions or, for values, R² = 1 − Σ(y − ŷ)²/Σ(y − ȳ)². Higher is better.

    kNN   majority of the 5 nearest samples of other blocks, by cosine about the mean; values: their mean
    NCM   nearest mean of a class over all frames of other blocks (from the moments, exactly)
    LOO   ridge regression at the t that is best by generalised cross-validation, fitted on every frame but this one:
          ŷ₋ᵢ = yᵢ − (yᵢ − ŷᵢ)/(1 − hᵢ),  hᵢ = 1/n + Σ_j (v_jᵀ(fᵢ − μ))²/(λ_j + t)

The influence is, to first order, that of the sampled frames themselves, with fixed predictors.

Sources: Cover and Hart, 1967; Allen's PRESS, Technometrics 16, 1974; arXiv 2503.18528 (kNN as the steadiest score).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.errors import OptionError
from voxrank.scores.centred import EPSILON
from voxrank.scores.estimate import Estimate
from voxrank.scores.ridge import best_ridge
from voxrank.scores.sampled import SampledScore
from voxrank.scores.score import CLASSES, Score
from voxrank.scores.view import LayerView, SampledFrames
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.groups import GroupSums
from voxrank.sketches.products import Array

NEIGHBOURS = 5
"""Number of nearest neighbours."""
ROWS = 512
"""Number of samples whose distances to all others are in memory at the same time."""


def estimate_knn(view: LayerView) -> Estimate:
    """Estimate the accuracy (R² for values) of nearest neighbours, held out by block."""
    frames = view.sampled
    mean = view.moments.total.mean
    x = frames.features - mean
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.divide(x, length, out=np.zeros_like(x), where=length > 4 * EPSILON * np.linalg.norm(mean))
    nearest, valid = _neighbours(x, frames.blocks, min(NEIGHBOURS, len(x) - 1))
    weights = valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)
    origin = 0.0 if frames.classes else frames.targets.mean(axis=0)  # a mean of large values would lose digits
    targets = frames.targets - origin
    votes = (targets[nearest] * weights[:, :, None]).sum(axis=1)
    if frames.classes:
        return _estimate_accuracy(view, frames, votes + 1e-9 * targets[nearest[:, 0]] * valid[:, :1])
    return estimate_r2_of_errors(view, frames, targets - votes)


@dataclass(frozen=True)
class HeldOut:
    """A part of the data that is held out of the class means for some frames.

    Attributes:
        frames: (m,) mask of the sampled frames.
        classes: (k,) numbers of the classes that have samples in the part.
        sums: (k, D) sums of these samples about the mean of all samples.
        counts: (k,) number of these samples.
    """

    frames: NDArray[np.bool_]
    classes: NDArray[np.int64]
    sums: Array
    counts: Array


def estimate_ncm(view: LayerView, held_out: Iterable[HeldOut] | None = None) -> Estimate:
    """Estimate the accuracy of the nearest class mean, held out by block.

    Args:
        view: the sketches of the layer.
        held_out: parts to hold out instead of blocks.

    Raises:
        OptionError: the targets are values.
    """
    frames = view.sampled
    if not frames.classes:
        raise OptionError("the nearest class mean needs classes, and the targets are values; leave ncm out")
    total, mean = view.moments.total, view.moments.total.mean
    features, all_sums = frames.features - mean, total.cross + np.outer(total.target_total, total.centre - mean)
    votes = _closeness(features, all_sums, total.square)
    for part in _held_out_blocks(view) if held_out is None else held_out:
        sums, counts = all_sums[part.classes] - part.sums, total.square[part.classes] - part.counts
        votes[np.ix_(part.frames, part.classes)] = _closeness(features[part.frames], sums, counts)
    return _estimate_accuracy(view, frames, votes)


def _held_out_blocks(view: LayerView) -> Iterator[HeldOut]:
    """Yield the blocks; none where there is a single block, because no data would be left."""
    blocks = view.moments.blocks if len(view.moments.blocks) > 1 else {}
    mean = view.moments.total.mean
    for number, block in blocks.items():
        classes = np.flatnonzero(block.square)
        yield HeldOut(view.sampled.blocks == number, classes, block.cross_about(mean)[classes], block.square[classes])


def _closeness(features: Array, sums: Array, counts: Array) -> Array:
    """Return 2 xᵀμ_c − ‖μ_c‖² of features x (m, D) and the means μ_c of classes (k,): (m, k).

    It is greatest for the nearest mean, and −∞ for a class without samples.

    Args:
        features: (m, D) features about the mean of all samples.
        sums: (k, D) sums of each class's samples about that mean.
        counts: (k,) number of samples in each class.
    """
    means = sums / np.maximum(counts, 1)[:, None]
    closeness: Array = 2 * features @ means.T - (means**2).sum(axis=1)
    closeness[:, counts <= 0] = -np.inf
    return closeness


def estimate_loo(view: LayerView) -> Estimate:
    """Estimate the leave-one-out accuracy (R² for values) of ridge regression on the sampled frames."""
    frames, s = view.sampled, view.spectrum
    mean = np.zeros(len(s.used))
    mean[s.used] = s.target_mean
    errors = frames.targets - mean
    if s.rank:
        t = best_ridge(s)
        rotated = (frames.features - s.mean) @ s.vectors
        inverse = 1 / (s.eigenvalues + t)
        errors[:, s.used] -= rotated @ (s.cross * inverse).T
        leverage = 1 / s.n + rotated**2 @ inverse
        errors /= np.maximum(1 - leverage, 1e-12)[:, None]
    if not frames.classes:
        return estimate_r2_of_errors(view, frames, errors)
    return _estimate_accuracy(view, frames, frames.targets - errors if s.rank else np.broadcast_to(mean, errors.shape))


def _neighbours(x: Array, blocks: NDArray[np.int64], k: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the k nearest neighbours of each of m samples, nearest first, with a mask of valid neighbours.

    Samples of one block may not predict each other; where there is a single block, a sample may not predict itself.
    Of equally near samples, the first is chosen.

    Args:
        x: (m, D) samples of length 1.
        blocks: (m,) block of each sample.
        k: number of neighbours, at most m − 1.

    Returns:
        (m, k) indices, and (m, k) whether each may predict the sample.
    """
    groups = blocks if len(np.unique(blocks)) > 1 else np.arange(len(blocks))
    nearest, valid = np.empty((len(x), k), dtype=np.intp), np.empty((len(x), k), dtype=bool)
    if not k:
        return nearest, valid
    for begin in range(0, len(x), ROWS):
        rows = slice(begin, begin + ROWS)
        distance = -(x[rows] @ x.T)
        distance[groups[rows, None] == groups[None, :]] = np.inf
        values, indices = torch.topk(torch.from_numpy(distance), k + 1, dim=1, largest=False)
        tied = (values[:, k - 1] == values[:, k]).numpy()  # topk chooses among them arbitrarily
        chosen = np.sort(indices[:, :k].numpy(), axis=1)
        chosen[tied] = np.argsort(distance[tied], axis=1, kind="stable")[:, :k]
        chosen_distances = np.take_along_axis(distance, chosen, axis=1)
        order = np.argsort(chosen_distances, axis=1, kind="stable")
        nearest[rows] = np.take_along_axis(chosen, order, axis=1)
        valid[rows] = np.isfinite(np.take_along_axis(chosen_distances, order, axis=1))
    return nearest, valid


def _estimate_accuracy(view: LayerView, frames: SampledFrames, votes: Array) -> Estimate:
    """Return the share of the samples whose class has the most votes (m, T), with its influence."""
    errors = (votes.argmax(axis=1) != frames.targets.argmax(axis=1)).astype(np.float64)
    return _estimate_from_errors(view, errors, np.ones(len(errors)))


def estimate_r2_of_errors(view: LayerView, frames: SampledFrames, errors: Array) -> Estimate:
    """Return R² of predictions with these errors (m, T), with its influence."""
    mean = frames.targets.mean(axis=0)
    squares = ((frames.targets - mean) ** 2).sum(axis=1)
    if squares.sum() <= len(squares) * ((4 * EPSILON * mean) ** 2).sum():  # all sampled values are equal
        return Estimate(0.0, np.zeros(len(view.moments.blocks)))
    return _estimate_from_errors(view, (errors**2).sum(axis=1), squares)


def _estimate_from_errors(view: LayerView, errors: Array, possible_errors: Array) -> Estimate:
    """Return 1 − Σ errors/Σ possible errors (m,), with its influence."""
    total = max(float(possible_errors.sum()), np.finfo(np.float64).tiny)
    ratio = float(errors.sum()) / total
    return Estimate(1 - ratio, -view.sums_by_block(errors - ratio * possible_errors) / total)


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

    def _extend_classes(self, classes: NDArray[Any]) -> None:
        previous_classes = self.classes_
        super()._extend_classes(classes)
        if self._sums is not None:
            self._sums.classes = np.searchsorted(self.classes_, previous_classes)[self._sums.classes]

    def _add_samples(self, samples: NDArray[Any], values: NDArray[Any], groups: NDArray[np.int64]) -> None:
        super()._add_samples(samples, values, groups)
        if not self.regression:
            self._ensure_sums(samples.shape[1]).add(samples, np.searchsorted(self.classes_, values), groups)

    def merge(self, other: Self) -> Self:
        """Add the samples that `other` saw. The errors are those of `SampledScore.merge`."""
        super().merge(other)
        if other._sums is not None:
            indices = np.searchsorted(self.classes_, other.classes_)
            added = replace(other._sums, classes=indices[other._sums.classes])
            self._ensure_sums(added.sums.shape[1]).merge(added)
        return self

    def _ensure_sums(self, dim: int) -> GroupSums:
        if self._sums is None:
            self._sums = GroupSums.empty(dim)
        return self._sums

    def _estimate_view(self, view: LayerView) -> Estimate:
        if self._sums is None:
            return super()._estimate_view(view)
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


SCORES = (
    Score(
        "knn",
        "kNN",
        KNN.higher_is_better,
        estimate_knn,
        sampled=True,
        estimator=KNN,
        summary="accuracy (R²) of the 5 nearest neighbours of other speakers",
    ),
    Score(
        "ncm",
        "NCM",
        NearestClassMean.higher_is_better,
        estimate_ncm,
        sampled=True,
        tasks=CLASSES,
        estimator=NearestClassMean,
        summary="accuracy of the nearest class mean of other speakers",
    ),
    Score(
        "loo",
        "LOO ridge",
        LeaveOneOut.higher_is_better,
        estimate_loo,
        sampled=True,
        estimator=LeaveOneOut,
        summary="leave-one-out accuracy (R²) of ridge regression",
    ),
)
