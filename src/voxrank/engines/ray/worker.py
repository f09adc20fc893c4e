"""The worker of a cluster. It keeps encoders loaded, encodes shards and merges sketches.

Results are streams, so that the driver receives the progress. All results in a stream but the sketch are small.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from threadpoolctl import threadpool_limits

from voxrank._support.memory import keep_heap_small
from voxrank.cache.keys import AudioDigest, AudioLocation
from voxrank.cache.store import Cache, ModelCache
from voxrank.config import CacheOptions, EncoderOptions, ExtractionOptions, Seconds
from voxrank.data.audio import in_time
from voxrank.data.shards import Item, Shard
from voxrank.data.sources import stamp_of
from voxrank.encoders.base import Encoder
from voxrank.encoders.joint import SketchedLayer
from voxrank.engines.local import BlockSum, ModelSketch
from voxrank.engines.ray.cluster import node_names
from voxrank.engines.task import Task
from voxrank.errors import NAME_LIMIT, UtteranceError, VoxrankError, shortened
from voxrank.extraction.shard import ShardSketch, encode_shards
from voxrank.targets.labels import Targets, Timed

Load = Callable[[str, EncoderOptions], Encoder]
Stream = Iterator[Any]

REPORT_INTERVAL_S: Seconds = 0.25
"""Minimum time between two progress reports in seconds, because the driver reads those of all workers."""
KEPT_PARAMETERS = 500_000_000
"""Maximum total number of weights of loaded encoders. Beyond it, only the encoder in use stays loaded."""


class UnseenAudioError(Exception):
    """Audio that a node does not see.

    Attributes:
        path: path of the first such file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True)
class Assignment:
    """The data that are the same for all shards of a model, which are sent once.

    Attributes:
        spec: spec of the model.
        layers: layers to sketch.
        targets: targets of all utterances; timelines follow with the shards.
        options: options of the extraction.
        cache: folder of the cache; None for no cache.
        cache_gb: maximum size of the cache, in GB.
        key: key of the model in the cache.
    """

    spec: str
    layers: tuple[SketchedLayer, ...]
    targets: Targets
    options: ExtractionOptions
    cache: Path | None = None
    cache_gb: float = CacheOptions.size_gb
    key: str | None = None


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

    def node(self) -> str:
        """Return the identifier of the node of this worker, once it has started."""
        return str(ray.get_runtime_context().get_node_id())

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

    def encode(
        self,
        shards: Sequence[Shard],
        digests: Mapping[AudioLocation, AudioDigest],
        timed: Timed | None = None,
        *,
        must_see: bool = True,
    ) -> Stream:
        """Encode shards and add them to the sketch of this worker.

        Args:
            shards: shards to encode, in order of block.
            digests: known digests of their audio.
            timed: timelines of their utterances, by row, where frames have labels.
            must_see: whether to leave shards out whose audio is not on this node. If not, their utterances are skipped.

        Yields:
            The shards left out, as position → an item that is not on this node; the number of encoded shards from time
            to time, and at the end; then notes for the user.

        Raises:
            RunError: memory ran out on a single window.
        """
        self._targets = replace(self._assignment.targets, timed=timed)
        if self._model_cache is not None:
            self._model_cache.relabel(self._targets)
        unseen = unseen_items(shards) if must_see else {}
        shards = [shard for position, shard in enumerate(shards) if position not in unseen]
        yield unseen
        if shards:
            yield from self._encode(shards, digests, add_node=not must_see)
        yield self._take_notes()

    def _encode(
        self, shards: Sequence[Shard], digests: Mapping[AudioLocation, AudioDigest], *, add_node: bool
    ) -> Stream:
        """Encode shards and add them to the sketch, and yield the number of encoded shards."""
        assignment = self._assignment
        encoder = self._encoder(assignment.spec)
        if self._cache is not None:
            self._cache.take_over(digests)
        reported_at = time.monotonic()
        ready = shards if self._model_cache is None else self._model_cache.digested(shards)
        encoded = encode_shards(encoder, ready, self._targets, assignment.layers, assignment.options, lambda _: None)
        for done, (shard, sketch) in enumerate(encoded, start=1):
            if add_node:
                _add_node(sketch, self._node_name())
            if self._model_cache is not None:
                self._model_cache.add(shard, sketch)
            self._sum.add(shard, sketch)
            if done < len(shards) and time.monotonic() - reported_at > REPORT_INTERVAL_S:
                reported_at = time.monotonic()
                yield done
        yield len(shards)

    def take(self, task: Task[Any, Any]) -> None:
        """Take a task, whose parts follow."""
        self._task = task

    def run(self, part: Any, *, must_see: bool = True) -> Any:
        """Do the work of the task on one part, and return its result.

        Args:
            part: the part.
            must_see: whether to refuse a part whose audio is not on this node.

        Raises:
            UnseenAudioError: some of its audio is not on this node.
        """
        if must_see and (item := next(filter(is_unseen, self._task.items(part)), None)) is not None:
            raise UnseenAudioError(item.utterance.path)
        return self._task.run(part, self._encoder, self._encoding)

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
            try:
                self._encoders[spec] = self._load(spec, self._encoding)
            except VoxrankError as error:
                raise type(error)(f"{error} (on node {self._node_name()})") from error
        while self._loaded() > KEPT_PARAMETERS and len(self._encoders) > 1:
            self._encoders.pop(next(name for name in self._encoders if name != spec))
        return self._encoders[spec]

    def _node_name(self) -> str:
        return node_names()[self.node()]

    def _loaded(self) -> int:
        return sum(encoder.parameters for encoder in self._encoders.values())

    def _take_notes(self) -> list[str]:
        """Return the notes since the last call."""
        notes = list(self._notes)
        self._notes.clear()
        return notes


def unseen_items(shards: Sequence[Shard]) -> dict[int, Item]:
    """Return the position of each shard with audio that this process does not see → the first such item."""
    first = {position: next(filter(is_unseen, shard.items), None) for position, shard in enumerate(shards)}
    return {position: item for position, item in first.items() if item is not None}


def is_unseen(item: Item) -> bool:
    """Return whether this process does not see the audio of an item."""
    try:
        in_time(lambda: stamp_of(item.utterance.location))
    except (OSError, UtteranceError):
        return True
    return False


def _add_node(sketch: ShardSketch, name: str) -> None:
    """Add the name of the node to the reasons why audio could not be read."""
    where = f" (on node {shortened(name, NAME_LIMIT)})"
    sketch.skipped = [
        skip if skip.model is not None else replace(skip, reason=skip.reason + where) for skip in sketch.skipped
    ]
