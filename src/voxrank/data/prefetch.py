"""Work done ahead in threads: decoders keep the encoder fed, and hold only a few results."""

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
    """Yield ``(item, function(item))`` in order, computed in threads at most `ahead` items early.

    An exception of `function` is raised where its item's turn comes. When the generator is closed, or the consumer
    fails, items not yet begun are dropped and the threads end.

    Args:
        items: taken one by one, as room appears.
        function: run in a thread; should let go of the GIL where it works (decoding and resampling do).
        threads: how many at once.
        ahead: results waiting or in the making, besides the one in use.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="voxrank-prefetch")
    source = iter(items)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        waiting.extend((item, pool.submit(function, item)) for item in islice(source, ahead + 1))
        while waiting:
            item, future = waiting.popleft()
            yield item, future.result()
            waiting.extend((coming, pool.submit(function, coming)) for coming in islice(source, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
