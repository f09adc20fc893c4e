"""Moments of samples and targets: all that LogME and its kin read.

A sample is a frame (or an utterance's mean) f of D numbers; its target y has T numbers: one-hot over the
classes, or the values to regress on. With samples as the rows of F (n, D) and targets as the rows of Y (n, T),

    n,   total = Σf (D),   gram = FᵀF (D, D),   cubic = Σ‖f‖²f (D),   quartic = Σ‖f‖⁴,
    cross = YᵀF (T, D),   target_total = Σy (T),   square = Σy² (T)   and, for values, target_gram = YᵀY (T, T)

are sums over samples: they add up over batches, shards and machines, and their size does not depend on n. For classes,
`cross` holds each class's sum of samples, `square` and `target_total` both hold each class's count, and YᵀY is the
diagonal matrix of `square`. `Runs` beside them tell how strongly the samples of one utterance depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.sketches.products import Array, Products, Targets, multiply, on_host
from voxrank.threads import one_blas_thread


@dataclass
class Runs:
    """Sums over runs of samples that depend on each other, such as an utterance's frames.

    With s the sum of a run's m samples,

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
        """Of no runs."""
        return cls(0.0, np.zeros(dim), 0.0)

    @classmethod
    def of(cls, sums: Array, counts: NDArray[np.int64]) -> Self:
        """Of runs with these sums (R, D) and lengths (R,)."""
        return cls(float(np.vdot(sums, sums)), counts @ sums, float(counts @ counts))

    def add(self, other: Runs) -> None:
        """Add other runs."""
        self.square += other.square
        self.total += other.total
        self.count += other.count


@dataclass
class Moments:
    """The sums. `Moments.zeros` is the neutral element of `merge`.

    Attributes:
        n: number of samples.
        total: (D,) Σ f.
        products: of the samples with themselves.
        cross: (T, D) YᵀF.
        target_total: (T,) Σ y.
        square: (T,) Σ y².
        target_gram: (T, T) YᵀY of values; None for classes.
        runs: of the samples that were added with `add`; None where they were never told apart.
    """

    n: int
    total: Array
    products: Products
    cross: Array
    target_total: Array
    square: Array
    target_gram: Array | None = None
    runs: Runs | None = None

    @classmethod
    def zeros(cls, dim: int, n_targets: int, *, values: bool = False) -> Self:
        """No samples yet, of `dim` numbers, with `n_targets` classes (or values)."""
        return cls(
            n=0,
            total=np.zeros(dim),
            products=Products.zeros(dim),
            cross=np.zeros((n_targets, dim)),
            target_total=np.zeros(n_targets),
            square=np.zeros(n_targets),
            target_gram=np.zeros((n_targets, n_targets)) if values else None,
        )

    @property
    def dim(self) -> int:
        """D, the numbers in a sample."""
        return len(self.total)

    @property
    def gram(self) -> Array:
        """(D, D) FᵀF."""
        return self.products.gram

    @property
    def values(self) -> bool:
        """Whether the targets are values rather than classes."""
        return self.target_gram is not None

    def update(self, samples: torch.Tensor, targets: Targets) -> None:
        """Add samples (n, D), each with its own target; a few thousand at a time, so that memory stays small."""
        with one_blas_thread():
            made = multiply(samples, targets, len(self.square))
            before = self.target_total.copy()
            self._add_targets(targets, np.ones(len(targets), dtype=np.int64))
            self.cross += made.cross + np.outer(self.target_total - before, made.centre)
            self.total += made.total + made.n * made.centre
            self.products.add(made.uncentred())

    def add(self, products: Products, sums: Array, counts: NDArray[np.int64], targets: Targets) -> None:
        """Add runs of samples that share a target: an utterance's frames, or a segment's.

        Args:
            products: over all of the runs' samples.
            sums: (R, D) the sum of each run's samples.
            counts: (R,) samples in each run.
            targets: (R,) class ids or (R, T) values, one for each run.
        """
        self._add_targets(targets, counts)
        if self.values:
            self.cross += targets.T @ sums
        else:
            np.add.at(self.cross, targets, sums)
        self.total += sums.sum(axis=0)
        self.products.add(products)
        self._add_runs(Runs.of(sums, counts))

    def _add_runs(self, runs: Runs) -> None:
        if self.runs is None:
            self.runs = Runs.zeros(self.dim)
        self.runs.add(runs)

    def _add_targets(self, targets: Targets, counts: NDArray[np.int64]) -> None:
        self.n += int(counts.sum())
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
        self.n += other.n
        self.total += other.total
        self.products.add(other.products)
        self.cross += other.cross
        self.target_total += other.target_total
        self.square += other.square
        if self.target_gram is not None and other.target_gram is not None:
            self.target_gram += other.target_gram
        if other.runs is not None:
            self._add_runs(other.runs)

    def inflation(self) -> float:
        """By what factor the dependence within runs makes the variance of a mean larger; at least 1.

            τ = Σ_runs ‖Σ (f − μ)‖² / Σ ‖f − μ‖²

        This is the sum of the autocorrelation over all lags, weighted as in the variance of a run's mean: n samples
        tell as much of a mean as n/τ independent ones. 1 where the samples of a run are as good as independent, the
        length of a run where they are all alike. Source: Kish, "Survey Sampling", 1965 (the design effect).
        """
        if self.runs is None or not self.n:
            return 1.0
        mean = self.total / self.n
        spread = float(np.trace(self.gram)) - float(self.total @ mean)
        together = self.runs.square - 2 * float(self.runs.total @ mean) + self.runs.count * float(mean @ mean)
        return max(together / spread, 1.0) if spread > 0 else 1.0

    def relabelled(self, rows: Targets, n_targets: int, *, values: bool = False) -> Moments:
        """The same samples with other targets, one for each class that they have now.

        Args:
            rows: (T,) class ids or (T, T') values: the new target of each present class.
            n_targets: T', new classes or values.
            values: whether the new targets are values.
        """
        made = Moments.zeros(self.dim, n_targets, values=values)
        made._add_targets(rows, self.square.astype(np.int64))  # noqa: SLF001
        if values:
            made.cross += rows.T @ self.cross
        else:
            np.add.at(made.cross, rows, self.cross)
        return replace(made, total=self.total, products=self.products, runs=self.runs)

    def spread(self, places: NDArray[np.int64], n_targets: int) -> Moments:
        """The same samples among more classes: those known go to `places` of `n_targets`."""
        cross, counts = np.zeros((n_targets, self.dim)), np.zeros(n_targets)
        cross[places], counts[places] = self.cross, self.square
        return Moments(self.n, self.total, self.products, cross, counts, counts.copy())

    def centred(self) -> Moments:
        """Those of the samples about their mean, targets as they are."""
        mean = self.total / self.n
        return Moments(
            n=self.n,
            total=np.zeros(self.dim),
            products=self.products.moved(self.n, self.total, -mean),
            cross=self.cross - np.outer(self.target_total, mean),
            target_total=self.target_total,
            square=self.square,
            target_gram=self.target_gram,
        )

    def thinned(self, weight: float) -> Moments:
        """The sums where every sample counts for `weight` of one; n is then no whole number."""
        products = self.products
        return replace(
            self,
            n=cast("int", self.n * weight),
            total=self.total * weight,
            products=Products(products.gram * weight, products.cubic * weight, products.quartic * weight),
            cross=self.cross * weight,
            target_total=self.target_total * weight,
            square=self.square * weight,
            target_gram=None if self.target_gram is None else self.target_gram * weight,
        )

    def without(self, other: Moments) -> Moments:
        """What is left when the samples of `other`, which are among these, are taken away."""
        mine, theirs = self.products, other.products
        target_gram = None
        if self.target_gram is not None and other.target_gram is not None:
            target_gram = self.target_gram - other.target_gram
        return Moments(
            n=self.n - other.n,
            total=self.total - other.total,
            products=Products(mine.gram - theirs.gram, mine.cubic - theirs.cubic, mine.quartic - theirs.quartic),
            cross=self.cross - other.cross,
            target_total=self.target_total - other.target_total,
            square=self.square - other.square,
            target_gram=target_gram,
        )


def sum_runs(samples: torch.Tensor, lengths: tuple[int, ...]) -> Array:
    """Sum of each run of consecutive samples in float64: (sum(lengths), D) → (R, D).

    A run's sum does not depend on its neighbours in the batch.
    """
    host = samples.cpu() if samples.device.type == "mps" else samples  # Apple's accelerator has no float64
    return np.array([_sum64(run) for run in torch.split(host, list(lengths))])


def _sum64(samples: torch.Tensor) -> Array:
    if samples.device.type == "cpu":  # where threads would wait for each other longer than one takes
        total: Array = samples.numpy().sum(axis=0, dtype=np.float64)
        return total
    return on_host(samples.sum(dim=0, dtype=torch.float64))
