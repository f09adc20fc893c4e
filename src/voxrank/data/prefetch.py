"""Prefetching in threads: decoders run ahead of the encoder and hold only a few results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
