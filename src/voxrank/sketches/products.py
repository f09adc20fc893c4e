"""Sums of products of samples with themselves: symmetric, on all cores, and precise despite a large mean.

All samples are first centred on a vector near their mean, and the sums are kept about such a centre. With a large
mean, an uncentred product loses the small directions, and an uncentred fourth power loses everything. Samples of few
dimensions or in double precision are multiplied in double precision. For others, products of a few thousand samples are
in single precision and all else in double. Very large or small samples are first divided by a power of two, so that no
product leaves the range of single precision.

The other sums (by class, of lengths) are computed from the same few thousand samples while they are in the cache. On
the CPU each core takes a share of the rows, with a single-threaded BLAS: cores that never wait for each other are
faster than one product on all of them. Samples on an accelerator are multiplied there; only results move to the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array

from voxrank._support.threads import one_blas_thread

Array = NDArray[np.float64]
Targets = NDArray[Any]
"""Class ids, shape (n,), or values, shape (n, T)."""

PRODUCT_ROWS = 2048
"""Number of samples multiplied at a time, which limits memory and rounding in single precision."""
SHARE_ROWS = 512
"""Minimum number of samples for each core."""
SAFE = 1e6
"""Range limit: the sums of third powers of numbers from 1/SAFE to SAFE stay in the range of single precision."""
EPSILON = float(np.finfo(np.float64).eps)
DENSE_SIZE = 1 << 14
"""Maximum size of a matrix of one-hot targets that is faster dense than sparse."""
DOUBLE_DIM = 256
"""Maximum number of dimensions for products in double precision, whose cost is then small beside any encoder."""


@dataclass
class Products:
    """Sums of n samples f less a centre c that lies among them, and of their products: g = f − c.

    A large mean costs no precision. The sums of two sets of samples merge exactly, by moving one centre to the other
    (the parallel axis theorem).

    Attributes:
        n: number of samples; after `times` it need not be an integer.
        centre: (D,) c.
        total: (D,) Σ g.
        gram: (D, D) Σ g gᵀ.
        cubic: (D,) Σ ‖g‖² g.
        quartic: Σ ‖g‖⁴.
    """

    n: int
    centre: Array
    total: Array
    gram: Array
    cubic: Array
    quartic: float

    @classmethod
    def zeros(cls, dim: int) -> Self:
        """Return the sums of no samples."""
        return cls(0, np.zeros(dim), np.zeros(dim), np.zeros((dim, dim)), np.zeros(dim), 0.0)

    @property
    def mean(self) -> Array:
        """The mean sample (D,); the centre if there are no samples."""
        return self.centre + self.total / max(self.n, 1)

    @property
    def scatter_diagonal(self) -> Array:
        """The sum Σ (f − μ)² of each dimension, (D,)."""
        return np.maximum(self.gram.diagonal() - self.total**2 / max(self.n, 1), 0.0)

    def about(self, centre: Array) -> Products:
        """Return the sums of the same samples about another centre; they may share arrays with this object."""
        shift = self.centre - centre
        if not shift.any() or not self.n:
            return replace(self, centre=centre)
        half = self.total + self.n / 2 * shift
        gram = np.column_stack([shift, half]) @ np.stack([half, shift])  # s tᵀ + t sᵀ + n s sᵀ
        gram += self.gram
        cubic, quartic = moved_sums(
            self.cubic,
            self.quartic,
            self.n,
            self.total,
            shift,
            trace=float(np.trace(self.gram)),
            pull=self.gram @ shift,
        )
        return Products(self.n, centre, self.total + self.n * shift, gram, cubic, quartic)

    def about_mean(self) -> Products:
        """Return the sums of the same samples about their mean."""
        return self.about(self.mean)

    @np.errstate(over="ignore", invalid="ignore")
    def merge(self, other: Products) -> None:
        """Add the samples of `other`. The centre moves if it would lie far from the mean of both."""
        if not other.n:
            return
        if not self.n:
            self.centre, self.total, self.gram = other.centre.copy(), other.total.copy(), other.gram.copy()
            self.cubic, self.quartic, self.n = other.cubic.copy(), other.quartic, other.n
            return
        centre = common_centre(self, other)
        left, right = self.about(centre), other.about(centre)
        self.gram = left.gram
        self.gram += right.gram
        self.centre, self.total, self.cubic = centre, left.total + right.total, left.cubic + right.cubic
        self.quartic, self.n = left.quartic + right.quartic, left.n + right.n

    def without(self, other: Products) -> Products:
        """Return the sums without the samples of `other`, which must be among these."""
        moved = other.about(self.centre)
        return Products(
            self.n - moved.n,
            self.centre,
            self.total - moved.total,
            self.gram - moved.gram,
            self.cubic - moved.cubic,
            self.quartic - moved.quartic,
        )

    def times(self, weight: float) -> Products:
        """Return the sums with every sample weighted by `weight`."""
        return Products(
            cast("int", self.n * weight),
            self.centre,
            self.total * weight,
            self.gram * weight,
            self.cubic * weight,
            self.quartic * weight,
        )


def common_centre(first: Products, second: Products) -> Array:
    """Return a centre for both sets of samples.

    It is the centre of the first set, if that lies within the spread of all samples in every dimension; so it rarely
    moves. Otherwise it is the mean of all samples.
    """
    n, gap = first.n + second.n, second.mean - first.mean
    step = first.total / first.n + second.n / n * gap  # from the centre of the first set to the mean of both
    scatter = first.scatter_diagonal + second.scatter_diagonal + first.n * second.n / n * gap**2
    far = n * step**2 > scatter + n * (4 * EPSILON * first.centre) ** 2
    centre: Array = first.centre + step if far.any() else first.centre
    return centre


def moved_sums(
    cubic: Array, quartic: float, n: float, total: Array, shift: Array, *, trace: float, pull: Array
) -> tuple[Array, float]:
    """Return the cubic and quartic sums of f + c, with c = `shift`, from the sums of the n samples f.

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
class Multiplied:
    """Sums over centred samples, and over their targets.

    Attributes:
        products: sums of the samples.
        cross: (T, D) Σ y gᵀ of the centred samples g.
    """

    products: Products
    cross: Array

    @classmethod
    def zeros(cls, centre: Array, n_targets: int) -> Self:
        """Return the sums of no samples, with the centre for later samples."""
        dim = len(centre)
        products = replace(Products.zeros(dim), centre=centre)
        return cls(products, np.zeros((n_targets, dim)))

    def add(self, other: Multiplied) -> None:
        """Add the sums of other samples about the same centre."""
        left, right = self.products, other.products
        left.n += right.n
        left.total += right.total
        left.gram += right.gram
        left.cubic += right.cubic
        left.quartic += right.quartic
        self.cross += other.cross

    def take(self, gram: NDArray[Any], beside: NDArray[Any], lengths: NDArray[Any], unit: float = 1.0) -> None:
        """Add the sums of centred samples g, each divided by `unit`.

        Args:
            gram: (D, D) Σ g gᵀ.
            beside: (2 + T, D) Σ g, Σ ‖g‖² g, Σ y gᵀ.
            lengths: (m,) ‖g‖².
            unit: the power of two that the samples were divided by.
        """
        products = self.products
        products.n += len(lengths)
        products.total += beside[0] if unit == 1 else beside[0] * np.float64(unit)
        products.gram += gram if unit == 1 else gram * np.float64(unit**2)
        products.cubic += beside[1] if unit == 1 else beside[1] * np.float64(unit**3)
        products.quartic += float(np.square(lengths, dtype=np.float64).sum()) * unit**4
        self.cross += beside[2:] if unit == 1 else beside[2:] * np.float64(unit)


def self_products(samples: torch.Tensor) -> Products:
    """Return the products of samples (n, D)."""
    with one_blas_thread():
        return multiply(samples).products


@np.errstate(over="ignore", invalid="ignore")
def multiply(samples: torch.Tensor, targets: Targets | None = None, n_targets: int = 0) -> Multiplied:
    """Compute all sums of samples (n, D) and their targets; call it within `one_blas_thread`.

    Args:
        samples: on any device.
        targets: class ids or values, one per sample.
        n_targets: T; 0 without targets.
    """
    double = samples.dtype == torch.float64 or samples.shape[1] <= DOUBLE_DIM
    dtype = torch.float64 if double and samples.device.type != "mps" else torch.float32
    if not len(samples):
        return Multiplied.zeros(np.zeros(samples.shape[1]), n_targets)
    some = samples[:: max(1, len(samples) // PRODUCT_ROWS)]
    if samples.device.type != "cpu":
        centre = some.mean(dim=0, dtype=torch.float32 if samples.device.type == "mps" else torch.float64).to(dtype)
        unit = safe_unit(on_host((some - centre).abs().amax())) if dtype == torch.float32 else 1.0
        return _on_device(samples, targets, n_targets, centre, unit)
    origin = _mean_of(some.numpy(), np.float64 if dtype == torch.float64 else np.float32)
    unit = safe_unit(np.abs(some.numpy() - origin).max()) if dtype == torch.float32 else 1.0
    shares = [
        _Share.of(samples[rows], None if targets is None else targets[rows], n_targets, origin, unit)
        for rows in _share_rows(len(samples))
    ]
    if len(shares) == 1:
        return shares[0].multiply()
    first, *others = _pool(len(shares)).map(_Share.multiply, shares)
    for other in others:
        first.add(other)
    return first


def _mean_of(samples: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a centre of samples (m, D): their mean, which is infinite if it overflows."""
    centre: NDArray[Any] = samples.mean(axis=0, dtype=np.float64).astype(dtype)
    return centre


def safe_unit(largest: Any) -> float:
    """Return the divisor that keeps third powers within the range of single precision.

    Args:
        largest: the largest of the numbers.

    Returns:
        1, or a power of two near `largest` if that is very large or very small: the division is exact.
    """
    size = float(largest)
    if size == 0 or not np.isfinite(size) or 1 / SAFE < size < SAFE:
        return 1.0
    return float(2.0 ** np.round(np.log2(size)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool of threads for reuse: starting it costs as much as a product of a few thousand samples."""
    return ThreadPoolExecutor(threads, thread_name_prefix="voxrank-products")


if hasattr(os, "register_at_fork"):  # a child process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _share_rows(n: int) -> list[slice]:
    shares = max(1, min(torch.get_num_threads(), n // SHARE_ROWS))
    return [slice(n * i // shares, n * (i + 1) // shares) for i in range(shares)]


def _row_slices(n: int) -> Iterator[slice]:
    """Yield slices of a few thousand samples."""
    return (slice(start, start + PRODUCT_ROWS) for start in range(0, n, PRODUCT_ROWS))


@dataclass
class _Share:
    """The samples and buffers of one core.

    The calling thread allocates the buffers, so that its later steps can reuse the memory.

    Attributes:
        samples: (n, D) on the CPU.
        targets: class ids or values, one per sample.
        unit: divisor of the centred samples.
        sums: the sums.
        table: (m, D) buffer for a few thousand centred samples.
        gram: (D, D) buffer for their products.
    """

    samples: torch.Tensor
    targets: Targets | None
    unit: float
    sums: Multiplied
    table: NDArray[Any]
    gram: NDArray[Any]

    @classmethod
    def of(
        cls, samples: torch.Tensor, targets: Targets | None, n_targets: int, centre: NDArray[Any], unit: float = 1.0
    ) -> Self:
        """Create a share with its buffers."""
        dim, rows = len(centre), min(PRODUCT_ROWS, len(samples))
        sums = Multiplied.zeros(centre.astype(np.float64), n_targets)
        table, gram = np.empty((rows, dim), centre.dtype), np.empty((dim, dim), centre.dtype)
        return cls(samples, targets, unit, sums, table, gram)

    @np.errstate(over="ignore", invalid="ignore")  # infinite samples show in the sums
    def multiply(self) -> Multiplied:
        """Compute all sums; NumPy detects the product of a table with itself and does half the work."""
        for part in _row_slices(len(self.samples)):
            samples = self.samples[part].numpy()
            centred = self.table[: len(samples)]
            np.subtract(samples, self.sums.products.centre, out=centred, dtype=centred.dtype, casting="same_kind")
            if self.unit != 1:
                centred /= self.unit
            lengths = np.einsum("ij,ij->i", centred, centred)
            columns = _left_factors(lengths, None if self.targets is None else self.targets[part], len(self.sums.cross))
            self.sums.take(np.matmul(centred.T, centred, out=self.gram), columns @ centred, lengths, self.unit)
        return self.sums


def _left_factors(lengths: NDArray[Any], targets: Targets | None, n_targets: int) -> Any:
    """Return the left factors (2 + T, m) of the other sums: ones, ‖f‖² and targets; sparse if large, for classes."""
    ones = np.ones_like(lengths)
    if targets is None:
        return np.stack([ones, lengths])
    if targets.ndim == 2:
        return np.vstack([ones, lengths, targets.T.astype(lengths.dtype)])
    if (2 + n_targets) * len(lengths) <= DENSE_SIZE:
        dense = np.zeros((2 + n_targets, len(lengths)), lengths.dtype)
        dense[0], dense[1] = ones, lengths
        dense[2 + targets, np.arange(len(lengths))] = ones
        return dense
    entries = np.stack([ones, lengths, ones], axis=1).ravel()
    rows = np.stack([np.zeros_like(targets), np.ones_like(targets), targets + 2], axis=1).ravel()
    return csc_array((entries, rows, np.arange(0, len(rows) + 1, 3)), shape=(2 + n_targets, len(lengths)))


def _on_device(
    samples: torch.Tensor, targets: Targets | None, n_targets: int, centre: torch.Tensor, unit: float = 1.0
) -> Multiplied:
    """Compute the same sums for samples on an accelerator."""
    sums = Multiplied.zeros(on_host(centre), n_targets)
    for part in _row_slices(len(samples)):
        centred = samples[part] - centre
        if unit != 1:
            centred /= unit
        lengths = torch.linalg.vecdot(centred, centred)
        columns = [torch.ones_like(lengths)[:, None], lengths[:, None]]
        if targets is not None:
            device_targets = torch.from_numpy(np.asarray(targets[part])).to(centred.device)
            one_hot = (
                device_targets if device_targets.ndim == 2 else torch.nn.functional.one_hot(device_targets, n_targets)
            )
            columns.append(one_hot.to(centred.dtype))
        beside = torch.cat(columns, dim=1).T @ centred
        sums.take(on_host(centred.T @ centred), on_host(beside), on_host(lengths), unit)
    return sums


def on_host(values: torch.Tensor) -> Array:
    """Copy values to the CPU, in double precision."""
    moved: Array = values.cpu().numpy().astype(np.float64)
    return moved
