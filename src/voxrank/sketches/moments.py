"""Moments of samples and targets, from which LogME and related scores are computed.

A sample f is a frame (or the mean of an utterance) of D features. Its target y has T numbers: one-hot over the classes,
or the values to regress on. A centre c near the mean is subtracted from samples, g = f − c, and a centre b from values,
z = y − b; for classes b is 0. With the g as rows of G (n, D) and the z as rows of Z (n, T),

    n,   total = Σg (D),   gram = GᵀG (D, D),   cubic = Σ‖g‖²g (D),   quartic = Σ‖g‖⁴,
    cross = ZᵀG (T, D),   target_total = Σz (T),   square = Σz² (T)   and, for values, target_gram = ZᵀZ (T, T)

are sums over samples: with equal centres, they are additive over batches, shards and machines, and their size does
not depend on n. For classes, `cross` holds each class's sum of the g, `square` and `target_total` both hold each
class's count, and ZᵀZ is the diagonal matrix of `square`. `Runs` measure how strongly the samples of an utterance
depend on each other. The first samples set the centres; sums about other centres are converted exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.sketches.multiplication import multiply
from voxrank.sketches.products import Array, Products, Targets, on_host


@dataclass
class Runs:
    """Sums over runs of samples that depend on each other, such as the frames of an utterance.

    Let s be the sum of a run's m samples less the centre.

    Attributes:
        square: Σ ‖s‖².
        total: (D,) Σ m s.
        count: Σ m².
    """

    square: float
    total: Array
    count: float

    @classmethod
    def zeros(cls, dim: int) -> Self:
        """Return the sums of no runs."""
        return cls(0.0, np.zeros(dim), 0.0)

    @classmethod
    def of(cls, sums: Array, counts: NDArray[np.int64]) -> Self:
        """Return the sums over runs with sums (R, D) and lengths (R,)."""
        return cls(float(np.vdot(sums, sums)), counts @ sums, float(counts @ counts))

    def moved(self, shift: Array) -> Runs:
        """Return the sums of the same runs after `shift` is added to every sample."""
        square = self.square + 2 * float(shift @ self.total) + self.count * float(shift @ shift)
        return Runs(square, self.total + self.count * shift, self.count)

    def add(self, other: Runs) -> None:
        """Add other runs about the same centre."""
        self.square += other.square
        self.total += other.total
        self.count += other.count


@dataclass
class Moments:
    """Moments of samples and targets. `Moments.zeros` is the neutral element of `merge`.

    Attributes:
        products: number of samples, their centre c, their sum, and the sum of their products.
        cross: (T, D) ZᵀG.
        target_total: (T,) Σ z.
        square: (T,) Σ z².
        target_gram: (T, T) ZᵀZ for values; None for classes.
        runs: the runs of the samples that were added with `add`; None if runs were never distinguished.
        target_centre: (T,) b for values; None where it is 0.
    """

    products: Products
    cross: Array
    target_total: Array
    square: Array
    target_gram: Array | None = None
    runs: Runs | None = None
    target_centre: Array | None = None

    @classmethod
    def zeros(cls, dim: int, n_targets: int, *, values: bool = False) -> Self:
        """Return the moments of no samples with `dim` features and `n_targets` classes (or values)."""
        return cls(
            products=Products.zeros(dim),
            cross=np.zeros((n_targets, dim)),
            target_total=np.zeros(n_targets),
            square=np.zeros(n_targets),
            target_gram=np.zeros((n_targets, n_targets)) if values else None,
        )

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.products.n

    @property
    def dim(self) -> int:
        """D, the number of features in a sample."""
        return len(self.products.centre)

    @property
    def centre(self) -> Array:
        """The centre c, (D,)."""
        return self.products.centre

    @property
    def total(self) -> Array:
        """The sum Σ g, (D,)."""
        return self.products.total

    @property
    def mean(self) -> Array:
        """The mean sample, (D,)."""
        return self.products.mean

    @property
    def gram(self) -> Array:
        """The matrix GᵀG, (D, D)."""
        return self.products.gram

    @property
    def values(self) -> bool:
        """True if the targets are values rather than classes."""
        return self.target_gram is not None

    @property
    def target_origin(self) -> Array:
        """The centre b of the targets, (T,); zeros if there is none."""
        return np.zeros(len(self.square)) if self.target_centre is None else self.target_centre

    def update(self, samples: torch.Tensor, targets: Targets) -> None:
        """Add samples (n, D) with a target each, a few thousand at a time to limit memory."""
        if not len(samples):
            return
        part = Moments.zeros(self.dim, len(self.square), values=self.values)
        if self.values:
            part.target_centre = targets.mean(axis=0)
            targets = targets - part.target_centre
        multiplied = multiply(samples, targets, len(self.square))
        part.products, part.cross = multiplied.products, multiplied.cross
        part._add_targets(targets, np.ones(len(targets), dtype=np.int64))  # noqa: SLF001
        self.merge(part)

    def add(self, products: Products, sums: Array, counts: NDArray[np.int64], targets: Targets) -> None:
        """Add runs of samples that share a target, such as the frames of an utterance or segment.

        Args:
            products: products of all samples of the runs.
            sums: (R, D) sum of each run's samples.
            counts: (R,) number of samples in each run.
            targets: (R,) class ids or (R, T) values, one per run.
        """
        part = Moments.zeros(self.dim, len(self.square), values=self.values)
        sums = sums - np.outer(counts, products.centre)
        part.products = replace(products, total=sums.sum(axis=0))
        part._add_targets(targets, counts)  # noqa: SLF001
        if self.values:
            part.cross += targets.T @ sums
        else:
            np.add.at(part.cross, targets, sums)
        part.runs = Runs.of(sums, counts)
        self.merge(part)

    def _add_targets(self, targets: Targets, counts: NDArray[np.int64]) -> None:
        if self.target_gram is None:
            by_class = np.bincount(targets, counts, minlength=len(self.square))
            self.square += by_class
            self.target_total += by_class
        else:
            self.square += counts @ targets**2
            self.target_total += counts @ targets
            self.target_gram += (targets.T * counts) @ targets

    def merge(self, other: Moments) -> None:
        """Add the samples of `other`."""
        if not other.n:
            return
        if not self.n:
            self.target_centre = None if other.target_centre is None else other.target_centre.copy()
        other = other.targets_about(self.target_centre)
        before, empty = self.centre, not self.n
        self.products.merge(other.products)
        if not empty and (step := before - self.centre).any():
            self.cross += np.outer(self.target_total, step)
            self.runs = None if self.runs is None else self.runs.moved(step)
        self.cross += other.cross
        if (step := other.centre - self.centre).any():
            self.cross += np.outer(other.target_total, step)
        if other.runs is not None:
            self.runs = self.runs or Runs.zeros(self.dim)
            self.runs.add(other.runs.moved(step))
        self.target_total += other.target_total
        self.square += other.square
        if self.target_gram is not None and other.target_gram is not None:
            self.target_gram += other.target_gram

    def about(self, centre: Array) -> Moments:
        """Return the moments of the same samples about another centre; they may share arrays with this object."""
        shift = self.centre - centre
        return replace(
            self,
            products=self.products.about(centre),
            cross=self.cross + np.outer(self.target_total, shift),
            runs=None if self.runs is None else self.runs.moved(shift),
        )

    def centred(self) -> Moments:
        """Return the moments of the samples about their mean, with the targets unchanged."""
        return self.about(self.mean)

    def targets_about(self, centre: Array | None) -> Moments:
        """Return the moments with values about another centre (None: 0); they may share arrays with this object."""
        if self.target_gram is None or (centre is None and self.target_centre is None):
            return self
        shift = self.target_origin - (0.0 if centre is None else centre)
        if not shift.any():
            return self
        moved = np.outer(self.target_total, shift)
        return replace(
            self,
            cross=self.cross + np.outer(shift, self.total),
            target_total=self.target_total + self.n * shift,
            square=self.square + 2 * shift * self.target_total + self.n * shift**2,
            target_gram=self.target_gram + moved + moved.T + self.n * np.outer(shift, shift),
            target_centre=centre,
        )

    def inflation(self) -> float:
        """Return the factor by which dependence within runs raises the variance of a mean; at least 1.

            τ = Σ_runs ‖Σ (f − μ)‖² / Σ ‖f − μ‖²

        This is the sum of the autocorrelation over all lags, weighted as in the variance of a run's mean: for a mean, n
        samples carry the information of n/τ independent samples. τ is 1 if the samples of a run are independent, and
        the length of a run if they are all equal. Source: Kish, "Survey Sampling", 1965 (the design effect).
        """
        if self.runs is None or not self.n:
            return 1.0
        offset = self.total / self.n
        spread = float(np.trace(self.gram)) - float(self.total @ offset)
        together = self.runs.moved(-offset).square
        return max(together / spread, 1.0) if spread > 0 else 1.0

    def relabelled(self, rows: Targets, n_targets: int, *, values: bool = False) -> Moments:
        """Return the moments of the same samples with other targets, which replace the present classes.

        Args:
            rows: (T,) class ids or (T, T') values: the new target of each present class.
            n_targets: T', the number of new classes or values.
            values: whether the new targets are values.
        """
        moments = Moments.zeros(self.dim, n_targets, values=values)
        moments._add_targets(rows, self.square.astype(np.int64))  # noqa: SLF001
        if values:
            moments.cross += rows.T @ self.cross
        else:
            np.add.at(moments.cross, rows, self.cross)
        return replace(moments, products=self.products, runs=self.runs)

    def spread(self, positions: NDArray[np.int64], n_targets: int) -> Moments:
        """Return the moments of the same samples with more classes; known classes move to `positions`."""
        cross, counts = np.zeros((n_targets, self.dim)), np.zeros(n_targets)
        cross[positions], counts[positions] = self.cross, self.square
        return Moments(self.products, cross, counts, counts.copy(), runs=self.runs)

    def thinned(self, weight: float) -> Moments:
        """Return the moments with every sample weighted by `weight`; n need not be an integer then."""
        return replace(
            self,
            products=self.products.times(weight),
            cross=self.cross * weight,
            target_total=self.target_total * weight,
            square=self.square * weight,
            target_gram=None if self.target_gram is None else self.target_gram * weight,
        )

    def without(self, other: Moments) -> Moments:
        """Return the moments without the samples of `other`, which must be among these."""
        moved = other.about(self.centre).targets_about(self.target_centre)
        target_gram = None
        if self.target_gram is not None and moved.target_gram is not None:
            target_gram = self.target_gram - moved.target_gram
        return Moments(
            self.products.without(moved.products),
            self.cross - moved.cross,
            self.target_total - moved.target_total,
            self.square - moved.square,
            target_gram,
            target_centre=self.target_centre,
        )


def sum_runs(samples: torch.Tensor, lengths: tuple[int, ...]) -> Array:
    """Sum each run of consecutive samples in float64: (sum(lengths), D) → (R, D).

    A run's sum does not depend on its neighbours in the batch. All sums leave an accelerator together, since each
    transfer waits for the passes before it.
    """
    host = samples.cpu() if samples.device.type == "mps" else samples  # Apple's accelerator has no float64
    runs = torch.split(host, list(lengths))
    if host.device.type != "cpu":
        return _sums_on_device(runs)
    return np.array([run.numpy().sum(axis=0, dtype=np.float64) for run in runs])  # threads of torch would cost more


def _sums_on_device(runs: Sequence[torch.Tensor]) -> Array:
    return on_host(torch.stack([run.sum(dim=0, dtype=torch.float64) for run in runs]))
