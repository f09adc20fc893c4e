"""Second moments of samples and targets: all that LogME and its kin read.

A sample is a frame (or an utterance's mean) f of D numbers; its target y has T numbers: one-hot over the
classes, or the values to regress on. With samples as the rows of F (n, D) and targets as the rows of Y (n, T),

    n,   gram = FᵀF (D, D),   cross = YᵀF (T, D),   square = Σ y² (T)

are sums over samples: they add up over batches, shards and machines, and their size does not depend on n.
For classes, `cross` holds each class's sum of samples and `square` each class's count.
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

PRODUCT_ROWS = 4096
"""Samples widened to float64 at a time, which bounds the memory that takes."""


@dataclass
class Moments:
    """The sums. `Moments.zeros` is the neutral element of `merge`.

    Attributes:
        n: number of samples.
        gram: (D, D) FᵀF.
        cross: (T, D) YᵀF.
        square: (T,) Σ y².
    """

    n: int
    gram: Array
    cross: Array
    square: Array

    @classmethod
    def zeros(cls, dim: int, n_targets: int) -> Self:
        """No samples yet, of `dim` numbers, with `n_targets` classes or values."""
        return cls(0, np.zeros((dim, dim)), np.zeros((n_targets, dim)), np.zeros(n_targets))

    @property
    def dim(self) -> int:
        """D, the numbers in a sample."""
        return len(self.gram)

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
        self.gram += gram
        if targets.ndim == 1:
            np.add.at(self.cross, targets, sums)
            np.add.at(self.square, targets, counts)
        else:
            self.cross += targets.T @ sums
            self.square += counts @ targets**2

    def merge(self, other: Moments) -> None:
        """Add the samples of `other`."""
        self.n += other.n
        self.gram += other.gram
        self.cross += other.cross
        self.square += other.square


def gram_product(samples: torch.Tensor) -> Array:
    """FᵀF of samples (n, D), multiplied in float64 where they lie; only the (D, D) result crosses to the host.

    Single precision would do half the work and lose the small directions beside the large, nearly constant ones that
    hidden states have: scores then move by up to 1e-5 with the batch size. On the CPU, NumPy sees that both factors
    are one array and calls BLAS's symmetric rank-k update, half the work of a matrix product.
    """
    product: Array = np.zeros((samples.shape[1], samples.shape[1]))
    for part in torch.split(_on_float64_device(samples), PRODUCT_ROWS):
        product += _self_product(part.double())
    return product


def sum_runs(samples: torch.Tensor, lengths: tuple[int, ...]) -> Array:
    """Sum of each run of consecutive samples in float64: (sum(lengths), D) → (R, D).

    A run's sum does not depend on its neighbours in the batch.
    """
    if len(lengths) == len(samples) and set(lengths) <= {1}:
        return samples.cpu().numpy().astype(np.float64)
    return np.array([_sum64(run) for run in torch.split(samples, list(lengths))])


def _self_product(matrix: torch.Tensor) -> Array:
    if matrix.device.type == "cpu":
        array: Array = matrix.numpy()
        product: Array = array.T @ array
        return product
    result: Array = (matrix.T @ matrix).cpu().numpy()
    return result


def _sum64(samples: torch.Tensor) -> Array:
    total: Array = _on_float64_device(samples).sum(dim=0, dtype=torch.float64).cpu().numpy()
    return total


def _on_float64_device(samples: torch.Tensor) -> torch.Tensor:
    """The samples where float64 is: on the host instead of Apple's accelerator, which has none."""
    return samples.cpu() if samples.device.type == "mps" else samples
