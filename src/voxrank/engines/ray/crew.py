"""The pool of workers. Workers are started when they are needed, and replaced when they are lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from voxrank.config import EncoderOptions, EngineOptions, Seconds
from voxrank.engines.ray.worker import Load, Worker
from voxrank.errors import OptionError, RunError, VoxrankError, reason

LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""Errors of Ray when a worker process was lost."""
ATTEMPTS = 3
"""Number of workers lost on the same work at which the run ends."""
LISTEN_S: Seconds = 0.5
"""Maximum time to wait for results before the next turn, in seconds."""
PATIENCE_S: Seconds = 30.0
"""Time until the user receives a note that no worker has started, in seconds."""


@dataclass(eq=False)
class Member:
    """A worker of the pool.

    Attributes:
        actor: handle of the actor.
        hello: reference to its first result; None once the worker has started.
        begun: the assignment that it received.
        busy: whether it is working on a stream.
        held: numbers of the shards that it has summed and not handed over.
        since: time at which it began to hold them, by `time.monotonic`, in seconds.
    """

    actor: Any
    hello: Any
    begun: Any = None
    busy: bool = False
    held: list[int] = field(default_factory=list)
    since: float = 0.0


class Crew:
    """A pool of as many workers as are needed and fit into the cluster.

    Args:
        options: number and size of the workers.
        encoding: options that encoders are loaded with.
        load: loads an encoder.
        note: receives notes for the user.
        own: whether the cluster was started for this run and cannot grow.

    Attributes:
        size: maximum number of workers.
        members: workers that have started or are starting.

    Raises:
        OptionError: the cluster has no room for a single worker.
    """

    def __init__(
        self,
        options: EngineOptions,
        encoding: EncoderOptions,
        load: Load,
        note: Callable[[str], None],
        *,
        own: bool,
    ) -> None:
        there = ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        self._cpus, self._gpus = options.cpus_per_worker, options.gpus_per_worker
        if self._gpus is None:
            self._gpus = float(gpus >= 1 and encoding.device in ("auto", "cuda"))
        if encoding.device == "auto" and not self._gpus:
            encoding = replace(encoding, device="cpu")  # visible GPUs that a worker was not given belong to others
        room = int(cpus // self._cpus)
        if self._gpus:
            room = min(room, int(gpus) * int(1 / self._gpus + 1e-9))
        if not room and (own or options.workers is None):
            raise OptionError(
                f"expected room for a worker of {self._cpus} CPUs and {self._gpus:g} GPUs in a cluster of {cpus:g} and "
                f"{gpus:g}; lower --cpus-per-worker or --gpus-per-worker"
            )
        self.size = options.workers or room
        self.members: list[Member] = []
        self._encoding, self._load, self._note = encoding, load, note
        self._waiting_since: float | None = None
        self._keys: dict[str, str | None] = {}

    def hire(self, wanted: int) -> None:
        """Start workers until there are `wanted` of them, or the maximum number."""
        if not self.members:
            self._waiting_since = time.monotonic()
        kind: Any = ray.remote(Worker)
        while len(self.members) < min(wanted, self.size):
            actor = kind.options(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0).remote(
                self._cpus, Path.cwd(), self._encoding, self._load
            )
            self.members.append(Member(actor, actor.hello.remote()))

    def free(self) -> list[Member]:
        """Return the workers that have started and are not busy."""
        return [member for member in self.members if member.hello is None and not member.busy]

    def lose(self, member: Member) -> None:
        """Stop a worker and remove it."""
        with suppress(Exception):  # the cluster itself may be gone
            ray.kill(member.actor)
        self.members.remove(member)

    def dismiss(self) -> None:
        """Stop all workers."""
        for member in list(self.members):
            self.lose(member)

    def news(self, streams: Sequence[Any], wait_s: Seconds) -> list[Any]:
        """Return the streams with a new result, and register workers that have started.

        Args:
            streams: streams of workers.
            wait_s: maximum time to wait, in seconds.

        Raises:
            RunError: a worker could not be started.
        """
        coming = {member.hello: member for member in self.members if member.hello is not None}
        waiting = [*streams, *coming]
        if not waiting:
            return []
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=wait_s, fetch_local=False)
        for word in ready:
            if word in coming:
                self._welcome(coming[word])
        self._complain()
        return [stream for stream in ready if stream not in coming]

    def key(self, spec: str) -> str | None:
        """Return the key of a model (`cache.keys.model_key`), which a worker computes.

        Raises:
            RunError: several workers were lost while they loaded the model.
        """
        if spec not in self._keys:
            self._keys[spec] = self._ask_key(spec)
        return self._keys[spec]

    def _ask_key(self, spec: str) -> str | None:
        for _ in range(ATTEMPTS):
            self.hire(1)
            while not self.free():
                self.news([], LISTEN_S)
            member = self.free()[0]
            try:
                key: str | None = ray.get(member.actor.key.remote(spec))
                return key
            except RayTaskError as error:
                refuse(error.cause, error)
            except LOST as error:
                last = error
                self.lose(member)
        raise RunError(f"{spec}: {ATTEMPTS} workers were lost while it was loaded ({reason(last)})") from last

    def _welcome(self, member: Member) -> None:
        try:
            ray.get(member.hello)
        except RayError as error:
            self.lose(member)
            raise RunError(
                f"a worker could not be started ({reason(error)}); voxrank must be installed on all nodes"
            ) from error
        member.hello = None
        self._waiting_since = None

    def _complain(self) -> None:
        """Send a note, once, if no worker has started."""
        if self._waiting_since is not None and time.monotonic() - self._waiting_since > PATIENCE_S:
            self._waiting_since = None
            free = ray.available_resources()
            self._note(
                f"no worker has started yet, for which the cluster has {free.get('CPU', 0):g} CPUs and "
                f"{free.get('GPU', 0):g} GPUs free; the run goes on when there is room"
            )


def refuse(cause: BaseException, error: RayError) -> NoReturn:
    """End the run with the error of a worker. An error of voxrank is raised as it is, others as a `RunError`.

    Raises:
        VoxrankError: always.
    """
    if isinstance(cause, VoxrankError):
        raise cause from error
    raise RunError(f"the work failed on a worker ({reason(cause)})") from error
