"""Limits on the number of threads of numeric libraries."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL_DIM = 1024
"""Number of dimensions of a matrix up to which BLAS uses one thread."""


def one_blas_thread(dim: int = 0) -> AbstractContextManager[Any]:
    """Limit BLAS to one thread, unless matrices have more than `SMALL_DIM` dimensions.

    For smaller matrices, waiting between threads costs more than they save.
    """
    if dim > SMALL_DIM:
        return nullcontext()
    libraries = _blas_libraries()
    if all(library.get_num_threads() == 1 for library in libraries.lib_controllers):  # limits cost more than this check
        return nullcontext()
    limited: AbstractContextManager[Any] = libraries.limit(limits=1, user_api="blas")
    return limited


def one_thread(dim: int = 0) -> AbstractContextManager[Any]:
    """Limit BLAS and OpenMP likewise. Threads of torch's decompositions wait ten times longer than they work."""
    if dim > SMALL_DIM:
        return nullcontext()
    limited: AbstractContextManager[Any] = _libraries(len(sys.modules)).limit(limits=1)
    return limited


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:  # noqa: ARG001, a module that is imported may bring a library along
    return ThreadpoolController()


@lru_cache(maxsize=1)
def _blas_libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
