"""Measure what workers gain, what they cost, and how much data crosses the network.

Speed. Workers have one core each and have loaded the model. The benchmark times a sketch by one and by two of them, in
turn. For comparison it times a loop of matrix products in one and in two processes: the gain of the machine itself. On
a machine that does other work both gains are smaller.

Cost. For each model the seconds of one core for an hour of audio, by the clock and by the processor. Other work on the
machine disturbs the second less.

Bytes. The sizes of a shard, an assignment and a sketch when they are sent, and the seconds of a merge.

Run: python benchmarks/scaling.py [speed] [cost] [bytes]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import ray
from threadpoolctl import threadpool_limits

from common import DATA, MODELS, load, provenance, save
from voxrank.alignment.preparation import Prepared, prepare
from voxrank.config import EncoderOptions, EngineOptions, ExtractionOptions, SequenceOptions
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.registry import load_encoder
from voxrank.engines.local import ModelSketch
from voxrank.engines.ray.cluster import Cluster
from voxrank.engines.ray.engine import RayEngine
from voxrank.engines.ray.scheduler import HAND_OVER_S, chunk_size, without_unread_data
from voxrank.engines.ray.worker import Assignment
from voxrank.sketches.moments import Moments

MANIFEST = DATA / "arabic-commands" / "manifest.csv"
ENCODING = EncoderOptions(device="cpu", whisper_window="fit")
ROUNDS = 5
SPEED_MODEL, SPEED_UTTERANCES = "pack:whisper-tiny.en", 1200
COST_UTTERANCES = 300
SIZES = {"pack:crepe": 60}
"""Number of utterances for models that would take long with 300."""
SHAPES = {"12 blocks of 768": (13, 768), "24 blocks of 1,024": (25, 1024)}
"""Number of layers and dimension of the base and the large model of most families."""
BLOCKS = 10
SPINS = 600
"""Matrix products of a spin, which take some seconds."""

PUBLISHED = {
    "gpu": "A100 80GB",
    "rtf": {"facebook/hubert-large-ls960-ft": 0.0026, "facebook/hubert-xlarge-ls960-ft": 0.0063},
    "table": "https://huggingface.co/spaces/Steveeeeeeen/Open_ASR_Leaderboard/blob/"
    "9f0d781e168459253388095ffffb74dbd1ede79d/leaderboard-evals/31_jan_24.csv",
    "conditions": "https://huggingface.co/spaces/hf-audio/open_asr_leaderboard/commit/"
    "de6ec2646381fbde5064ba582278bd4f3f72d539",
}
"""GPU seconds per second of audio, in batches of 30 s windows: the Open ASR Leaderboard of January 2024."""
PLAN = {"hours": 10_000, "models": 30, "gpus": 64}


def main(parts: Sequence[str]) -> None:
    for part, measure in (("speed", speed), ("cost", cost), ("bytes", sizes)):
        if part in (parts or ["speed", "cost", "bytes"]):
            result = load("scaling")
            result[part] = {"made": provenance() | {"ray": ray.__version__, "load": os.getloadavg()[0]}, **measure()}
            save("scaling", result | {"published": PUBLISHED, "plan": planned()})


def data_of(n: int) -> Prepared:
    """Return every k-th utterance, so that all speakers and words occur."""
    whole = read_dataset(MANIFEST, split="all")
    chosen = whole.utterances[:: max(1, len(whole) // n)][:n]
    part = Dataset(whole.source, whole.task, whole.target, chosen)
    prepared = prepare(part, ExtractionOptions(), SequenceOptions())
    assert isinstance(prepared, Prepared)
    return prepared


def seconds_of(prepared: Prepared) -> float:
    return sum(item.seconds for item in prepared.items)


def sketching(engine: RayEngine, model: str, layers: tuple[Layer, ...], prepared: Prepared) -> Callable[[], None]:
    def run() -> None:
        runner = engine.runner(model, lambda: never(model))
        runner.sketch(
            prepared.shards, prepared.targets, layers, ExtractionOptions(sample="utterance", shard_s=20), lambda _: None
        )

    return run


def never(model: str) -> Encoder:
    raise AssertionError(f"{model} is loaded on workers only")


def timed(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def speed() -> dict[str, Any]:
    prepared, layers = data_of(SPEED_UTTERANCES), load_encoder(SPEED_MODEL, ENCODING).layers
    with ExitStack() as stack:
        stack.enter_context(Cluster(EngineOptions("ray", workers=3)))
        runs = {}
        for workers in (1, 2):
            engine = stack.enter_context(RayEngine(EngineOptions("ray", workers=workers), ENCODING, print))
            runs[workers] = sketching(engine, SPEED_MODEL, layers, prepared)
        pool = stack.enter_context(ProcessPoolExecutor(2))
        spins = {n: spinning(pool, n) for n in (1, 2)}
        for run in (*runs.values(), *spins.values()):
            run()  # starts the workers, which load the model
        rounds = []
        for _ in range(ROUNDS):
            row = {
                "spin_1_s": timed(spins[1]),
                "one_s": timed(runs[1]),
                "spin_2_s": timed(spins[2]),
                "two_s": timed(runs[2]),
            }
            print(row, flush=True)
            rounds.append({name: round(value, 3) for name, value in row.items()})
    gains = [row["one_s"] / row["two_s"] for row in rounds]
    machine = [2 * row["spin_1_s"] / row["spin_2_s"] for row in rounds]
    return {
        "model": SPEED_MODEL,
        "audio_s": round(seconds_of(prepared)),
        "rounds": rounds,
        "gain": round(statistics.median(gains), 3),
        "machine": round(statistics.median(machine), 3),
    }


def spinning(pool: ProcessPoolExecutor, processes: int) -> Callable[[], None]:
    def run() -> None:
        wait([pool.submit(spin) for _ in range(processes)])

    return run


def spin() -> None:
    """Use one core for some seconds."""
    with threadpool_limits(1):
        matrix = np.ones((512, 512), dtype=np.float32)
        for _ in range(SPINS):
            matrix @ matrix


def cost() -> dict[str, Any]:
    with (
        Cluster(EngineOptions("ray", workers=1)),
        RayEngine(EngineOptions("ray", workers=1), ENCODING, print) as engine,
    ):
        rows = []
        for row in costs(engine):
            print(row, flush=True)
            rows.append(row)
    return {"rows": rows}


def costs(engine: RayEngine) -> Iterator[dict[str, Any]]:
    for model in MODELS:
        prepared, encoder = data_of(SIZES.get(model, COST_UTTERANCES)), load_encoder(model, ENCODING)
        run = sketching(engine, model, encoder.layers, prepared)
        run()
        pairs = []
        for _ in range(3):
            before = processor_s()
            pairs.append((timed(run), processor_s() - before))
        hours = seconds_of(prepared) / 3600
        yield {
            "model": model,
            "parameters": encoder.parameters,
            "layers": len(encoder.layers),
            "dim": max(layer.dim for layer in encoder.layers),
            "audio_s": round(seconds_of(prepared)),
            "clock_s_per_hour": round(statistics.median(clock for clock, _ in pairs) / hours, 1),
            "processor_s_per_hour": round(statistics.median(processor for _, processor in pairs) / hours, 1),
        }


def processor_s() -> float:
    """Return the processor time of the workers of this machine so far, in seconds, from the kernel."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().startswith(b"ray::Worker"):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return total / os.sysconf("SC_CLK_TCK")


def sizes() -> dict[str, Any]:
    prepared = data_of(SPEED_UTTERANCES)
    shards = [without_unread_data(shard) for shard in prepared.shards]
    layers = load_encoder(SPEED_MODEL, ENCODING).layers
    assignment = Assignment(SPEED_MODEL, layers, prepared.targets, ExtractionOptions())
    files = sum(item.utterance.path.stat().st_size for item in prepared.items)
    return {
        "utterances_per_shard": round(len(prepared.items) / len(shards), 1),
        "shard_s": round(seconds_of(prepared) / len(shards), 1),
        "shard_bytes": round(statistics.mean(sent(shard) for shard in shards)),
        "assignment_bytes": sent(assignment),
        "assignment_utterances": len(prepared.items),
        "audio_bytes_per_s": round(files / seconds_of(prepared)),
        "sketches": [{"shape": name, **sketch_of(*shape)} for name, shape in SHAPES.items()],
    }


def sent(content: Any) -> int:
    """Return the size of a serialised object in bytes."""
    return len(ray.cloudpickle.dumps(content))


def sketch_of(layers: int, dim: int) -> dict[str, Any]:
    """Measure a sketch of all blocks with the samples that kNN reads, and the merge of two."""
    options = ExtractionOptions()
    known = [Layer(index, "", dim, 50.0) for index in range(layers)]
    targets = data_of(SPEED_UTTERANCES).targets

    def filled() -> ModelSketch:
        made = ModelSketch.empty(known, targets, options)
        for index in made.layers:
            for block in range(BLOCKS):
                made.layers[index].close_block(block, Moments.zeros(dim, targets.count))
            kept = np.arange(options.kept_samples)
            made.samples[index].keys = kept.astype(np.uint64)
            made.samples[index].features = np.zeros((len(kept), dim), dtype=np.float32)
            made.samples[index].rows, made.samples[index].blocks = kept, kept
            made.samples[index].utterances = kept.astype(np.uint64)
        return made

    one, other = filled(), filled()
    size = sent(one)

    def merge() -> None:
        whole = ModelSketch.empty(known, targets, options)
        whole.merge(one)
        whole.merge(other)

    return {"layers": layers, "dim": dim, "bytes": size, "merge_s": round(timed(merge), 2)}


def planned() -> dict[str, Any]:
    """Return the plan, with the chunks of its shards, and how long workers accumulate before they send their sums."""
    shards = PLAN["hours"] * 60
    left, chunks = shards, 0
    while left:
        left -= chunk_size(left, PLAN["gpus"])
        chunks += 1
    return {**PLAN, "shards": shards, "chunks": chunks, "hand_over_s": HAND_OVER_S}


if __name__ == "__main__":
    main(sys.argv[1:])
