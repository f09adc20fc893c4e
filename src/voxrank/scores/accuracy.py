"""Held-out prediction: what a linear head on the frozen samples will reach on speakers that it has not heard.

A head is fitted to the samples of all folds but one, and tested on that one, in turn (`voxrank.scores.head`). A fold is
a block of the data: whole speakers, or whole utterances where speakers are not known or are the target. Samples are a
bounded `Sample`; where frames have labels, they are the middle frames of the segments, one a segment, so that long
segments and high frame rates do not count more.

    accuracy     share of correct classes                                    (classes)
    balanced     mean over classes of the share that is correct              (classes)
    likelihood   mean log-probability of the true class, in nats             (classes)
    r2           1 − Σ(y − ŷ)²/Σ(y − ȳ)²                                      (values, labels, one-hot classes)
    map          mean over labels of the average precision of their order    (labels, one-hot classes)

Higher is better. The influence of a block is that of its samples, with fixed heads. The interval of a result, except
of the likelihood, says where a test on other speakers will be: a quarter as many as these (`TEST_SHARE`), as if a fifth
of all speakers had been kept for testing. It is √5 times as wide as the confidence interval of the mean over all
speakers, since a few speakers differ more than many from the mean.

Sources: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644;
`voxrank.scores.head` for the heads.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate
from voxrank.scores.head import HeldOutClasses
from voxrank.scores.heldout import estimate_r2_of_errors
from voxrank.scores.sampled import SampledScore
from voxrank.scores.score import CLASSES, Score
from voxrank.scores.view import LayerView
from voxrank.sketches.products import Array

TEST_SHARE = 0.25
"""Number of speakers of a test for which a result is predicted, relative to the number of speakers at hand."""


def estimate_accuracy(view: LayerView) -> Estimate:
    """Estimate the held-out accuracy."""
    held_out = _classes(view)
    return _predict(_estimate_mean(view, (held_out.predicted == held_out.true).astype(np.float64)))


def estimate_balanced(view: LayerView) -> Estimate:
    """Estimate the held-out accuracy, averaged over the classes that have samples."""
    held_out = _classes(view)
    if not len(held_out.true):
        return Estimate(0.0, np.zeros(len(view.moments.blocks)))
    sizes = np.bincount(held_out.true)
    weights = len(held_out.true) / (np.count_nonzero(sizes) * sizes[held_out.true])
    correct = held_out.predicted == held_out.true
    value = float((weights * correct).mean())
    recalls = np.bincount(held_out.true, correct) / np.maximum(sizes, 1)
    return _predict(Estimate(value, view.sums_by_block(weights * (correct - recalls[held_out.true])) / len(correct)))


def estimate_likelihood(view: LayerView) -> Estimate:
    """Estimate the held-out log-likelihood of a label."""
    return _estimate_mean(view, _classes(view).log_likelihood)


def estimate_r2(view: LayerView) -> Estimate:
    """Estimate the held-out R²."""
    frames = view.sampled
    return _predict(estimate_r2_of_errors(view, frames, frames.targets - view.held_out_values), lowest=-np.inf)


def estimate_map(view: LayerView) -> Estimate:
    """Estimate the held-out mean average precision, over the labels that are true for some of the samples."""
    targets = view.sampled.targets
    if not np.isin(targets, (0.0, 1.0)).all():
        raise OptionError("average precision needs classes, and the targets are values; name r2 instead")
    labels, scores = targets > 0, view.held_out_values

    def value(rows: NDArray[np.intp]) -> float:
        found = [average_precision(labels[rows, k], scores[rows, k]) for k in range(labels.shape[1])]
        return float(np.mean([precision for precision in found if precision is not None] or [0.0]))

    whole, blocks = value(np.arange(len(labels))), sorted(view.moments.blocks)
    if len(blocks) < 2:
        return Estimate(whole, np.zeros(len(blocks)))
    owners = view.sampled.blocks
    left_out = np.array([value(np.flatnonzero(owners != block)) for block in blocks])
    return _predict(Estimate.of_left_out(whole, left_out))


def average_precision(labels: NDArray[np.bool_], scores: Array) -> float | None:
    """Return the area under the steps of precision over recall; None where no label is true.

    Samples with equal scores are taken together.

    Example:
        >>> average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.3]))
        0.8333333333333333
    """
    if not labels.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    positives = np.cumsum(labels[order])[last_of_ties]
    taken = np.flatnonzero(last_of_ties) + 1
    gained = np.diff(positives, prepend=0)
    return float((gained * positives / taken).sum() / positives[-1])


def _classes(view: LayerView) -> HeldOutClasses:
    held_out = view.held_out_classes
    if held_out is None:
        raise OptionError("a score of classes needs classes, and the targets are values; name r2 instead")
    return held_out


def _predict(estimate: Estimate, lowest: float = 0.0) -> Estimate:
    """Return an estimate whose interval is that of a test on other speakers; at best, the result is 1."""
    return replace(estimate, widening=sqrt(1 + 1 / TEST_SHARE), bounds=(lowest, 1.0))


def _estimate_mean(view: LayerView, values: Array) -> Estimate:
    """Return the mean of values (m,) of the samples, with its influence."""
    if not len(values):
        return Estimate(0.0, np.zeros(len(view.moments.blocks)))
    mean = float(values.mean())
    return Estimate(mean, view.sums_by_block(values - mean) / len(values))


class HeldOutAccuracy(SampledScore):
    """Accuracy of a linear head on groups that it has not seen; higher is better (`voxrank.scores.accuracy`)."""

    estimate = staticmethod(estimate_accuracy)


class BalancedAccuracy(SampledScore):
    """Mean recall of a linear head on groups that it has not seen; higher is better (`voxrank.scores.accuracy`)."""

    estimate = staticmethod(estimate_balanced)


class HeldOutLikelihood(SampledScore):
    """Log-likelihood of a label on groups not seen, in nats; higher is better (`voxrank.scores.accuracy`)."""

    estimate = staticmethod(estimate_likelihood)


class HeldOutR2(SampledScore):
    """R² of a linear head on groups that it has not seen; higher is better (`voxrank.scores.accuracy`)."""

    estimate = staticmethod(estimate_r2)


class MeanAveragePrecision(SampledScore):
    """Mean average precision on groups not seen; higher is better (`voxrank.scores.accuracy`)."""

    estimate = staticmethod(estimate_map)


SCORES = (
    Score(
        "accuracy",
        "accuracy",
        HeldOutAccuracy.higher_is_better,
        estimate_accuracy,
        sampled=True,
        tasks=CLASSES,
        estimator=HeldOutAccuracy,
        summary="share of correct classes on speakers that a linear head has not heard",
    ),
    Score(
        "balanced",
        "balanced acc.",
        BalancedAccuracy.higher_is_better,
        estimate_balanced,
        sampled=True,
        tasks=CLASSES,
        estimator=BalancedAccuracy,
        summary="accuracy on speakers that a linear head has not heard, averaged over classes",
    ),
    Score(
        "likelihood",
        "log-likelihood",
        HeldOutLikelihood.higher_is_better,
        estimate_likelihood,
        sampled=True,
        tasks=CLASSES,
        estimator=HeldOutLikelihood,
        summary="mean log-probability of the label on speakers that a linear head has not heard",
    ),
    Score(
        "r2",
        "R²",
        HeldOutR2.higher_is_better,
        estimate_r2,
        sampled=True,
        estimator=HeldOutR2,
        summary="share of the variance explained on speakers that a linear head has not heard",
    ),
    Score(
        "map",
        "mAP",
        MeanAveragePrecision.higher_is_better,
        estimate_map,
        sampled=True,
        tasks=(*CLASSES, "multilabel"),
        estimator=MeanAveragePrecision,
        summary="mean average precision on speakers that a linear head has not heard",
    ),
)
