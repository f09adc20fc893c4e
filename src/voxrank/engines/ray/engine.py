"""The engine of a Ray cluster and its runner, with the interface of `engines.base`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from voxrank.cache.entries import Entry
from voxrank.cache.store import Cache, ModelCache
from voxrank.config import EncoderOptions, EngineOptions, ExtractionOptions
from voxrank.data.shards import Shard
from voxrank.encoders.base import Encoder
from voxrank.encoders.joint import SketchedLayer
from voxrank.encoders.registry import load_encoder
from voxrank.engines.local import BlockSum, ModelSketch
from voxrank.engines.ray.cluster import Cluster
from voxrank.engines.ray.scheduler import Scheduler, without_unread_data
from voxrank.engines.ray.worker import Assignment, Load
from voxrank.engines.ray.worker_pool import WorkerPool
from voxrank.errors import OptionError
from voxrank.extraction.shard import OnAudio, ShardSketch
from voxrank.targets.labels import Targets

Note = Callable[[str], None]


class RayEngine:
    """The engine that runs models on the workers of a cluster. Without an address, it starts a cluster for the run.

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

    def __enter__(self) -> Self:
        """Start a cluster, or join one.

        Raises:
            OptionError: there is no cluster at the address, or it has no room for a worker.
            RunError: no cluster can be started.
        """
        with ExitStack() as stack:
            cluster = stack.enter_context(Cluster(self._options))
            self._pool = WorkerPool(self._options, self._encoding, self._load, self._note, own=cluster.own)
            stack.callback(self._pool.stop_all)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers, and the cluster if it was started for this run."""
        self._open.close()

    def runner(self, spec: str, take: Callable[[], Encoder]) -> RayRunner:
        """Return a runner of the model, which each worker loads when it is first needed there."""
        del take
        return RayRunner(spec, self._pool, self._note)


class RayRunner:
    """A runner of a model on the workers.

    Args:
        spec: spec of the model.
        pool: the pool of workers.
        note: receives notes for the user.
    """

    def __init__(self, spec: str, pool: WorkerPool, note: Note) -> None:
        self._spec, self._pool, self._note = spec, pool, note

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
        shards = [without_unread_data(shard) for shard in shards]
        probe_file = next((path for path in _files(shards) if path.exists()), None)
        assignment = Assignment(self._spec, tuple(layers), targets, options, probe_file=probe_file)
        model_cache = None
        if cache is not None:
            key = self._pool.key(self._spec)
            model_cache = cache.of_key(key, self._spec, layers, targets, options)
            if model_cache is not None:
                assignment = replace(assignment, cache=cache.folder.absolute(), cache_gb=cache.size_gb, key=key)
        held, uncached = ([], shards) if model_cache is None else model_cache.cover(shards)
        scheduler = Scheduler(self._pool, assignment, on_audio, self._note, cache)
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


def _files(shards: Iterable[Shard]) -> Iterator[Path]:
    """Yield the files that audio is read from."""
    for shard in shards:
        for item in shard.items:
            location = item.utterance.location
            path = location if isinstance(location, Path) else location.file
            if path is not None:
                yield path


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
