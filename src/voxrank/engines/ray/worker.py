"""The worker of a cluster. It keeps encoders loaded, encodes shards and merges sketches.

Results are streams, so that the driver receives the progress. All results in a stream but the sketch are small.
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
from voxrank.cache.keys import AudioDigest, AudioLocation, model_key
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

REPORT_INTERVAL_S: Seconds = 0.25
"""Minimum time between two progress reports in seconds, because the driver reads those of all workers."""
KEPT_PARAMETERS = 500_000_000
"""Maximum total number of weights of loaded encoders. Beyond it, only the encoder in use stays loaded."""


@dataclass(frozen=True)
class Assignment:
    """The data that are the same for all shards of a model, which are sent once.

    Attributes:
        spec: spec of the model.
        layers: layers to sketch.
        targets: targets of all utterances.
        options: options of the extraction.
        cache: folder of the cache; None for no cache.
        cache_gb: maximum size of the cache, in GB.
        key: key of the model in the cache.
        probe_file: an audio file that every worker must be able to read.
    """

    spec: str
    layers: tuple[SketchedLayer, ...]
    targets: Targets
    options: ExtractionOptions
    cache: Path | None = None
    cache_gb: float = CacheOptions.size_gb
    key: str | None = None
    probe_file: Path | None = None


class Worker:
    """A process that encodes.

    Args:
        cpus: number of cores that torch and BLAS may use.
        folder: working folder for relative paths, where it exists on this node.
        encoding: options that encoders are loaded with.
        load: loads an encoder.
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

    def process_id(self) -> int:
        """Return the number of the process, once it has started."""
        return os.getpid()

    def assign(self, assignment: Assignment) -> None:
        """Take an assignment, and drop the sketch of the previous assignment."""
        self._assignment = assignment
        self._cache: Cache | None = None
        self._model_cache: ModelCache | None = None
        if assignment.cache is not None:
            self._cache = Cache(CacheOptions(str(assignment.cache), assignment.cache_gb), self._notes.append)
            self._model_cache = self._cache.of_key(
                assignment.key, assignment.spec, assignment.layers, assignment.targets, assignment.options
            )
        self._start()

    def key(self, spec: str) -> str | None:
        """Return the key of a model; see `cache.keys.model_key`."""
        return model_key(self._encoder(spec), self._encoding)

    def encode(self, shards: Sequence[Shard], digests: Mapping[AudioLocation, AudioDigest]) -> Stream:
        """Encode shards and add them to the sketch of this worker.

        Args:
            shards: shards to encode, in order of block.
            digests: known digests of their audio.

        Yields:
            The number of encoded shards from time to time, and at the end; then notes for the user.

        Raises:
            RunError: the audio is not on this node, or memory ran out on a single window.
        """
        assignment = self._assignment
        if assignment.probe_file is not None and not assignment.probe_file.exists():
            raise RunError(
                f"a worker does not see {assignment.probe_file}; put the audio in a folder that all nodes share"
            )
        encoder = self._encoder(assignment.spec)
        if self._cache is not None:
            self._cache.take_over(digests)
        reported_at = time.monotonic()
        encoded = encode_shards(
            encoder, shards, assignment.targets, assignment.layers, assignment.options, lambda _: None
        )
        for done, (shard, sketch) in enumerate(encoded, start=1):
            if self._model_cache is not None:
                self._model_cache.add(shard, sketch)
            self._sum.add(shard, sketch)
            if done < len(shards) and time.monotonic() - reported_at > REPORT_INTERVAL_S:
                reported_at = time.monotonic()
                yield done
        yield len(shards)
        yield self._take_notes()

    def hand_over(self) -> Stream:
        """Hand over the sketch of all shards that were encoded since the last call, and begin a new sketch.

        Yields:
            The sketch; then notes for the user.
        """
        self._sum.close()
        whole = self._whole
        self._start()
        yield whole
        yield self._take_notes()

    def merge(self, first: ModelSketch, second: ModelSketch) -> Stream:
        """Merge two sketches into a new sketch; the two do not change.

        Yields:
            The sketch; then notes for the user.
        """
        assignment = self._assignment
        whole = ModelSketch.empty(assignment.layers, assignment.targets, assignment.options)
        whole.merge(first)
        whole.merge(second)
        yield whole
        yield self._take_notes()

    def _start(self) -> None:
        self._whole = ModelSketch.empty(self._assignment.layers, self._assignment.targets, self._assignment.options)
        self._sum = BlockSum(self._whole, self._assignment.targets)

    def _encoder(self, spec: str) -> Encoder:
        """Return the encoder of a model, which is loaded when it is first needed."""
        if spec not in self._encoders:
            if self._loaded() > KEPT_PARAMETERS:
                self._encoders.clear()
            self._encoders[spec] = self._load(spec, self._encoding)
        while self._loaded() > KEPT_PARAMETERS and len(self._encoders) > 1:
            self._encoders.pop(next(name for name in self._encoders if name != spec))
        return self._encoders[spec]

    def _loaded(self) -> int:
        return sum(encoder.parameters for encoder in self._encoders.values())

    def _take_notes(self) -> list[str]:
        """Return the notes since the last call."""
        notes = list(self._notes)
        self._notes.clear()
        return notes
