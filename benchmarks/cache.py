"""Measure what the cache costs and saves: the same ranking without a cache, with an empty one, and with a full one.

The runs alternate in one process; the results are medians of the ratios, and the size on disk per hour of audio.

Run: python benchmarks/cache.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

import voxrank
from common import DATA, provenance, save
from voxrank.config import CacheOptions, EncoderOptions, ExtractionOptions, Sample

MODELS = ("pack:whisper-base", "logmel")
EVERY = 5
"""Step in the utterances: only every such utterance is used."""
SAMPLES: tuple[Sample, ...] = ("utterance", "frame")
ENCODER = EncoderOptions(device="cpu", whisper_window="fit")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(words).rounds
    torch.set_num_threads(1)
    data = voxrank.read_dataset(DATA / "fsdd" / "manifest.csv", split="all")
    data = replace(data, utterances=data.utterances[::EVERY])
    results = [measured(data, model, sample, rounds) for model in MODELS for sample in SAMPLES]
    save("cache", {"made": provenance(), "data": f"fsdd, {len(data)} utterances", "rounds": rounds, "rows": results})


def measured(data: voxrank.Dataset, model: str, sample: Sample, rounds: int) -> dict[str, object]:
    """Measure one model with one kind of sample."""
    options, cold, warm, size, found = ExtractionOptions(sample=sample), [], [], 0, None
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            times = []
            for cache in (None, CacheOptions(folder), CacheOptions(folder)):
                started = time.perf_counter()
                found = voxrank.rank(data, [model], scores=["logme"], encoder=ENCODER, extraction=options, cache=cache)
                times.append(time.perf_counter() - started)
            cold.append(times[1] / times[0])
            warm.append(times[2] / times[0])
            size = sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors"))
    assert found is not None
    row = {
        "model": model,
        "sample": sample,
        "layers": len(found.layers),
        "dim": found.layers[0].dim,
        "seconds": round(found.data.seconds),
        "empty": round(statistics.median(cold), 3),
        "filled": round(statistics.median(warm), 3),
        "mb_an_hour": round(size / 1e6 / found.data.seconds * 3600, 1),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
