"""How many threads the libraries below use."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL_DIM = 1024
"""Matrices of fewer dimensions are worked on by one thread of BLAS."""


def one_blas_thread(dim: int = 0) -> AbstractContextManager[Any]:
    """BLAS keeps to one thread here, unless matrices are of more than `SMALL_DIM` dimensions.

    Threads that wait for each other cost more than they bring to smaller ones.
    """
    if dim > SMALL_DIM:
        return nullcontext()
    libraries = _blas_libraries()
    if all(one.get_num_threads() == 1 for one in libraries.lib_controllers):  # to limit them costs more than to look
        return nullcontext()
    limited: AbstractContextManager[Any] = libraries.limit(limits=1, user_api="blas")
    return limited


def one_thread(dim: int = 0) -> AbstractContextManager[Any]:
    """The same of BLAS and OpenMP: threads of torch's decompositions wait ten times longer than they work."""
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
