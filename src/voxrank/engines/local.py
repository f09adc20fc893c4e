"""The engine of one process. It encodes shards one after another, while threads decode audio ahead."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache as cache_result
from types import TracebackType
from typing import Self

from voxrank._support.memory import release_free_memory
from voxrank.cache.store import Cache, ModelCache
from voxrank.config import EncoderOptions, ExtractionOptions, Seconds
from voxrank.data.shards import Shard, items_of
from voxrank.data.utterance import Skipped
from voxrank.encoders.base import Encoder
from voxrank.encoders.joint import SketchedLayer, SketchKey, keys_of
from voxrank.engines.digests import digest_audio, key_models
from voxrank.engines.task import Lend, Part, Result, Task
from voxrank.extraction.shard import OnAudio, ShardSketch, encode_shards
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.projections import BLOCK_LIMIT, Quantiles
from voxrank.sketches.sample import Sample
from voxrank.sketches.store import register_kind
from voxrank.targets.labels import Targets


@dataclass
class ModelSketch:
    """The sketch of all shards of one model.

    Attributes:
        layers: moments of each sketched layer, in blocks.
        samples: some samples of each layer; empty where none are kept.
        projections: samples of each layer along random directions, by block; empty where none are kept.
        skipped: utterances that this model could not use.
        used_s: amount of audio in the sketch, in seconds.
        encode_s: wall time of forward passes, in seconds.
        before_s: encoding time of the cached shards, from the run that encoded them, in seconds.
        cached_s: amount of audio, used or skipped, whose sketches came from the cache, in seconds.
    """

    layers: dict[SketchKey, BlockedMoments]
    samples: dict[SketchKey, Sample]
    projections: dict[SketchKey, dict[int, Quantiles]]
    skipped: list[Skipped] = field(default_factory=list)
    used_s: Seconds = 0.0
    encode_s: Seconds = 0.0
    before_s: Seconds = 0.0
    cached_s: Seconds = 0.0

    @property
    def speed(self) -> float | None:
        """Seconds of audio per second of forward passes, including those of cached shards; None without timings."""
        seconds = self.encode_s + self.before_s
        return self.used_s / seconds if seconds > 0 else None

    @classmethod
    def empty(cls, layers: Sequence[SketchedLayer], targets: Targets, options: ExtractionOptions) -> ModelSketch:
        """Return an empty sketch with the parts that the options need.

        Raises:
            ValueError: two of the layers have the same key.
        """
        keys = keys_of(layers)
        return cls(
            {key: BlockedMoments.zeros(x.dim, targets.count, values=targets.values) for key, x in keys.items()},
            {key: Sample.empty(options.kept_samples, x.dim) for key, x in keys.items() if options.kept_samples},
            {key: {} for key in keys if options.projections},
        )

    def add(self, block: int, part: ShardSketch) -> None:
        """Add the sketch of a shard of that block, or of all its shards."""
        for key, moments in part.layers.items():
            self.layers[key].close_block(block, moments)
        for key, sample in part.samples.items():
            self.samples[key].merge(sample)
        for key, values in part.projections.items():
            self.projections[key].setdefault(block, Quantiles(BLOCK_LIMIT)).merge(values)
        self.skipped += part.skipped
        self.used_s += part.used_s
        self.encode_s += part.encode_s
        self.before_s += part.before_s

    def merge(self, other: ModelSketch) -> None:
        """Merge the sketch of other shards of the same model, which must not be used afterwards."""
        for key, moments in other.layers.items():
            self.layers[key].merge(moments)
        for key, sample in other.samples.items():
            self.samples[key].merge(sample)
        for key, blocks in other.projections.items():
            for block, values in blocks.items():
                self.projections[key].setdefault(block, Quantiles(BLOCK_LIMIT)).merge(values)
        self.skipped += other.skipped
        self.used_s += other.used_s
        self.encode_s += other.encode_s
        self.before_s += other.before_s
        self.cached_s += other.cached_s


register_kind(ModelSketch)


class BlockSum:
    """A sum of the shards of one block. It is added to the sketch of the model when another block begins.

    Args:
        whole: the sketch of the model.
        targets: targets of all utterances.
    """

    def __init__(self, whole: ModelSketch, targets: Targets) -> None:
        self._whole, self._targets = whole, targets
        self._block, self._total = -1, ShardSketch({})

    def add(self, shard: Shard, sketch: ShardSketch) -> None:
        """Add the sketch of a shard. Shards in order of block need the least work."""
        labelled = sketch.labelled(shard, self._targets)
        if shard.block == self._block:
            self._total.merge(labelled)
            return
        self.close()
        self._block, self._total = shard.block, labelled

    def close(self) -> None:
        """Add the last block to the sketch of the model, and return memory that its passes freed to the system."""
        self._whole.add(self._block, self._total)
        self._block, self._total = -1, ShardSketch({})
        release_free_memory()


class LocalEngine:
    """The engine that runs models in this process.

    Args:
        encoding: options that encoders are loaded with.
    """

    def __init__(self, encoding: EncoderOptions) -> None:
        self._encoding = encoding

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def runner(self, spec: str, take: Callable[[], Encoder]) -> LocalRunner:
        """Return a runner of the encoder, which is taken when it is first needed."""
        return LocalRunner(spec, take, self._encoding, self)

    def map(self, task: Task[Part, Result], parts: Iterable[Part], lend: Lend) -> Iterator[Result]:
        """Do the work of a task on each part; see `engines.base.Engine`."""
        for part in parts:
            yield task.run(part, lend, self._encoding)


class LocalRunner:
    """A runner of an encoder in this process.

    Args:
        spec: spec of the model.
        take: returns the frozen model, which is not needed where all sketches are cached.
        encoding: options that the encoder was loaded with.
        engine: computes digests of audio.
    """

    def __init__(self, spec: str, take: Callable[[], Encoder], encoding: EncoderOptions, engine: LocalEngine) -> None:
        self._spec, self._take, self._encoding, self._engine = spec, cache_result(take), encoding, engine

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
        model_cache = None
        if cache is not None:
            [key] = key_models(self._engine, cache, [self._spec], self._encoding, lambda _: self._take())
            model_cache = cache.of_key(key, self._spec, layers, targets, options)
            if model_cache is not None and model_cache.has_entries:
                digest_audio(self._engine, cache, items_of(shards), options.threads)
        return sketch_model(self._take, shards, targets, layers, options, on_audio, model_cache)


def sketch_model(
    take: Callable[[], Encoder],
    shards: Sequence[Shard],
    targets: Targets,
    layers: Sequence[SketchedLayer],
    options: ExtractionOptions,
    on_audio: OnAudio,
    cache: ModelCache | None = None,
) -> ModelSketch:
    """Sketch every shard with one encoder and merge the sketches.

    Args:
        take: returns the frozen model; it is not called where all sketches are cached.
        shards: shards to encode, in order of block.
        targets: targets of all utterances.
        layers: layers to sketch.
        options: options of the extraction.
        on_audio: receives the progress.
        cache: the cache of the model; None to encode everything.

    Raises:
        RunError: memory ran out on a single window.
    """
    whole = ModelSketch.empty(layers, targets, options)
    parts = _shard_sketches(take, shards, targets, layers, options, on_audio, cache)
    total = BlockSum(whole, targets)
    for shard, sketch in parts:
        total.add(shard, sketch)
    total.close()
    if cache is not None:
        cache.close()
        whole.cached_s = cache.found_s
    return whole


def _shard_sketches(
    take: Callable[[], Encoder],
    shards: Sequence[Shard],
    targets: Targets,
    layers: Sequence[SketchedLayer],
    options: ExtractionOptions,
    on_audio: OnAudio,
    cache: ModelCache | None,
) -> Iterator[tuple[Shard, ShardSketch]]:
    """Yield the sketches of all shards in order of block, from the cache or encoded."""

    def encoded(subset: Sequence[Shard]) -> Iterator[tuple[Shard, ShardSketch]]:
        if not subset:
            return
        ready = subset if cache is None else cache.digested(subset)
        for shard, sketch in encode_shards(take(), ready, targets, layers, options, on_audio):
            if cache is not None:
                cache.add(shard, sketch)
            yield shard, sketch

    if cache is None:
        return encoded(shards)
    held, uncached = cache.cover(shards)

    def cached() -> Iterator[tuple[Shard, ShardSketch]]:
        for shard, entry in held:
            sketch = cache.load(shard, entry)
            if sketch is None:
                yield from encoded([shard])
            else:
                on_audio(shard.seconds)
                yield shard, sketch

    return heapq.merge(cached(), encoded(uncached), key=lambda pair: pair[0].block)
