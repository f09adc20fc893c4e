"""LogME: the log evidence of a Bayesian linear model of the targets given the samples.

Model, for samples F (n, D) and one target column y (n):

    w ~ N(0, α⁻¹ I),    y | F, w ~ N(F w, β⁻¹ I)

Its log evidence, with A = αI + βFᵀF and m = βA⁻¹Fᵀy, is

    L(α, β) = n/2·ln β + D/2·ln α − n/2·ln 2π − β/2·‖Fm − y‖² − α/2·‖m‖² − ½·ln|A|,

maximised over α and β. The score is the mean of L/n over the target columns. All of it follows from the moments
n, Σf, FᵀF, Fᵀy, Σy, yᵀy (`voxrank.sketches.moments`).

How it is maximised here. Put t = α/β. For a given t the best β is n/E(t), which leaves a function of t alone,

    L(t) = −n/2·ln(2πE(t)/n) − n/2 − ½·Σᵢ ln(1 + λᵢ/t) − ½·ln(1 + ζ(t)).

In the terms of `Spectrum` (λ, c, z of the scatter about the mean, k = Σy/√n, r₀ what no direction reaches of y − ȳ)

    E(t) = r₀ + Σᵢ cᵢ²/λᵢ·t/(t + λᵢ) + (k − γ(t))²/(1 + ζ(t)),   γ(t) = Σᵢ cᵢzᵢ/(t + λᵢ),   ζ(t) = Σᵢ zᵢ²/(t + λᵢ):

the residual of the centred problem, and the price of a mean that is not free. Every term is positive, so no digits
cancel however far the samples lie from the origin. The global maximum is found on a grid of ln t shared by all
targets, then by bisection of the derivative. Compared with the fixed-point iteration on α and β this neither stops
early nor depends on where it starts, needs no added constant in a denominator, and is exact for n < D: the D − k
directions without data contribute nothing.

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
from voxrank.scores.gradient import Gradient
from voxrank.scores.spectrum import Spectrum
from voxrank.scores.view import LayerView
from voxrank.sketches.moments import Moments

Array = NDArray[np.float64]

LOG_GRID = np.linspace(np.log(1e-16), np.log(1e10), 121)
"""Where L(t) is first looked at: ln of t over the largest eigenvalue."""
BISECTIONS = 50
RESIDUAL_FLOOR = 1e-12
"""Smallest residual kept, over yᵀy: the evidence of a target that the samples fit exactly has no upper bound."""


@dataclass(frozen=True)
class Evidence:
    """The maximised evidence of every target column.

    Attributes:
        spectrum: what it was found from.
        per_target: (T,) L/n.
        ratio: (T,) t = α/β at the maximum; inf where the samples say nothing of the target.
        residual: (T,) E(t); β is n/E.
    """

    spectrum: Spectrum
    per_target: Array
    ratio: Array
    residual: Array

    @property
    def score(self) -> float:
        """Mean over the target columns."""
        return float(self.per_target.mean())

    @property
    def weights(self) -> Array:
        """(T, D) posterior mean m of each column's w."""
        s, kappa = self.spectrum, self._kappa
        gamma, zeta = (s.cross * kappa) @ s.offset, kappa @ s.offset**2
        rotated = kappa * (s.cross + np.outer((s.weight - gamma) / (1 + zeta), s.offset))
        weights: Array = rotated @ s.vectors.T
        return weights

    @property
    def _kappa(self) -> Array:
        return _kappa(self.spectrum, self.ratio)

    def gradient(self) -> Gradient:
        """∂score/∂M, α and β held at their maximum, where they do not matter to first order."""
        s, kappa, m = self.spectrum, self._kappa, self.weights
        n, n_targets = s.n, len(self.per_target)
        beta = n / self.residual
        zeta = kappa @ s.offset**2
        shared = (kappa * s.offset / np.sqrt(1 + zeta)[:, None]) @ s.vectors.T  # (T, D): (FᵀF + t)⁻¹ lacks its squares
        inverse = (s.vectors * kappa.sum(axis=0)) @ s.vectors.T - shared.T @ shared
        share = 1 / (n * n_targets)
        cross = np.zeros((len(s.used), len(s.mean)))
        square = np.zeros(len(s.used))
        cross[s.used] = beta[:, None] * m * share
        square[s.used] = -beta / 2 * share
        by_n = (np.log(beta / (2 * np.pi)) / 2 - self.per_target).sum() * share
        return Gradient(n=by_n, gram=-((m.T * beta) @ m + inverse) * (share / 2), cross=cross, square=square)


def maximise_evidence(spectrum: Spectrum) -> Evidence:
    """Maximise L over α and β for every target column that has samples."""
    ratio = _best_ratio(spectrum)
    residual, complexity, _ = _terms(spectrum, ratio)
    n = spectrum.n
    per_target = -(np.log(2 * np.pi * residual / n) + 1) / 2 - complexity / (2 * n)
    return Evidence(spectrum, per_target, ratio, residual)


def estimate_logme(view: LayerView) -> Estimate:
    """The score of all blocks together and its influence."""
    evidence = maximise_evidence(view.spectrum)
    return view.estimate(evidence.score, evidence.gradient())


def _kappa(s: Spectrum, ratio: Array) -> Array:
    """1/(t + λ) for each target's t: (T, D)."""
    return np.asarray(1 / (ratio[:, None] + s.eigenvalues))


def _unreached(s: Spectrum) -> Array:
    """r₀, kept above the floor."""
    return np.maximum(s.square - s.power.sum(axis=1), RESIDUAL_FLOOR * (s.square + s.weight**2))


def _terms(s: Spectrum, ratio: Array) -> tuple[Array, Array, Array]:
    """E(t), Σ ln(1 + λ/t) + ln(1 + ζ), and dL/d(ln t)·2, for each target at its t."""
    finite = np.minimum(ratio, np.finfo(np.float64).max)
    kappa = _kappa(s, finite)
    t = finite[:, None]
    shrink = t * kappa
    offset_squared = s.offset**2
    gamma, zeta = (s.cross * kappa) @ s.offset, kappa @ offset_squared
    gap = s.weight - gamma
    residual = _unreached(s) + (s.power * shrink).sum(axis=1) + gap**2 / (1 + zeta)
    complexity = np.log1p(s.eigenvalues / t).sum(axis=1) + np.log1p(zeta)
    d_gamma = -((s.cross * kappa * shrink) @ s.offset)
    d_zeta = -((kappa * shrink) @ offset_squared)
    d_residual = (s.cross**2 * kappa * shrink).sum(axis=1)
    d_residual += (-2 * gap * d_gamma - gap**2 * d_zeta / (1 + zeta)) / (1 + zeta)
    d_complexity = -(s.eigenvalues * kappa).sum(axis=1) + d_zeta / (1 + zeta)
    return residual, complexity, -s.n * d_residual / residual - d_complexity


def _best_ratio(s: Spectrum) -> Array:
    """The argmax over t of L(t), for each target: (T,), inf where no t beats the empty model."""
    largest = max(s.eigenvalues[-1], float(s.offset @ s.offset))
    if largest == 0:
        return np.full(len(s.cross), np.inf)
    grid = np.exp(LOG_GRID) * largest
    kappa = 1 / (s.eigenvalues[:, None] + grid)  # (D, J)
    gamma, zeta = (s.cross * s.offset) @ kappa, s.offset**2 @ kappa
    residual = _unreached(s)[:, None] + s.power @ (grid * kappa) + (s.weight[:, None] - gamma) ** 2 / (1 + zeta)
    complexity = np.log1p(s.eigenvalues[:, None] / grid).sum(axis=0) + np.log1p(zeta)
    best = (-s.n * np.log(residual) - complexity).argmax(axis=1)  # of (T, J)
    low = np.log(grid[np.maximum(best - 1, 0)])
    high = np.log(grid[np.minimum(best + 1, len(grid) - 1)])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rising = _terms(s, np.exp(middle))[2] > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    ratio: Array = np.exp((low + high) / 2)
    ratio[best == len(grid) - 1] = np.inf
    return ratio


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
        weights = self._fitted().weights
        dim = weights.shape[1]
        if samples.shape[1] != dim:
            raise OptionError(f"expected features of {dim} numbers as in fit, got {samples.shape[1]}")
        outputs: NDArray[Any] = samples @ weights.T
        return outputs if self.regression else self.classes_[outputs.argmax(axis=1)]

    def _fitted(self) -> Evidence:
        if self._moments is None or self._moments.n == 0:
            raise OptionError("LogME has seen no samples; call fit(features, targets) first")
        if not self.regression and len(self.classes_) < 2:
            raise OptionError(f"expected at least two classes, got only {self.classes_[0]}; one class ranks nothing")
        if self._evidence is None:
            self._evidence = maximise_evidence(Spectrum.of(self._moments))
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
        moments.n, moments.total, moments.gram = seen.n, seen.total.copy(), seen.gram.copy()
        moments.cross[rows], moments.square[rows], moments.target_total[rows] = seen.cross, seen.square, seen.square
        return moments

    def _started(self, dim: int, n_targets: int) -> Moments:
        if self._moments is None:
            self._moments = Moments.zeros(dim, n_targets, values=self.regression)
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
