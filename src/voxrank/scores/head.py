"""Linear heads on frozen samples, tested on folds of the data that they were not fitted to.

Samples are standardised: x has mean 0 and, in each feature, standard deviation 1. A fold is a block of the data (whole
speakers, or whole utterances), so that no head is tested on a voice that it was fitted to.

Classes: linear discriminant analysis with a ridge. Outside a fold, let there be n samples of K classes with shares p_c,
their mean μ, the class means μ + d_c, and the scatter W within classes. A head gives a sample x the log odds

    a_c(x) = (n − K) [(x − μ)ᵀ A d_c − ½ d_cᵀ A d_c],  A = (W + tI)⁻¹,    P(c | x) ∝ p_c exp(b a_c(x)).

Values: ridge regression with a free mean.

One eigendecomposition serves every fold and every ridge t. Let X = U diag(s)Vᵀ be all m samples, Y (m, K) their
targets, and R = I − 11ᵀ/m − U diag(s²/(s² + t))Uᵀ. For a fold G, a head without it predicts (Allen's PRESS)

    Ŷ_G = Y_G − R_GG⁻¹ (RY)_G,

With the rows n_c d_c of C, and T = S + tI of the scatter S outside the fold, W + tI = T − Σ n_c d_c d_cᵀ. Woodbury's
identity turns the regression into the discriminant, from the K × K matrix

    C T⁻¹ Cᵀ = diag(n_c) − n_c n_cᵀ/n − YᵀRY + (RY)_Gᵀ R_GG⁻¹ (RY)_G.

The ridge and the temperature b, the same for all folds, are those with the greatest likelihood of the held-out samples,
where each label is wrong with probability `MISLABELLED`; for values, the ridge with the least squared error.

Sources: Hastie, Buja and Tibshirani, "Penalized discriminant analysis", Annals of Statistics 23, 1995; Allen's PRESS,
Technometrics 16, 1974; Guo et al., "On calibration of modern neural networks", ICML 2017 (temperature).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from voxrank.sketches.eigen import eigh
from voxrank.sketches.products import Array

Ids = NDArray[np.int64]

FOLDS = 10
"""Maximum number of folds."""
RIDGES = 10.0 ** np.arange(-6, 2)
"""Ridges t that are tried, relative to the largest eigenvalue of the samples' scatter."""
TEMPERATURES = 2.0 ** np.arange(-14, 5)
"""Temperatures b that are tried."""
MISLABELLED = 0.01
"""Share of labels that may be wrong. It bounds the loss of one sample, so that a single error decides nothing."""
ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Standard deviation of a feature, relative to its largest value, up to which it counts as constant."""


@dataclass(frozen=True)
class HeldOutClasses:
    """The classes of samples, as predicted by heads that were not fitted to their fold.

    Attributes:
        true: (m,) class of each sample.
        predicted: (m,) the most probable class.
        log_likelihood: (m,) log of the probability of the true class, in nats.
        ridge: ridge t of the heads, for each of the samples; 0 where there was no head.
    """

    true: Ids
    predicted: Ids
    log_likelihood: Array
    ridge: float


def predict_classes(features: Array, classes: Ids, folds: Ids, n_classes: int) -> HeldOutClasses:
    """Predict the class of every sample by a head that was not fitted to its fold.

    Args:
        features: (m, D).
        classes: (m,) numbers from 0.
        folds: (m,) numbers of the folds. The samples of a single fold cannot be predicted, and count as errors.
        n_classes: K.
    """
    if len(np.unique(folds)) < 2:
        guess = np.full(len(classes), np.log(MISLABELLED / n_classes))
        return HeldOutClasses(classes, np.full(len(classes), -1), guess, 0.0)
    known, numbers = np.unique(classes, return_inverse=True)  # fewer than n_classes in a small sample
    heads = _Heads.of(features, one_hot(numbers, len(known)), folds)
    floor = MISLABELLED / n_classes

    @cache
    def temperature_of(index: int) -> tuple[float, float]:
        return _calibrate(heads.log_odds(float(RIDGES[index])), heads.log_shares, numbers, floor)

    best = _downhill(lambda index: temperature_of(index)[0], len(RIDGES))
    odds = heads.log_odds(float(RIDGES[best]))
    probabilities = _softmax(heads.log_shares + temperature_of(best)[1] * odds)
    ridge = float(RIDGES[best]) * heads.largest / len(classes)
    predicted = known[probabilities.argmax(axis=1)]
    return HeldOutClasses(classes, predicted, _log_likelihood(probabilities, numbers, floor), ridge)


def calibrated(odds: Array, log_shares: Array, classes: Ids, ridge: float) -> HeldOutClasses:
    """Return the predictions of heads from their log odds (m, K) at the best temperature.

    Args:
        odds: (m, K) log odds.
        log_shares: (m, K) log of the share of each class in the data that a head was fitted to.
        classes: (m,) the true classes.
        ridge: ridge of the heads.
    """
    floor = MISLABELLED / odds.shape[1]
    probabilities = _softmax(log_shares + _calibrate(odds, log_shares, classes, floor)[1] * odds)
    return HeldOutClasses(classes, probabilities.argmax(axis=1), _log_likelihood(probabilities, classes, floor), ridge)


def predict_values(features: Array, values: Array, folds: Ids) -> Array:
    """Predict the values (m, T) of every sample by ridge regression that was not fitted to its fold.

    Args:
        features: (m, D).
        values: (m, T).
        folds: (m,) numbers of the folds. For a single fold, the prediction is the mean.
    """
    mean, scale = values.mean(axis=0), values.std(axis=0)
    if len(np.unique(folds)) < 2:
        return np.broadcast_to(mean, values.shape)
    scale[scale == 0] = 1.0
    heads = _Heads.of(features, (values - mean) / scale, folds)
    tried = (heads.predictions(float(ridge)) for ridge in RIDGES)
    best: Array = min(tried, key=lambda predictions: float(((predictions - heads.targets) ** 2).sum()))
    return np.asarray(mean + scale * best)


def one_hot(classes: Ids, n_classes: int) -> Array:
    """Return a row (m, K) for each class number (m,), with 1 at its place."""
    rows = np.zeros((len(classes), n_classes))
    rows[np.arange(len(classes)), classes] = 1.0
    return rows


def deal_folds(*groupings: Ids, classes: Ids | None = None) -> Ids:
    """Return the fold (m,) of each sample, by the first grouping with which heads can be tested.

    That is a grouping with several groups and, for classes, with at least two classes that occur in several of them.
    More than `FOLDS` groups are dealt in the order of their numbers.

    Args:
        groupings: (m,) numbers each, the last one of single samples: such as blocks, utterances and samples.
        classes: (m,) class of each sample; None for values.
    """
    groups = next((groups for groups in groupings if can_test(groups, classes)), groupings[-1])
    folds: Ids = np.unique(groups, return_inverse=True)[1].astype(np.int64) % FOLDS
    return folds


def can_test(groups: Ids, classes: Ids | None) -> bool:
    """Return whether heads can be tested on groups (m,) that they have not seen, by the rule of `deal_folds`."""
    if classes is None:
        return len(np.unique(groups)) > 1
    return int((groups_of_classes(groups, classes) > 1).sum()) > 1


def groups_of_classes(groups: Ids, classes: Ids) -> Ids:
    """Return the number of groups in which each class occurs, for the classes that occur."""
    pairs = np.unique(np.stack([classes, groups]), axis=1)[0]
    counts: Ids = np.unique(pairs, return_counts=True)[1]
    return counts


@dataclass(frozen=True)
class _Heads:
    """Samples and their targets in the form from which held-out heads of any ridge follow.

    Attributes:
        directions: (m, r) U.
        strengths: (r,) s², largest first.
        targets: (m, K) Y, one-hot or values.
        folds: positions of the samples of each fold.
    """

    directions: Array
    strengths: Array
    targets: Array
    folds: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, features: Array, targets: Array, folds: Ids) -> _Heads:
        """Standardise and decompose features (m, D)."""
        members = tuple(np.flatnonzero(folds == fold) for fold in np.unique(folds))
        x = features - features.mean(axis=0)
        deviation = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x))
        varies = deviation > ROUNDING * np.maximum(features.max(axis=0), -features.min(axis=0))
        x = x if varies.all() else x[:, varies]
        x /= deviation[varies]
        if not x.size:
            return cls(np.zeros((len(x), 0)), np.zeros(0), targets, members)
        is_tall = len(x) > x.shape[1]
        values, vectors = eigh(x.T @ x if is_tall else x @ x.T)
        kept = np.flatnonzero(values > max(x.shape) * np.finfo(np.float32).eps * values[-1])[::-1]
        values, vectors = values[kept], vectors[:, kept]
        return cls(x @ vectors / np.sqrt(values) if is_tall else vectors, values, targets, members)

    @property
    def largest(self) -> float:
        """The largest eigenvalue of the scatter of the samples; 0 where no feature varies."""
        return float(self.strengths[0]) if self.strengths.size else 0.0

    @cached_property
    def log_shares(self) -> Array:
        """Log (m, K) of the share of each class outside the sample's fold; −∞ for a class without samples there."""
        shares = np.empty_like(self.targets)
        for members in self.folds:
            shares[members] = self._counts_outside(members) / (len(self.targets) - len(members))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(shares))

    def predictions(self, ridge: float) -> Array:
        """Return the predictions (m, K) of ridge regression, with t relative to the largest eigenvalue."""
        predictions = self.targets.copy()
        for members, _, solution in self._solutions(self._residuals(ridge), ridge):
            predictions[members] -= solution
        return predictions

    def log_odds(self, ridge: float) -> Array:
        """Return the log odds a_c (m, K) of discriminants, with t relative to the largest eigenvalue."""
        odds = np.zeros_like(self.targets)
        residuals = self._residuals(ridge)
        products = self.targets.T @ residuals
        for members, residual, solution in self._solutions(residuals, ridge):
            counts, n = self._counts_outside(members), len(self.targets) - len(members)
            products_outside = products - residual.T @ solution
            known = np.flatnonzero(counts)
            counts = counts[known]
            cross = np.diag(counts) - np.outer(counts, counts) / n - products_outside[np.ix_(known, known)]
            regression = (self.targets[members] - solution)[:, known] / counts - 1 / n
            means = cross / np.outer(counts, counts)
            within = np.linalg.inv(np.eye(len(known)) - cross / counts)
            offsets = np.einsum("ij,ji->i", means, within) / 2
            odds[np.ix_(members, known)] = max(n - len(known), 1) * (regression @ within - offsets)
        return odds

    def _counts_outside(self, members: NDArray[np.intp]) -> Array:
        """Return the number of samples of each class (K,) outside a fold."""
        counts: Array = self._counts - self.targets[members].sum(axis=0)
        return counts

    @cached_property
    def _counts(self) -> Array:
        counts: Array = self.targets.sum(axis=0)
        return counts

    def _kept(self, ridge: float) -> Array:
        """Return the share (r,) of each direction that a ridge keeps."""
        if not self.strengths.size:
            return self.strengths
        return np.asarray(self.strengths / (self.strengths + ridge * self.strengths[0]))

    def _residuals(self, ridge: float) -> Array:
        """Return RY (m, K), the residuals of the head that is fitted to all samples."""
        fitted = (self.directions * self._kept(ridge)) @ (self.directions.T @ self.targets)
        residuals: Array = self.targets - self.targets.mean(axis=0) - fitted
        return residuals

    def _solutions(self, residuals: Array, ridge: float) -> Iterator[tuple[NDArray[np.intp], Array, Array]]:
        """Yield the positions of each fold G with (RY)_G and R_GG⁻¹ (RY)_G."""
        kept = self._kept(ridge)
        for members in self.folds:
            rows = self.directions[members]
            within = np.eye(len(members)) - 1 / len(residuals) - (rows * kept) @ rows.T
            residual = residuals[members]
            yield members, residual, np.asarray(np.linalg.solve(within, residual), dtype=np.float64)


def _calibrate(odds: Array, log_shares: Array, classes: Ids, floor: float) -> tuple[float, float]:
    """Choose the temperature with the least loss; return the loss and the temperature."""

    @cache
    def loss(index: int) -> float:
        probabilities = _softmax(log_shares + TEMPERATURES[index] * odds)
        return -float(_log_likelihood(probabilities, classes, floor).mean())

    best = _downhill(loss, len(TEMPERATURES))
    return loss(best), float(TEMPERATURES[best])


def _downhill(loss: Callable[[int], float], count: int) -> int:
    """Return the index of a minimum of a loss: every third index is tried, and then the way goes downhill."""
    best = min(range(0, count, 3), key=loss)
    for step in (-1, 1):
        while 0 <= best + step < count and loss(best + step) < loss(best):
            best += step
    return best


def _softmax(logits: Array) -> Array:
    """Return probabilities (m, K) from logits, of which at least one in a row is finite."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def _log_likelihood(probabilities: Array, classes: Ids, floor: float) -> Array:
    """Return the log (m,) of the probability of each label: `floor`, and the rest by the probabilities (m, K)."""
    of_true = probabilities[np.arange(len(classes)), classes]
    likelihood: Array = np.log((1 - MISLABELLED) * of_true + floor)
    return likelihood
