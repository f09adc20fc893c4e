"""The engine of a Ray cluster and its runner, with the interface of `engines.base`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from voxrank.cache.entries import Entry
from voxrank.cache.store import Cache, ModelCache
from voxrank.config import EncoderOptions, EngineOptions, ExtractionOptions
from voxrank.data.shards import Shard, items_of
from voxrank.encoders.base import Encoder
from voxrank.encoders.joint import SketchedLayer
from voxrank.encoders.registry import load_encoder
from voxrank.engines.digests import digest_audio, key_models, refuse
from voxrank.engines.local import BlockSum, ModelSketch
from voxrank.engines.ray.cluster import Cluster
from voxrank.engines.ray.scheduler import Scheduler
from voxrank.engines.ray.task_scheduler import TaskScheduler
from voxrank.engines.ray.worker import Assignment, Load
from voxrank.engines.ray.worker_pool import WorkerPool
from voxrank.engines.task import Lend, Part, Result, Task
from voxrank.errors import OptionError
from voxrank.extraction.shard import OnAudio, ShardSketch
from voxrank.targets.labels import Targets

Note = Callable[[str], None]


class RayEngine:
    """The engine that runs models on the workers of a cluster. Without an address, it starts a cluster for the run.

    It starts or joins the cluster when it is first needed.

    Args:
        options: the cluster, and the number and size of the workers.
        encoding: options that encoders are loaded with.
        note: receives notes for the user.
        load: loads an encoder, on the worker.

    Raises:
        OptionError: the options contradict each other.
    """

    def __init__(self, options: EngineOptions, encoding: EncoderOptions, note: Note, load: Load = load_encoder) -> None:
        if (options.address or "").startswith("ray://"):
            raise OptionError(
                f"expected the address of a cluster that this machine is part of, got {options.address!r}; "
                "run voxrank on one of its nodes, with --ray-address auto"
            )
        if encoding.device.startswith("cuda:"):
            raise OptionError(f"Ray gives each worker its GPU; write --device cuda instead of {encoding.device}")
        self._options, self._encoding, self._note, self._load = options, encoding, note, load
        self._open = ExitStack()
        self._pool: WorkerPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers, and the cluster if it was started for this run."""
        self._open.close()
        self._pool = None

    def runner(self, spec: str, take: Callable[[], Encoder]) -> RayRunner:
        """Return a runner of the model, which each worker loads when it is first needed there.

        Raises:
            OptionError: there is no cluster at the address, or it has no room for a worker.
            RunError: no cluster can be started.
        """
        del take
        return RayRunner(spec, self, self._workers(), self._encoding, self._note)

    def map(self, task: Task[Part, Result], parts: Iterable[Part], lend: Lend) -> Iterator[Result]:
        """Do the work of a task on each part; see `engines.base.Engine`. The errors are also those of `runner`."""
        del lend
        return TaskScheduler(self._workers(), task, self._note).run(parts)

    def _workers(self) -> WorkerPool:
        """Return the pool of workers of the cluster, which is started or joined if it is first needed."""
        if self._pool is None:
            with ExitStack() as stack:
                cluster = stack.enter_context(Cluster(self._options))
                pool = WorkerPool(self._options, self._encoding, self._load, self._note, own=cluster.own)
                stack.callback(pool.stop_all)
                self._open, self._pool = stack.pop_all(), pool
        return self._pool


class RayRunner:
    """A runner of a model on the workers.

    Args:
        spec: spec of the model.
        engine: computes digests of audio, and the key of the model.
        pool: the pool of workers.
        encoding: options that the model is loaded with.
        note: receives notes for the user.
    """

    def __init__(self, spec: str, engine: RayEngine, pool: WorkerPool, encoding: EncoderOptions, note: Note) -> None:
        self._spec, self._engine, self._pool, self._encoding, self._note = spec, engine, pool, encoding, note

    def sketch(
        self,
        shards: Sequence[Shard],
        targets: Targets,
        layers: Sequence[SketchedLayer],
        options: ExtractionOptions,
        on_audio: OnAudio,
        cache: Cache | None = None,
    ) -> ModelSketch:
        """Sketch every shard and merge the sketches; see `engines.base.Runner`."""
        timed = targets.timed
        sent = targets if timed is None else replace(targets, timed=timed.of_rows(()))
        assignment = Assignment(self._spec, tuple(layers), sent, options)
        model_cache = None
        if cache is not None:
            [key] = key_models(self._engine, cache, [self._spec], self._encoding, refuse)
            model_cache = cache.of_key(key, self._spec, layers, targets, options)
            if model_cache is not None:
                assignment = replace(assignment, cache=cache.folder.absolute(), cache_gb=cache.size_gb, key=key)
                if model_cache.has_entries:
                    digest_audio(self._engine, cache, items_of(shards), options.threads)
        held, uncached = ([], shards) if model_cache is None else model_cache.cover(shards)
        scheduler = Scheduler(self._pool, assignment, on_audio, self._note, cache, timed)
        scheduler.add(uncached)
        whole = ModelSketch.empty(layers, targets, options)
        try:
            if model_cache is not None:
                total = BlockSum(whole, targets)
                for shard, sketch in _cached_sketches(model_cache, held, scheduler, on_audio):
                    total.add(shard, sketch)
                    scheduler.step(0)
                total.close()
            encoded = scheduler.run()
        except BaseException:
            scheduler.cancel()
            raise
        if encoded is not None:
            whole.merge(encoded)
        if model_cache is not None:
            model_cache.close()
            whole.cached_s = model_cache.found_s
        return whole


def _cached_sketches(
    model_cache: ModelCache, held: Iterable[tuple[Shard, Entry]], scheduler: Scheduler, on_audio: OnAudio
) -> Iterator[tuple[Shard, ShardSketch]]:
    """Yield the sketches in the cache; shards whose entries are damaged are added to the scheduler."""
    for shard, entry in held:
        sketch = model_cache.load(shard, entry)
        if sketch is None:
            scheduler.add([shard])
        else:
            on_audio(shard.seconds)
            yield shard, sketch
