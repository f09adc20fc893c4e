"""The distribution of the shards of one model to workers, and the merge of their sketches."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError

from voxrank.cache.keys import AudioDigest, AudioLocation
from voxrank.cache.store import Cache
from voxrank.config import Seconds
from voxrank.data.shards import Item, Shard
from voxrank.engines.local import ModelSketch
from voxrank.engines.ray.worker import Assignment
from voxrank.engines.ray.worker_pool import ATTEMPTS, LOST, POLL_S, WorkerHandle, WorkerPool, raise_cause
from voxrank.errors import RunError, reason
from voxrank.extraction.shard import OnAudio

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
        parts: the sketches to merge.
        done: number of encoded shards.
        sketch: reference to the resulting sketch, once it exists.
    """

    worker: WorkerHandle
    shards: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    done: int = 0
    sketch: Any = None

    @property
    def returns_sketch(self) -> bool:
        """True if the job ends with a sketch."""
        return not self.shards

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
    """

    def __init__(
        self,
        pool: WorkerPool,
        assignment: Assignment,
        on_audio: OnAudio,
        note: Callable[[str], None],
        cache: Cache | None,
    ) -> None:
        self._pool, self._on_audio, self._note, self._cache = pool, on_audio, note, cache
        self._spec = assignment.spec
        self._assignment = ray.put(assignment)
        self._shards: list[Shard] = []
        self._pending: list[int] = []
        self._parts: list[Part] = []
        self._jobs: dict[Any, Job] = {}
        self._reported: set[int] = set()
        self._losses: Counter[int] = Counter()

    def add(self, shards: Iterable[Shard]) -> None:
        """Add shards to encode."""
        for shard in shards:
            self._pending.append(len(self._shards))
            self._shards.append(shard)

    def run(self) -> ModelSketch | None:
        """Run until all shards are in one sketch, and return it; None where there was nothing to encode.

        Raises:
            RunError: several workers were lost on the same shard, or the work failed on a worker.
        """
        while self._pending or self._jobs or self._parts or self._workers_with_sketch():
            self.step(POLL_S)
            if len(self._parts) == 1 and not self._pending and not self._jobs and not self._workers_with_sketch():
                try:
                    whole: ModelSketch = deepcopy(ray.get(self._parts[0].sketch))  # objects of Ray are read-only
                except ObjectLostError:
                    self._requeue(self._parts.pop().shards)
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
        if self._pending or len(self._parts) > 1:
            self._pool.start_workers(max(1, len(self._pending) + len(self._jobs)))
        for worker in self._pool.idle():
            if (job := self._next_job(worker)) is not None:
                self._start_job(job)
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
            not self._pending or time.monotonic() - worker.unsent_since > HAND_OVER_S
        ):
            return Job(worker)
        parts = sorted(self._parts, key=lambda part: part.level)
        no_other_work = (
            not self._pending and not self._workers_with_sketch() and not any(job.shards for job in self._jobs.values())
        )
        for pair in itertools.pairwise(parts):
            if no_other_work or pair[0].level == pair[1].level:
                self._parts = [part for part in parts if part not in pair]
                return Job(worker, parts=pair)
        return Job(worker, self._next_chunk()) if self._pending else None

    def _next_chunk(self) -> tuple[int, ...]:
        """Return the shards for a worker; a shard on which a worker may have been lost is sent alone."""
        count = chunk_size(len(self._pending), self._pool.size)
        suspects = (index for index, number in enumerate(self._pending[:count]) if self._losses[number])
        count = max(1, next(suspects, count))
        shards, self._pending = tuple(self._pending[:count]), self._pending[count:]
        return shards

    def _start_job(self, job: Job) -> None:
        worker, arguments = job.worker, list[Any]()
        if worker.assignment is not self._assignment:
            worker.actor.assign.remote(self._assignment)
            worker.assignment, worker.unsent = self._assignment, []
        worker.busy = True
        call = worker.actor.hand_over
        if job.parts:
            call, arguments = worker.actor.merge, [part.sketch for part in job.parts]
        elif job.shards:
            shards = [self._shards[number] for number in job.shards]
            call, arguments = worker.actor.encode, [shards, self._digests(shards)]
        self._jobs[call.options(num_returns="streaming").remote(*arguments)] = job

    def _digests(self, shards: Iterable[Shard]) -> Mapping[AudioLocation, AudioDigest]:
        if self._cache is None:
            return {}
        return self._cache.digests(item for shard in shards for item in shard.items)

    def _read_result(self, stream: Any) -> None:
        """Read the next result of a stream; see `Worker.encode`."""
        job = self._jobs[stream]
        try:
            result = next(stream, None)
            if result is None:
                ray.get([ref for ref in [job.sketch] if ref is not None])  # raises the reason
                raise RunError(f"{self._spec}: a worker stopped in the middle of its work; run the command again")
            if job.done < len(job.shards):
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
        elif not job.parts:
            worker.unsent = []

    def _report(self, numbers: Sequence[int]) -> None:
        """Report the progress; shards that are encoded again are not reported twice."""
        for number in sorted({*numbers} - self._reported):
            self._reported.add(number)
            self._on_audio(self._shards[number].seconds)

    def _handle_failure(self, job: Job, error: RayError) -> None:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, ObjectLostError):  # lost with its node
            job.worker.busy = False
            self._requeue(number for part in job.parts for number in part.shards)
            return
        if not isinstance(cause, LOST):
            job.worker.busy = False
            raise_cause(cause, error)
        self._pool.remove(job.worker)
        self._parts += job.parts
        self._requeue([*job.worker.unsent, *job.shards])
        self._losses.update(job.shards[job.done :] or [MERGE_WORK])
        self._check_losses(job, cause)
        self._note(f"{self._spec}: a worker was lost; another worker repeats its unfinished work")

    def _check_losses(self, job: Job, cause: BaseException) -> None:
        """End the run if too many workers were lost on the same work."""
        what = "while merging a sketch"
        if job.shards:
            what = f"on the same audio, which begins with {self._shards[job.shards[-1]].items[0].utterance.id}"
        if self._losses[job.shards[-1] if job.shards else MERGE_WORK] >= ATTEMPTS:
            raise RunError(
                f"{self._spec}: {ATTEMPTS} workers were lost {what} ({reason(cause)}); if memory ran out, use fewer "
                "workers per machine, or a smaller --batch"
            ) from cause

    def _requeue(self, shards: Iterable[int]) -> None:
        self._pending = sorted({*self._pending, *shards})


def without_unread_data(shard: Shard) -> Shard:
    """Return the shard as it is sent to workers: with absolute paths, and without data that encoders do not read."""
    return replace(shard, items=tuple(map(_without_unread_data, shard.items)))


def _without_unread_data(item: Item) -> Item:
    utterance = replace(item.utterance, path=item.utterance.path.absolute(), text=None, segments=None, others=None)
    return replace(item, utterance=utterance)
