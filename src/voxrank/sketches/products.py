"""Sums of products of samples with themselves: symmetric, on all cores, exact beside a large mean.

Samples lie in a table with a column of ones, one of their squared lengths and one for each target, so that one
symmetric product makes all sums. Samples of few dimensions, and those in double precision, are multiplied in double
precision. Others are first centred on a vector near their mean, with the products of a few thousand at a time in single
precision and all else in double: hidden states have large, nearly constant directions, beside which an uncentred
product in single precision would lose the small ones.

On the host each core takes a share of the rows, with a BLAS of one thread: cores that never wait for each other are
quicker than one product on all of them. Elsewhere samples are multiplied where they lie; only results come to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Array = NDArray[np.float64]
Targets = NDArray[Any]
"""Class ids, shape (n,), or values, shape (n, T)."""

PRODUCT_ROWS = 2048
"""Samples multiplied at a time, which bounds memory and the rounding of single precision."""
SHARE_ROWS = 512
"""Samples that are worth a core of their own."""
DOUBLE_DIM = 256
"""Up to so many dimensions the product is cheap beside any encoder, and is made in double precision."""
SMALL_DIM = 1024
"""Up to so many dimensions a layer's matrices are best worked on by one thread."""
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
class Multiplied:
    """Sums over samples less a centre.

    Attributes:
        n: number of samples.
        centre: (D,) what was taken from every sample.
        sums: (W, W) the table's products; W = D + 2 + T.
        quartic: Σ of the fourth powers of lengths.
    """

    n: int
    centre: Array
    sums: Array
    quartic: float

    @property
    def total(self) -> Array:
        """(D,) Σ of the samples less the centre."""
        return self.sums[: self._dim, self._dim]

    @property
    def cross(self) -> Array:
        """(T, D) Σ y of the samples less the centre."""
        return self.sums[: self._dim, self._dim + EXTRA :].T

    @property
    def _dim(self) -> int:
        return len(self.centre)

    def add_to(self, products: Products) -> None:
        """Add the products of the samples themselves."""
        dim = self._dim
        own = Products(self.sums[:dim, :dim], self.sums[:dim, dim + 1], self.quartic)
        products.add(own.moved(self.n, self.total, self.centre) if self.centre.any() else own)


def self_products(samples: torch.Tensor) -> Products:
    """Products of samples (n, D)."""
    products = Products.zeros(samples.shape[1])
    multiply(samples).add_to(products)
    return products


def multiply(samples: torch.Tensor, targets: Targets | None = None, n_targets: int = 0) -> Multiplied:
    """All sums of samples (n, D) and of their targets.

    Args:
        samples: on any device.
        targets: one for each sample: class ids or values.
        n_targets: T; 0 without targets.
    """
    double = samples.dtype == torch.float64 or samples.shape[1] <= DOUBLE_DIM
    dtype = torch.float64 if double and samples.device.type != "mps" else torch.float32
    centre = samples.new_zeros(samples.shape[1], dtype=dtype)
    if dtype == torch.float32 and len(samples):
        centre += samples[:: max(1, len(samples) // PRODUCT_ROWS)].mean(dim=0, dtype=dtype)
    if samples.device.type != "cpu":
        return _on_device(samples, targets, n_targets, centre)

    def of_share(share: slice) -> Multiplied:
        return _on_host(samples[share], None if targets is None else targets[share], n_targets, centre)

    first, *others = _on_all_cores(of_share, len(samples))
    for other in others:
        first.n += other.n
        first.sums += other.sums
        first.quartic += other.quartic
    return first


def _on_all_cores(of_share: Callable[[slice], Multiplied], n: int) -> list[Multiplied]:
    shares = max(1, min(torch.get_num_threads(), n // SHARE_ROWS))
    bounds = [slice(n * i // shares, n * (i + 1) // shares) for i in range(shares)]
    with one_blas_thread():
        if shares == 1:
            return [of_share(bounds[0])]
        with ThreadPoolExecutor(shares) as pool:
            return list(pool.map(of_share, bounds))


def one_blas_thread(dim: int = 0) -> AbstractContextManager[Any]:
    """BLAS keeps to one thread here, unless matrices are of more than `SMALL_DIM` dimensions.

    Threads that wait for each other cost more than they bring to smaller ones.
    """
    return _blas_libraries().limit(limits=1, user_api="blas") if dim <= SMALL_DIM else nullcontext()


@lru_cache(maxsize=1)
def _blas_libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _parts(n: int) -> Iterator[slice]:
    """Some thousand samples after another."""
    return (slice(start, start + PRODUCT_ROWS) for start in range(0, n, PRODUCT_ROWS))


def _on_host(samples: torch.Tensor, targets: Targets | None, n_targets: int, centre: torch.Tensor) -> Multiplied:
    """All sums of samples on the host; NumPy sees that a table meets itself and does half the work."""
    origin: NDArray[Any] = centre.numpy()
    width, quartic = len(origin) + EXTRA + n_targets, 0.0
    table = np.empty((min(PRODUCT_ROWS, len(samples)), width), dtype=origin.dtype)
    product, sums = np.empty((width, width), dtype=origin.dtype), np.zeros((width, width))
    for part in _parts(len(samples)):
        filled = _filled(table, samples[part].numpy(), origin, None if targets is None else targets[part])
        lengths = filled[:, len(origin) + 1].astype(np.float64)
        quartic += float(lengths @ lengths)
        sums += np.matmul(filled.T, filled, out=product)
    return Multiplied(len(samples), origin.astype(np.float64), sums, quartic)


def _filled(table: NDArray[Any], part: NDArray[Any], origin: NDArray[Any], targets: Targets | None) -> NDArray[Any]:
    """The rows of the table that hold these samples."""
    dim, table = len(origin), table[: len(part)]
    np.subtract(part, origin, out=table[:, :dim], dtype=table.dtype)
    table[:, dim] = 1
    np.einsum("ij,ij->i", table[:, :dim], table[:, :dim], out=table[:, dim + 1])
    if targets is not None and targets.ndim == 2:
        table[:, dim + EXTRA :] = targets
    elif targets is not None:
        table[:, dim + EXTRA :] = 0
        table[np.arange(len(part)), dim + EXTRA + targets] = 1
    return table


def _on_device(samples: torch.Tensor, targets: Targets | None, n_targets: int, centre: torch.Tensor) -> Multiplied:
    """The same where the samples are on an accelerator."""
    width, quartic = len(centre) + EXTRA + n_targets, 0.0
    sums = np.zeros((width, width))
    for part in _parts(len(samples)):
        table = _joined(samples[part] - centre, None if targets is None else targets[part], n_targets)
        lengths = on_host(table[:, len(centre) + 1])
        quartic += float(lengths @ lengths)
        sums += on_host(table.T @ table)
    return Multiplied(len(samples), on_host(centre), sums, quartic)


def _joined(centred: torch.Tensor, targets: Targets | None, n_targets: int) -> torch.Tensor:
    """The table of these samples."""
    lengths = torch.linalg.vecdot(centred, centred)[:, None]
    columns = [centred, torch.ones_like(lengths), lengths]
    if targets is not None:
        there = torch.from_numpy(np.asarray(targets)).to(centred.device)
        one_hot = there if targets.ndim == 2 else torch.nn.functional.one_hot(there, n_targets)
        columns.append(one_hot.to(centred.dtype))
    return torch.cat(columns, dim=1)


def on_host(values: torch.Tensor) -> Array:
    """The values on the host, in double precision."""
    moved: Array = values.cpu().numpy().astype(np.float64)
    return moved
