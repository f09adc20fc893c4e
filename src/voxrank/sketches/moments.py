"""Moments of samples and targets: all that LogME and its kin read.

A sample is a frame (or an utterance's mean) f of D numbers; its target y has T numbers: one-hot over the
classes, or the values to regress on. With samples as the rows of F (n, D) and targets as the rows of Y (n, T),

    n,   total = Σf (D),   gram = FᵀF (D, D),   cubic = Σ‖f‖²f (D),   quartic = Σ‖f‖⁴,
    cross = YᵀF (T, D),   target_total = Σy (T),   square = Σy² (T)   and, for values, target_gram = YᵀY (T, T)

are sums over samples: they add up over batches, shards and machines, and their size does not depend on n. For classes,
`cross` holds each class's sum of samples, `square` and `target_total` both hold each class's count, and YᵀY is the
diagonal matrix of `square`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Targets = NDArray[Any]
"""Class ids, shape (n,), or values, shape (n, T)."""

PRODUCT_ROWS = 2048
"""Samples multiplied at a time, which bounds memory and the rounding of single precision."""
STRIP = 192
"""Dimensions multiplied at a time with those that follow."""
DOUBLE_DIM = 256
"""Up to so many dimensions the product is cheap beside any encoder, and is made in double precision."""
EXTRA = 2
"""Columns beside a sample's own: one, and its squared length."""


@dataclass
class Products:
    """Sums of products of samples with themselves.

    Attributes:
        gram: (D, D) FᵀF.
        cubic: (D,) Σ ‖f‖² f.
        quartic: Σ ‖f‖⁴.
    """

    gram: Array
    cubic: Array
    quartic: float

    @classmethod
    def zeros(cls, dim: int) -> Self:
        """Of no samples."""
        return cls(np.zeros((dim, dim)), np.zeros(dim), 0.0)

    def add(self, other: Products) -> None:
        """Add those of other samples."""
        self.gram += other.gram
        self.cubic += other.cubic
        self.quartic += other.quartic

    def moved(self, n: float, total: Array, shift: Array) -> Products:
        """The products of f + `shift`, from those of the n samples f whose sum is `total`."""
        gram = np.column_stack([shift, total + n * shift]) @ np.stack([total, shift])  # in one go: s tᵀ + t sᵀ + n s sᵀ
        gram += self.gram
        return Products(gram, *self.moved_sums(n, total, shift))

    def moved_sums(self, n: float, total: Array, shift: Array) -> tuple[Array, float]:
        """Cubic and quartic of `moved`."""
        trace = float(np.trace(self.gram))
        return moved_sums(self.cubic, self.quartic, n, total, shift, trace=trace, pull=self.gram @ shift)


def moved_sums(
    cubic: Array, quartic: float, n: float, total: Array, shift: Array, *, trace: float, pull: Array
) -> tuple[Array, float]:
    """Cubic and quartic sums of f + c, c = `shift`, from those of the n samples f whose sum is `total`.

    Args:
        cubic: (D,) Σ ‖f‖² f.
        quartic: Σ ‖f‖⁴.
        n: number of samples.
        total: (D,) Σ f.
        shift: (D,) c.
        trace: Σ ‖f‖².
        pull: (D,) Σ f fᵀc.
    """
    c, k, total_c = shift, float(shift @ shift), float(total @ shift)
    moved: Array = cubic + 2 * pull + k * total + (trace + 2 * total_c + n * k) * c
    fourth = 4 * (c @ cubic) + 2 * k * trace + 4 * (c @ pull) + 4 * k * total_c + n * k**2
    return moved, quartic + float(fourth)


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
    """

    n: int
    total: Array
    products: Products
    cross: Array
    target_total: Array
    square: Array
    target_gram: Array | None = None

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
        work = _Work(samples, len(self.square))
        for start in range(0, len(samples), PRODUCT_ROWS):
            work.multiply(samples[start : start + PRODUCT_ROWS], targets[start : start + PRODUCT_ROWS])
        before = self.target_total.copy()
        self._add_targets(targets, np.ones(len(targets), dtype=np.int64))
        self.cross += work.cross + np.outer(self.target_total - before, work.centre)
        self.total += work.total + work.n * work.centre
        work.add_to(self.products)

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

    def _add_targets(self, targets: Targets, counts: NDArray[np.int64]) -> None:
        self.n += int(counts.sum())
        if self.target_gram is None:
            np.add.at(self.square, targets, counts)
            np.add.at(self.target_total, targets, counts)
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


def self_products(samples: torch.Tensor) -> Products:
    """Products of samples (n, D), multiplied where they lie; only results cross to the host.

    Samples of few dimensions, and those in double precision, are multiplied in double precision. Others are first
    centred on a vector near their mean, with the products of a few thousand at a time in single precision and all else
    in double: hidden states have large, nearly constant directions, beside which an uncentred product in single
    precision would lose the small ones.
    """
    work = _Work(samples)
    for part in torch.split(samples, PRODUCT_ROWS):
        work.multiply(part)
    products = Products.zeros(samples.shape[1])
    work.add_to(products)
    return products


class _Work:
    """Products in the making, of samples less a centre, and their sums by target where they have targets.

    Samples lie in a table with a column of ones, one of their squared lengths and one for each target, so that one
    product makes all sums. It is made strip by strip, of the dimensions with those that follow: little more than half
    the work of all of it, since it is symmetric.
    """

    def __init__(self, samples: torch.Tensor, n_targets: int = 0) -> None:
        dim = samples.shape[1]
        self.n, self._dim = 0, dim
        double = samples.dtype == torch.float64 or dim <= DOUBLE_DIM
        dtype = torch.float64 if double and samples.device.type != "mps" else torch.float32
        self._centre = samples.new_zeros(dim, dtype=dtype)
        if dtype == torch.float32 and len(samples):
            self._centre += samples[:: max(1, len(samples) // PRODUCT_ROWS)].mean(dim=0, dtype=dtype)
        self._table = samples.new_zeros(min(PRODUCT_ROWS, len(samples)), dim + EXTRA + n_targets, dtype=dtype)
        self._table[:, dim] = 1
        self._sums: Array = np.zeros((dim, dim + EXTRA + n_targets))  # what lies below the strips is not filled
        self._quartic = 0.0

    def multiply(self, part: torch.Tensor, targets: Targets | None = None) -> None:
        """Add samples (n, D), at most as many as the table has rows."""
        dim, table = self._dim, self._table[: len(part)]
        torch.sub(part, self._centre, out=table[:, :dim]) if part.dtype == table.dtype else table[:, :dim].copy_(part)
        norms = torch.linalg.vector_norm(table[:, :dim], dim=1).square_()
        table[:, dim + 1] = norms
        if targets is not None:
            _write_targets(table[:, dim + EXTRA :], targets)
        for start in range(0, dim, STRIP):
            end = min(start + STRIP, dim)
            self._sums[start:end, start:] += (table[:, start:end].T @ table[:, start:]).cpu().numpy()
        fourth = _host(norms)
        self._quartic += float(fourth @ fourth)
        self.n += len(part)

    @property
    def centre(self) -> Array:
        """(D,) what was taken from every sample."""
        return _host(self._centre)

    @property
    def total(self) -> Array:
        """(D,) Σ of the samples less the centre."""
        return self._sums[:, self._dim]

    @property
    def cross(self) -> Array:
        """(T, D) Σ y of the samples less the centre."""
        return self._sums[:, self._dim + EXTRA :].T

    def add_to(self, products: Products) -> None:
        """Add the products of the samples themselves."""
        centre = self.centre
        if centre.any():
            own = Products.zeros(self._dim)
            self._add_strips(own)
            products.add(own.moved(self.n, self.total, centre))
        else:
            self._add_strips(products)

    def _add_strips(self, products: Products) -> None:
        """Without a (D, D) array beside those that are there: fresh memory costs more than the sums."""
        dim, gram = self._dim, products.gram
        for start in range(0, dim, STRIP):
            end = min(start + STRIP, dim)
            gram[start:end, start:] += self._sums[start:end, start:dim]
            gram[end:, start:end] += self._sums[start:end, end:dim].T
        products.cubic += self._sums[:, dim + 1]
        products.quartic += self._quartic


def _write_targets(columns: torch.Tensor, targets: Targets) -> None:
    if targets.ndim == 2:
        columns.copy_(torch.from_numpy(np.asarray(targets, dtype=np.float64)))
    else:
        columns.zero_()
        columns.scatter_(1, torch.from_numpy(targets).to(columns.device)[:, None], 1)


def sum_runs(samples: torch.Tensor, lengths: tuple[int, ...]) -> Array:
    """Sum of each run of consecutive samples in float64: (sum(lengths), D) → (R, D).

    A run's sum does not depend on its neighbours in the batch.
    """
    return np.array([_sum64(run) for run in torch.split(samples, list(lengths))])


def _sum64(samples: torch.Tensor) -> Array:
    return _host(_on_float64_device(samples).sum(dim=0, dtype=torch.float64))


def _host(samples: torch.Tensor) -> Array:
    values: Array = samples.cpu().numpy().astype(np.float64)
    return values


def _on_float64_device(samples: torch.Tensor) -> torch.Tensor:
    """The samples where float64 is: on the host instead of Apple's accelerator, which has none."""
    return samples.cpu() if samples.device.type == "mps" else samples
