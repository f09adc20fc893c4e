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
    WorkerCrashedError,
)

from voxrank.config import EncoderOptions, EngineOptions, Seconds
from voxrank.engines.ray.cluster import node_names
from voxrank.engines.ray.worker import Load, Worker
from voxrank.errors import NAME_LIMIT, OptionError, RunError, VoxrankError, reason, shortened

LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""Errors of Ray when a worker process was lost."""
ATTEMPTS = 3
"""Number of workers lost on the same work at which the run ends."""
POLL_S: Seconds = 0.5
"""Maximum time to wait for results before the next turn, in seconds."""
ROOM_S: Seconds = 5.0
"""Time after which the nodes of the cluster are counted again, in seconds."""
START_NOTICE_S: Seconds = 30.0
"""Time until the user receives a note that no worker has started, in seconds."""


@dataclass(eq=False)
class WorkerHandle:
    """A worker of the pool.

    Attributes:
        actor: handle of the actor.
        started: reference to its first result; None once the worker has started.
        assignment: the assignment that it received.
        busy: whether it is working on a stream.
        node: identifier of its node; empty until it has started.
        unsent: numbers of the shards that it has summed and not handed over.
        unsent_since: time at which it began to hold them, by `time.monotonic`, in seconds.
    """

    actor: Any
    started: Any
    assignment: Any = None
    busy: bool = False
    node: str = ""
    unsent: list[int] = field(default_factory=list)
    unsent_since: float = 0.0


class WorkerPool:
    """A pool of as many workers as are needed and fit into the cluster.

    Args:
        options: number and size of the workers.
        encoding: options that encoders are loaded with.
        load: loads an encoder.
        note: receives notes for the user.
        own: whether the cluster was started for this run and cannot grow.

    Attributes:
        workers: workers that have started or are starting.

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
        cpus, gpus = _resources()
        self._cpus = options.cpus_per_worker
        self._gpus = (
            float(gpus >= 1 and encoding.device in ("auto", "cuda"))
            if options.gpus_per_worker is None
            else options.gpus_per_worker
        )
        if encoding.device == "auto" and not self._gpus:
            encoding = replace(encoding, device="cpu")  # visible GPUs that a worker was not given belong to others
        self._workers, self._room, self._room_read_at = options.workers, self._read_room(), time.monotonic()
        if not self._room and (own or options.workers is None):
            raise OptionError(
                f"expected room for a worker of {self._cpus} CPUs and {self._gpus:g} GPUs in a cluster of {cpus:g} and "
                f"{gpus:g}; lower --cpus-per-worker or --gpus-per-worker"
            )
        self.workers: list[WorkerHandle] = []
        self._reported: set[str] = set()
        self._failed_starts = 0
        self._encoding, self._load, self._note = encoding, load, note
        self._waiting_since: float | None = None

    @property
    def size(self) -> int:
        """Maximum number of workers: that of the options, or as many as fit into the nodes that the cluster has now."""
        return self._workers or max(1, self._room_now())

    def all_idle(self) -> bool:
        """Return whether all workers are idle, except for those that wait for room in a cluster that is full."""
        return len(self.idle()) >= min(len(self.workers), max(1, self._room_now()))

    def _room_now(self) -> int:
        if time.monotonic() - self._room_read_at >= ROOM_S:
            self._room, self._room_read_at = self._read_room(), time.monotonic()
        return self._room

    def _read_room(self) -> int:
        """Return how many workers fit into the nodes of the cluster."""
        return sum(self._fit(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in _nodes())

    def _fit(self, cpus: float, gpus: float) -> int:
        """Return how many workers fit into a node."""
        room = int(cpus // self._cpus)
        return min(room, int(gpus) * int(1 / self._gpus + 1e-9)) if self._gpus else room

    def start_workers(self, count: int) -> None:
        """Start workers until there are `count` of them, or the maximum number."""
        if not self.workers:
            self._waiting_since = time.monotonic()
        kind: Any = ray.remote(Worker)
        while len(self.workers) < min(count, self.size):
            actor = kind.options(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0).remote(
                self._cpus, Path.cwd(), self._encoding, self._load
            )
            self.workers.append(WorkerHandle(actor, actor.node.remote()))

    def idle(self) -> list[WorkerHandle]:
        """Return the workers that have started and are not busy."""
        return [worker for worker in self.workers if worker.started is None and not worker.busy]

    def remove(self, worker: WorkerHandle) -> None:
        """Stop a worker and remove it."""
        with suppress(Exception):  # the cluster itself may be gone
            ray.kill(worker.actor)
        self.workers.remove(worker)

    def stop_all(self) -> None:
        """Stop all workers."""
        for worker in list(self.workers):
            self.remove(worker)

    def report_unseen(self, node: str, path: Path) -> None:
        """Send a note, once for each node, that it does not see an audio file."""
        if node not in self._reported:
            self._reported.add(node)
            name = shortened(node_names().get(node, node), NAME_LIMIT)
            self._note(
                f"node {name} does not see {shortened(str(path))}; other nodes encode what it does not see; put the "
                "audio in a folder that all nodes share"
            )

    def ready_results(self, streams: Sequence[Any], wait_s: Seconds) -> list[Any]:
        """Return the streams with a new result, and register workers that have started.

        Args:
            streams: streams of workers.
            wait_s: maximum time to wait, in seconds.

        Raises:
            RunError: several workers in turn could not be started.
        """
        starting = {worker.started: worker for worker in self.workers if worker.started is not None}
        waiting = [*streams, *starting]
        if not waiting:
            return []
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=wait_s, fetch_local=False)
        for result in ready:
            if result in starting:
                self._register(starting[result])
        self._warn_if_none_started()
        return [stream for stream in ready if stream not in starting]

    def _register(self, worker: WorkerHandle) -> None:
        try:
            worker.node = ray.get(worker.started)
        except RayError as error:
            self.remove(worker)
            self._failed_starts += 1
            if self._failed_starts < ATTEMPTS:  # its node may be lost
                return
            raise RunError(
                f"{ATTEMPTS} workers could not be started ({reason(error)}); voxrank must be installed on all nodes"
            ) from error
        self._failed_starts, worker.started = 0, None
        self._waiting_since = None

    def _warn_if_none_started(self) -> None:
        """Send a note, once, if no worker has started."""
        if self._waiting_since is not None and time.monotonic() - self._waiting_since > START_NOTICE_S:
            self._waiting_since = None
            free = ray.available_resources()
            self._note(
                f"no worker has started yet; the cluster has {free.get('CPU', 0):g} CPUs and "
                f"{free.get('GPU', 0):g} GPUs free, and the run begins when there is room"
            )


def _resources() -> tuple[float, float]:
    """Return the number of CPUs and of GPUs of the cluster."""
    nodes = _nodes()
    return sum(node.get("CPU", 0.0) for node in nodes), sum(node.get("GPU", 0.0) for node in nodes)


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def raise_cause(cause: BaseException, error: RayError) -> NoReturn:
    """End the run with the error of a worker. An error of voxrank is raised as it is, others as a `RunError`.

    Raises:
        VoxrankError: always.
    """
    if isinstance(cause, VoxrankError):
        raise cause from error
    raise RunError(f"the work failed on a worker ({reason(cause)})") from error
