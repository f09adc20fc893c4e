"""Threads: limits on those of numeric libraries, prefetching, and timeouts for functions that may never return."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread, local
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from voxrank.config import Seconds

Item = TypeVar("Item")
Result = TypeVar("Result")

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


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Let BLAS use this number of threads."""
    limited: AbstractContextManager[Any] = _blas_libraries().limit(limits=count, user_api="blas")
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


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool of threads for reuse: starting it costs as much as a product of a few thousand samples."""
    return ThreadPoolExecutor(threads, thread_name_prefix="voxrank-products")


def on_threads(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Call a function for every item in threads, and return the results in order.

    Args:
        function: function that releases the GIL, and does not call this function.
        items: items.
        threads: number of threads.
    """
    if len(items) == 1 or threads == 1:
        return [function(item) for item in items]
    return list(_pool(threads).map(function, items))


def prefetch(
    items: Iterable[Item], function: Callable[[Item], Result], *, threads: int, ahead: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield ``(item, function(item))`` in order. Threads compute results at most `ahead` items early.

    An exception of `function` is raised in the place of its result. When the generator is closed, or the consumer
    fails, pending items are dropped and the threads end.

    Args:
        items: items, which are taken one by one.
        function: function to call in a thread. It should release the GIL, as decoding and resampling do.
        threads: number of threads.
        ahead: maximum number of results that are ready or in progress, besides the result in use.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="voxrank-prefetch")
    source = iter(items)
    pending: deque[tuple[Item, Future[Result]]] = deque()
    try:
        pending.extend((item, pool.submit(function, item)) for item in islice(source, ahead + 1))
        while pending:
            item, future = pending.popleft()
            yield item, future.result()
            pending.extend((upcoming, pool.submit(function, upcoming)) for upcoming in islice(source, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Worker(Thread):
    """A daemon thread that calls functions one after another until it receives None."""

    def __init__(self) -> None:
        super().__init__(name="voxrank-timeout", daemon=True)
        self.functions: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run(self) -> None:
        while (function := self.functions.get()) is not None:
            try:
                outcome: tuple[Any, BaseException | None] = (function(), None)
            except BaseException as error:  # noqa: BLE001  raised again in the waiting thread
                outcome = (None, error)
            self.outcomes.put(outcome)
            del function, outcome  # they may hold large objects


class _WorkerHandle:
    """A worker that belongs to the waiting thread and ends with it, since starting a worker for each call is slow."""

    def __init__(self) -> None:
        self.worker = _Worker()
        self.worker.start()

    def __del__(self) -> None:
        self.worker.functions.put(None)

    def call(self, limit: Seconds, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Return the result of a function and the exception that it raised."""
        self.worker.functions.put(function)
        return self.worker.outcomes.get(timeout=limit)


_local = local()


def _forget_threads() -> None:
    _local.__dict__.clear()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):  # threads do not exist in a forked child
    os.register_at_fork(after_in_child=_forget_threads)


def within(limit: Seconds, function: Callable[[], Result]) -> Result:
    """Call a function with a timeout. Return its result, or raise its exception.

    A function that reads from a disk that does not respond cannot be stopped. It stays in its thread, and keeps its
    objects, until the process ends.

    Args:
        limit: timeout in seconds.
        function: function without arguments.

    Raises:
        TimeoutError: the function takes longer than the timeout.
    """
    handle = _local.__dict__.pop("handle", None) or _WorkerHandle()  # no other call can use it before this call ends
    try:
        result, error = handle.call(limit, function)
    except Empty:
        raise TimeoutError(f"no answer in {limit:g} s") from None
    _local.handle = handle
    if error is not None:
        raise error
    returned: Result = result
    return returned
