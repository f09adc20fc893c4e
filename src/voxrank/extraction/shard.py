"""Extraction of shards: audio → encoder → frames of every layer → sketches.

A batch is added to the sketch of its shard as a whole or not at all. Therefore a batch can be repeated without side
effects when features are not finite or memory runs out.
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
from voxrank._support.threads import prefetch
from voxrank.config import ExtractionOptions, Hertz, Seconds
from voxrank.data.audio import decode, in_time
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
from voxrank.extraction.segments import (
    GAPS,
    Middles,
    Stretches,
    label_frames,
    middle_frames,
    segment_frames,
    segment_means,
    stretch_means,
)
from voxrank.sketches.moments import Moments, sum_runs
from voxrank.sketches.multiplication import self_products
from voxrank.sketches.products import Array, Products
from voxrank.sketches.projections import BLOCK_LIMIT, Projected, Quantiles, project
from voxrank.sketches.sample import Keys, Sample, frame_keys, utterance_key
from voxrank.sketches.store import register_kind
from voxrank.targets.labels import Targets, Timed
from voxrank.targets.timeline import UNLABELLED, Timeline

OnAudio = Callable[[Seconds], None]
"""Callback that receives the seconds of audio that were just processed."""

Result = TypeVar("Result")

BATCHES_AHEAD = 2
"""Number of decoded batches that wait for the encoder."""
PRODUCT_ROWS = 4096
"""Number of frames that are collected before they are multiplied."""
MEAN_ROWS = 128
"""Number of utterance means that are collected before they are multiplied."""


@dataclass
class ShardSketch:
    """The sketch of one shard.

    Attributes:
        layers: moments of each sketched layer.
        samples: some samples of each layer; empty where none are kept.
        projections: samples of each layer along random directions; empty where none are kept.
        skipped: utterances that this encoder could not use.
        used_s: amount of audio in the sketch, in seconds.
        encode_s: wall time of forward passes, in seconds.
        before_s: encoding time of the cached shards, from the run that encoded them, in seconds.
    """

    layers: dict[SketchKey, Moments]
    samples: dict[SketchKey, Sample] = field(default_factory=dict)
    projections: dict[SketchKey, Quantiles] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    used_s: Seconds = 0.0
    encode_s: Seconds = 0.0
    before_s: Seconds = 0.0

    def merge(self, other: ShardSketch) -> None:
        """Merge the sketch of another shard of the same model."""
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
        """Return the sketch with targets, from sums that are separate for each utterance.

        Args:
            shard: the shard, whose utterances, in order, are the classes of these sums. Where frames have labels, the
                sums hold them already.
            targets: targets of all utterances.
        """
        rows = np.array([item.row for item in shard.items], dtype=np.int64)
        timed = targets.timed is not None
        return replace(
            self,
            layers=self.layers
            if timed
            else {
                key: moments.relabelled(targets.rows[rows], targets.count, values=targets.values)
                for key, moments in self.layers.items()
            },
            samples={
                key: replace(
                    sample,
                    rows=sample.rows if timed else rows[sample.rows],
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
    """Encode shards as `encode_shards` does, and yield sketches with targets."""
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
    """Encode shards and sketch each of them, with separate sums for each utterance.

    In the sums every utterance is a separate class, so that the sums serve any target. Where frames have labels, the
    labels are the classes. Decoding runs ahead of the encoder, across shards.

    Args:
        encoder: the frozen model.
        shards: shards to encode.
        targets: targets, which are read only where frames have labels.
        layers: layers to sketch.
        options: the kind of sample, and threads.
        on_audio: receives the progress.

    Yields:
        Each shard with its sketch, in order.

    Raises:
        RunError: memory ran out on a single window.
    """
    if not shards:
        return
    offsets = encoder.offsets() if targets.timed is not None else {}
    planned = ((shard, batch) for shard in shards for batch in plan_batches(_with_shard_rows(shard, targets), encoder))
    ready = prefetch(
        planned, lambda work: _decode(work[1], encoder.sample_rate), threads=options.threads, ahead=BATCHES_AHEAD
    )
    with closing(ready):
        for shard, batches in groupby(ready, key=lambda pair: pair[0][0]):
            work = _ShardAccumulator(layers, shard, targets, options, offsets)
            for (_, batch), decoded in batches:
                work.add_batch(encoder, decoded)
                on_audio(sum(item.seconds for item in batch))
            yield shard, work.close()


def _with_shard_rows(shard: Shard, targets: Targets) -> Sequence[Item]:
    """Return the items with their index in the shard as their row; with timelines, rows stay those of all data."""
    if targets.timed is not None:
        return shard.items
    return [replace(item, row=index) for index, item in enumerate(shard.items)]


def plan_batches(items: Sequence[Item], encoder: Encoder) -> list[tuple[Item, ...]]:
    """Divide items into consecutive batches whose padded audio is within the encoder's budget.

    A single item may exceed the budget.
    """
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
    """Return the audio of an utterance, or the reason why it cannot be decoded."""
    try:
        return in_time(lambda: decode(item.utterance, sample_rate))
    except UtteranceError as error:
        return error


class _ShardAccumulator:
    """An accumulator of the sketch of a shard."""

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
        """Pairs of an utterance's row and a version of the labels that cannot be sketched."""

    def add_batch(self, encoder: Encoder, decoded: _Decoded) -> None:
        """Encode a batch and add it, without utterances that cannot be used."""
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
        """Encode a batch, and return the sums of every sketched layer."""

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
            options = _SumOptions(self._block, samples.get(key), self._directions, self._segments.get(key))
            if timed is None:
                layer_sums[key] = _SampleSums(keys, rows, moments.dim, options)
            else:
                labels = _Labels(timed, self._timelines(timed, key.version, items), *self._times[key])
                layer_sums[key] = _TimedSums(keys, rows, moments.dim, options, labels)
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
                for projected in part.projected:
                    self._sketch.projections[key].add(projected.values, projected.origin)
            else:
                self._means[key].append(part.sums / part.counts[:, None])
        self._waiting += items
        self._sketch.used_s += sum(item.seconds for item in items)
        if len(self._waiting) >= MEAN_ROWS:
            self._add_means()

    def close(self) -> ShardSketch:
        """Add the remaining means, and return the sketch."""
        self._add_means()
        return self._sketch

    def _add_means(self) -> None:
        """Add the collected utterance means to the sketch. A product of few rows is mostly overhead."""
        waiting = {key: np.concatenate(means) for key, means in self._means.items() if means}
        add_means(self._sketch, waiting, self._waiting, self._options)
        for means in self._means.values():
            means.clear()
        self._waiting.clear()


def is_by_utterance(targets: Targets, options: ExtractionOptions) -> bool:
    """Return whether a sample is the mean of an utterance."""
    return options.sample == "utterance" or (options.sample is None and targets.timed is None)


def empty_sketch(layers: Sequence[SketchedLayer], classes: int, options: ExtractionOptions) -> ShardSketch:
    """Return an empty sketch with the parts that the options need.

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
        sketch: sketch to add to.
        means: (U, D) means of each sketched layer.
        items: the U utterances, whose row is their class in the sketch.
        options: number of samples and projections to keep.
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
    """The sums of one layer over a batch: the sum (R, D) and the number of samples (R,) of each utterance."""

    def __init__(self, utterances: int, dim: int) -> None:
        self.sums: Array = np.zeros((utterances, dim))
        self.counts: NDArray[np.int64] = np.zeros(utterances, dtype=np.int64)

    def add(self, piece: LayerFrames) -> None:
        """Add one piece."""
        self.sums += sum_runs(piece.frames, piece.lengths)
        self.counts += np.array(piece.lengths)

    def close(self) -> None:
        """Finish after all pieces."""


@dataclass(frozen=True)
class _SumOptions:
    """The options of sums over samples.

    Attributes:
        block: block of the batch.
        sample: sample of the shard so far; None where no samples are kept.
        directions: number of directions of the projections; 0 for none.
        longest: maximum number of frames that are pooled to one sample; None where every frame is a sample.
    """

    block: int
    sample: Sample | None
    directions: int
    longest: int | None


class _SampleSums(_LayerSums):
    """The sums of one layer where an utterance has many samples, with their products and some of the samples.

    Args:
        keys: (R,) keys of the utterances.
        rows: (R,) rows of the utterances in `Targets.rows`.
        dim: D.
        options: options of samples and projections.
    """

    def __init__(self, keys: Keys, rows: NDArray[np.int64], dim: int, options: _SumOptions) -> None:
        super().__init__(len(keys), dim)
        self.products = Products.zeros(dim)
        self.sampled = None if options.sample is None else Sample.empty(options.sample.size, dim)
        self._limit = None if options.sample is None else options.sample.limit
        self._keys, self._rows, self._options = keys, rows, options
        self._waiting: list[torch.Tensor] = []
        self.projected: list[Projected] = []

    def add(self, piece: LayerFrames) -> None:
        """Add one piece."""
        samples = piece if self._options.longest is None else segment_means(piece, self._options.longest)
        self._add_samples(samples.frames, samples.lengths, np.repeat(self._rows, samples.lengths))
        super().add(samples)

    def runs(self) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Return the sums, numbers of samples and rows in `Targets.rows` of runs.

        The samples of a run depend on each other and share a target.
        """
        return self.sums, self.counts, self._rows

    def _add_samples(
        self,
        samples: torch.Tensor,
        lengths: Sequence[int],
        rows: NDArray[np.int64],
        *,
        draw: bool = True,
    ) -> None:
        """Add samples. Small pieces are collected first, because a product of few rows is mostly overhead.

        Args:
            samples: (n, D).
            lengths: number of samples of each utterance.
            rows: (n,) row of each sample in `Targets.rows`.
            draw: whether the bounded sample may keep them.
        """
        if self.sampled is not None and draw:
            keys = frame_keys(self._keys, lengths, self.counts)
            owners = np.repeat(self._keys, lengths)
            self.sampled.update(samples, keys, rows, self._options.block, utterances=owners, limit=self._limit)
        if self._options.directions:
            self.projected.append(project(samples, self._options.directions))
        self._waiting.append(samples)
        if sum(map(len, self._waiting)) >= PRODUCT_ROWS:
            self.close()

    def close(self) -> None:
        """Multiply the collected samples."""
        if self._waiting:
            self.products.merge(self_products(torch.cat(self._waiting) if len(self._waiting) > 1 else self._waiting[0]))
            self._waiting.clear()


@dataclass(frozen=True)
class _Labels:
    """The labels of the frames of a layer.

    Attributes:
        timed: the targets with times.
        timelines: timelines of the utterances of the batch.
        offset: centre of the first frame of a window, in seconds.
        frame_rate: frame rate of the layer.
    """

    timed: Timed
    timelines: Sequence[Timeline]
    offset: Seconds
    frame_rate: Hertz

    def middles(self, piece: LayerFrames) -> Middles:
        """Return the frames of a piece in the middle of the segments."""
        return middle_frames(piece, self.timelines, self.offset, self.frame_rate, rest=self.timed.rest)

    def is_scored_gap(self, owners: Keys, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which gaps are scored, by a hash that differs from the key of the sample."""
        if self.timed.gap_share >= 1:
            return np.ones(len(places), dtype=np.bool_)
        return frame_keys(~owners, [1] * len(owners), places) < np.uint64(self.timed.gap_share * 2.0**64)

    def stretches(self, piece: LayerFrames, keys: Keys, counts: NDArray[np.int64]) -> Stretches:
        """Return the frames of a piece that have a label; of silent frames, only the share that is scored."""
        scored = None
        if self.timed.rest != UNLABELLED and self.timed.rest_share < 1:
            scored = frame_keys(keys, piece.lengths, counts) < np.uint64(self.timed.rest_share * 2.0**64)
        return label_frames(piece, self.timelines, self.offset, self.frame_rate, rest=self.timed.rest, keep_rest=scored)


class _TimedSums(_SampleSums):
    """The sums of one layer where frames have labels, by stretches of a single label."""

    def __init__(self, keys: Keys, rows: NDArray[np.int64], dim: int, options: _SumOptions, labels: _Labels) -> None:
        super().__init__(keys, rows, dim, options)
        self._labels = labels
        self._frames = np.zeros(len(keys), dtype=np.int64)
        self._runs: list[tuple[Array, Stretches]] = []

    def add(self, piece: LayerFrames) -> None:
        """Add the frames of one piece that have a label."""
        is_pooled = self._options.longest is not None
        if self.sampled is not None and not is_pooled:
            self._draw_middles(self.sampled, piece)
        stretches = self._labels.stretches(piece, self._keys, self._frames)
        self._frames += np.array(piece.lengths)
        if not len(stretches.lengths):
            return
        if self._options.longest is not None:
            stretches = stretch_means(stretches, self._options.longest)
        per_utterance = np.bincount(stretches.owners, stretches.lengths, len(self._keys)).astype(np.int64)
        rows = np.repeat(stretches.classes, stretches.lengths)
        self._add_samples(stretches.frames, per_utterance.tolist(), rows, draw=is_pooled)
        sums = sum_runs(stretches.frames, tuple(stretches.lengths.tolist()))
        np.add.at(self.sums, stretches.owners, sums)
        self.counts += per_utterance
        self._runs.append((sums, stretches))

    def _draw_middles(self, sample: Sample, piece: LayerFrames) -> None:
        """Let the bounded sample keep one frame for each segment, so that long segments do not count more."""
        middles = self._labels.middles(piece)
        owners = self._keys[middles.owners]
        keys = frame_keys(owners, [1] * len(owners), middles.places)
        drawn = np.flatnonzero((middles.places < GAPS) | self._labels.is_scored_gap(owners, middles.places))
        frames = piece.frames.index_select(0, torch.from_numpy(middles.frames[drawn]).to(piece.frames.device))
        rows, block = middles.classes[drawn], self._options.block
        sample.update(frames, keys[drawn], rows, block, utterances=owners[drawn], limit=self._limit)

    def runs(self) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Return the sum, the number of frames and the class of every stretch."""
        if not self._runs:
            return self.sums[:0], self.counts[:0], self.counts[:0]
        sums, stretches = zip(*self._runs, strict=True)
        lengths, classes = (
            np.concatenate(parts) for parts in zip(*((s.lengths, s.classes) for s in stretches), strict=True)
        )
        return np.concatenate(sums), lengths, classes


def retried(encoder: Encoder, work: Callable[[], Result]) -> Result:
    """Run work with an encoder, and repeat it with half the encoder's budget where memory runs out.

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

    Only the labels of the ranking decide, so that skipped utterances do not depend on alternative alignments.
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
    """Return the rows and versions of alternative labels whose frames are not finite."""
    return {
        (items[position].row, key.version)
        for key, part in sums.items()
        if key.version != RANKED_LABELS
        for position in np.flatnonzero(~np.isfinite(part.sums).all(axis=1))
    }
