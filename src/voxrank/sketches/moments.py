"""Second moments of samples and targets: all that LogME and its kin read.

A sample is a frame (or an utterance's mean) f of D numbers; its target y has T numbers: one-hot over the
classes, or the values to regress on. With samples as the rows of F (n, D) and targets as the rows of Y (n, T),

    n,   total = Σf (D),   gram = FᵀF (D, D),   cross = YᵀF (T, D),   target_total = Σy (T),   square = Σy² (T)

and, for values, products = YᵀY (T, T) are sums over samples: they add up over batches, shards and machines, and
their size does not depend on n. For classes, `cross` holds each class's sum of samples, `square` and
`target_total` both hold each class's count, and YᵀY is the diagonal matrix of `square`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, ssyrk

Array = NDArray[np.float64]
Targets = NDArray[Any]
"""Class ids, shape (n,), or values, shape (n, T)."""

PRODUCT_ROWS = 2048
"""Samples multiplied at a time, which bounds memory and the rounding of single precision."""


@dataclass
class Moments:
    """The sums. `Moments.zeros` is the neutral element of `merge`.

    Attributes:
        n: number of samples.
        total: (D,) Σ f.
        gram: (D, D) FᵀF.
        cross: (T, D) YᵀF.
        target_total: (T,) Σ y.
        square: (T,) Σ y².
        products: (T, T) YᵀY of values; None for classes.
    """

    n: int
    total: Array
    gram: Array
    cross: Array
    target_total: Array
    square: Array
    products: Array | None = None

    @classmethod
    def zeros(cls, dim: int, n_targets: int, *, values: bool = False) -> Self:
        """No samples yet, of `dim` numbers, with `n_targets` classes (or values)."""
        return cls(
            n=0,
            total=np.zeros(dim),
            gram=np.zeros((dim, dim)),
            cross=np.zeros((n_targets, dim)),
            target_total=np.zeros(n_targets),
            square=np.zeros(n_targets),
            products=np.zeros((n_targets, n_targets)) if values else None,
        )

    @property
    def dim(self) -> int:
        """D, the numbers in a sample."""
        return len(self.gram)

    @property
    def values(self) -> bool:
        """Whether the targets are values rather than classes."""
        return self.products is not None

    def update(self, samples: torch.Tensor, targets: Targets) -> None:
        """Add samples (n, D), each with its own target."""
        single = (1,) * len(samples)
        self.add(gram_product(samples), sum_runs(samples, single), np.array(single), targets)

    def add(self, gram: Array, sums: Array, counts: NDArray[np.int64], targets: Targets) -> None:
        """Add runs of samples that share a target: an utterance's frames, or a segment's.

        Args:
            gram: (D, D) FᵀF over all of the runs' samples.
            sums: (R, D) the sum of each run's samples.
            counts: (R,) samples in each run.
            targets: (R,) class ids or (R, T) values, one for each run.
        """
        self.n += int(counts.sum())
        self.total += sums.sum(axis=0)
        self.gram += gram
        if self.products is None:
            np.add.at(self.cross, targets, sums)
            np.add.at(self.square, targets, counts)
            np.add.at(self.target_total, targets, counts)
        else:
            self.cross += targets.T @ sums
            self.square += counts @ targets**2
            self.target_total += counts @ targets
            self.products += (targets.T * counts) @ targets

    def merge(self, other: Moments) -> None:
        """Add the samples of `other`."""
        self.n += other.n
        self.total += other.total
        self.gram += other.gram
        self.cross += other.cross
        self.target_total += other.target_total
        self.square += other.square
        if self.products is not None and other.products is not None:
            self.products += other.products


def gram_product(samples: torch.Tensor) -> Array:
    """FᵀF of samples (n, D), multiplied where they lie; only (D, D) results cross to the host.

    Samples in double precision are multiplied in it. Samples in single precision are first centred, a few thousand
    at a time, on a vector c near their mean:

        FᵀF = Σ(f − c)(f − c)ᵀ + c rᵀ + r cᵀ + n c cᵀ,   r = Σ(f − c),

    with the product in single precision and all else in double. Hidden states have large, nearly constant directions,
    beside which an uncentred product in single precision would lose the small ones. On the CPU the product is BLAS's
    symmetric rank-k update: half the work of a matrix product.
    """
    product: Array = np.zeros((samples.shape[1], samples.shape[1]))
    for part in torch.split(samples, PRODUCT_ROWS):
        if part.dtype == torch.float64:
            product += _self_product(part)
        else:
            centre = part.mean(dim=0, dtype=torch.float32)
            shifted = part - centre
            c, r = _host(centre), sum_runs(shifted, (len(shifted),))[0]
            product += _self_product(shifted)
            product += np.outer(c, r + len(part) * c) + np.outer(r, c)
    return product


def sum_runs(samples: torch.Tensor, lengths: tuple[int, ...]) -> Array:
    """Sum of each run of consecutive samples in float64: (sum(lengths), D) → (R, D).

    A run's sum does not depend on its neighbours in the batch.
    """
    if len(lengths) == len(samples) and set(lengths) <= {1}:
        return _host(samples)
    return np.array([_sum64(run) for run in torch.split(samples, list(lengths))])


def _self_product(matrix: torch.Tensor) -> Array:
    """FᵀF in the matrix's own precision, as float64 on the host."""
    if matrix.device.type != "cpu":
        return _host(matrix.T @ matrix)
    rank_update = dsyrk if matrix.dtype == torch.float64 else ssyrk
    upper = rank_update(1.0, matrix.contiguous().numpy().T)  # column-major (D, n): A Aᵀ without a copy
    product: Array = upper.astype(np.float64)
    return product + np.triu(product, 1).T


def _sum64(samples: torch.Tensor) -> Array:
    return _host(_on_float64_device(samples).sum(dim=0, dtype=torch.float64))


def _host(samples: torch.Tensor) -> Array:
    values: Array = samples.cpu().numpy().astype(np.float64)
    return values


def _on_float64_device(samples: torch.Tensor) -> torch.Tensor:
    """The samples where float64 is: on the host instead of Apple's accelerator, which has none."""
    return samples.cpu() if samples.device.type == "mps" else samples
