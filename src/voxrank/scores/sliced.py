"""Sliced Wasserstein distance between source and target features of one layer.

    SW_p = (mean over directions θ of W_p(θᵀf_source, θᵀf_target)^p)^(1/p),   θ uniform on the sphere,

Here W_p of two sets of numbers is the p-th mean of the differences of their quantiles. The source features are those of
the data that the model was pre-trained on, the target features those of the user's data. No labels are read. Lower is
better: the closer the two are, the less fine-tuning has to change. The cost is the projection product, and a sort of
each projection.

Sources: Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", J. Math. Imaging and Vision 51, 2015;
arXiv 2306.01015 (as a score of speech models).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from voxrank._support.threads import on_threads, one_blas_thread
from voxrank.errors import OptionError
from voxrank.scores.checks import as_tensor, check_same_dim, checked_array, checked_features, finite, missing_source
from voxrank.scores.estimate import Estimate
from voxrank.scores.score import Score
from voxrank.scores.view import LayerView
from voxrank.sketches.products import Array, safe_unit
from voxrank.sketches.projections import (
    LIMIT,
    SOME,
    Quantiles,
    Values,
    draw_directions,
    far_centre,
    project_all,
    project_on,
)

Directions = Literal["gaussian", "orthogonal"]

Weighted = tuple[Values, NDArray[np.int64]]
"""Values (P, n), each row ascending, and the number of samples that each value represents."""

WORKING_BYTES = 56 * 2**20
"""Maximum size of the projections in memory, in bytes: products with few directions are slow."""
ROWS = 8192
"""Number of samples that are projected at a time."""
TOGETHER = 1 << 18
"""Number of quantiles, over several directions, that are compared at a time. They need little additional memory."""


def sliced_wasserstein(source: Values, target: Values, directions: Values, p: int = 2) -> float:
    """Compute SW_p of two sets of samples.

    Args:
        source: (n, D) source samples.
        target: (m, D) target samples.
        directions: (P, D) unit vectors.
        p: order of the distance, 1, 2, …
    """
    threads, sets = torch.get_num_threads(), [as_tensor(samples) for samples in (source, target)]
    together = max(threads, WORKING_BYTES // (4 * (len(source) + len(target))))
    groups = np.array_split(directions, -(-len(directions) // together))
    buffers = [np.empty((len(groups[0]), len(samples)), dtype=np.float32) for samples in sets]
    powers = []
    with one_blas_thread():
        for group in groups:
            rows = [buffer[: len(group)] for buffer in buffers]
            for samples, projections in zip(sets, rows, strict=True):
                project_all(samples, group, projections)
            parts = zip(*(np.array_split(projections, min(threads, len(group))) for projections in rows), strict=True)
            powers += on_threads(lambda part: _unsorted_power(part[0], part[1], p), list(parts), threads)
    return float(np.concatenate(powers).mean() ** (1 / p))


def _unsorted_power(source: Values, target: Values, p: int) -> Array:
    """Compute W_p^p of each pair of rows (P,), from (P, n) and (P, m), which are sorted in place."""
    source.sort(axis=1)
    target.sort(axis=1)
    return wasserstein_power(source, target, p)


def wasserstein_power(source: Values, target: Values, p: int) -> Array:
    """Compute W_p^p of each pair of sorted rows (P,), from (P, n) and (P, m)."""
    n, m = source.shape[1], target.shape[1]
    if n == m:
        return np.array([_power(a - b, p).mean(dtype=np.float64) for a, b in zip(source, target, strict=True)])
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # where a quantile function steps, times n·m
    widths = np.diff(ends, prepend=0) / (n * m)
    left, right = (ends - 1) // m, (ends - 1) // n
    count = max(1, TOGETHER // len(ends))
    parts = (slice(start, start + count) for start in range(0, len(source), count))
    return np.concatenate([_power(source[rows][:, left] - target[rows][:, right], p) @ widths for rows in parts])


def weighted_power(source: Weighted, target: Weighted, p: int) -> Array:
    """Compute W_p^p of each pair of rows (P,), from sorted values with the number of samples of each."""
    return np.array(
        [
            _weighted_row_power(a, v, b, w, p)
            for a, v, b, w in zip(source[0], source[1], target[0], target[1], strict=True)
        ]
    )


def _weighted_row_power(a: Values, v: NDArray[np.int64], b: Values, w: NDArray[np.int64], p: int) -> float:
    ends_a, ends_b = np.cumsum(v) / v.sum(), np.cumsum(w) / w.sum()
    ends = np.union1d(ends_a, ends_b)
    left = np.minimum(np.searchsorted(ends_a, ends), len(a) - 1)
    right = np.minimum(np.searchsorted(ends_b, ends), len(b) - 1)
    return float(np.diff(ends, prepend=0) @ _power(a[left] - b[right], p))


def _power(difference: Values, p: int) -> Values:
    if p == 2:
        return np.square(difference)
    return np.abs(difference) if p == 1 else np.abs(difference) ** p


def estimate_swd(view: LayerView) -> Estimate:
    """Estimate SW_2 along the shared directions, with each block of the target left out in turn.

    Raises:
        OptionError: the source is missing, or there are no projections.
    """
    if view.source is None or view.source.projections is None or view.projections is None:
        raise missing_source("the sliced Wasserstein distance")
    origin, target = view.source.projections.origin, view.projections
    source = view.source.projections.weighted(origin)

    def distance_of(blocks: Sequence[int]) -> float:
        return _distance(source, Quantiles.together(target[b] for b in blocks).weighted(origin))

    return view.left_out(distance_of)


def _distance(source: Weighted, target: Weighted, p: int = 2) -> float:
    """Compute SW_p of the kept values of two sets; it is exact where all values of both were kept."""
    exact = all(weights.max(initial=1) == 1 for _, weights in (source, target))
    unit = np.float32(safe_unit(max(np.abs(values).max(initial=0) for values, _ in (source, target))))
    if unit != 1:
        source, target = (source[0] / unit, source[1]), (target[0] / unit, target[1])
    powers = wasserstein_power(source[0], target[0], p) if exact else weighted_power(source, target, p)
    return float(unit) * float(powers.mean() ** (1 / p))


class SlicedWasserstein:
    """Sliced Wasserstein distance of source and target features; lower is better.

    Args:
        n_projections: number of directions.
        p: order of the distance, 1, 2, …
        seed: seed of the directions.
        directions: "gaussian" (independent) or "orthogonal" (in sets of D, which need fewer for the same error).
        projections: the directions, (P, D), instead of random directions; they are normalised.

    Attributes:
        higher_is_better: False.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> source, near = rng.normal(size=(2, 500, 8))
        >>> swd = SlicedWasserstein(n_projections=50, p=2, seed=42)
        >>> swd.fit(source, near).score_ < swd.fit(source, near + 1).score_
        True
    """

    higher_is_better = False

    def __init__(
        self,
        n_projections: int = 50,
        p: int = 2,
        seed: int = 42,
        directions: Directions = "gaussian",
        projections: ArrayLike | None = None,
    ) -> None:
        if p < 1 or n_projections < 1:
            raise OptionError(f"expected p and n_projections of at least 1, got p {p}, n_projections {n_projections}")
        if directions not in ("gaussian", "orthogonal"):
            raise OptionError(f"expected directions to be gaussian or orthogonal, got {directions!r}")
        self.n_projections, self.p, self.seed, self.directions = n_projections, p, seed, directions
        self.projections = None if projections is None else _normalised(projections)
        self._quantiles: tuple[Quantiles, Quantiles] | None = None
        self._score: float | None = None
        self._dim = 0

    def fit(self, source: ArrayLike, target: ArrayLike) -> Self:
        """Compute the exact distance of all of `source` and all of `target`.

        Args:
            source: (n, D), or (n, T, D) for the mean of the distances at each of the T time steps.
            target: (m, D), or (m, T, D).

        Raises:
            OptionError: shapes that do not fit, or values that are not finite.
        """
        pairs = list(paired_steps(source, target))
        directions = self._directions_of(pairs[0].source.shape[1])
        self._quantiles = None
        distances = [pair.unit * sliced_wasserstein(pair.source, pair.target, directions, self.p) for pair in pairs]
        self._score = float(np.mean(distances))
        return self

    def partial_fit(self, source: ArrayLike | None = None, target: ArrayLike | None = None) -> Self:
        """Add samples of either set. Up to 131,072 samples of each are kept exactly, beyond that their quantiles.

        Raises:
            OptionError: shapes that do not fit, or values that are not finite.
        """
        for quantiles, features in zip(self._ensure_quantiles(), (source, target), strict=True):
            if features is not None:
                samples = checked_features(features)
                self._check_dim(samples.shape[1])
                directions = torch.from_numpy(self._directions_of(self._dim))
                for part in as_tensor(samples).split(ROWS):
                    projected = project_on(part, directions)
                    quantiles.add(projected.values, projected.origin)
        self._score = None
        return self

    def merge(self, other: SlicedWasserstein) -> Self:
        """Add the samples that `other` took with `partial_fit`.

        Raises:
            OptionError: `other` used other directions.
        """
        if other._quantiles is None:
            return self
        quantiles = self._ensure_quantiles()
        self._check_dim(other._dim)
        if not np.array_equal(self._directions_of(self._dim), other._directions_of(self._dim)):
            raise OptionError("expected the same directions in both; give them the same seed and n_projections")
        for left, right in zip(quantiles, other._quantiles, strict=True):
            left.merge(right)
        self._score = None
        return self

    @property
    def score_(self) -> float:
        """The distance.

        Raises:
            OptionError: source or target samples are missing.
        """
        if self._score is None:
            if self._quantiles is None or not all(quantiles.n for quantiles in self._quantiles):
                raise OptionError("SlicedWasserstein needs source and target samples; call fit(source, target) first")
            origin = self._quantiles[0].origin
            source, target = (quantiles.weighted(origin) for quantiles in self._quantiles)
            self._score = finite("SlicedWasserstein", _distance(source, target, self.p))
        return self._score

    @property
    def rank_error_(self) -> float:
        """Maximum error of a quantile's rank, as a share of the samples; 0 while `partial_fit` keeps all samples."""
        return 0.0 if self._quantiles is None else max(quantiles.rank_error for quantiles in self._quantiles)

    def _ensure_quantiles(self) -> tuple[Quantiles, Quantiles]:
        """Return the quantiles of source and target, which are created if needed."""
        if self._quantiles is None:
            self._quantiles, self._dim = (Quantiles(LIMIT), Quantiles(LIMIT)), 0
        return self._quantiles

    def _directions_of(self, dim: int) -> Values:
        if self.projections is None:
            return draw_directions(dim, self.n_projections, seed=self.seed, orthogonal=self.directions == "orthogonal")
        if self.projections.shape[1] != dim:
            raise OptionError(f"expected projections of {dim} numbers as the features, got {self.projections.shape[1]}")
        return self.projections

    def _check_dim(self, dim: int) -> None:
        check_same_dim(self._dim or dim, dim)
        self._dim = dim


def _normalised(projections: ArrayLike) -> Values:
    directions = np.asarray(checked_features(projections), dtype=np.float64)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not lengths.all():
        raise OptionError("expected projections that are not zero; drop those rows")
    return np.asarray(directions / lengths, dtype=np.float32)


@dataclass(frozen=True)
class Pair:
    """Two sets of samples in single precision, shifted by a common vector and divided by a common power of two.

    Attributes:
        source: (n, D) source samples.
        target: (m, D) target samples.
        unit: common divisor.
    """

    source: Values
    target: Values
    unit: float = 1.0


def paired_steps(source: ArrayLike, target: ArrayLike) -> Iterator[Pair]:
    """Yield pairs of sets (n, D) and (m, D): a single pair, or a pair for each time step.

    Raises:
        OptionError: shapes that do not fit, or values that are not finite.
    """
    left, right = checked_array(source, "source features"), checked_array(target, "target features")
    if left.ndim == right.ndim == 3 and left.shape[1:] == right.shape[1:]:
        pairs: Sequence[tuple[Any, Any]] = [(left[:, t], right[:, t]) for t in range(left.shape[1])]
    else:
        pairs = [(left, right)]
    for a, b in pairs:
        pair = tuple(checked_features(x) for x in (a, b))
        if pair[0].shape[1] != pair[1].shape[1]:
            raise OptionError(
                f"expected source and target of the same dimensions, got {pair[0].shape[1]} and {pair[1].shape[1]}"
            )
        yield _centred_pair(*pair)


def _centred_pair(source: NDArray[Any], target: NDArray[Any]) -> Pair:
    """Return the sets unchanged where single precision suffices; otherwise shifted to the source, in a safe unit."""
    source_rows = source[:SOME].astype(np.float64, copy=False)
    centre = far_centre(source_rows)
    target_rows = target[:SOME].astype(np.float64, copy=False)
    unit = safe_unit(max(np.abs(part - centre).max() for part in (source_rows, target_rows)))
    if unit == 1 and not centre.any():
        return Pair(source.astype(np.float32, copy=False), target.astype(np.float32, copy=False))
    return Pair(_shifted(source, centre, unit), _shifted(target, centre, unit), unit)


def _shifted(samples: NDArray[Any], centre: Array, unit: float) -> Values:
    """Subtract a vector and divide by a unit, a few thousand samples at a time; return single precision."""
    shifted = np.empty(samples.shape, dtype=np.float32)
    for start in range(0, len(samples), ROWS):
        rows = slice(start, start + ROWS)
        shifted[rows] = (samples[rows] - centre) / unit
    return shifted


SCORE = Score(
    "swd",
    "SWD",
    SlicedWasserstein.higher_is_better,
    estimate_swd,
    needs_source=True,
    projected=True,
    estimator=SlicedWasserstein,
    summary="sliced Wasserstein distance, p = 2, along 50 fixed directions",
)
