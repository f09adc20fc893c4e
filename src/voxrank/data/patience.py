"""Work that may never end: waited for so long, then left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread, local
from typing import Any, TypeVar

from voxrank.config import Seconds

Result = TypeVar("Result")


class _Worker(Thread):
    """Calls functions, one after another until None, in a thread that does not keep the process from ending."""

    def __init__(self) -> None:
        super().__init__(name="voxrank-patience", daemon=True)
        self.functions: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run(self) -> None:
        while (function := self.functions.get()) is not None:
            try:
                outcome: tuple[Any, BaseException | None] = (function(), None)
            except BaseException as error:  # noqa: BLE001  raised again where it is waited for
                outcome = (None, error)
            self.outcomes.put(outcome)
            del function, outcome  # which may be large


class _Hand:
    """A worker of the thread that waits for it, which ends with that thread: to start one for each call is slow."""

    def __init__(self) -> None:
        self.worker = _Worker()
        self.worker.start()

    def __del__(self) -> None:
        self.worker.functions.put(None)

    def call(self, limit: Seconds, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """What a function returned, and what it raised."""
        self.worker.functions.put(function)
        return self.worker.outcomes.get(timeout=limit)


_here = local()


def _forget() -> None:
    _here.__dict__.clear()


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_forget)


def within(limit: Seconds, function: Callable[[], Result]) -> Result:
    """What a function returns, or raises, where it does so in time.

    A function that reads from a disk that does not answer cannot be stopped: it is left in its thread, which holds
    what it has until the process ends.

    Args:
        limit: how long it may take.
        function: takes nothing.

    Raises:
        TimeoutError: it took longer.
    """
    hand = _here.__dict__.pop("hand", None) or _Hand()  # not there for another call until this one has its outcome
    try:
        result, error = hand.call(limit, function)
    except Empty:
        raise TimeoutError(f"no answer in {limit:g} s") from None
    _here.hand = hand
    if error is not None:
        raise error
    returned: Result = result
    return returned
