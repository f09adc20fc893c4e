"""What runs on a worker of a cluster: encoders, held loaded, and the shards and sketches that it is sent.

Results come as streams, so that whoever waits for one is told how far it is; of a stream, all but the sketch is small.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from voxrank._support.memory import keep_heap_small
from voxrank.cache.keys import AudioDigest, Place, model_key
from voxrank.cache.store import Cache, ModelCache
from voxrank.config import CacheOptions, EncoderOptions, ExtractionOptions, Seconds
from voxrank.data.shards import Shard
from voxrank.encoders.base import Encoder
from voxrank.encoders.joint import SketchedLayer
from voxrank.engines.local import BlockSum, ModelSketch
from voxrank.errors import RunError
from voxrank.extraction.shard import encode_shards
from voxrank.targets.labels import Targets

Load = Callable[[str, EncoderOptions], Encoder]
Stream = Iterator[Any]

SAY_EVERY_S: Seconds = 0.25
"""How far it is: the driver hears all workers."""
KEPT_PARAMETERS = 500_000_000
"""Encoders stay loaded up to this many weights in all; beyond, the one in use alone."""


@dataclass(frozen=True)
class Assignment:
    """What is the same for all shards, and is sent once.

    Attributes:
        spec: of the model.
        layers: what to sketch.
        targets: of all utterances.
        options: of the extraction.
        cache: the folder that keeps sketches; None: nowhere.
        key: of the model, in the cache.
        seen: a file of audio that every worker must see.
    """

    spec: str
    layers: tuple[SketchedLayer, ...]
    targets: Targets
    options: ExtractionOptions
    cache: Path | None = None
    key: str | None = None
    seen: Path | None = None


class Worker:
    """One process that encodes.

    Args:
        cpus: cores that torch and BLAS may use.
        folder: that relative names start from, where there is such a folder here.
        encoding: how encoders are loaded.
        load: loads them.
    """

    def __init__(self, cpus: int, folder: Path, encoding: EncoderOptions, load: Load) -> None:
        keep_heap_small()
        torch.set_num_threads(cpus)
        self._limits = threadpool_limits(cpus)
        if folder.is_dir():
            os.chdir(folder)
        self._encoding, self._load = encoding, load
        self._encoders: dict[str, Encoder] = {}
        self._notes: list[str] = []

    def hello(self) -> int:
        """The number of the process, once it is there."""
        return os.getpid()

    def begin(self, assignment: Assignment) -> None:
        """Shards that follow are of this; what was held before is let go."""
        now = self._now = assignment
        self._cache: Cache | None = None
        self._kept: ModelCache | None = None
        if now.cache is not None:
            self._cache = Cache(CacheOptions(str(now.cache)), self._notes.append)
            self._kept = self._cache.of_key(now.key, now.spec, now.layers, now.targets, now.options)
        self._start()

    def key(self, spec: str) -> str | None:
        """What a model's frames follow from: see `cache.keys.model_key`."""
        return model_key(self._encoder(spec), self._encoding)

    def encode(self, shards: Sequence[Shard], digests: Mapping[Place, AudioDigest]) -> Stream:
        """Encode shards and add them to what is held.

        Args:
            shards: in order of block.
            digests: what is known of their audio.

        Yields:
            Now and then how many are done, and at last that all are; then lines that the user should know.

        Raises:
            RunError: the audio is not here, or memory ran out on a single window.
        """
        now = self._now
        if now.seen is not None and not now.seen.exists():
            raise RunError(f"a worker does not see {now.seen}; put the audio in a folder that all nodes share")
        encoder = self._encoder(now.spec)
        if self._cache is not None:
            self._cache.take_over(digests)
        said = time.monotonic()
        encoded = encode_shards(encoder, shards, now.targets, now.layers, now.options, lambda _: None)
        for done, (shard, sketch) in enumerate(encoded, start=1):
            if self._kept is not None:
                self._kept.add(shard, sketch)
            self._sum.add(shard, sketch)
            if done < len(shards) and time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                yield done
        yield len(shards)
        yield self._told()

    def hand_over(self) -> Stream:
        """Give away the sketch of all that was encoded since the last time.

        Yields:
            The sketch; then lines that the user should know.
        """
        self._sum.close()
        whole = self._whole
        self._start()
        yield whole
        yield self._told()

    def merge(self, one: ModelSketch, other: ModelSketch) -> Stream:
        """Make one sketch of two, which stay as they were.

        Yields:
            The sketch; then lines that the user should know.
        """
        now = self._now
        whole = ModelSketch.empty(now.layers, now.targets, now.options)
        whole.merge(one)
        whole.merge(other)
        yield whole
        yield self._told()

    def _start(self) -> None:
        self._whole = ModelSketch.empty(self._now.layers, self._now.targets, self._now.options)
        self._sum = BlockSum(self._whole, self._now.targets)

    def _encoder(self, spec: str) -> Encoder:
        """The model, loaded when it is first asked for."""
        if spec not in self._encoders:
            if self._loaded() > KEPT_PARAMETERS:
                self._encoders.clear()
            self._encoders[spec] = self._load(spec, self._encoding)
        while self._loaded() > KEPT_PARAMETERS and len(self._encoders) > 1:
            self._encoders.pop(next(name for name in self._encoders if name != spec))
        return self._encoders[spec]

    def _loaded(self) -> int:
        return sum(encoder.parameters for encoder in self._encoders.values())

    def _told(self) -> list[str]:
        """Since it was last asked."""
        told = list(self._notes)
        self._notes.clear()
        return told
