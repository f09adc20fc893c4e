"""Measure what ranking costs beyond the forward passes, and how much memory it takes.

Time. For each encoder, two runs alternate in one process. The bare passes (`Encoder.encode` on decoded audio, frames
dropped) use the same batches as a ranking. The whole run starts from the manifest (headers, decoding, passes, sketches,
scores, intervals), with the model loaded beforehand. Overhead = (whole - bare) / bare, the median of the pairs.

Memory. Peak resident memory of a separate process: bare passes, and the whole run on 500 and on 3,000 utterances.

Run: python benchmarks/overhead.py [time] [memory]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from common import DATA, MODELS, in_own_process, load, provenance, save
from voxrank._support.memory import peak_rss_mb
from voxrank.config import EncoderOptions, ExtractionOptions, WhisperWindow
from voxrank.data.audio import decode, probe_all
from voxrank.data.read import read_dataset
from voxrank.data.shards import Item, plan_shards
from voxrank.data.utterance import Dataset
from voxrank.encoders.base import Encoder, Waveform
from voxrank.encoders.registry import load_encoder, register_scheme
from voxrank.extraction.shard import plan_batches
from voxrank.ranking.rank import rank

MANIFEST = DATA / "arabic-commands" / "manifest.csv"
PAIRS = 3
BASE = "pack:whisper-base"
SIZES = {"pack:crepe": 120}
"""Number of utterances for models that would take long with 600."""
TIME_RUNS: tuple[tuple[str, WhisperWindow, int], ...] = (
    *((model, "auto", SIZES.get(model, 600)) for model in MODELS),
    (BASE, "auto", 1800),
    (BASE, "fit", 600),
    (BASE, "full", 40),
)
"""Model, Whisper's window and number of utterances."""
MEMORY_RUNS: tuple[tuple[str, WhisperWindow, str, int], ...] = (
    (BASE, "fit", "bare", 500),
    (BASE, "fit", "whole", 500),
    (BASE, "fit", "bare", 3000),
    (BASE, "fit", "whole", 3000),
)
"""Model, Whisper's window, kind of run and number of utterances."""
LOADED: dict[str, Encoder] = {}
"""Spec → encoder that is loaded already; ``loaded:SPEC`` names it."""
register_scheme("loaded", lambda spec, _: LOADED[spec])


def main(parts: Sequence[str]) -> None:
    result = load("overhead")
    for part, measured in (("time", measured_times), ("memory", measured_memory)):
        if part in (parts or ["time", "memory"]):
            rows = []
            for row in measured():
                print(row, flush=True)
                rows.append(row)
            result[part] = {"made": provenance(), "rows": rows}
            save("overhead", {"data": "arabic-commands", "pairs": PAIRS} | result)


def measured_times() -> Iterator[dict[str, Any]]:
    for model, window, n in TIME_RUNS:
        yield measure(model, window, n)


def measured_memory() -> Iterator[dict[str, Any]]:
    for model, window, kind, n in MEMORY_RUNS:
        yield memory_of(model, window, kind, n)


def subset(n: int) -> Dataset:
    """Return every k-th utterance, so that all speakers and words occur."""
    whole = read_dataset(MANIFEST, split="all")
    chosen = whole.utterances[:: max(1, len(whole) // n)][:n]
    return Dataset(whole.source, whole.task, whole.target, chosen)


def measure(model: str, window: WhisperWindow, n: int) -> dict[str, Any]:
    """Measure bare passes and whole runs of one model in turn."""
    encoder = load_encoder(model, EncoderOptions(whisper_window=window))
    LOADED[model] = encoder
    data = subset(n)
    audio_s = sum(p.seconds for p in probe_all(data, 2)[0])
    bare_run, whole_run = bare(encoder, data), whole(model, data)
    bare_run()
    pairs = [(timed(bare_run), timed(whole_run)) for _ in range(PAIRS)]
    return {
        "model": model,
        "window": window if "whisper" in model else None,
        "utterances": n,
        "audio_s": round(audio_s),
        "bare_s": round(statistics.median(b for b, _ in pairs), 3),
        "whole_s": round(statistics.median(w for _, w in pairs), 3),
        "overhead": round(statistics.median((w - b) / b for b, w in pairs), 4),
    }


def batches_of(encoder: Encoder, data: Dataset) -> Iterator[tuple[Item, ...]]:
    """Return the batches of a ranking of the data."""
    probed, _ = probe_all(data, 2)
    items = [Item(p.utterance, p.seconds, row) for row, p in enumerate(probed)]
    options = ExtractionOptions()
    for shard in plan_shards(items, data.target, blocks=options.blocks, shard_s=options.shard_s):
        yield from plan_batches(shard.items, encoder)


def decoded(encoder: Encoder, batch: tuple[Item, ...]) -> list[Waveform]:
    return [decode(item.utterance, encoder.sample_rate) for item in batch]


def encode(encoder: Encoder, waveforms: list[Waveform]) -> None:
    for _ in encoder.encode(waveforms):
        pass


def bare(encoder: Encoder, data: Dataset) -> Callable[[], None]:
    """Run the passes alone, on audio that is decoded beforehand."""
    ready = [decoded(encoder, batch) for batch in batches_of(encoder, data)]

    def run() -> None:
        for waveforms in ready:
            encode(encoder, waveforms)

    return run


def whole(model: str, data: Dataset) -> Callable[[], None]:
    """Rank one model that is already loaded."""

    def run() -> None:
        rank(data, [f"loaded:{model}"])

    return run


def timed(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def memory_of(model: str, window: str, kind: str, n: int) -> dict[str, Any]:
    """Return the peak memory of a model in a separate process."""
    printed = in_own_process(__file__, "--memory", model, window, kind, n)
    return {"model": model, "window": window, "run": kind, "utterances": n, "peak_rss_mb": json.loads(printed)}


def memory_child(model: str, window: WhisperWindow, kind: str, n: int) -> None:
    options = EncoderOptions(whisper_window=window)
    if kind == "whole":
        rank(subset(n), [model], encoder=options)
    else:
        encoder = load_encoder(model, options)
        for batch in batches_of(encoder, subset(n)):
            encode(encoder, decoded(encoder, batch))
    print(json.dumps(round(peak_rss_mb())))


if __name__ == "__main__":
    torch.manual_seed(0)
    if sys.argv[1:2] == ["--memory"]:
        memory_child(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))  # type: ignore[arg-type]
    else:
        main(sys.argv[1:])
