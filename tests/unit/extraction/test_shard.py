"""The sketch of one shard equals that of its frames, for any batches; failures leave no trace."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from voxrank.config import ExtractionOptions
from voxrank.data.audio import decode
from voxrank.data.read import read_dataset
from voxrank.data.shards import Item, Shard
from voxrank.encoders.base import LayerFrames
from voxrank.encoders.joint import SketchKey
from voxrank.errors import RunError
from voxrank.extraction.shard import plan_batches, sketch_shards
from voxrank.targets.labels import Targets, Timed, utterance_targets
from voxrank.targets.timeline import UNLABELLED, Timeline
from voxrank.testing.encoders import FakeEncoder

SECONDS = 0.3


@pytest.fixture
def shard(tones):
    dataset = read_dataset(tones)
    items = tuple(Item(u, SECONDS, row) for row, u in enumerate(dataset.utterances))
    return Shard(0, items), utterance_targets(dataset.utterances, "classification")


def sketch(encoder, shard, sample="frame", layers=(0, 1, 2)):
    work, targets = shard
    seconds = []
    kept = [encoder.layers[index] for index in layers]
    made = sketch_shards(encoder, [work], targets, kept, ExtractionOptions(sample=sample), seconds.append)
    [(_, result)] = made
    assert sum(seconds) == pytest.approx(work.seconds)
    return result


def test_each_shard_has_its_own_sketch(shard):
    work, targets = shard
    halves = [Shard(0, work.items[:2]), Shard(3, work.items[2:])]
    made = sketch_shards(FakeEncoder(), halves, targets, FakeEncoder().layers[2:], ExtractionOptions(), lambda _: None)
    for half, (of, result) in zip(halves, made, strict=True):
        alone = sketch(FakeEncoder(), (half, targets), "utterance", [2]).layers[SketchKey(2)]
        assert of == half
        np.testing.assert_array_equal(result.layers[SketchKey(2)].gram, alone.gram)
        np.testing.assert_array_equal(result.layers[SketchKey(2)].cross, alone.cross)


def raw(moments):
    """Return the sums of the samples about 0."""
    return moments.about(np.zeros(moments.dim))


def features_of(encoder, work, layer):
    """Return frames of each utterance by one forward pass each."""
    frames = []
    for item in work.items:
        pieces = list(encoder.encode([decode(item.utterance, encoder.sample_rate)]))
        frames.append(next(p.frames.numpy() for p in pieces if p.layer == layer).astype(float))
    return frames


def even_parts(frames, count):
    return [frames[len(frames) * i // count : len(frames) * (i + 1) // count] for i in range(count)]


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("sample", ["frame", "effective", "segment", "utterance"])
def test_sketch_equals_its_definition(shard, sample, layer):
    encoder = FakeEncoder()
    result = sketch(encoder, shard, sample).layers[SketchKey(layer)]
    work, targets = shard
    frames = features_of(encoder, work, layer)
    if sample == "utterance":
        frames = [f.mean(axis=0, keepdims=True) for f in frames]
    if sample == "segment":
        longest = round(0.2 * encoder.layers[layer].frame_rate)
        frames = [np.stack([part.mean(axis=0) for part in even_parts(f, -(-len(f) // longest))]) for f in frames]
    samples = np.concatenate(frames)
    one_hot = np.eye(targets.count)[np.repeat(targets.rows, [len(f) for f in frames])]
    assert result.n == len(samples)
    result = raw(result)
    np.testing.assert_allclose(result.gram, samples.T @ samples, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(result.cross, one_hot.T @ samples, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(result.square, one_hot.sum(axis=0))


def timed_targets(work, rest=UNLABELLED, share=1.0):
    """Return three stretches per utterance, with classes that continue from row to row, and a gap after the second."""
    made = [Timeline.of([0.02, 0.06, 0.13], [0.06, 0.11, 0.3], [i.row % 3, (i.row + 1) % 3, 2]) for i in work.items]
    return Targets(("a", "b", "c", "rest"), np.arange(4), timed=Timed(tuple(made), rest, share))


@pytest.mark.parametrize("rest", [UNLABELLED, 3])
@pytest.mark.parametrize("sample", ["frame", "segment"])
@pytest.mark.parametrize("budget_s", [0.1, 1000.0])
def test_sketch_of_timed_classes_equals_its_definition(shard, sample, rest, budget_s):
    work, _ = shard
    targets = timed_targets(work, rest)
    encoder = FakeEncoder()
    encoder.budget_samples = round(budget_s * encoder.sample_rate)
    made = sketch(encoder, (work, targets), sample)
    result, sampled = made.layers[SketchKey(2)], made.samples[SketchKey(2)]
    rows, row_classes = [], []
    for frames, timeline in zip(features_of(FakeEncoder(), work, 2), targets.timed.timelines, strict=True):
        when = (np.arange(len(frames)) + 0.5) / 100
        found, places = timeline.at(when, rest=rest), timeline.indices(when)
        cuts = np.flatnonzero(np.diff(places)) + 1
        for run, own in zip(np.split(frames, cuts), np.split(found, cuts), strict=True):
            if own[0] != UNLABELLED:
                rows += list(run) if sample == "frame" else [run.mean(axis=0)]
                row_classes += [own[0]] * (len(run) if sample == "frame" else 1)
    samples, classes = np.array(rows), np.array(row_classes)
    assert result.n == len(samples)
    result = raw(result)
    np.testing.assert_allclose(result.gram, samples.T @ samples, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(result.cross, np.eye(4)[classes].T @ samples, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(result.square, np.bincount(classes, minlength=4))
    distances = np.abs(samples[:, None] - sampled.features[None]).max(axis=2)
    np.testing.assert_array_equal(classes[distances.argmin(axis=0)], sampled.rows)


def test_the_given_share_of_silence_is_kept(shard):
    work, _ = shard
    counts = [
        sketch(FakeEncoder(), (work, timed_targets(work, 3, share)), "frame").layers[SketchKey(0)].square[3]
        for share in (0.0, 0.3, 0.6, 1.0)
    ]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert 0.15 < counts[1] / counts[3] < 0.45
    assert 0.4 < counts[2] / counts[3] < 0.8


def test_utterances_without_a_labelled_frame_are_skipped(shard):
    work, _ = shard
    targets = timed_targets(work)
    none = Timeline.of([5.0], [6.0], [0])
    targets = replace(targets, timed=Timed((none, *targets.timed.timelines[1:])))
    result = sketch(FakeEncoder(), (work, targets))
    [skipped] = result.skipped
    assert (skipped.utterance, skipped.model) == (work.items[0].utterance.id, "fake")
    assert skipped.reason == "layer 0 (input) gave no frames with a label for this audio"


@pytest.mark.parametrize("sample", ["frame", "segment", "utterance"])
@pytest.mark.parametrize("budget_s", [0.1, 0.7, 1000.0])
def test_batch_budget_does_not_change_the_sketch(shard, sample, budget_s):
    small = FakeEncoder()
    small.budget_samples = round(budget_s * small.sample_rate)
    left, right = (raw(sketch(one, shard, sample).layers[SketchKey(2)]) for one in (FakeEncoder(), small))
    assert left.n == right.n
    np.testing.assert_allclose(left.gram, right.gram, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(left.cross, right.cross, rtol=1e-6, atol=1e-6)


def test_long_audio_is_cut_into_windows_whose_frames_are_joined(shard):
    windowed = FakeEncoder()
    windowed.window_samples = 800  # 50 ms: five hops, so that no frame is lost at a cut
    windowed.budget_samples = 800
    work, targets = shard
    even = [item for item in work.items if len(decode(item.utterance, 16_000)) % 800 == 0]
    part = (Shard(0, tuple(even)), targets)
    left, right = (raw(sketch(one, part).layers[SketchKey(1)]) for one in (FakeEncoder(), windowed))
    assert left.n == right.n > 0
    np.testing.assert_allclose(left.gram, right.gram, rtol=1e-5, atol=1e-5)


def test_only_requested_layers_are_kept(shard):
    assert set(sketch(FakeEncoder(), shard, layers=(1,)).layers) == {SketchKey(1)}


class NanForOneLength(FakeEncoder):
    """An encoder that gives NaN in one layer for waveforms of a given length."""

    def __init__(self, bad_length):
        super().__init__()
        self.bad_length = bad_length

    def _forward(self, windows):
        for piece in super()._forward(windows):
            frames = piece.frames.clone()
            start = 0
            for window, length in zip(windows, piece.lengths, strict=True):
                if piece.layer == 1 and len(window) == self.bad_length:
                    frames[start, 0] = float("nan")
                start += length
            yield LayerFrames(piece.layer, frames, piece.lengths)


def test_utterances_with_nan_features_are_left_out_of_the_sketch(shard):
    work, targets = shard
    lengths = [len(decode(item.utterance, 16_000)) for item in work.items]
    bad = lengths[0]
    result = sketch(NanForOneLength(bad), shard)
    assert len(result.skipped) == lengths.count(bad)
    assert result.skipped[0].reason == "layer 1 (block 1) gave NaN or infinite features for this audio"
    assert result.skipped[0].model == "fake"
    clean = Shard(0, tuple(item for item, n in zip(work.items, lengths, strict=True) if n != bad))
    expected = sketch(FakeEncoder(), (clean, targets))
    for layer in (0, 1, 2):
        assert result.layers[SketchKey(layer)].n == expected.layers[SketchKey(layer)].n
        found, right = raw(result.layers[SketchKey(layer)]).gram, raw(expected.layers[SketchKey(layer)]).gram
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-4)


class LimitedMemory(FakeEncoder):
    """An encoder that runs out of memory above a number of windows, after the first layer."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def _forward(self, windows):
        pieces = super()._forward(windows)
        yield next(pieces)
        if len(windows) > self.most:
            raise self.error
        yield from pieces


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_the_budget_is_halved_when_memory_runs_out(shard, error):
    limited = LimitedMemory(3, error)
    result, expected = sketch(limited, shard), sketch(FakeEncoder(), shard)
    assert limited.budget_samples < FakeEncoder().budget_samples
    assert not result.skipped
    for layer in (0, 1, 2):
        assert result.layers[SketchKey(layer)].n == expected.layers[SketchKey(layer)].n
        found, right = raw(result.layers[SketchKey(layer)]).gram, raw(expected.layers[SketchKey(layer)]).gram
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-4)


def test_out_of_memory_on_a_single_window_ends_the_run(shard):
    with pytest.raises(RunError, match="fake: memory ran out on a single window; use a shorter --window"):
        sketch(LimitedMemory(0, MemoryError()), shard)


def test_other_errors_of_an_encoder_are_raised(shard):
    with pytest.raises(RuntimeError, match="a bug"):
        sketch(LimitedMemory(0, RuntimeError("a bug")), shard)


def test_a_file_that_disappears_is_skipped(shard):
    work, _ = shard
    gone = work.items[3].utterance
    Path(gone.path).unlink()
    result = sketch(FakeEncoder(), shard)
    assert [s.utterance for s in result.skipped] == [gone.id]
    assert result.used_s == pytest.approx(work.seconds - SECONDS)


def test_batches_stay_within_the_budget(shard):
    encoder = FakeEncoder()
    encoder.budget_samples = round(1.0 * encoder.sample_rate)
    batches = plan_batches(shard[0].items, encoder)
    assert [len(batch) for batch in batches] == [3] * 12


def test_windows_without_a_label_are_left_out(shard):
    """The windows are a tenth of a second, and the first two of each utterance have no label."""
    work, _ = shard
    late = tuple(Timeline.of([0.21], [0.3], [item.row % 2]) for item in work.items)
    targets = Targets(("a", "b"), np.arange(2), timed=Timed(late))
    encoder = FakeEncoder()
    encoder.window_samples, encoder.budget_samples = 1600, 1600
    long = [item for item in work.items if item.utterance.path.stem.rpartition("-")[2] in "456"]
    result = sketch(encoder, (Shard(0, tuple(long)), targets))
    whole = sketch(FakeEncoder(), (Shard(0, tuple(long)), targets))
    assert not result.skipped
    assert 0 < whole.layers[SketchKey(0)].n - len(long) <= result.layers[SketchKey(0)].n <= whole.layers[SketchKey(0)].n
