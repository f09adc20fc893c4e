"""Sums of products of samples with themselves: symmetric, on all cores, exact beside a large mean.

Samples of few dimensions, and those in double precision, are multiplied in double precision. Others are first centred
on a vector near their mean, with the products of a few thousand at a time in single precision and all else in double:
hidden states have large, nearly constant directions, beside which an uncentred product in single precision would lose
the small ones. The sums beside the product (by class, of lengths) are made from the same few thousand, while they are
in the cache.

On the host each core takes a share of the rows, with a BLAS of one thread: cores that never wait for each other are
quicker than one product on all of them. Elsewhere samples are multiplied where they lie; only results come to the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array

from voxrank.threads import one_blas_thread

Array = NDArray[np.float64]
Targets = NDArray[Any]
"""Class ids, shape (n,), or values, shape (n, T)."""

PRODUCT_ROWS = 2048
"""Samples multiplied at a time, which bounds memory and the rounding of single precision."""
SHARE_ROWS = 512
"""Samples that are worth a core of their own."""
DOUBLE_DIM = 256
"""Up to so many dimensions the product is cheap beside any encoder, and is made in double precision."""


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
class Multiplied:
    """Sums over samples less a centre.

    Attributes:
        n: number of samples.
        centre: (D,) what was taken from every sample.
        total: (D,) Σ of the samples less the centre.
        products: of the samples less the centre.
        cross: (T, D) Σ y of the samples less the centre.
    """

    n: int
    centre: Array
    total: Array
    products: Products
    cross: Array

    @classmethod
    def zeros(cls, centre: Array, n_targets: int) -> Self:
        """Of no samples."""
        dim = len(centre)
        return cls(0, centre, np.zeros(dim), Products.zeros(dim), np.zeros((n_targets, dim)))

    def add(self, other: Multiplied) -> None:
        """Add those of other samples less the same centre."""
        self.n += other.n
        self.total += other.total
        self.products.add(other.products)
        self.cross += other.cross

    def take(self, gram: NDArray[Any], beside: NDArray[Any], lengths: NDArray[Any]) -> None:
        """Add the sums of some samples f less the centre.

        Args:
            gram: (D, D) Σ f fᵀ.
            beside: (2 + T, D) Σ f, Σ ‖f‖² f, Σ y fᵀ.
            lengths: (m,) ‖f‖².
        """
        self.n += len(lengths)
        self.total += beside[0]
        self.products.gram += gram
        self.products.cubic += beside[1]
        self.products.quartic += float(np.square(lengths, dtype=np.float64).sum())
        self.cross += beside[2:]

    def uncentred(self) -> Products:
        """The products of the samples themselves."""
        return self.products.moved(self.n, self.total, self.centre) if self.centre.any() else self.products


def self_products(samples: torch.Tensor) -> Products:
    """Products of samples (n, D)."""
    with one_blas_thread():
        return multiply(samples).uncentred()


def multiply(samples: torch.Tensor, targets: Targets | None = None, n_targets: int = 0) -> Multiplied:
    """All sums of samples (n, D) and of their targets; call it where `one_blas_thread` holds.

    Args:
        samples: on any device.
        targets: one for each sample: class ids or values.
        n_targets: T; 0 without targets.
    """
    double = samples.dtype == torch.float64 or samples.shape[1] <= DOUBLE_DIM
    dtype = torch.float64 if double and samples.device.type != "mps" else torch.float32
    some = samples[:: max(1, len(samples) // PRODUCT_ROWS)]
    centred = dtype == torch.float32 and len(samples) > 0
    if samples.device.type != "cpu":
        centre = some.mean(dim=0, dtype=dtype) if centred else samples.new_zeros(samples.shape[1], dtype=dtype)
        return _on_device(samples, targets, n_targets, centre)
    origin = some.numpy().mean(axis=0, dtype=np.float32) if centred else np.zeros(samples.shape[1])
    shares = [
        _Share.of(samples[rows], None if targets is None else targets[rows], n_targets, origin)
        for rows in _share_rows(len(samples))
    ]
    if len(shares) == 1:
        return shares[0].multiply()
    first, *others = _pool(len(shares)).map(_Share.multiply, shares)
    for other in others:
        first.add(other)
    return first


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: to start them costs as much as a product of a few thousand samples."""
    return ThreadPoolExecutor(threads, thread_name_prefix="voxrank-products")


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _share_rows(n: int) -> list[slice]:
    shares = max(1, min(torch.get_num_threads(), n // SHARE_ROWS))
    return [slice(n * i // shares, n * (i + 1) // shares) for i in range(shares)]


def _parts(n: int) -> Iterator[slice]:
    """Some thousand samples after another."""
    return (slice(start, start + PRODUCT_ROWS) for start in range(0, n, PRODUCT_ROWS))


@dataclass
class _Share:
    """What one core works on, and its memory: of the thread that asks, whose next steps can have it afterwards.

    Attributes:
        samples: (n, D) on the host.
        targets: one for each sample.
        made: the sums.
        table: (m, D) some thousand samples, centred.
        gram: (D, D) their products.
    """

    samples: torch.Tensor
    targets: Targets | None
    made: Multiplied
    table: NDArray[Any]
    gram: NDArray[Any]

    @classmethod
    def of(cls, samples: torch.Tensor, targets: Targets | None, n_targets: int, centre: NDArray[Any]) -> Self:
        """With all the memory that is needed."""
        dim, rows = len(centre), min(PRODUCT_ROWS, len(samples))
        made = Multiplied.zeros(centre.astype(np.float64), n_targets)
        return cls(samples, targets, made, np.empty((rows, dim), centre.dtype), np.empty((dim, dim), centre.dtype))

    def multiply(self) -> Multiplied:
        """All sums; NumPy sees that a table meets itself and does half the work."""
        for part in _parts(len(self.samples)):
            samples = self.samples[part].numpy()
            centred = self.table[: len(samples)]
            np.subtract(samples, self.made.centre, out=centred, dtype=centred.dtype, casting="same_kind")
            lengths = np.einsum("ij,ij->i", centred, centred)
            columns = _beside(lengths, None if self.targets is None else self.targets[part], len(self.made.cross))
            self.made.take(np.matmul(centred.T, centred, out=self.gram), columns @ centred, lengths)
        return self.made


def _beside(lengths: NDArray[Any], targets: Targets | None, n_targets: int) -> Any:
    """What samples are multiplied with beside themselves: (2 + T, m) ones, ‖f‖² and targets, sparse for classes."""
    ones = np.ones_like(lengths)
    if targets is None:
        return np.stack([ones, lengths])
    if targets.ndim == 2:
        return np.vstack([ones, lengths, targets.T.astype(lengths.dtype)])
    entries = np.stack([ones, lengths, ones], axis=1).ravel()
    rows = np.stack([np.zeros_like(targets), np.ones_like(targets), targets + 2], axis=1).ravel()
    return csc_array((entries, rows, np.arange(0, len(rows) + 1, 3)), shape=(2 + n_targets, len(lengths)))


def _on_device(samples: torch.Tensor, targets: Targets | None, n_targets: int, centre: torch.Tensor) -> Multiplied:
    """The same where the samples are on an accelerator."""
    made = Multiplied.zeros(on_host(centre), n_targets)
    for part in _parts(len(samples)):
        centred = samples[part] - centre
        lengths = torch.linalg.vecdot(centred, centred)
        columns = [torch.ones_like(lengths)[:, None], lengths[:, None]]
        if targets is not None:
            there = torch.from_numpy(np.asarray(targets[part])).to(centred.device)
            one_hot = there if there.ndim == 2 else torch.nn.functional.one_hot(there, n_targets)
            columns.append(one_hot.to(centred.dtype))
        beside = torch.cat(columns, dim=1).T @ centred
        made.take(on_host(centred.T @ centred), on_host(beside), on_host(lengths))
    return made


def on_host(values: torch.Tensor) -> Array:
    """The values on the host, in double precision."""
    moved: Array = values.cpu().numpy().astype(np.float64)
    return moved
