"""Shards of one model, dealt to workers, on their way to one sketch."""

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

from voxrank.cache.keys import AudioDigest, Place
from voxrank.cache.store import Cache
from voxrank.config import Seconds
from voxrank.data.shards import Item, Shard
from voxrank.engines.local import ModelSketch
from voxrank.engines.ray.crew import ATTEMPTS, LISTEN_S, LOST, Crew, Member, refuse
from voxrank.engines.ray.worker import Assignment
from voxrank.errors import RunError, reason
from voxrank.extraction.shard import OnAudio

SHARE = 3
"""A chunk is one part in so many of what each worker would have to do still."""
CHUNK_SHARDS = 60
"""At most, about an hour of audio."""
HAND_OVER_S: Seconds = 300.0
"""Work that a worker keeps to itself, at most: what is lost with it."""
MERGES = -1
"""In place of a shard's number, where a worker was lost over a sketch."""


@dataclass(eq=False)
class Part:
    """A sketch that lies somewhere in the cluster.

    Attributes:
        sketch: where.
        shards: numbers of those in it.
        level: of the tree.
    """

    sketch: Any
    shards: tuple[int, ...]
    level: int = 0


@dataclass
class Job:
    """What a worker is doing: it encodes shards, merges two sketches, or hands over what it holds.

    Attributes:
        member: the worker.
        shards: numbers of those to encode.
        parts: the sketches to merge.
        done: of the shards.
        sketch: where that is, once it is made.
    """

    member: Member
    shards: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    done: int = 0
    sketch: Any = None

    @property
    def gives_sketch(self) -> bool:
        """Whether it ends with one."""
        return not self.shards

    def part(self) -> Part:
        """The sketch that came of it."""
        if not self.parts:
            return Part(self.sketch, tuple(self.member.held))
        numbers = tuple(number for part in self.parts for number in part.shards)
        return Part(self.sketch, numbers, 1 + max(part.level for part in self.parts))


def chunk_size(left: int, workers: int) -> int:
    """Shards that a worker takes at once, of those left."""
    return min(CHUNK_SHARDS, -(-left // (SHARE * workers)))


class Gathering:
    """Shards are added, then all of it runs.

    Args:
        crew: the workers.
        assignment: what they are told once.
        on_audio: told of progress.
        note: told of lost workers.
        cache: knows something of the audio.
    """

    def __init__(
        self,
        crew: Crew,
        assignment: Assignment,
        on_audio: OnAudio,
        note: Callable[[str], None],
        cache: Cache | None,
    ) -> None:
        self._crew, self._on_audio, self._note, self._cache = crew, on_audio, note, cache
        self._spec = assignment.spec
        self._assignment = ray.put(assignment)
        self._shards: list[Shard] = []
        self._left: list[int] = []
        self._parts: list[Part] = []
        self._jobs: dict[Any, Job] = {}
        self._told: set[int] = set()
        self._losses: Counter[int] = Counter()

    def add(self, shards: Iterable[Shard]) -> None:
        """More to encode."""
        for shard in shards:
            self._left.append(len(self._shards))
            self._shards.append(shard)

    def run(self) -> ModelSketch | None:
        """Until all is in one sketch; None where there was nothing to encode.

        Raises:
            RunError: a shard costs one worker after another, or a worker could not do its work.
        """
        while self._left or self._jobs or self._parts or self._holders():
            self.turn(LISTEN_S)
            if len(self._parts) == 1 and not self._left and not self._jobs and not self._holders():
                try:
                    whole: ModelSketch = deepcopy(ray.get(self._parts[0].sketch))  # what Ray lends is read-only
                except ObjectLostError:
                    self._again(self._parts.pop().shards)
                else:
                    return whole
        return None

    def abandon(self) -> None:
        """Workers that are still busy with it are let go."""
        for job in self._jobs.values():
            self._crew.lose(job.member)
        self._jobs.clear()

    def turn(self, wait_s: Seconds) -> None:
        """Deal out work, and hear how far it is.

        Args:
            wait_s: for news, at most.
        """
        if self._left or len(self._parts) > 1:
            self._crew.hire(max(1, len(self._left) + len(self._jobs)))
        for member in self._crew.free():
            if (job := self._next(member)) is not None:
                self._begin(job)
        for stream in self._crew.news(list(self._jobs), wait_s):
            self._hear(stream)

    def _holders(self) -> list[Member]:
        """Workers that have something to hand over."""
        return [member for member in self._crew.members if member.begun is self._assignment and member.held]

    def _next(self, member: Member) -> Job | None:
        """Two sketches of one level are merged at once, others when nothing else is left to do."""
        if member in self._holders() and (not self._left or time.monotonic() - member.since > HAND_OVER_S):
            return Job(member)
        parts = sorted(self._parts, key=lambda part: part.level)
        rest = not self._left and not self._holders() and not any(job.shards for job in self._jobs.values())
        for pair in itertools.pairwise(parts):
            if rest or pair[0].level == pair[1].level:
                self._parts = [part for part in parts if part not in pair]
                return Job(member, parts=pair)
        return Job(member, self._chunk()) if self._left else None

    def _chunk(self) -> tuple[int, ...]:
        """Shards for a worker; one that may have cost another worker is taken alone."""
        count = chunk_size(len(self._left), self._crew.size)
        suspects = (place for place, number in enumerate(self._left[:count]) if self._losses[number])
        count = max(1, next(suspects, count))
        shards, self._left = tuple(self._left[:count]), self._left[count:]
        return shards

    def _begin(self, job: Job) -> None:
        member, arguments = job.member, list[Any]()
        if member.begun is not self._assignment:
            member.actor.begin.remote(self._assignment)
            member.begun, member.held = self._assignment, []
        member.busy = True
        call = member.actor.hand_over
        if job.parts:
            call, arguments = member.actor.merge, [part.sketch for part in job.parts]
        elif job.shards:
            shards = [self._shards[number] for number in job.shards]
            call, arguments = member.actor.encode, [shards, self._digests(shards)]
        self._jobs[call.options(num_returns="streaming").remote(*arguments)] = job

    def _digests(self, shards: Iterable[Shard]) -> Mapping[Place, AudioDigest]:
        if self._cache is None:
            return {}
        return self._cache.digests(item for shard in shards for item in shard.items)

    def _hear(self, stream: Any) -> None:
        """The next word of a stream: see `Worker.encode`."""
        job = self._jobs[stream]
        try:
            word = next(stream, None)
            if word is None:
                ray.get([ref for ref in [job.sketch] if ref is not None])  # says why
                raise RunError(f"{self._spec}: a worker stopped in the middle of its work; run it again")
            if job.done < len(job.shards):
                job.done = ray.get(word)
                self._tell(job.shards[: job.done])
            elif job.gives_sketch and job.sketch is None:
                job.sketch = word
            else:
                self._finish(job, ray.get(word))
                del self._jobs[stream]
        except RayError as error:
            del self._jobs[stream]
            self._failed(job, error)

    def _finish(self, job: Job, lines: list[str]) -> None:
        for line in lines:
            self._note(line)
        member = job.member
        member.busy = False
        if job.gives_sketch:
            self._parts.append(job.part())
        if job.shards:
            member.since = member.since if member.held else time.monotonic()
            member.held += job.shards
        elif not job.parts:
            member.held = []

    def _tell(self, numbers: Sequence[int]) -> None:
        """Progress, which what is encoded again is not."""
        for number in sorted({*numbers} - self._told):
            self._told.add(number)
            self._on_audio(self._shards[number].seconds)

    def _failed(self, job: Job, error: RayError) -> None:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, ObjectLostError):  # with the node where it lay
            job.member.busy = False
            self._again(number for part in job.parts for number in part.shards)
            return
        if not isinstance(cause, LOST):
            job.member.busy = False
            refuse(cause, error)
        self._crew.lose(job.member)
        self._parts += job.parts
        self._again([*job.member.held, *job.shards])
        self._losses.update(job.shards[job.done :] or [MERGES])
        self._judge(job, cause)
        self._note(f"{self._spec}: a worker was lost, and another does again what it had in hand")

    def _judge(self, job: Job, cause: BaseException) -> None:
        """End the run where worker after worker is lost."""
        what = "over a sketch"
        if job.shards:
            what = f"on the same audio, which begins with {self._shards[job.shards[-1]].items[0].utterance.id}"
        if self._losses[job.shards[-1] if job.shards else MERGES] >= ATTEMPTS:
            raise RunError(
                f"{self._spec}: {ATTEMPTS} workers were lost {what} ({reason(cause)}); if memory ran out, take fewer "
                "workers a machine, or a smaller --batch"
            ) from cause

    def _again(self, shards: Iterable[int]) -> None:
        self._left = sorted({*self._left, *shards})


def lean(shard: Shard) -> Shard:
    """What a worker is sent of a shard: no audio, nothing that no encoder reads, and paths that hold in any folder."""
    return replace(shard, items=tuple(map(_lean, shard.items)))


def _lean(item: Item) -> Item:
    utterance = replace(item.utterance, path=item.utterance.path.absolute(), text=None, segments=None, others=None)
    return replace(item, utterance=utterance)
