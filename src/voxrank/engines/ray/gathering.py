"""Shards of one model, dealt to workers, on their way to one sketch."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError

from voxrank.cache.keys import AudioDigest
from voxrank.cache.store import Cache
from voxrank.config import Seconds
from voxrank.engines.local import ModelSketch
from voxrank.engines.ray.crew import ATTEMPTS, LISTEN_S, LOST, Crew, Member, refuse
from voxrank.engines.ray.worker import Assignment
from voxrank.errors import RunError, reason
from voxrank.extraction import OnAudio
from voxrank.shards import Item, Shard

SHARE = 3
"""A chunk is one part in so many of what each worker would have to do still."""
CHUNK_SHARDS = 240
"""At most; about four hours of audio, which is what the loss of a worker costs."""


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
    """What a worker is doing.

    Attributes:
        member: the worker.
        shards: numbers of those to encode; () where two sketches are merged.
        parts: those two; () where shards are encoded.
        heard: of its stream.
        sketch: where that is, once it is made.
    """

    member: Member
    shards: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    heard: int = 0
    sketch: Any = None

    def part(self) -> Part:
        """What came of it."""
        if not self.parts:
            return Part(self.sketch, self.shards)
        numbers = tuple(number for part in self.parts for number in part.shards)
        return Part(self.sketch, numbers, 1 + max(part.level for part in self.parts))


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
        while self._left or self._jobs or self._parts:
            self.turn(LISTEN_S)
            if len(self._parts) == 1 and not self._left and not self._jobs:
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
            job = self._next(member)
            if job is None:
                break
            self._begin(job)
        for stream in self._crew.news(list(self._jobs), wait_s):
            self._hear(stream)

    def _next(self, member: Member) -> Job | None:
        """Two sketches of one level are merged at once, of two levels when there is nothing left to encode."""
        parts = sorted(self._parts, key=lambda part: part.level)
        rest = not self._left and not any(job.shards for job in self._jobs.values())
        for pair in itertools.pairwise(parts):
            if rest or pair[0].level == pair[1].level:
                self._parts = [part for part in parts if part not in pair]
                return Job(member, parts=pair)
        if not self._left:
            return None
        count = min(CHUNK_SHARDS, -(-len(self._left) // (SHARE * self._crew.size)))
        shards, self._left = tuple(self._left[:count]), self._left[count:]
        return Job(member, shards)

    def _begin(self, job: Job) -> None:
        member, arguments = job.member, list[Any]()
        if member.begun is not self._assignment:
            member.actor.begin.remote(self._assignment)
            member.begun = self._assignment
        member.busy = True
        if job.parts:
            call, arguments = member.actor.merge, [part.sketch for part in job.parts]
        else:
            shards = [self._shards[number] for number in job.shards]
            call, arguments = member.actor.encode, [shards, self._digests(shards)]
        self._jobs[call.options(num_returns="streaming").remote(*arguments)] = job

    def _digests(self, shards: Iterable[Shard]) -> Mapping[Path, AudioDigest]:
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
            if job.heard == len(job.shards):
                job.sketch = word
            elif job.heard < len(job.shards):
                ray.get(word)
                self._tell(job.shards[job.heard])
            else:
                self._done(job, ray.get(word))
                del self._jobs[stream]
            job.heard += 1
        except RayError as error:
            del self._jobs[stream]
            self._failed(job, error)

    def _done(self, job: Job, lines: list[str]) -> None:
        for line in lines:
            self._note(line)
        job.member.busy = False
        self._parts.append(job.part())

    def _tell(self, number: int) -> None:
        """Progress, which what is encoded again is not."""
        if number not in self._told:
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
        self._again(job.shards)
        blamed = job.part().shards[min(job.heard, len(job.part().shards) - 1)]
        self._losses[blamed] += 1
        if self._losses[blamed] == ATTEMPTS:
            raise RunError(
                f"{self._spec}: {ATTEMPTS} workers were lost on the same audio, which begins with "
                f"{self._shards[blamed].items[0].utterance.id} ({reason(cause)}); if memory ran out, take fewer "
                "workers a machine, or a smaller --batch"
            ) from error
        self._note(f"{self._spec}: a worker was lost, and another does again what it had in hand")

    def _again(self, shards: Iterable[int]) -> None:
        self._left = sorted({*self._left, *shards})


def lean(shard: Shard) -> Shard:
    """What a worker is sent of a shard: no audio, nothing that no encoder reads, and paths that hold in any folder."""
    return replace(shard, items=tuple(map(_lean, shard.items)))


def _lean(item: Item) -> Item:
    utterance = replace(item.utterance, path=item.utterance.path.absolute(), text=None, segments=None)
    return replace(item, utterance=utterance)
