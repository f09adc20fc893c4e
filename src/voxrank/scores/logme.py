"""LogME: the log evidence of a Bayesian linear model of the targets given the samples.

Model, for samples F (n, D) and one target column y (n):

    w ~ N(0, α⁻¹ I),    y | F, w ~ N(F w, β⁻¹ I)

Its log evidence, with A = αI + βFᵀF and m = βA⁻¹Fᵀy, is

    L(α, β) = n/2·ln β + D/2·ln α − n/2·ln 2π − β/2·‖Fm − y‖² − α/2·‖m‖² − ½·ln|A|,

maximised over α and β. The score is the mean of L/n over the target columns. All of it follows from the moments
n, Σf, FᵀF, Fᵀy, Σy, yᵀy (`voxrank.sketches.moments`).

The maximisation works as follows. Put t = α/β. For a given t the best β is n/E(t), which leaves a function of t alone,

    L(t) = −n/2·ln(2πE(t)/n) − n/2 − ½·Σᵢ ln(1 + λᵢ/t) − ½·ln(1 + ζ(t)).

In the terms of `Spectrum` (λ, c, z of the scatter about the mean, k = Σy/√n, r₀ the part of y − ȳ that no direction
reaches),

    E(t) = r₀ + Σᵢ cᵢ²/λᵢ·t/(t + λᵢ) + (k − γ(t))²/(1 + ζ(t)),   γ(t) = Σᵢ cᵢzᵢ/(t + λᵢ),   ζ(t) = Σᵢ zᵢ²/(t + λᵢ).

The first two terms are the residual of the centred problem; the last term is the cost of a mean that is not free. Every
term is positive, so that no digits cancel however far the samples lie from the origin.

The global maximum is found on a grid of ln t that all targets share, then by bisection of the derivative and, near the
root, by its chord. Unlike the fixed-point iteration on α and β, this method does not stop early, does not depend on its
start, and needs no added constant in a denominator. It is exact for n < D: the D − k directions without data contribute
nothing.

Sources: You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021,
arXiv 2102.11005; MacKay, "Bayesian Interpolation", Neural Computation 4, 1992.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError
from voxrank.scores.centred import EPSILON
from voxrank.scores.checks import checked_features, finite
from voxrank.scores.estimator import MomentScore
from voxrank.scores.gradient import Gradient, Reading
from voxrank.scores.score import of_moments
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array

LOG_LOW, LOG_HIGH = np.log(1e-16), np.log(1e10)
"""Range of the grid of ln t, relative to the largest eigenvalue of the scatter, or of FᵀF at the upper end."""
LOG_STEP = 0.5
"""Maximum step of the grid, in ln t."""
BISECTIONS = 8
"""Number of bisections of the bracket around the maximum, before chords of the derivative."""
CHORDS = 2
"""Number of chords that shrink the bracket; the root of the next chord is within about 1e-12 of the maximum in ln t."""
RESIDUAL_FLOOR = 1e-12
"""Minimum residual relative to yᵀy. The evidence of a target that the samples fit exactly has no upper bound."""
MOST_CONSTANT = 1e3
"""Maximum ratio of the constant part of yᵀy to its variation in this minimum. Large values would hide the variation."""
PUBLISHED_ROUNDS = 11
"""Maximum number of rounds of the published iteration."""
PUBLISHED_TOLERANCE = 1e-3
"""Relative change of α/β at which the published iteration stops."""
PUBLISHED_CONSTANT = 1e-5
"""Constant that is added to denominators in published code."""
PUBLISHED_LEAST_SINGULAR = 1e-10
"""Threshold of singular values where n exceeds D. They are the square roots of the singular values of FᵀF."""


@dataclass(frozen=True)
class Evidence:
    """The maximised evidence of every target column.

    Attributes:
        spectrum: the spectrum of the samples.
        per_target: (T,) L/n.
        ratio: (T,) t = α/β at the maximum; inf where the samples have no information on the target.
        residual: (T,) E(t); β is n/E.
    """

    spectrum: Spectrum
    per_target: Array
    ratio: Array
    residual: Array

    @property
    def score(self) -> float:
        """Mean evidence over the target columns."""
        return float(self.per_target.mean())

    @property
    def weights(self) -> Array:
        """Posterior mean m of each column's w: (T, D)."""
        s, kappa = self.spectrum, self._kappa
        gamma, zeta = (s.cross * kappa) @ s.offset, kappa @ s.offset**2
        rotated = kappa * (s.cross + np.outer((s.weight - gamma) / (1 + zeta), s.offset))
        weights: Array = rotated @ s.vectors.T
        return weights

    @property
    def at_mean(self) -> Array:
        """Prediction mᵀμ of each column for the mean sample: (T,)."""
        s, kappa = self.spectrum, self._kappa
        gamma, zeta = (s.cross * kappa) @ s.offset, kappa @ s.offset**2
        prediction: Array = (gamma + s.weight * zeta) / (1 + zeta) / np.sqrt(s.n)
        return prediction

    @property
    def _kappa(self) -> Array:
        return _kappa(self.spectrum, self.ratio)

    def gradient(self) -> Gradient:
        """Return ∂score/∂M with fixed α and β, whose changes at the maximum have no effect to first order."""
        s, kappa, m, at_mean = self.spectrum, self._kappa, self.weights, self.at_mean
        n, n_targets = s.n, len(self.per_target)
        beta, zeta = n / self.residual, kappa @ s.offset**2
        factor = 1 / (1 + zeta)
        rank_one = (
            kappa * s.offset * np.sqrt(factor)[:, None]
        ) @ s.vectors.T  # (T, D), subtracted from the inverse below
        inverse = (s.vectors * kappa.sum(axis=0)) @ s.vectors.T - rank_one.T @ rank_one
        inverse_mean = s.vectors @ ((factor @ kappa) * s.offset) / np.sqrt(n)  # (D,) Σ (FᵀF + t)⁻¹μ
        share = 1 / (n * n_targets)
        cross, target_total, square = np.zeros((len(s.used), s.dim)), np.zeros(len(s.used)), np.zeros(len(s.used))
        cross[s.used] = beta[:, None] * m * share
        target_total[s.used] = beta * at_mean * share
        square[s.used] = -beta / 2 * share
        by_n = (np.log(beta / (2 * np.pi)) / 2 - self.per_target).sum() * share
        by_n -= (beta @ at_mean**2 + (zeta * factor).sum() / n) * share / 2
        return Gradient(
            n=by_n,
            total=-((beta * at_mean) @ m + inverse_mean) * share,
            gram=-((m.T * beta) @ m + inverse) * (share / 2),
            cross=cross,
            target_total=target_total,
            square=square,
            centre=s.mean,
        )


def maximise_evidence(spectrum: Spectrum) -> Evidence:
    """Maximise L over α and β for every target column that has samples."""
    ratio = _best_ratio(spectrum)
    residual, complexity = _terms(spectrum, ratio)
    n = spectrum.n
    per_target = -(np.log(2 * np.pi * residual / n) + 1) / 2 - complexity / (2 * n)
    return Evidence(spectrum, per_target, ratio, residual)


def read_logme(spectrum: Spectrum) -> Reading:
    """Read LogME and its gradient from a spectrum."""
    evidence = maximise_evidence(spectrum)
    return Reading(evidence.score, evidence.gradient)


def _kappa(s: Spectrum, ratio: Array) -> Array:
    """Return 1/(t + λ) for each target's t: (T, D)."""
    return np.asarray(1 / (ratio[:, None] + s.eigenvalues))


def _unreached(s: Spectrum) -> Array:
    """Return r₀, at least the floor."""
    constant = s.weight**2
    if s.target_gram is not None:
        constant = np.where(s.square > 0, np.minimum(constant, MOST_CONSTANT * s.square), constant)
    return np.asarray(np.maximum(s.unreached, RESIDUAL_FLOOR * (s.square + constant)))


def _terms(s: Spectrum, ratio: Array) -> tuple[Array, Array]:
    """Return E(t) and Σ ln(1 + λ/t) + ln(1 + ζ), for each target at its t."""
    finite_ratio = np.minimum(ratio, np.finfo(np.float64).max)
    kappa = _kappa(s, finite_ratio)
    t = finite_ratio[:, None]
    gamma, zeta = (s.cross * kappa) @ s.offset, kappa @ s.offset**2
    residual = _unreached(s) + (s.power * (t * kappa)).sum(axis=1) + (s.weight - gamma) ** 2 / (1 + zeta)
    return residual, np.log1p(s.eigenvalues / t).sum(axis=1) + np.log1p(zeta)


def _slope(s: Spectrum) -> Callable[[Array], Array]:
    """Return dL/d(ln t)·2 as a function of t, (T,) to (T,). Terms that do not depend on t are computed once."""
    cross_offset, offset_squared, cross_squared, unreached = s.cross * s.offset, s.offset**2, s.cross**2, _unreached(s)

    def over_dims(by_target: Array, weights: Array) -> Array:
        return np.asarray(np.einsum("td,td->t", by_target, weights))

    def slope(t: Array) -> Array:
        kappa = _kappa(s, t)
        t_kappa = t[:, None] * kappa
        t_kappa_squared = t_kappa * kappa
        gap, zeta = s.weight - over_dims(cross_offset, kappa), kappa @ offset_squared
        d_gamma, d_zeta = -over_dims(cross_offset, t_kappa_squared), -(t_kappa_squared @ offset_squared)
        residual = unreached + over_dims(s.power, t_kappa) + gap**2 / (1 + zeta)
        d_residual = over_dims(cross_squared, t_kappa_squared)
        d_residual += (-2 * gap * d_gamma - gap**2 * d_zeta / (1 + zeta)) / (1 + zeta)
        d_complexity = d_zeta / (1 + zeta) - kappa @ s.eigenvalues
        return np.asarray(-s.n * d_residual / residual - d_complexity)

    return slope


def _grid(s: Spectrum) -> Array:
    """Return the grid of t on which L(t) is evaluated first; empty where all samples are 0.

    The grid begins below the eigenvalues of the scatter, however large the mean is, and ends above those of FᵀF.
    """
    offset = float(s.offset @ s.offset)
    smallest, largest = s.eigenvalues[-1] or offset, max(s.eigenvalues[-1], offset)
    if largest == 0:
        return np.zeros(0)
    low, high = np.log(smallest) + LOG_LOW, np.log(largest) + LOG_HIGH
    return np.asarray(np.exp(np.linspace(low, high, 1 + int(np.ceil((high - low) / LOG_STEP)))))


def _best_ratio(s: Spectrum) -> Array:
    """Return the t that maximises L(t) for each target: (T,), inf where no t is better than the empty model."""
    grid = _grid(s)
    if not len(grid):
        return np.full(len(s.cross), np.inf)
    kappa = 1 / (s.eigenvalues[:, None] + grid)  # (D, J)
    gamma, zeta = (s.cross * s.offset) @ kappa, s.offset**2 @ kappa
    residual = _unreached(s)[:, None] + s.power @ (grid * kappa) + (s.weight[:, None] - gamma) ** 2 / (1 + zeta)
    complexity = np.log1p(s.eigenvalues[:, None] / grid).sum(axis=0) + np.log1p(zeta)
    best = (-s.n * np.log(residual) - complexity).argmax(axis=1)  # of (T, J)
    low = np.log(grid[np.maximum(best - 1, 0)])
    high = np.log(grid[np.minimum(best + 1, len(grid) - 1)])
    slope = _slope(s)
    at_low, at_high = slope(np.exp(low)), slope(np.exp(high))
    for step in range(BISECTIONS + CHORDS):
        point = (low + high) / 2 if step < BISECTIONS else _root(low, high, at_low, at_high)
        at_point = slope(np.exp(point))
        rising = at_point > 0
        low, at_low = np.where(rising, point, low), np.where(rising, at_point, at_low)
        high, at_high = np.where(rising, high, point), np.where(rising, at_high, at_point)
    ratio: Array = np.exp(_root(low, high, at_low, at_high))
    ratio[best == len(grid) - 1] = np.inf
    return ratio


def _root(low: Array, high: Array, at_low: Array, at_high: Array) -> Array:
    """Return the root of the chord of a falling function; without a change of sign, the end nearer to the root."""
    crosses = (at_low > 0) & (at_high <= 0)
    share = np.divide(at_low, at_low - at_high, out=np.where(at_low > 0, 1.0, 0.0), where=crosses)
    root: Array = low + share * (high - low)
    return root


def published_logme(moments: Moments, empty_classes: int = 0) -> float:
    """Compute LogME as in published code, including its faults, for comparison with older tables.

    - The fixed-point iteration on α and β starts at 1. It takes at most 11 rounds, or stops when their ratio moves by
      less than 0.1 %. 10⁻⁵ is added to both denominators.
    - The evidence keeps D/2·ln α beside only min(n, D) eigenvalues.
    - Every class id up to the largest counts as a class.

    Therefore the score depends on the unit of the features, rewards n < D, and is inflated by ids without samples.

    Where n exceeds D, published code decomposes FᵀF. Linearly dependent columns then have singular values of about 10⁻⁸
    of the largest instead of 0, by rounding, and are mostly kept. This function keeps them, too.

    Source: the algorithm of You et al., arXiv 2102.11005, as in the authors' code (reimplemented here).

    Args:
        moments: moments of the samples.
        empty_classes: number of class ids below the largest that no sample has.
    """
    n, dim = moments.n, moments.dim
    raw = moments.about(np.zeros(dim)).targets_about(None)
    _, sigma, vectors = np.linalg.svd(raw.gram)
    selected = np.sqrt(sigma) > PUBLISHED_LEAST_SINGULAR if n > dim else np.arange(dim) < n
    sigma, squared_cross = sigma[selected], (raw.cross @ vectors[selected].T) ** 2
    nonzero = sigma > dim * EPSILON * sigma[:1]
    power = np.divide(squared_cross, sigma, out=np.zeros_like(squared_cross), where=nonzero)
    columns = [(row, float(square - row.sum())) for row, square in zip(power, raw.square, strict=True)]
    columns += [(np.zeros_like(sigma), 0.0)] * empty_classes
    return float(np.mean([_published_evidence(row, residual, sigma, n, dim) for row, residual in columns]))


def _published_evidence(power: Array, residual: float, sigma: Array, n: float, dim: int) -> float:
    alpha = beta = 1.0
    length = error = 0.0
    for _ in range(PUBLISHED_ROUNDS):
        ratio = np.float64(alpha / beta)  # a NumPy scalar, because it may be a divisor when it is 0
        gamma = float((sigma / (sigma + ratio)).sum())
        length = float((sigma * power / (ratio + sigma) ** 2).sum())
        error = float((power / (1 + sigma / ratio) ** 2).sum()) + residual
        alpha, beta = gamma / (length + PUBLISHED_CONSTANT), (n - gamma) / (error + PUBLISHED_CONSTANT)
        if abs(alpha / beta - ratio) / ratio <= PUBLISHED_TOLERANCE:
            break
    evidence = dim * np.log(alpha) + n * np.log(beta) - np.log(alpha + beta * sigma).sum()
    evidence -= beta * error + alpha * length + n * np.log(2 * np.pi)
    return float(evidence) / (2 * n)


class LogME(MomentScore):
    """Mean log evidence per sample and target column, in nats; higher is better (`voxrank.scores.logme`).

    Args:
        regression: targets are values instead of class ids.
        compat: "published" reproduces the numbers of published code, including its faults (`voxrank.scores.logme`).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 3, size=300)
        >>> separated = rng.normal(size=(300, 8)) + 5 * np.eye(3, 8)[labels]
        >>> LogME().fit(separated, labels).score_ > LogME().fit(rng.normal(size=(300, 8)), labels).score_
        True
    """

    read = staticmethod(read_logme)

    def __init__(self, *, regression: bool = False, compat: Literal["published"] | None = None) -> None:
        if compat not in (None, "published"):
            raise OptionError(f"expected compat to be 'published' or None, got {compat!r}")
        super().__init__(regression=regression)
        self.compat = compat

    @property
    def score_(self) -> float:
        """The score.

        Raises:
            OptionError: nothing was fitted, or the labels hold a single class.
        """
        if self.compat is None:
            return super().score_
        moments = self._checked_moments()
        integer_ids = not self.regression and np.issubdtype(self.classes_.dtype, np.integer)
        empty_ids = int(self.classes_.max()) + 1 - len(self.classes_) if integer_ids else 0
        with np.errstate(divide="ignore", invalid="ignore"):  # published code divides by 0 where features are all 0
            return finite("LogME as published", published_logme(moments, max(empty_ids, 0)))

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Predict from features (n, D) with the posterior mean: class ids (n,), or values (n, T).

        Raises:
            OptionError: nothing was fitted, or the dimension differs.
        """
        samples = checked_features(features)
        spectrum = self._checked_spectrum()
        evidence = maximise_evidence(spectrum)
        weights = evidence.weights
        dim = weights.shape[1]
        if samples.shape[1] != dim:
            raise OptionError(f"expected features of {dim} numbers as in fit, got {samples.shape[1]}")
        outputs: NDArray[Any] = evidence.at_mean + (samples - spectrum.mean) @ weights.T
        return outputs if self.regression else self.classes_[outputs.argmax(axis=1)]


SCORE = of_moments(
    "logme",
    "LogME",
    read_logme,
    estimator=LogME,
    summary="log evidence of a Bayesian linear model, per sample and target",
)
