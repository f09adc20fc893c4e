"""Timeouts for functions that may never return."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread, local
from typing import Any, TypeVar

from voxrank.config import Seconds

Result = TypeVar("Result")


class _Worker(Thread):
    """A daemon thread that calls functions one after another until it receives None."""

    def __init__(self) -> None:
        super().__init__(name="voxrank-patience", daemon=True)
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


def _clear_local() -> None:
    _local.__dict__.clear()


if hasattr(os, "register_at_fork"):  # threads do not exist in a forked child
    os.register_at_fork(after_in_child=_clear_local)


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
