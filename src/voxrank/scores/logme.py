"""LogME: the log evidence of a Bayesian linear model of the targets given the samples.

Model, for samples F (n, D) and one target column y (n):

    w ~ N(0, α⁻¹ I),    y | F, w ~ N(F w, β⁻¹ I)

Its log evidence, with A = αI + βFᵀF and m = βA⁻¹Fᵀy, is

    L(α, β) = n/2·ln β + D/2·ln α − n/2·ln 2π − β/2·‖Fm − y‖² − α/2·‖m‖² − ½·ln|A|,

maximised over α and β. The score is the mean of L/n over the target columns. All of it follows from the moments
n, FᵀF, Fᵀy, yᵀy (`voxrank.sketches.moments`).

How it is maximised here. Put t = α/β. For a given t the best β is n/E(t) with

    E(t) = yᵀy − yᵀF(FᵀF + tI)⁻¹Fᵀy = r₀ + Σᵢ pᵢ²·t/(t + λᵢ),

λᵢ the eigenvalues of FᵀF, pᵢ² = (vᵢᵀFᵀy)²/λᵢ the square of y's component along the i-th principal direction and
r₀ what no direction reaches, which leaves a function of t alone,

    L(t) = −n/2·ln(2πE(t)/n) − n/2 − ½·Σᵢ ln(1 + λᵢ/t),

whose global maximum is found on a grid of ln t shared by all targets, then by bisection of its derivative. Compared
with the fixed-point iteration on α and β this neither stops early nor depends on where it starts, needs no added
constant in a denominator, and is exact for n < D: the D − k directions without data contribute nothing.

Sources: You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021,
arXiv 2102.11005; MacKay, "Bayesian Interpolation", Neural Computation 4, 1992.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate
from voxrank.sketches.blocks import BlockedMoments, PackedMoments
from voxrank.sketches.moments import Moments

Array = NDArray[np.float64]

LOG_GRID = np.linspace(np.log(1e-16), np.log(1e10), 121)
"""Where L(t) is first looked at: ln of t over the largest eigenvalue."""
BISECTIONS = 60
RESIDUAL_FLOOR = 1e-12
"""Smallest residual kept, over yᵀy: the evidence of a target that the samples fit exactly has no upper bound."""


@dataclass(frozen=True)
class Evidence:
    """The maximised evidence of every target column.

    Attributes:
        per_target: (T,) L/n.
        ratio: (T,) t = α/β at the maximum; inf where the samples say nothing of the target.
        residual: (T,) E(t); β is n/E.
        weights: (T, D) posterior mean m of each column's w.
        eigenvalues: (D,) of FᵀF, ascending, numerical zeros as 0.
        eigenvectors: (D, D), in columns.
    """

    per_target: Array
    ratio: Array
    residual: Array
    weights: Array
    eigenvalues: Array
    eigenvectors: Array

    @property
    def score(self) -> float:
        """Mean over the target columns."""
        return float(self.per_target.mean())


def maximise_evidence(moments: Moments) -> Evidence:
    """Maximise L over α and β for every target column that has samples.

    Columns whose yᵀy is 0 (a class id without samples) are left out of `per_target` and of the score.
    """
    used = moments.square > 0
    cross, square = moments.cross[used], moments.square[used]
    eigenvalues, eigenvectors = _spectrum(moments.gram, moments.n)
    projections = cross @ eigenvectors  # (T, D): vᵢᵀFᵀy
    positive = eigenvalues > 0
    power = np.divide(projections**2, eigenvalues, out=np.zeros_like(projections), where=positive)
    unreached = np.maximum(square - power.sum(axis=1), RESIDUAL_FLOOR * square)
    ratio = _best_ratio(eigenvalues[positive], power[:, positive], unreached, moments.n)
    residual = unreached + _shrunk(power, eigenvalues, ratio)
    per_target = _log_evidence(eigenvalues, ratio, residual, moments.n) / moments.n
    shrinkage = np.zeros_like(projections)
    np.divide(projections, eigenvalues + ratio[:, None], out=shrinkage, where=positive)
    return Evidence(per_target, ratio, residual, shrinkage @ eigenvectors.T, eigenvalues, eigenvectors)


def estimate_logme(blocked: BlockedMoments) -> Estimate:
    """The score of all blocks together and its influence (`Estimate`), one eigendecomposition in all."""
    evidence = maximise_evidence(blocked.total)
    used = blocked.total.square > 0
    reached = np.flatnonzero(evidence.eigenvalues)
    directions = np.ascontiguousarray(np.hstack([evidence.eigenvectors[:, reached], evidence.weights.T]), np.float32)
    influence = [_influence(evidence, block, directions, used, blocked.total.n) for block in blocked]
    return Estimate(evidence.score, np.array(influence))


def _spectrum(gram: Array, n: int) -> tuple[Array, Array]:
    """Eigenvalues (ascending; numerical zeros and those beyond the rank n as 0) and eigenvectors."""
    eigenvalues, eigenvectors = np.linalg.eigh(gram)
    dim = len(eigenvalues)
    noise = dim * np.finfo(np.float64).eps * max(eigenvalues[-1], 0.0)
    eigenvalues = np.where(eigenvalues > noise, eigenvalues, 0.0)
    eigenvalues[: max(dim - n, 0)] = 0.0
    return eigenvalues, eigenvectors


def _shrunk(power: Array, eigenvalues: Array, ratio: Array) -> Array:
    """Σᵢ pᵢ²·t/(t + λᵢ) for each target's t; the whole Σᵢ pᵢ² at t = ∞."""
    shrink = 1.0 / (1.0 + eigenvalues / ratio[:, None])
    summed: Array = (power * shrink).sum(axis=1)
    return summed


def _log_evidence(eigenvalues: Array, ratio: Array, residual: Array, n: int) -> Array:
    complexity = np.log1p(eigenvalues / ratio[:, None]).sum(axis=1)
    value: Array = -n / 2 * (np.log(2 * np.pi * residual / n) + 1) - complexity / 2
    return value


def _best_ratio(eigenvalues: Array, power: Array, unreached: Array, n: int) -> Array:
    """The argmax over t of L(t), for each target: (T,), inf where no t beats the empty model."""
    n_targets = len(power)
    if len(eigenvalues) == 0:
        return np.full(n_targets, np.inf)
    grid = np.exp(LOG_GRID) * eigenvalues[-1]
    shrink = 1.0 / (1.0 + eigenvalues[:, None] / grid)  # (D, J)
    residual = unreached[:, None] + power @ shrink
    complexity = np.log1p(eigenvalues[:, None] / grid).sum(axis=0)
    values = -n / 2 * np.log(residual) - complexity / 2  # (T, J)
    best = values.argmax(axis=1)
    low = np.log(grid[np.maximum(best - 1, 0)])
    high = np.log(grid[np.minimum(best + 1, len(grid) - 1)])
    ratio = np.exp(_bisect(eigenvalues, power, unreached, n, low, high))
    ratio[best == len(grid) - 1] = np.inf
    return ratio


def _bisect(eigenvalues: Array, power: Array, unreached: Array, n: int, low: Array, high: Array) -> Array:
    """The ln t in [low, high] where dL/d(ln t) turns from positive to negative, for each target."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        t = np.exp(middle)[:, None]
        known, shrink = eigenvalues / (t + eigenvalues), t / (t + eigenvalues)
        residual = unreached + (power * shrink).sum(axis=1)
        slope = -n / residual * (power * shrink * known).sum(axis=1) + known.sum(axis=1)
        rising = slope > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return (low + high) / 2


def _influence(
    evidence: Evidence, block: PackedMoments, directions: NDArray[np.float32], used: NDArray[np.bool_], n: int
) -> float:
    """∂(mean L/n)/∂w of one block, α and β held at their maximum (where they do not matter to first order).

    `directions` (D, k + T): the eigenvectors of the k eigenvalues above 0, then each target's weights m.
    """
    quadratic = block.quadratic(directions)
    positive = evidence.eigenvalues[evidence.eigenvalues > 0]
    along, explained = quadratic[: len(positive)], quadratic[len(positive) :]  # vᵢᵀG_b vᵢ, mᵀG_b m
    residual = block.square[used] - 2 * (block.cross[used] * evidence.weights).sum(axis=1) + explained
    spread = (along / (positive + evidence.ratio[:, None])).sum(axis=1)
    scale = evidence.residual
    change = -block.n / 2 * np.log(2 * np.pi * scale / n) - n / 2 * residual / scale - spread / 2
    per_target = change / n - evidence.per_target * block.n / n
    return float(per_target.mean())


class LogME:
    """LogME of one set of features, in the manner of scikit-learn.

    Args:
        regression: targets are values, (n,) or (n, T), instead of class ids.

    Attributes:
        higher_is_better: True.
        classes_: the class ids seen, sorted (classification).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 3, size=300)
        >>> separated = rng.normal(size=(300, 8)) + 5 * np.eye(3, 8)[labels]
        >>> LogME().fit(separated, labels).score_ > LogME().fit(rng.normal(size=(300, 8)), labels).score_
        True

    Source: arXiv 2102.11005; formulas at the head of this module.
    """

    higher_is_better = True

    def __init__(self, *, regression: bool = False) -> None:
        self.regression = regression
        self.classes_: NDArray[Any] = np.empty(0, dtype=np.int64)
        self._moments: Moments | None = None
        self._evidence: Evidence | None = None

    def fit(self, features: ArrayLike, targets: ArrayLike) -> Self:
        """Forget what was seen and take these.

        Args:
            features: (n, D) finite floats.
            targets: (n,) class ids; with `regression` (n,) or (n, T) values.

        Raises:
            OptionError: shapes that do not fit, or values that are not finite.
        """
        self.classes_, self._moments = np.empty(0, dtype=np.int64), None
        return self.partial_fit(features, targets)

    def partial_fit(self, features: ArrayLike, targets: ArrayLike) -> Self:
        """Add samples to those seen; classes may be new. Arguments and errors as `fit`."""
        samples = _checked_features(features)
        values = self._checked_targets(targets, len(samples))
        if not self.regression:
            self._know(np.unique(values))
            values = np.searchsorted(self.classes_, values)
        moments = self._started(samples.shape[1], len(self.classes_) if not self.regression else values.shape[1])
        moments.update(torch.from_numpy(samples), values)
        self._evidence = None
        return self

    def merge(self, other: LogME) -> Self:
        """Add the samples that `other` saw.

        Raises:
            OptionError: one is a regression and the other not, or their dimensions differ.
        """
        if other._moments is None:
            return self
        if self.regression != other.regression:
            raise OptionError("a regression LogME cannot merge with a classification one; fit both the same way")
        if not self.regression:
            self._know(other.classes_)
        theirs = other._aligned(self.classes_)
        self._started(theirs.dim, len(theirs.square)).merge(theirs)
        self._evidence = None
        return self

    @property
    def score_(self) -> float:
        """Mean log evidence per sample and target column, in nats; higher is better.

        Raises:
            OptionError: nothing was fitted, or the labels hold a single class.
        """
        return self._fitted().score

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """The posterior mean's prediction for features (n, D): class ids (n,), or values (n, T).

        Raises:
            OptionError: nothing was fitted, or the dimension differs.
        """
        samples = _checked_features(features)
        evidence = self._fitted()
        dim = evidence.weights.shape[1]
        if samples.shape[1] != dim:
            raise OptionError(f"expected features of {dim} numbers as in fit, got {samples.shape[1]}")
        outputs: NDArray[Any] = samples @ evidence.weights.T
        return outputs if self.regression else self.classes_[outputs.argmax(axis=1)]

    def _fitted(self) -> Evidence:
        if self._moments is None or self._moments.n == 0:
            raise OptionError("LogME has seen no samples; call fit(features, targets) first")
        if not self.regression and len(self.classes_) < 2:
            raise OptionError(f"expected at least two classes, got only {self.classes_[0]}; one class ranks nothing")
        if self._evidence is None:
            self._evidence = maximise_evidence(self._moments)
        return self._evidence

    def _checked_targets(self, targets: ArrayLike, n: int) -> NDArray[Any]:
        values = np.asarray(targets)
        if self.regression:
            values = np.asarray(values, dtype=np.float64)
            values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 1 + self.regression or len(values) != n:
            raise OptionError(f"expected {n} targets, one for each sample, got an array of shape {values.shape}")
        if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
            raise OptionError("the targets hold NaN or infinite values; drop those samples first")
        return values

    def _know(self, classes: NDArray[Any]) -> None:
        """Make room for new classes, in sorted order."""
        union = np.union1d(self.classes_, classes) if len(self.classes_) else classes
        if self._moments is not None:
            self._moments = self._aligned(union)
        self.classes_ = union

    def _aligned(self, classes: NDArray[Any]) -> Moments:
        """The moments with a row for each of `classes`, a superset of those known."""
        seen = self._started(0, 0)
        if self.regression:
            return seen
        moments = Moments.zeros(seen.dim, len(classes))
        rows = np.searchsorted(classes, self.classes_)
        moments.n, moments.gram = seen.n, seen.gram.copy()
        moments.cross[rows], moments.square[rows] = seen.cross, seen.square
        return moments

    def _started(self, dim: int, n_targets: int) -> Moments:
        if self._moments is None:
            self._moments = Moments.zeros(dim, n_targets)
        elif dim and (self._moments.dim, len(self._moments.square)) != (dim, n_targets):
            seen = (self._moments.dim, len(self._moments.square))
            raise OptionError(f"expected (dimensions, targets) {seen} as before, got {(dim, n_targets)}")
        return self._moments


def _checked_features(features: ArrayLike) -> NDArray[np.floating]:
    samples = np.asarray(features)
    if not np.issubdtype(samples.dtype, np.floating) or samples.dtype.itemsize < 4:
        samples = samples.astype(np.float64)
    if samples.ndim != 2 or 0 in samples.shape:
        raise OptionError(f"expected features of shape (samples, dimensions), got {samples.shape}")
    if not np.isfinite(samples).all():
        raise OptionError("the features hold NaN or infinite values; drop those samples first")
    return np.ascontiguousarray(samples)
