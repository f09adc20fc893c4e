"""Compare the results and the cost of voxrank on a GPU with those on the CPU of the same machine.

Checks:
    sketches: scores of the same frames, summed on the device and on the CPU.
    memory: a batch that does not fit is halved until it does, and gives the same scores.
    padding: frames of a batch of mixed lengths against the same windows one by one.
    families: frames of a small random model of every family, against the CPU's in float32, and in half precision.

Measurements:
    throughput: hours of audio per second, of the bare passes and of the passes with their sketches.
    overlap: share of the decoding that runs during the passes.
    workers: two processes that share the device, against one.

The script needs torch, transformers, NumPy and SciPy. It needs neither network nor audio libraries: audio is synthetic.
It runs in under eight minutes; parts that would begin after seven are listed as left out. Without a GPU the same code
runs on the CPU.

Run: python benchmarks/device.py [--small] [--only PART ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast
from unittest import mock

import numpy as np
import torch
import transformers as tf

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

import audioless  # noqa: F401, before voxrank
import voxrank.extraction.shard
from common import RESULTS, provenance
from voxrank.config import EncoderOptions, ExtractionOptions
from voxrank.data.shards import Item, Shard, plan_shards
from voxrank.data.utterance import Utterance
from voxrank.encoders.base import Encoder, LayerFrames, Waveform
from voxrank.encoders.joint import SketchKey
from voxrank.encoders.registry import load_encoder
from voxrank.engines.local import ModelSketch, sketch_model
from voxrank.extraction.shard import plan_batches
from voxrank.scores import get_score, score_names
from voxrank.scores.registry import estimate_all
from voxrank.scores.view import LayerView
from voxrank.targets.labels import Targets, utterance_targets
from voxrank.testing.encoders import FakeEncoder

RATE_HZ = 16_000
LIMIT_S = 420.0
"""No part begins later than this many seconds after the start."""
ROUNDS = 3
CLASSES = 20
SPEAKERS = 10
FRAME_TOLERANCE = 1e-3
LEAK_TOLERANCE = 1e-3
SCORE_TOLERANCE = 1e-5
HALF = ("bfloat16", "float16")

Report = dict[str, Any]
Scores = dict[tuple[SketchKey, str], float]


@dataclass(frozen=True)
class Size:
    """The amount of work of a run.

    Attributes:
        audio_s: seconds of audio on which throughput is measured.
        lengths_s: the shortest and the longest utterance, in seconds.
        width, blocks: size of the models in the throughput table; None for the size of the published models.
        frames: dimension of the frames in the sketch check.
        dtypes: precisions in the throughput table.
        families: families whose frames are checked; empty for all.
    """

    audio_s: float
    lengths_s: tuple[float, float]
    width: int | None
    blocks: int | None
    frames: int
    dtypes: tuple[str, ...]
    families: tuple[str, ...] = ()


FULL = Size(audio_s=600.0, lengths_s=(2.0, 12.0), width=None, blocks=None, frames=768, dtypes=("float32", "bfloat16"))
TINY = Size(
    audio_s=6.0,
    lengths_s=(0.2, 0.4),
    width=32,
    blocks=2,
    frames=16,
    dtypes=("float32",),
    families=("hubert-group", "whisper"),
)


def main() -> None:
    """Run the parts in order and write their results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="tiny models and seconds of audio")
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS], help="parts to run")
    parser.add_argument("--out", type=Path, default=RESULTS / "device.json", help="file that receives the result")
    parser.add_argument("--commit", help="what to record as the commit, where the files come without git")
    given = parser.parse_args()
    tf.utils.logging.disable_progress_bar()
    made = {"commit": given.commit} if given.commit else {}
    result = run(TINY if given.small else FULL, given.only, given.out, made)
    failed = [name for name in given.only if "error" in result[name] or result[name].get("passed") is False]
    print("failed: " + ", ".join(failed) if failed else "all parts passed", flush=True)
    sys.exit(1 if failed else 0)


def run(size: Size, names: Sequence[str], out: Path, made: Report) -> Report:
    """Run these parts and write the result after each; a part that fails gives its reason and does not end the rest."""
    started = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    result: Report = {"made": provenance() | {"device": device_name(device)} | made}
    for name in names:
        began = time.perf_counter()
        if began - started > LIMIT_S:
            result[name] = {"error": f"left out: {LIMIT_S:.0f} s had passed"}
        else:
            result[name] = guarded(PARTS[name], device, size)
        result[name]["seconds"] = round(time.perf_counter() - began, 1)
        print(json.dumps({name: result[name]}), flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        release()
    return result


def guarded(part: Callable[[str, Size], Report], device: str, size: Size) -> Report:
    """Return the result of a part, or why it failed."""
    try:
        return part(device, size)
    except Exception as error:  # noqa: BLE001, one part must not cost the others
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc().splitlines()[-6:]}


def device_name(device: str) -> str:
    """Return the name of the device."""
    return str(torch.cuda.get_device_name()) if device == "cuda" else "cpu"


def release() -> None:
    """Free the memory of the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronize() -> None:
    """Wait until the device has finished all its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# Frames


def small_models() -> Any:
    """Return the module that builds a small random model of every family."""
    import hf_models

    return hf_models


@contextmanager
def saved(family: str) -> Iterator[str]:
    """Return the folder of a small model of this family."""
    models = small_models()
    with tempfile.TemporaryDirectory() as folder:
        yield models.save(folder, *models.build(family))


def waveforms(lengths_s: Sequence[float], seed: int = 0) -> list[Waveform]:
    """Return noise of these lengths."""
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(round(s * RATE_HZ))).astype(np.float32) for s in lengths_s]


def frames_of(encoder: Encoder, batch: Sequence[Waveform]) -> list[list[torch.Tensor]]:
    """Return frames (frames, dim) on the CPU, by waveform, then by layer."""
    parts: list[list[list[torch.Tensor]]] = [[[] for _ in encoder.layers] for _ in batch]
    for piece in encoder.encode(batch):
        for owner, rows in enumerate(piece.frames.float().cpu().split(list(piece.lengths))):
            parts[owner][piece.layer].append(rows)
    return [[torch.cat(rows) for rows in layers] for layers in parts]


def difference(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> list[float]:
    """Return the relative difference of each layer: |a - b| / |b|."""
    return [float((a - b).norm() / b.norm().clamp_min(1e-30)) for a, b in zip(one, other, strict=True)]


def worst(found: Sequence[Sequence[float]]) -> list[float]:
    """Return the largest difference of each layer over several waveforms."""
    return [float(f"{max(layer):.2e}") for layer in zip(*found, strict=True)]


def check_families(device: str, size: Size) -> Report:
    """Compare the frames of every family with the CPU's, by layer."""
    batch = waveforms((1.0, 1.4, 0.7))
    rows = {}
    for family in size.families or small_models().FAMILIES:
        with saved(family) as folder:
            expected = frames_of(load_encoder(folder, EncoderOptions(device="cpu")), batch)
            rows[family] = {
                dtype: compared(partial(load_on, device, folder, dtype), batch, expected)
                for dtype in ("float32", *HALF)
            }
        release()
    passed = all(max(row["float32"].get("layers", [np.inf])) <= FRAME_TOLERANCE for row in rows.values())
    return {"tolerance": FRAME_TOLERANCE, "passed": passed, "families": rows}


def load_on(device: str, folder: str, dtype: str) -> Encoder:
    """Load the model on the device in this precision."""
    return load_encoder(folder, EncoderOptions(device=device, dtype=cast("Any", dtype)))


def compared(load: Callable[[], Encoder], batch: Sequence[Waveform], expected: list[list[torch.Tensor]]) -> Report:
    """Return the largest difference of each layer, or why there are no frames."""
    try:
        given = frames_of(load(), batch)
        return {"layers": worst([difference(a, b) for a, b in zip(given, expected, strict=True)])}
    except Exception as error:  # noqa: BLE001, one family must not cost the others
        return {"error": f"{type(error).__name__}: {error}"}


def check_padding(device: str, size: Size) -> Report:
    """Compare frames of windows of mixed lengths in one batch with the same windows one by one."""
    batch = waveforms((0.6, 1.7, 1.1, 0.9), seed=1)
    rows: Report = {}
    for family in size.families or small_models().FAMILIES:
        with saved(family) as folder:
            encoder = load_on(device, folder, "float32")
            together = frames_of(encoder, batch)
            alone = [frames_of(encoder, [waveform])[0] for waveform in batch]
        rows[family] = max(worst([difference(a, b) for a, b in zip(together, alone, strict=True)]))
        release()
    return {"tolerance": LEAK_TOLERANCE, "passed": max(rows.values()) <= LEAK_TOLERANCE, "families": rows}


# Sketches


class DeviceFrames(FakeEncoder):
    """An encoder whose frames are computed on the CPU and then moved, so that they are the same on every device."""

    target: ClassVar[str] = "cpu"

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        for piece in super()._forward(windows):
            yield replace(piece, frames=piece.frames.to(self.target))


@dataclass(frozen=True)
class Data:
    """Synthetic utterances with classes and speakers.

    Attributes:
        items: the utterances.
        targets: their classes.
        shards: the utterances in units of work.
    """

    items: list[Item]
    targets: Targets
    shards: list[Shard]


def make_data(audio_s: float, lengths_s: tuple[float, float], options: ExtractionOptions) -> Data:
    """Return utterances of mixed lengths with this total duration."""
    rng = np.random.default_rng(3)
    items: list[Item] = []
    while sum(item.seconds for item in items) < audio_s or len(items) < 2 * CLASSES:
        row = len(items)
        seconds = float(rng.uniform(*lengths_s))
        speaker = f"s{row // CLASSES % SPEAKERS}"
        name = f"u{row}"
        items.append(Item(Utterance(name, Path(name), label=f"c{row % CLASSES}", speaker=speaker), seconds, row))
    targets = utterance_targets([item.utterance for item in items], "classification")
    return Data(items, targets, plan_shards(items, "label", blocks=options.blocks, shard_s=options.shard_s))


def synthetic(item: Item, sample_rate: int) -> Waveform:
    """Return noise around a tone of the class, which is quick to compute."""
    row = item_row(item)
    rng = np.random.default_rng(row)
    time_s = np.arange(round(item.seconds * sample_rate), dtype=np.float32) / sample_rate
    tone = np.sin(2 * np.pi * (100 + 60 * (row % CLASSES)) * time_s)
    noise = rng.random(len(time_s), dtype=np.float32) - 0.5
    return (0.2 * tone + 0.1 * noise).astype(np.float32)


@contextmanager
def audio_from(make: Callable[[Item, int], Waveform]) -> Iterator[None]:
    """Let shards take their audio from this function rather than from files."""
    with mock.patch.object(voxrank.extraction.shard, "decode_or_reason", make):
        yield


def sketched(encoder: Encoder, data: Data, options: ExtractionOptions) -> ModelSketch:
    """Return all sums of an encoder over the data."""
    made = sketch_model(lambda: encoder, data.shards, data.targets, encoder.layers, options, lambda _: None)
    synchronize()
    return made


def check_sketches(device: str, size: Size) -> Report:
    """Compare scores (without source data) of the same frames, summed on the device and on the CPU."""
    rows: Report = {}
    for sample in ("utterance", "frame"):
        options = ExtractionOptions(sample=cast("Any", sample), kept_samples=1024)
        data = make_data(30.0, (0.3, 0.8), options)
        given = {}
        for place in ("cpu", device):
            encoder = DeviceFrames(dim=size.frames)
            encoder.target = place  # type: ignore[misc]
            with audio_from(synthetic):
                given[place, "scores"] = scores_of(sketched(encoder, data, options), data)
        rows[sample] = apart(given[device, "scores"], given["cpu", "scores"])
    largest = max(value for row in rows.values() for value in row.values())
    return {"tolerance": SCORE_TOLERANCE, "passed": largest <= SCORE_TOLERANCE, "relative": rows}


def scores_of(sketch: ModelSketch, data: Data) -> Scores:
    """Return the value of each (layer, score)."""
    scores = [get_score(name) for name in score_names() if not get_score(name).needs_source]
    given: Scores = {}
    for layer, moments in sketch.layers.items():
        if layer.layer == 0:  # a linear map of few samples: the rank of its frames is lower than their dimension
            continue
        view = LayerView(moments, sketch.samples.get(layer), data.targets.rows, weight=1.0)
        given |= {(layer, name): estimate.value for name, estimate in estimate_all(scores, view).items()}
    return given


def apart(one: Scores, other: Scores) -> dict[str, float]:
    """Return the largest relative difference over the layers, for each score."""
    largest: dict[str, float] = {}
    for (layer, name), value in other.items():
        relative = abs(one[layer, name] - value) / max(abs(value), 1e-12)
        largest[name] = max(largest.get(name, 0.0), float(f"{relative:.2e}"))
    return largest


def check_memory(device: str, size: Size) -> Report:
    """Check that a budget above the device's memory is halved until the passes fit, and that the sums stay the same."""
    if device == "cpu":
        return {"left_out": "the CPU's memory is not bounded here"}
    options = ExtractionOptions()
    data = make_data(600.0, (10.0, 30.0), options)
    with published("hubert-base", size) as folder, audio_from(synthetic):
        encoder = load_on(device, folder, "float32")
        expected = sketched(encoder, data, options)
        release()
        taken = torch.cuda.memory_allocated() + 2**31
        torch.cuda.set_per_process_memory_fraction(taken / torch.cuda.get_device_properties(0).total_memory)
        encoder.budget_samples = 3600 * RATE_HZ
        try:
            given = sketched(encoder, data, options)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    halved = encoder.budget_samples < 3600 * RATE_HZ
    largest = apart(scores_of(given, data), scores_of(expected, data))["logme"]
    return {
        "memory_gib": round(taken / 2**30, 2),
        "budget_s_before": 3600,
        "budget_s_after": round(encoder.budget_samples / RATE_HZ, 1),
        "largest_relative_difference_of_logme": largest,
        "used_s": round(given.used_s, 1),
        "passed": halved and given.used_s == expected.used_s and largest <= FRAME_TOLERANCE,
    }


# Speed

MODELS = ("hubert-base", "whisper-small", "parakeet-110m")


@contextmanager
def published(name: str, size: Size) -> Iterator[str]:
    """Return the folder of a model of a published size, with random weights."""
    torch.manual_seed(0)
    model, extractor = BUILDERS[name](size)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        del model
        yield folder


def hubert_base(size: Size) -> tuple[Any, Any]:
    shrunk: dict[str, Any] = {} if size.width is None else {"hidden_size": size.width, "num_hidden_layers": size.blocks}
    shrunk |= {} if size.width is None else {"num_attention_heads": 4, "intermediate_size": 48, "conv_dim": (12,) * 7}
    shrunk |= {} if size.width is None else {"num_conv_pos_embedding_groups": 4}
    config = tf.HubertConfig(**shrunk)
    return tf.HubertModel(config), tf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)


def whisper_small(size: Size) -> tuple[Any, Any]:
    width, blocks = size.width or 768, size.blocks or 12
    config = tf.WhisperConfig(
        d_model=width,
        encoder_layers=blocks,
        decoder_layers=1,
        encoder_attention_heads=width // 64 or 2,
        decoder_attention_heads=width // 64 or 2,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )
    return tf.WhisperForConditionalGeneration(config), tf.WhisperFeatureExtractor()


def parakeet_110m(size: Size) -> tuple[Any, Any]:
    width = size.width or 512
    encoder = tf.ParakeetEncoderConfig(
        hidden_size=width,
        num_hidden_layers=size.blocks or 17,
        num_attention_heads=8 if size.width is None else 4,
        intermediate_size=4 * width,
    )
    config = tf.ParakeetCTCConfig(encoder_config=encoder.to_dict(), vocab_size=1025, pad_token_id=1024)
    return tf.ParakeetForCTC(config), tf.ParakeetFeatureExtractor()


BUILDERS = {"hubert-base": hubert_base, "whisper-small": whisper_small, "parakeet-110m": parakeet_110m}


def bare_pass(encoder: Encoder, batches: Sequence[Sequence[Waveform]]) -> None:
    """Encode every batch and drop the frames."""
    for batch in batches:
        for _ in encoder.encode(batch):
            pass
    synchronize()


def timed(work: Callable[[], Any]) -> float:
    """Return how many seconds the work takes."""
    synchronize()
    started = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - started


def measure_throughput(device: str, size: Size) -> Report:
    """Measure hours of audio per second: the passes alone, and with the sketches of every layer, in turn."""
    rows = []
    for name in MODELS:
        with published(name, size) as folder:
            for dtype, sample in itertools.product(size.dtypes, ("utterance", "frame")):
                rows.append(throughput_row(device, size, (name, folder), dtype, sample))
                print(rows[-1], flush=True)
                release()
    return {"rounds": ROUNDS, "audio_s": size.audio_s, "rows": rows}


def throughput_row(device: str, size: Size, model: tuple[str, str], dtype: str, sample: str) -> Report:
    """Measure one model (name and folder) in one precision with one kind of sample; Whisper's window is cut."""
    name, folder = model
    choices = EncoderOptions(device=device, dtype=cast("Any", dtype), whisper_window="fit")
    if device == "cuda":
        choices = replace(choices, batch_s=240.0)
    encoder = load_encoder(folder, choices)
    options = ExtractionOptions(sample=cast("Any", sample))
    data = make_data(size.audio_s, size.lengths_s, options)
    ready = {item.row: synthetic(item, encoder.sample_rate) for item in data.items}
    batches = planned(encoder, data, ready)
    with audio_from(lambda item, _: ready[item_row(item)]):
        work: dict[str, Callable[[], object]] = {
            "bare": lambda: bare_pass(encoder, batches),
            "whole": lambda: sketched(encoder, data, options),
        }
        for once in work.values():
            once()
        taken: dict[str, list[float]] = {kind: [] for kind in work}
        for _ in range(ROUNDS):
            for kind, once in work.items():
                taken[kind].append(timed(once))
    bare_s, whole_s = (statistics.median(taken[kind]) for kind in ("bare", "whole"))
    audio_s = sum(item.seconds for item in data.items)
    return {
        "model": name,
        "parameters": encoder.parameters,
        "dtype": dtype,
        "sample": sample,
        "audio_s": round(audio_s),
        "bare_s": round(bare_s, 3),
        "whole_s": round(whole_s, 3),
        "hours_a_second_bare": float(f"{audio_s / 3600 / bare_s:.3g}"),
        "hours_a_second": float(f"{audio_s / 3600 / whole_s:.3g}"),
        "share_of_sketches_and_copies": round(max(0.0, 1 - bare_s / whole_s), 4),
    }


def item_row(item: Item) -> int:
    """Return the utterance's place among all: shards number their items from 0."""
    return int(item.utterance.id[1:])


def planned(encoder: Encoder, data: Data, ready: dict[int, Waveform]) -> list[list[Waveform]]:
    """Return the batches of a run over the data."""
    batches = [batch for shard in data.shards for batch in plan_batches(shard.items, encoder)]
    return [[ready[item_row(item)] for item in batch] for batch in batches]


def costly(item: Item, sample_rate: int) -> Waveform:
    """Compute audio at about the CPU cost of decoding and resampling: a spectrum and back."""
    plain = synthetic(item, sample_rate)
    spectrum = np.fft.rfft(plain)
    return np.fft.irfft(spectrum, len(plain)).astype(np.float32)


def measure_overlap(device: str, size: Size) -> Report:
    """Measure the hidden share of decoding: 1 if a run takes no longer than the slower of decoding and encoding."""
    options = ExtractionOptions()
    with published("hubert-base", size) as folder:
        encoder = load_on(device, folder, "float32")
        data = make_data(size.audio_s / 2, size.lengths_s, options)
        ready = {item.row: costly(item, encoder.sample_rate) for item in data.items}
        batches = planned(encoder, data, ready)
        decode_s = timed(lambda: [costly(item, encoder.sample_rate) for item in data.items])
        with audio_from(costly):
            sketched(encoder, data, options)
            pairs = [
                (timed(lambda: bare_pass(encoder, batches)), timed(lambda: sketched(encoder, data, options)))
                for _ in range(ROUNDS)
            ]
    encode_s, whole_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    hidden = (decode_s + encode_s - whole_s) / min(decode_s, encode_s)
    return {
        "decode_s": round(decode_s, 3),
        "encode_s": round(encode_s, 3),
        "whole_s": round(whole_s, 3),
        "hidden_share_of_the_shorter": round(hidden, 3),
        "threads": options.threads,
    }


def work_alone(folder: str, device: str, size: Size, part: int, parts: int, barrier: Any, out: Any) -> None:
    """Run a worker: every `parts`-th shard of the data, timed from the moment when all workers are ready."""
    options = ExtractionOptions()
    encoder = load_on(device, folder, "float32")
    data = make_data(size.audio_s, size.lengths_s, options)
    mine = replace(data, shards=data.shards[part::parts])
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(0.9 / parts)
    with audio_from(costly):
        sketched(encoder, replace(data, shards=mine.shards[:1]), options)
        barrier.wait()
        began = time.time()
        sketched(encoder, mine, options)
    out.put((began, time.time()))


def measure_workers(device: str, size: Size) -> Report:
    """Compare one process with two that share the device, each with a half of its memory."""
    context = multiprocessing.get_context("spawn")
    taken = {}
    with published("hubert-base", size) as folder:
        for parts in (1, 2):
            barrier, out = context.Barrier(parts), context.Queue()
            workers = [
                context.Process(target=work_alone, args=(folder, device, size, part, parts, barrier, out))
                for part in range(parts)
            ]
            for worker in workers:
                worker.start()
            spans = [out.get(timeout=200) for _ in workers]
            for worker in workers:
                worker.join(30)
            taken[parts] = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return {
        "one_s": round(taken[1], 3),
        "two_s": round(taken[2], 3),
        "speed_of_two_over_one": round(taken[1] / taken[2], 3),
    }


PARTS: dict[str, Callable[[str, Size], Report]] = {
    "sketches": check_sketches,
    "memory": check_memory,
    "throughput": measure_throughput,
    "overlap": measure_overlap,
    "workers": measure_workers,
    "padding": check_padding,
    "families": check_families,
}


if __name__ == "__main__":
    main()
