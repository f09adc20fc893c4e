"""The distribution of the parts of a task to workers (`engines.task`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic

import ray
from ray.exceptions import RayError, RayTaskError

from voxrank.engines.ray.work_queue import WorkQueue
from voxrank.engines.ray.worker import UnseenAudioError, is_unseen
from voxrank.engines.ray.worker_pool import ATTEMPTS, LOST, POLL_S, WorkerHandle, WorkerPool, raise_cause
from voxrank.engines.task import Part, Result, Task
from voxrank.errors import RunError, reason


@dataclass(eq=False)
class _Call:
    """A call of a worker: the worker and the number of its part."""

    worker: WorkerHandle
    number: int


class TaskScheduler(Generic[Part, Result]):
    """Distributes the parts of a task to workers.

    Args:
        pool: the pool of workers.
        task: the task, which workers receive once.
        note: receives notes on lost workers, and on nodes that miss audio.
    """

    def __init__(self, pool: WorkerPool, task: Task[Part, Result], note: Callable[[str], None]) -> None:
        self._pool, self._task, self._note = pool, task, note
        self._sent = ray.put(task)
        self._queue = WorkQueue()
        self._parts: dict[int, Part] = {}
        self._calls: dict[Any, _Call] = {}
        self._results: dict[int, Result] = {}

    def run(self, parts: Iterable[Part]) -> Iterator[Result]:
        """Yield the result of each part, in order. As many parts as there are workers are taken ahead.

        Raises:
            RunError: several workers were lost on the same part, or the work failed on a worker.
        """
        source, added, yielded = enumerate(parts), 0, 0
        try:
            while True:
                ahead = max(0, self._pool.size - len(self._queue.waiting))
                for number, part in islice(source, ahead):
                    self._parts[number], added = part, number + 1
                    self._queue.append(number)
                if yielded == added:
                    return
                self._step()
                while yielded in self._results:
                    yield self._results.pop(yielded)
                    yielded += 1
        finally:
            for call in self._calls.values():
                self._pool.remove(call.worker)

    def _step(self) -> None:
        """Give parts to free workers, and read new results."""
        no_use = sum(self._queue.is_blind(worker.node) for worker in self._pool.workers)
        self._pool.start_workers(max(1, len(self._queue.waiting) + len(self._calls) + no_use))
        for worker in self._pool.idle():
            for number in self._queue.take(worker.node, lambda _: 1):
                self._start(worker, number)
        if self._queue.waiting and not self._calls and self._pool.all_idle():
            self._queue.give_up(self._queue.waiting)
        for result in self._pool.ready_results(list(self._calls), POLL_S):
            self._read(result)

    def _start(self, worker: WorkerHandle, number: int) -> None:
        if worker.assignment is not self._sent:
            worker.actor.take.remote(self._sent)
            worker.assignment, worker.unsent = self._sent, []
        worker.busy = True
        must_see = self._queue.must_see([number])
        self._calls[worker.actor.run.remote(self._parts[number], must_see=must_see)] = _Call(worker, number)

    def _read(self, result: Any) -> None:
        """Read the result of a call, or put its part back."""
        call = self._calls.pop(result)
        call.worker.busy = False
        try:
            self._results[call.number] = ray.get(result)
            del self._parts[call.number]
        except RayError as error:
            self._handle_failure(call, error)

    def _handle_failure(self, call: _Call, error: RayError) -> None:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, UnseenAudioError):
            self._leave(call, cause)
            return
        if not isinstance(cause, LOST):
            raise_cause(cause, error)
        self._pool.remove(call.worker)
        self._queue.put_back([call.number])
        self._queue.losses[call.number] += 1
        if self._queue.losses[call.number] >= ATTEMPTS:
            raise RunError(
                f"{ATTEMPTS} workers were lost on the same work ({reason(cause)}); if memory ran out, use fewer "
                "workers per machine, or a smaller --batch"
            ) from cause
        self._note("a worker was lost; another worker repeats its unfinished work")

    def _leave(self, call: _Call, error: UnseenAudioError) -> None:
        """Leave a part to other nodes, because the node of the worker does not see its audio."""
        node = call.worker.node
        self._queue.leave(node, [call.number], everything=False)
        if any(map(is_unseen, self._task.items(self._parts[call.number]))):
            self._queue.give_up([call.number])  # this process does not see it either
        else:
            self._pool.report_unseen(node, error.path)
