"""Eigendecompositions of large symmetric matrices, by the method that is fastest on the machine.

The methods are those of products (`sketches.methods`): NumPy on one thread (`strips`) or on all threads of its BLAS,
and torch on all threads. Results differ by the rounding of double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank._support.threads import blas_threads, one_blas_thread
from voxrank.sketches.methods import CHOOSER, Method, Size
from voxrank.sketches.products import Array

SMALL_DIM = 256
"""Maximum number of dimensions for which one thread is always used: it takes 4 ms."""
WORK = 20
"""Time of a decomposition, as a multiple of that of D³ multiplications in a product."""


def eigh(matrix: NDArray[np.float64]) -> tuple[Array, Array]:
    """Decompose a symmetric matrix (D, D) of finite numbers.

    Returns:
        (D,) eigenvalues, ascending; (D, D) eigenvectors, in columns.

    Raises:
        numpy.linalg.LinAlgError: the decomposition does not converge.
    """
    dim = len(matrix)
    if dim <= SMALL_DIM:
        return _DECOMPOSE["strips"](matrix)
    ways = {method: partial(decompose, matrix) for method, decompose in _DECOMPOSE.items()}
    return CHOOSER.run(Size.of("eigendecompositions", dim, dim), WORK * dim**3, ways)


def _on_one_thread(matrix: NDArray[np.float64]) -> tuple[Array, Array]:
    with one_blas_thread():
        values, vectors = np.linalg.eigh(matrix)
    return values, vectors


def _by_blas(matrix: NDArray[np.float64]) -> tuple[Array, Array]:
    with blas_threads(torch.get_num_threads()):
        values, vectors = np.linalg.eigh(matrix)
    return values, vectors


def _by_torch(matrix: NDArray[np.float64]) -> tuple[Array, Array]:
    if not np.isfinite(matrix).all():
        return _on_one_thread(matrix)  # for its error, or its NaN
    values, vectors = torch.linalg.eigh(torch.from_numpy(np.ascontiguousarray(matrix)))
    return values.numpy(), vectors.numpy()


_DECOMPOSE: dict[Method, Callable[[NDArray[np.float64]], tuple[Array, Array]]] = {
    "strips": _on_one_thread,
    "torch": _by_torch,
    "blas": _by_blas,
}
