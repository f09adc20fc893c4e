"""Shards: audio → encoder → frames of every layer → sketches.

A batch enters the shard's sketch whole or not at all, so that an utterance whose features are not finite, or a
forward pass that runs out of memory, can be taken again without a trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank._support.memory import is_out_of_memory
from voxrank.config import ExtractionOptions, Hertz, Seconds
from voxrank.data.audio import decode, in_time
from voxrank.data.prefetch import prefetch
from voxrank.data.shards import Item, Shard
from voxrank.data.utterance import Skipped
from voxrank.encoders.base import Encoder, LayerFrames, Waveform
from voxrank.encoders.joint import (
    RANKED_LABELS,
    SketchedLayer,
    SketchKey,
    front,
    kept_pieces,
    keys_of,
    layer_label,
    sketch_key,
)
from voxrank.errors import RunError, UtteranceError
from voxrank.extraction.labelling import Stretches, label_frames, stretch_means
from voxrank.extraction.pooling import segment_frames, segment_means
from voxrank.sketches.moments import Moments, sum_runs
from voxrank.sketches.products import Array, Products, self_products
from voxrank.sketches.projections import BLOCK_LIMIT, Projected, Quantiles, project
from voxrank.sketches.sample import Keys, Sample, frame_keys, utterance_key
from voxrank.sketches.store import register_kind
from voxrank.targets.labels import Targets, Timed
from voxrank.targets.timeline import UNLABELLED, Timeline

OnAudio = Callable[[Seconds], None]
"""Called with the seconds of audio that were just dealt with."""

Made = TypeVar("Made")

BATCHES_AHEAD = 2
"""Decoded batches that wait for the encoder."""
PRODUCT_ROWS = 4096
"""Frames gathered before they are multiplied."""
MEAN_ROWS = 128
"""Utterance means gathered before they are multiplied."""


@dataclass
class ShardSketch:
    """What one shard came to.

    Attributes:
        layers: the moments of each sketched layer.
        samples: some samples of each; empty where none are kept.
        projections: the samples of each along random directions; empty where none are kept.
        skipped: utterances that this encoder could not use.
        used_s: audio that entered the sketch.
        encode_s: wall time spent in forward passes.
        before_s: the same of what came from the cache, when it was encoded.
    """

    layers: dict[SketchKey, Moments]
    samples: dict[SketchKey, Sample] = field(default_factory=dict)
    projections: dict[SketchKey, Quantiles] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    used_s: Seconds = 0.0
    encode_s: Seconds = 0.0
    before_s: Seconds = 0.0

    def merge(self, other: ShardSketch) -> None:
        """Take in another shard of the same model."""
        for key, moments in other.layers.items():
            self.layers[key].merge(moments)
        for key, sample in other.samples.items():
            self.samples[key].merge(sample)
        for key, values in other.projections.items():
            self.projections[key].merge(values)
        self.skipped += other.skipped
        self.used_s += other.used_s
        self.encode_s += other.encode_s
        self.before_s += other.before_s

    def labelled(self, shard: Shard, targets: Targets) -> ShardSketch:
        """The same with what is to be explained, from sums that tell utterances apart.

        Args:
            shard: whose utterances, in order, are the classes of these sums. Where frames have labels of their own the
                sums hold them already.
            targets: of all utterances.
        """
        places = np.array([item.row for item in shard.items], dtype=np.int64)
        timed = targets.timed is not None
        return replace(
            self,
            layers=self.layers
            if timed
            else {
                key: moments.relabelled(targets.rows[places], targets.count, values=targets.values)
                for key, moments in self.layers.items()
            },
            samples={
                key: replace(
                    sample,
                    rows=sample.rows if timed else places[sample.rows],
                    blocks=np.full(len(sample), shard.block, dtype=np.int64),
                )
                for key, sample in self.samples.items()
            },
        )


register_kind(ShardSketch)


def sketch_shards(
    encoder: Encoder,
    shards: Sequence[Shard],
    targets: Targets,
    layers: Sequence[SketchedLayer],
    options: ExtractionOptions,
    on_audio: OnAudio,
) -> Iterator[tuple[Shard, ShardSketch]]:
    """As `encode_shards`, with the targets of all utterances in the sums."""
    for shard, sketch in encode_shards(encoder, shards, targets, layers, options, on_audio):
        yield shard, sketch.labelled(shard, targets)


def encode_shards(
    encoder: Encoder,
    shards: Sequence[Shard],
    targets: Targets,
    layers: Sequence[SketchedLayer],
    options: ExtractionOptions,
    on_audio: OnAudio,
) -> Iterator[tuple[Shard, ShardSketch]]:
    """Encode shards and sum up each, its utterances apart; decoding runs ahead across their bounds.

    In the sums every utterance is a class of its own, so that they serve any target. Where frames have labels of their
    own, these are the classes.

    Args:
        encoder: the frozen model.
        shards: what to encode.
        targets: when frames have labels of their own, they are read; others are not.
        layers: what to sketch.
        options: what a sample is, and threads.
        on_audio: told of progress.

    Yields:
        Each shard with its sketch, in order.

    Raises:
        RunError: memory ran out on a single window.
    """
    if not shards:
        return
    offsets = encoder.offsets() if targets.timed is not None else {}
    planned = ((shard, batch) for shard in shards for batch in plan_batches(_placed(shard, targets), encoder))
    ready = prefetch(
        planned, lambda work: _decode(work[1], encoder.sample_rate), threads=options.threads, ahead=BATCHES_AHEAD
    )
    with closing(ready):
        for shard, batches in groupby(ready, key=lambda pair: pair[0][0]):
            work = _ShardWork(layers, shard, targets, options, offsets)
            for (_, batch), decoded in batches:
                work.take(encoder, decoded)
                on_audio(sum(item.seconds for item in batch))
            yield shard, work.close()


def _placed(shard: Shard, targets: Targets) -> Sequence[Item]:
    """The items with their place in the shard as their row; timelines are found by the row among all."""
    if targets.timed is not None:
        return shard.items
    return [replace(item, row=place) for place, item in enumerate(shard.items)]


def plan_batches(items: Sequence[Item], encoder: Encoder) -> list[tuple[Item, ...]]:
    """Consecutive items whose padded audio stays within the encoder's budget; an item alone may exceed it."""
    batches: list[list[Item]] = []
    longest = 0
    for item in items:
        cost = encoder.cost_samples(round(item.seconds * encoder.sample_rate))
        longest = max(longest, cost)
        if not batches or longest * (len(batches[-1]) + 1) > encoder.budget_samples:
            batches.append([])
            longest = cost
        batches[-1].append(item)
    return [tuple(batch) for batch in batches]


_Decoded = list[tuple[Item, Waveform | UtteranceError]]


def _decode(batch: Sequence[Item], sample_rate: int) -> _Decoded:
    return [(item, decode_or_reason(item, sample_rate)) for item in batch]


def decode_or_reason(item: Item, sample_rate: int) -> Waveform | UtteranceError:
    """An utterance's audio, or why it cannot be had."""
    try:
        return in_time(lambda: decode(item.utterance, sample_rate))
    except UtteranceError as error:
        return error


class _ShardWork:
    """A shard in the making."""

    def __init__(
        self,
        layers: Sequence[SketchedLayer],
        shard: Shard,
        targets: Targets,
        options: ExtractionOptions,
        offsets: Mapping[int, Seconds],
    ) -> None:
        classes = targets.count if targets.timed is not None else len(shard.items)
        self._sketch = empty_sketch(layers, classes, options)
        self._options, self._directions = options, options.projections
        self._layers, self._block, self._targets = layers, shard.block, targets
        self._by_utterance = is_by_utterance(targets, options)
        self._segments: dict[SketchKey, int] = {}
        if options.sample == "segment":
            self._segments = {sketch_key(x): segment_frames(options.segment_s, x.frame_rate) for x in layers}
        self._times = {sketch_key(layer): (offsets[front(layer)], layer.frame_rate) for layer in layers if offsets}
        self._means: dict[SketchKey, list[Array]] = {sketch_key(layer): [] for layer in layers}
        self._waiting: list[Item] = []
        self._withheld: set[tuple[int, int]] = set()
        """Row of an utterance and version of the labels that it cannot be sketched under."""

    def take(self, encoder: Encoder, decoded: _Decoded) -> None:
        """Add a batch, without the utterances that turn out unusable."""
        items, waveforms = [], []
        for item, waveform in decoded:
            if isinstance(waveform, UtteranceError):
                self._sketch.skipped.append(Skipped(item.utterance.id, str(waveform)))
            else:
                items.append(item)
                waveforms.append(waveform)
        while items:
            sums = self._encode(encoder, waveforms, items)
            bad = _unusable(sums, self._layers, encoder.spec, items)
            withheld = _withheld(sums, items)
            if not bad and not withheld:
                self._add(sums, items)
                return
            self._withheld |= withheld
            self._sketch.skipped += bad.values()
            waveforms = [w for i, w in enumerate(waveforms) if i not in bad]
            items = [item for i, item in enumerate(items) if i not in bad]

    def _encode(self, encoder: Encoder, waveforms: list[Waveform], items: list[Item]) -> dict[SketchKey, _LayerSums]:
        """Sum up every sketched layer."""

        def encoded() -> dict[SketchKey, _LayerSums]:
            layer_sums = self._sums(len(items)) if self._by_utterance else self._sample_sums(items)
            for key, piece in kept_pieces(encoder.encode(waveforms), self._layers):
                layer_sums[key].add(piece)
            for sums in layer_sums.values():
                sums.close()
            return layer_sums

        started = time.perf_counter()
        try:
            return retried(encoder, encoded)
        finally:
            self._sketch.encode_s += time.perf_counter() - started

    def _sums(self, utterances: int) -> dict[SketchKey, _LayerSums]:
        return {key: _LayerSums(utterances, moments.dim) for key, moments in self._sketch.layers.items()}

    def _sample_sums(self, items: list[Item]) -> dict[SketchKey, _LayerSums]:
        keys = np.array([utterance_key(item.utterance.id) for item in items])
        rows = np.array([item.row for item in items])
        samples, timed = self._sketch.samples, self._targets.timed
        layer_sums: dict[SketchKey, _LayerSums] = {}
        for key, moments in self._sketch.layers.items():
            keep = _Keep(self._block, samples.get(key), self._directions, self._segments.get(key))
            if timed is None:
                layer_sums[key] = _SampleSums(keys, rows, moments.dim, keep)
            else:
                labels = _Labels(timed, self._timelines(timed, key.version, items), *self._times[key])
                layer_sums[key] = _TimedSums(keys, rows, moments.dim, keep, labels)
        return layer_sums

    def _timelines(self, timed: Timed, version: int, items: Sequence[Item]) -> list[Timeline]:
        timelines = timed.of_version(version)
        return [
            Timeline.unlabelled() if (item.row, version) in self._withheld else timelines[item.row] for item in items
        ]

    def _add(self, sums: dict[SketchKey, _LayerSums], items: list[Item]) -> None:
        for key, part in sums.items():
            if isinstance(part, _SampleSums):
                run_sums, counts, rows = part.runs()
                self._sketch.layers[key].add(part.products, run_sums, counts, rows)
                if part.sampled is not None:
                    self._sketch.samples[key].merge(part.sampled)
                for one in part.projected:
                    self._sketch.projections[key].add(one.values, one.origin)
            else:
                self._means[key].append(part.sums / part.counts[:, None])
        self._waiting += items
        self._sketch.used_s += sum(item.seconds for item in items)
        if len(self._waiting) >= MEAN_ROWS:
            self._add_means()

    def close(self) -> ShardSketch:
        """The sketch, with all that waited."""
        self._add_means()
        return self._sketch

    def _add_means(self) -> None:
        """Utterance means enter the sketch some at a time: a product of few rows is mostly overhead."""
        waiting = {key: np.concatenate(means) for key, means in self._means.items() if means}
        add_means(self._sketch, waiting, self._waiting, self._options)
        for means in self._means.values():
            means.clear()
        self._waiting.clear()


def is_by_utterance(targets: Targets, options: ExtractionOptions) -> bool:
    """Whether a sample is the mean of an utterance."""
    return options.sample == "utterance" or (options.sample is None and targets.timed is None)


def empty_sketch(layers: Sequence[SketchedLayer], classes: int, options: ExtractionOptions) -> ShardSketch:
    """Return the sketch of no audio, with room for all that the options ask for.

    Raises:
        ValueError: two of the layers have the same key.
    """
    keys = keys_of(layers)
    return ShardSketch(
        {key: Moments.zeros(layer.dim, classes) for key, layer in keys.items()},
        {key: Sample.empty(options.kept_samples, x.dim) for key, x in keys.items() if options.kept_samples},
        {key: Quantiles(BLOCK_LIMIT) for key in keys if options.projections},
    )


def add_means(
    sketch: ShardSketch, means: Mapping[SketchKey, Array], items: Sequence[Item], options: ExtractionOptions
) -> None:
    """Add utterances whose means are the samples.

    Args:
        sketch: that they enter.
        means: (U, D) of each sketched layer.
        items: of the U utterances, whose row is their class in the sketch.
        options: what is kept beside the sums.
    """
    rows = np.array([item.row for item in items], dtype=np.int64)
    names = np.array([utterance_key(item.utterance.id) for item in items], dtype=np.uint64)
    keys = frame_keys(names, [1] * len(names))
    for key, array in means.items():
        samples = torch.from_numpy(array)
        sketch.layers[key].add(self_products(samples), array, np.ones(len(array), dtype=np.int64), rows)
        if key in sketch.samples:
            sample = sketch.samples[key]
            sample.update(samples, keys, rows, 0, utterances=names)  # the block is the shard's: `ShardSketch.labelled`
        if key in sketch.projections:
            projected = project(samples, options.projections)
            sketch.projections[key].add(projected.values, projected.origin)


class _LayerSums:
    """One layer over a batch: each utterance's sum (R, D) and samples (R,)."""

    def __init__(self, utterances: int, dim: int) -> None:
        self.sums: Array = np.zeros((utterances, dim))
        self.counts: NDArray[np.int64] = np.zeros(utterances, dtype=np.int64)

    def add(self, piece: LayerFrames) -> None:
        """Take in one piece."""
        self.sums += sum_runs(piece.frames, piece.lengths)
        self.counts += np.array(piece.lengths)

    def close(self) -> None:
        """All pieces are in."""


@dataclass(frozen=True)
class _Keep:
    """What becomes of a layer's samples beside their sums.

    Attributes:
        block: that the batch belongs to.
        sample: what the shard has kept so far; None where nothing is kept.
        directions: that samples are projected on; 0: none.
        longest: frames whose mean is one sample, at most; None where every frame is one.
    """

    block: int
    sample: Sample | None
    directions: int
    longest: int | None


class _SampleSums(_LayerSums):
    """The same where an utterance is many samples: their products too, and some of them.

    Args:
        keys: (R,) of the utterances.
        rows: (R,) in `Targets.rows`.
        dim: D.
        keep: what else is made of the samples.
    """

    def __init__(self, keys: Keys, rows: NDArray[np.int64], dim: int, keep: _Keep) -> None:
        super().__init__(len(keys), dim)
        self.products = Products.zeros(dim)
        self.sampled = None if keep.sample is None else Sample.empty(keep.sample.size, dim)
        self._limit = None if keep.sample is None else keep.sample.limit
        self._keys, self._rows, self._keep = keys, rows, keep
        self._waiting: list[torch.Tensor] = []
        self.projected: list[Projected] = []

    def add(self, piece: LayerFrames) -> None:
        """Take in one piece."""
        samples = piece if self._keep.longest is None else segment_means(piece, self._keep.longest)
        self._take(samples.frames, samples.lengths, np.repeat(self._rows, samples.lengths))
        super().add(samples)

    def runs(self) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Of samples that depend on each other and share a target: sums, numbers of samples, rows in `Targets.rows`."""
        return self.sums, self.counts, self._rows

    def _take(self, samples: torch.Tensor, lengths: Sequence[int], rows: NDArray[np.int64]) -> None:
        """Samples, how many belong to each utterance, and the row of each.

        Small pieces wait for each other, since a product of few rows is mostly overhead.
        """
        if self.sampled is not None:
            keys = frame_keys(self._keys, lengths, self.counts)
            owners = np.repeat(self._keys, lengths)
            self.sampled.update(samples, keys, rows, self._keep.block, utterances=owners, limit=self._limit)
        if self._keep.directions:
            self.projected.append(project(samples, self._keep.directions))
        self._waiting.append(samples)
        if sum(map(len, self._waiting)) >= PRODUCT_ROWS:
            self.close()

    def close(self) -> None:
        """Multiply what waits."""
        if self._waiting:
            self.products.merge(self_products(torch.cat(self._waiting) if len(self._waiting) > 1 else self._waiting[0]))
            self._waiting.clear()


@dataclass(frozen=True)
class _Labels:
    """Where a layer's frames get their labels from.

    Attributes:
        timed: what is heard when.
        timelines: of the batch's utterances.
        offset: of the centre of a window's first frame.
        frame_rate: of the layer.
    """

    timed: Timed
    timelines: Sequence[Timeline]
    offset: Seconds
    frame_rate: Hertz

    def stretches(self, piece: LayerFrames, keys: Keys, counts: NDArray[np.int64]) -> Stretches:
        """The frames of a piece that have one; of those that are silence, the share that is scored."""
        heard = None
        if self.timed.rest != UNLABELLED and self.timed.rest_share < 1:
            heard = frame_keys(keys, piece.lengths, counts) < np.uint64(self.timed.rest_share * 2.0**64)
        return label_frames(piece, self.timelines, self.offset, self.frame_rate, rest=self.timed.rest, keep_rest=heard)


class _TimedSums(_SampleSums):
    """The same where frames have labels of their own: sums of the stretches of one label."""

    def __init__(self, keys: Keys, rows: NDArray[np.int64], dim: int, keep: _Keep, labels: _Labels) -> None:
        super().__init__(keys, rows, dim, keep)
        self._labels = labels
        self._frames = np.zeros(len(keys), dtype=np.int64)
        self._runs: list[tuple[Array, Stretches]] = []

    def add(self, piece: LayerFrames) -> None:
        """Take in the frames of one piece that have a label."""
        stretches = self._labels.stretches(piece, self._keys, self._frames)
        self._frames += np.array(piece.lengths)
        if not len(stretches.lengths):
            return
        if self._keep.longest is not None:
            stretches = stretch_means(stretches, self._keep.longest)
        per_utterance = np.bincount(stretches.owners, stretches.lengths, len(self._keys)).astype(np.int64)
        self._take(stretches.frames, per_utterance.tolist(), np.repeat(stretches.classes, stretches.lengths))
        sums = sum_runs(stretches.frames, tuple(stretches.lengths.tolist()))
        np.add.at(self.sums, stretches.owners, sums)
        self.counts += per_utterance
        self._runs.append((sums, stretches))

    def runs(self) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Return the sum, the number of frames and the class of every stretch."""
        if not self._runs:
            return self.sums[:0], self.counts[:0], self.counts[:0]
        sums, stretches = zip(*self._runs, strict=True)
        lengths, classes = (
            np.concatenate(parts) for parts in zip(*((s.lengths, s.classes) for s in stretches), strict=True)
        )
        return np.concatenate(sums), lengths, classes


def retried(encoder: Encoder, work: Callable[[], Made]) -> Made:
    """Do work with an encoder; where it runs out of memory, again with half the encoder's budget.

    Raises:
        RunError: memory ran out on a single window.
    """
    while True:
        try:
            return work()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            _halve_budget(encoder, error)


def _halve_budget(encoder: Encoder, error: Exception) -> None:
    least = encoder.cost_samples(encoder.min_samples)
    if encoder.budget_samples <= least:
        raise RunError(
            f"{encoder.spec}: memory ran out on a single window; "
            "use a shorter --window, a smaller model or --dtype float16"
        ) from error
    encoder.budget_samples = max(least, encoder.budget_samples // 2)
    if encoder.device.type != "cpu":
        torch.accelerator.empty_cache()


def _unusable(
    sums: dict[SketchKey, _LayerSums], layers: Sequence[SketchedLayer], spec: str, items: list[Item]
) -> dict[int, Skipped]:
    """Return the positions in the batch whose utterances cannot be used, each with its reason.

    Only the labels that order the ranking decide: what is skipped does not depend on alternatives that are compared.
    """
    bad: dict[int, Skipped] = {}
    for layer in layers:
        key = sketch_key(layer)
        if key.version != RANKED_LABELS:
            continue
        part = sums[key]
        for position in np.flatnonzero(~np.isfinite(part.sums).all(axis=1) | (part.counts == 0)):
            nothing = "no frames with a label" if isinstance(part, _TimedSums) else "no frames"
            what = nothing if part.counts[position] == 0 else "NaN or infinite features"
            reason = f"layer {layer_label(layer)} ({layer.name}) gave {what} for this audio"
            bad.setdefault(int(position), Skipped(items[position].utterance.id, reason, spec))
    return bad


def _withheld(sums: dict[SketchKey, _LayerSums], items: list[Item]) -> set[tuple[int, int]]:
    """Return the rows and versions of labels whose frames are not finite, though those of the ranking may be."""
    return {
        (items[position].row, key.version)
        for key, part in sums.items()
        if key.version != RANKED_LABELS
        for position in np.flatnonzero(~np.isfinite(part.sums).all(axis=1))
    }
