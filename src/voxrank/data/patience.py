"""Work that may never end: waited for so long, then left alone."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

from voxrank.config import Seconds

Result = TypeVar("Result")


class _Work(Thread, Generic[Result]):
    """A thread that does not keep the process from ending."""

    def __init__(self, function: Callable[[], Result]) -> None:
        super().__init__(name="voxrank-patience", daemon=True)
        self._function = function
        self.result: Result | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            self.error = error


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
    work = _Work(function)
    work.start()
    work.join(limit)
    if work.is_alive():
        raise TimeoutError(f"no answer in {limit:g} s")
    if work.error is not None:
        raise work.error
    return work.result  # type: ignore[return-value]
