"""Products of samples with themselves and with their targets: symmetric, on all cores, and precise.

All samples are first centred on a vector near their mean. Samples of few dimensions or in double precision are
multiplied in double precision. For others, products of a few thousand samples are in single precision and all else in
double. Very large or small samples are first divided by a power of two, so that no product leaves the range of single
precision.

The other sums (by class, of lengths) are computed from the same few thousand samples while they are in the cache. On
the CPU each core takes a share of the rows, with a single-threaded BLAS; or all cores centre a chunk together, which
the threads of BLAS or torch then multiply (`sketches.methods`). Samples on an accelerator are multiplied there; only
results move to the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array

from voxrank._support.threads import blas_threads, on_threads, one_blas_thread
from voxrank.sketches.methods import CHOOSER, METHODS, Method, Size
from voxrank.sketches.products import Array, Products, Targets, on_host, safe_unit

PRODUCT_ROWS = 4096
"""Number of samples that a core multiplies at a time, which limits memory and rounding in single precision."""
CHUNK_ROWS = 8192
"""Number of samples that all cores multiply at a time."""
TORCH_COLUMNS = 256
"""Number of columns that torch multiplies at a time. It has no symmetric product; this skips most of the lower half."""
SOME = 2048
"""Number of samples from which the centre is computed."""
SHARE_ROWS = 512
"""Minimum number of samples for each core."""
DENSE_SIZE = 1 << 14
"""Maximum size of a matrix of one-hot targets that is faster dense than sparse."""
DOUBLE_DIM = 256
"""Maximum number of dimensions for products in double precision, whose cost is then small beside any encoder."""


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
    return multiply(samples).products


@np.errstate(over="ignore", invalid="ignore")
def multiply(samples: torch.Tensor, targets: Targets | None = None, n_targets: int = 0) -> Multiplied:
    """Compute all sums of samples (n, D) and their targets.

    Args:
        samples: on any device.
        targets: class ids or values, one per sample.
        n_targets: T; 0 without targets.
    """
    double = samples.dtype == torch.float64 or samples.shape[1] <= DOUBLE_DIM
    dtype = torch.float64 if double and samples.device.type != "mps" else torch.float32
    if not len(samples):
        return Multiplied.zeros(np.zeros(samples.shape[1]), n_targets)
    some = samples[:: max(1, len(samples) // SOME)]
    if samples.device.type != "cpu":
        centre = some.mean(dim=0, dtype=torch.float32 if samples.device.type == "mps" else torch.float64).to(dtype)
        unit = safe_unit(on_host((some - centre).abs().amax())) if dtype == torch.float32 else 1.0
        return _on_device(samples, targets, n_targets, centre, unit)
    origin = _mean_of(some.numpy(), np.float64 if dtype == torch.float64 else np.float32)
    unit = safe_unit(np.abs(some.numpy() - origin).max()) if dtype == torch.float32 else 1.0
    task = _Task(samples, targets, n_targets, origin, unit)
    n, dim = samples.shape
    with one_blas_thread():
        if dtype == torch.float64 or n < 2 * SHARE_ROWS:
            return task.multiply("strips")
        ways = {method: partial(task.multiply, method) for method in METHODS}
        return CHOOSER.run(Size.of("Gram matrices", dim, dim), n * dim**2, ways)


def _mean_of(samples: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a centre of samples (m, D): their mean, which is infinite if it overflows."""
    centre: NDArray[Any] = samples.mean(axis=0, dtype=np.float64).astype(dtype)
    return centre


def _share_rows(n: int) -> list[slice]:
    shares = max(1, min(torch.get_num_threads(), n // SHARE_ROWS))
    return [slice(n * i // shares, n * (i + 1) // shares) for i in range(shares)]


def _row_slices(n: int, rows: int = PRODUCT_ROWS) -> Iterator[slice]:
    """Yield slices of a few thousand samples."""
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


@dataclass(frozen=True)
class _Task:
    """Samples to multiply on the CPU.

    Attributes:
        samples: (n, D) on the CPU.
        targets: class ids or values, one per sample.
        n_targets: T; 0 without targets.
        centre: (D,) the vector that is subtracted, in the precision of the products.
        unit: divisor of the centred samples.
    """

    samples: torch.Tensor
    targets: Targets | None
    n_targets: int
    centre: NDArray[Any]
    unit: float = 1.0

    def part(self, rows: slice) -> _Task:
        """Return the task of some of the samples."""
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, samples=self.samples[rows], targets=targets)

    def multiply(self, method: Method) -> Multiplied:
        """Compute all sums, on all cores."""
        if method != "strips":
            return self._by_chunks(_by_torch if method == "torch" else _by_blas)
        strips = [_Strip.of(self.part(rows)) for rows in _share_rows(len(self.samples))]
        first, *others = on_threads(_Strip.multiply, strips, torch.get_num_threads())
        for other in others:
            first.add(other)
        return first

    def _by_chunks(self, product: Callable[[NDArray[Any], NDArray[Any]], None]) -> Multiplied:
        """Compute all sums by products of large chunks, which all cores centre together."""
        sums, table, gram = self.buffers(CHUNK_ROWS)
        for chunk in _row_slices(len(self.samples), CHUNK_ROWS):
            part = self.part(chunk)
            centred = table[: len(part.samples)]
            pieces = [(part.part(rows), centred[rows]) for rows in _share_rows(len(centred))]
            done = on_threads(lambda piece: piece[0].centre_into(piece[1]), pieces, torch.get_num_threads())
            product(centred, gram)
            beside, lengths = zip(*done, strict=True)
            sums.take(gram, np.stack(beside).sum(axis=0, dtype=np.float64), np.concatenate(lengths), self.unit)
        return sums

    def buffers(self, rows: int) -> tuple[Multiplied, NDArray[Any], NDArray[Any]]:
        """Return empty sums, and buffers for up to `rows` centred samples and for their products (D, D)."""
        dim, dtype = len(self.centre), self.centre.dtype
        table = np.empty((min(rows, len(self.samples)), dim), dtype)
        return Multiplied.zeros(self.centre.astype(np.float64), self.n_targets), table, np.empty((dim, dim), dtype)

    @np.errstate(over="ignore", invalid="ignore")  # infinite samples show in the sums
    def centre_into(self, centred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Write the centred samples to a buffer (n, D).

        Returns:
            (2 + T, D) Σ g, Σ ‖g‖² g, Σ y gᵀ of the centred samples g; (n,) ‖g‖².
        """
        np.subtract(self.samples.numpy(), self.centre, out=centred, dtype=centred.dtype, casting="same_kind")
        if self.unit != 1:
            centred /= self.unit
        lengths = np.einsum("ij,ij->i", centred, centred)
        return _left_factors(lengths, self.targets, self.n_targets) @ centred, lengths


def _by_blas(centred: NDArray[Any], gram: NDArray[Any]) -> None:
    """Multiply centred samples with all threads of BLAS."""
    with blas_threads(torch.get_num_threads()):
        np.matmul(centred.T, centred, out=gram)


def _by_torch(centred: NDArray[Any], gram: NDArray[Any]) -> None:
    """Multiply centred samples with all threads of torch."""
    samples, whole = torch.from_numpy(centred), torch.from_numpy(gram)
    for start in range(0, len(whole), TORCH_COLUMNS):
        rows, rest = slice(start, start + TORCH_COLUMNS), slice(start, None)
        whole[rows, rest] = samples[:, rows].T @ samples[:, rest]
        whole[rest, rows] = whole[rows, rest].T


@dataclass(frozen=True)
class _Strip:
    """The task of one core, with its sums and buffers.

    The calling thread allocates the buffers, so that its later steps can reuse the memory.
    """

    task: _Task
    sums: Multiplied
    table: NDArray[Any]
    gram: NDArray[Any]

    @classmethod
    def of(cls, task: _Task) -> Self:
        """Allocate the buffers of a task."""
        return cls(task, *task.buffers(PRODUCT_ROWS))

    @np.errstate(over="ignore", invalid="ignore")
    def multiply(self) -> Multiplied:
        """Compute all sums; NumPy detects the product of a table with itself and does half the work."""
        for rows in _row_slices(len(self.task.samples)):
            part = self.task.part(rows)
            centred = self.table[: len(part.samples)]
            beside, lengths = part.centre_into(centred)
            self.sums.take(np.matmul(centred.T, centred, out=self.gram), beside, lengths, self.task.unit)
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
    """Compute the same sums for samples on an accelerator, from which all of them move to the CPU together.

    The parts of a few thousand samples are added in double precision, if the accelerator has it.
    """
    wide = torch.float32 if samples.device.type == "mps" else torch.float64
    dim, lengths = samples.shape[1], []
    gram = torch.zeros((dim, dim), dtype=wide, device=samples.device)
    beside = torch.zeros((2 + n_targets, dim), dtype=wide, device=samples.device)
    for part in _row_slices(len(samples)):
        centred = samples[part] - centre
        if unit != 1:
            centred /= unit
        squares = torch.linalg.vecdot(centred, centred)
        columns = [torch.ones_like(squares)[:, None], squares[:, None]]
        if targets is not None:
            device_targets = torch.from_numpy(np.asarray(targets[part])).to(centred.device)
            one_hot = (
                device_targets if device_targets.ndim == 2 else torch.nn.functional.one_hot(device_targets, n_targets)
            )
            columns.append(one_hot.to(centred.dtype))
        gram += centred.T @ centred
        beside += torch.cat(columns, dim=1).T @ centred
        lengths.append(squares)
    sums = Multiplied.zeros(on_host(centre), n_targets)
    sums.take(on_host(gram), on_host(beside), on_host(torch.cat(lengths)), unit)
    return sums
