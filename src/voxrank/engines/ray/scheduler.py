"""The distribution of the shards of one model to workers, and the merge of their sketches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError

from voxrank.cache.keys import AudioDigest, AudioLocation
from voxrank.cache.store import Cache
from voxrank.config import Seconds
from voxrank.data.shards import Item, Shard, items_of
from voxrank.engines.local import ModelSketch
from voxrank.engines.ray.work_queue import WorkQueue
from voxrank.engines.ray.worker import Assignment, is_unseen
from voxrank.engines.ray.worker_pool import ATTEMPTS, LOST, POLL_S, WorkerHandle, WorkerPool, raise_cause
from voxrank.errors import RunError, reason
from voxrank.extraction.shard import OnAudio
from voxrank.targets.labels import Timed

CHUNK_DIVISOR = 3
"""Divisor of the chunk size: a chunk is 1/CHUNK_DIVISOR of the remaining shards of each worker."""
CHUNK_SHARDS = 60
"""Maximum number of shards in a chunk, about an hour of audio."""
HAND_OVER_S: Seconds = 300.0
"""Maximum time that a worker holds a sketch, in seconds. Its work since then is lost with the worker."""
MERGE_WORK = -1
"""Number that stands for a shard where a worker was lost while it merged or handed over a sketch."""


@dataclass(eq=False)
class Part:
    """A partial sketch in the cluster.

    Attributes:
        sketch: reference to the sketch.
        shards: numbers of the shards in it.
        level: level in the merge tree.
    """

    sketch: Any
    shards: tuple[int, ...]
    level: int = 0


@dataclass
class Job:
    """A job of a worker: to encode shards, to merge two sketches, or to hand over its sketch.

    Attributes:
        worker: the worker.
        shards: numbers of the shards to encode.
        checked: whether the worker has said which of the shards it sees.
        parts: the sketches to merge.
        done: number of encoded shards.
        sketch: reference to the resulting sketch, once it exists.
    """

    worker: WorkerHandle
    shards: tuple[int, ...] | None = None
    checked: bool = False
    parts: tuple[Part, ...] = ()
    done: int = 0
    sketch: Any = None

    @property
    def returns_sketch(self) -> bool:
        """True if the job ends with a sketch."""
        return self.shards is None

    def part(self) -> Part:
        """Return the resulting sketch as a part."""
        if not self.parts:
            return Part(self.sketch, tuple(self.worker.unsent))
        numbers = tuple(number for part in self.parts for number in part.shards)
        return Part(self.sketch, numbers, 1 + max(part.level for part in self.parts))


def chunk_size(left: int, workers: int) -> int:
    """Return the number of shards in the next chunk, for so many shards left."""
    return min(CHUNK_SHARDS, -(-left // (CHUNK_DIVISOR * workers)))


class Scheduler:
    """Distributes the shards of one model to workers, and merges their sketches.

    Args:
        pool: the pool of workers.
        assignment: the assignment, which workers receive once.
        on_audio: receives the progress.
        note: receives notes on lost workers.
        cache: the cache, which holds digests of the audio; None without a cache.
        timed: timelines of all utterances, which are sent with their shards; None where frames have no labels.
    """

    def __init__(
        self,
        pool: WorkerPool,
        assignment: Assignment,
        on_audio: OnAudio,
        note: Callable[[str], None],
        cache: Cache | None,
        timed: Timed | None = None,
    ) -> None:
        self._timed = timed
        self._pool, self._on_audio, self._note, self._cache = pool, on_audio, note, cache
        self._spec = assignment.spec
        self._assignment = ray.put(assignment)
        self._shards: list[Shard] = []
        self._queue = WorkQueue()
        self._parts: list[Part] = []
        self._jobs: dict[Any, Job] = {}
        self._reported: set[int] = set()

    def add(self, shards: Iterable[Shard]) -> None:
        """Add shards to encode."""
        for shard in shards:
            self._queue.append(len(self._shards))
            self._shards.append(shard)

    def run(self) -> ModelSketch | None:
        """Run until all shards are in one sketch, and return it; None where there was nothing to encode.

        Raises:
            RunError: several workers were lost on the same shard, or the work failed on a worker.
        """
        while self._queue.waiting or self._jobs or self._parts or self._workers_with_sketch():
            self.step(POLL_S)
            if len(self._parts) == 1 and not (self._queue.waiting or self._jobs or self._workers_with_sketch()):
                try:
                    whole: ModelSketch = deepcopy(ray.get(self._parts[0].sketch))  # objects of Ray are read-only
                except ObjectLostError:
                    self._queue.put_back(self._parts.pop().shards)
                else:
                    return whole
        return None

    def cancel(self) -> None:
        """Stop the workers that are still busy with this work."""
        for job in self._jobs.values():
            self._pool.remove(job.worker)
        self._jobs.clear()

    def step(self, wait_s: Seconds) -> None:
        """Start jobs on free workers, and read new results.

        Args:
            wait_s: maximum time to wait for results, in seconds.
        """
        if self._queue.waiting or len(self._parts) > 1:
            no_use = sum(self._queue.is_blind(worker.node) for worker in self._pool.workers)
            self._pool.start_workers(max(1, len(self._queue.waiting) + len(self._jobs) + no_use))
        for worker in self._pool.idle():
            if (job := self._next_job(worker)) is not None:
                self._start_job(job)
        if self._queue.waiting and not self._jobs and self._pool.all_idle():
            self._queue.give_up(self._queue.waiting)
        for stream in self._pool.ready_results(list(self._jobs), wait_s):
            self._read_result(stream)

    def _workers_with_sketch(self) -> list[WorkerHandle]:
        """Return the workers that have a sketch to hand over."""
        return [worker for worker in self._pool.workers if worker.assignment is self._assignment and worker.unsent]

    def _next_job(self, worker: WorkerHandle) -> Job | None:
        """Return the next job of a worker; None where there is nothing to do.

        Two sketches of the same level are merged immediately, other sketches when no other work is left.
        """
        if worker in self._workers_with_sketch() and (
            not self._queue.waiting or time.monotonic() - worker.unsent_since > HAND_OVER_S
        ):
            return Job(worker)
        parts = sorted(self._parts, key=lambda part: part.level)
        no_other_work = (
            not self._queue.waiting
            and not self._workers_with_sketch()
            and all(job.returns_sketch for job in self._jobs.values())
        )
        for pair in itertools.pairwise(parts):
            if no_other_work or pair[0].level == pair[1].level:
                self._parts = [part for part in parts if part not in pair]
                return Job(worker, parts=pair)
        shards = self._queue.take(worker.node, lambda usable: chunk_size(usable, self._pool.size))
        return Job(worker, shards) if shards else None

    def _start_job(self, job: Job) -> None:
        worker, arguments, keywords = job.worker, list[Any](), dict[str, Any]()
        if worker.assignment is not self._assignment:
            worker.actor.assign.remote(self._assignment)
            worker.assignment, worker.unsent = self._assignment, []
        worker.busy = True
        call = worker.actor.hand_over
        if job.parts:
            call, arguments = worker.actor.merge, [part.sketch for part in job.parts]
        elif job.shards:
            shards = [self._shards[number] for number in job.shards]
            call, arguments = worker.actor.encode, [*self._to_send(shards)]
            keywords["must_see"] = self._queue.must_see(job.shards)
        self._jobs[call.options(num_returns="streaming").remote(*arguments, **keywords)] = job

    def _to_send(
        self, shards: Sequence[Shard]
    ) -> tuple[list[Shard], Mapping[AudioLocation, AudioDigest], Timed | None]:
        """Return shards as workers receive them, with the digests of their audio and the timelines of their rows."""
        sent, digests = list(map(without_unread_data, shards)), self._digests(shards)
        if self._timed is None:
            return sent, digests, None
        rows = itertools.count()
        renumbered = [
            replace(shard, items=tuple(replace(item, row=next(rows)) for item in shard.items)) for shard in sent
        ]
        return renumbered, digests, self._timed.of_rows([item.row for item in items_of(shards)])

    def _digests(self, shards: Sequence[Shard]) -> Mapping[AudioLocation, AudioDigest]:
        """Return the known digests of the audio of these shards, by its location as workers receive it."""
        if self._cache is None:
            return {}
        items = list(items_of(shards))
        known = self._cache.digests(items)
        return {
            item.to_encode().utterance.location: known[item.utterance.location]
            for item in items
            if item.utterance.location in known
        }

    def _read_result(self, stream: Any) -> None:
        """Read the next result of a stream; see `Worker.encode`."""
        job = self._jobs[stream]
        try:
            result = next(stream, None)
            if result is None:
                ray.get([ref for ref in [job.sketch] if ref is not None])  # raises the reason
                raise RunError(f"{self._spec}: a worker stopped in the middle of its work; run the command again")
            if job.shards is not None and not job.checked:
                self._leave_unseen(job, ray.get(result))
            elif job.shards is not None and job.done < len(job.shards):
                job.done = ray.get(result)
                self._report(job.shards[: job.done])
            elif job.returns_sketch and job.sketch is None:
                job.sketch = result
            else:
                self._finish(job, ray.get(result))
                del self._jobs[stream]
        except RayError as error:
            del self._jobs[stream]
            self._handle_failure(job, error)

    def _finish(self, job: Job, lines: list[str]) -> None:
        for line in lines:
            self._note(line)
        worker = job.worker
        worker.busy = False
        if job.returns_sketch:
            self._parts.append(job.part())
        if job.shards:
            worker.unsent_since = worker.unsent_since if worker.unsent else time.monotonic()
            worker.unsent += job.shards
        elif job.returns_sketch and not job.parts:
            worker.unsent = []

    def _leave_unseen(self, job: Job, unseen: Mapping[int, Item]) -> None:
        """Leave the shards that the node of a worker does not see to other nodes.

        Args:
            job: the job, from which they are removed.
            unseen: position of each of these shards in the job → an item that is not on the node.
        """
        numbers = job.shards or ()
        job.checked, job.shards = True, tuple(n for position, n in enumerate(numbers) if position not in unseen)
        if not unseen:
            return
        self._queue.leave(job.worker.node, [numbers[position] for position in unseen], everything=not job.shards)
        gone = [numbers[position] for position, item in unseen.items() if is_unseen(item)]
        self._queue.give_up(gone)  # this process does not see them either
        if len(gone) < len(unseen):
            self._pool.report_unseen(job.worker.node, next(iter(unseen.values())).utterance.path)

    def _report(self, numbers: Sequence[int]) -> None:
        """Report the progress; shards that are encoded again are not reported twice."""
        for number in sorted({*numbers} - self._reported):
            self._reported.add(number)
            self._on_audio(self._shards[number].seconds)

    def _handle_failure(self, job: Job, error: RayError) -> None:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, ObjectLostError):  # lost with its node
            job.worker.busy = False
            self._queue.put_back(number for part in job.parts for number in part.shards)
            return
        if not isinstance(cause, LOST):
            job.worker.busy = False
            raise_cause(cause, error)
        self._pool.remove(job.worker)
        self._parts += job.parts
        shards = job.shards or ()
        self._queue.put_back([*job.worker.unsent, *shards])
        self._queue.losses.update(shards[job.done :] or [MERGE_WORK])
        self._check_losses(job, cause)
        self._note(f"{self._spec}: a worker was lost; another worker repeats its unfinished work")

    def _check_losses(self, job: Job, cause: BaseException) -> None:
        """End the run if too many workers were lost on the same work."""
        what = "while merging a sketch"
        if job.shards:
            what = f"on the same audio, which begins with {self._shards[job.shards[-1]].items[0].utterance.id}"
        if self._queue.losses[job.shards[-1] if job.shards else MERGE_WORK] >= ATTEMPTS:
            raise RunError(
                f"{self._spec}: {ATTEMPTS} workers were lost {what} ({reason(cause)}); if memory ran out, use fewer "
                "workers per machine, or a smaller --batch"
            ) from cause


def without_unread_data(shard: Shard) -> Shard:
    """Return the shard as it is sent to workers (`Item.to_encode`)."""
    return replace(shard, items=tuple(item.to_encode() for item in shard.items))
