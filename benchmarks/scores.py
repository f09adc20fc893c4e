"""Measure what scores cost, against the matrix product that they cannot avoid, and against published algorithms.

Times are of alternating rounds in one process: medians, and medians of their ratios to the product. The product is F'F
of n samples for LogME, and the projection of both sets for the sliced Wasserstein distance, in single precision; the
faster of NumPy with all threads of its BLAS and of torch counts. Scores are timed with the automatic choice of the
method of their own product, and with each method forced (`voxrank.sketches.methods`). They are compared with LogME by
the published fixed-point iteration (singular values of the samples, written again from its formulas) and with POT's
sliced distance. Memory is the peak of a separate process above its input.

Then all scores are timed at once, for an hour of frames of 13 layers of 768 numbers at 50 Hz in ten blocks, each frame
a sample: sketches, scores and intervals. They are compared with the forward passes of HuBERT base (random weights) over
a minute, times sixty.

With OMP_NUM_THREADS=1, times are seconds of the processor, which other work on the machine hardly changes.

Run: python benchmarks/scores.py, or some of the parts: python benchmarks/scores.py logme sliced hour
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from transformers import HubertConfig, HubertModel

from common import alternate, in_own_process, in_turn, load, machine, provenance, save
from voxrank._support.memory import keep_heap_small, peak_rss_mb
from voxrank.config import ExtractionOptions
from voxrank.data.shards import Item, plan_shards
from voxrank.data.utterance import Utterance
from voxrank.encoders.base import Layer, LayerFrames, Waveform
from voxrank.encoders.joint import sketch_key
from voxrank.engines.local import sketch_model
from voxrank.scores import LogME, SlicedWasserstein, get_score, score_names
from voxrank.scores.registry import estimate_all
from voxrank.scores.sliced import sliced_wasserstein
from voxrank.scores.view import LayerView
from voxrank.sketches.methods import METHODS, VARIABLE
from voxrank.sketches.projections import draw_directions
from voxrank.targets.labels import utterance_targets
from voxrank.testing.encoders import FakeEncoder

PARTS = ("logme", "sliced", "hour")
ROUNDS = 5
LOGME = ((100_000, 768, 40), (100_000, 1024, 100))
SLICED = ((50_000, 768, 50), (50_000, 768, 500))
WARM_UPS = 10
"""Number of runs before the timed ones, in which the automatic choice of methods is made."""
REFERENCE_ROUNDS = 2
"""Number of repetitions of the slow references."""
HOUR = {"layers": 13, "dim": 768, "classes": 40, "hours": 1}
HOUR_ROUNDS = 1
CLIP_S = 10.0
CLIPS_OF_HOUR = 360
HUBERT = HubertConfig()
NAMES = [name for name in score_names() if not get_score(name).needs_source]


def main(words: Sequence[str]) -> None:
    if words[:1] == ["--memory"]:
        print(json.dumps(memory_of(words[1], tuple(int(x) for x in words[2:]))))
        return
    keep_heap_small()
    parts = set(words or PARTS)
    if unknown := parts - set(PARTS):
        raise SystemExit(f"expected parts among {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    result = load("scores")
    if "hour" in parts:
        result["hour"] = hour() | {"made": provenance()}
        print(result["hour"], flush=True)
        save("scores", result)
    made = provenance() | machine()
    for name, cases, measure in (("logme", LOGME, logme), ("sliced", SLICED, sliced)):
        if name in parts:
            result[name] = []
            for case in cases:
                row = measure(*case) | {"memory_mb": int(in_own_process(__file__, "--memory", name, *case))}
                print(row, flush=True)
                result[name].append(row)
            result |= {"made": made, "rounds": ROUNDS}
            save("scores", result)


def samples(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)


def logme(n: int, dim: int, classes: int) -> dict[str, Any]:
    features = samples(n, dim)
    labels = np.random.default_rng(1).integers(0, classes, n)
    frames = torch.from_numpy(features)
    products = {"numpy": lambda: features.T @ features, "torch": lambda: frames.T @ frames}
    times = in_turn(products | by_method(lambda: LogME().fit(features, labels).score_), ROUNDS, clock())
    times |= in_turn({"published": lambda: published(features, labels)}, REFERENCE_ROUNDS, clock())
    return {"n": n, "dim": dim, "classes": classes} | ratios(times, "published")


def clock() -> Callable[[], float]:
    """Return the clock: with one thread that of the processor, which other work on the machine hardly changes."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def by_method(score: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    """Return the score with the automatic choice of its methods, and with each method."""

    def run(setting: str) -> None:
        os.environ[VARIABLE] = setting
        try:
            score()
        finally:
            del os.environ[VARIABLE]

    for _ in range(WARM_UPS):
        score()
    return {f"score, {setting}": partial(run, setting) for setting in ("auto", *METHODS)}


def published(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Run the fixed-point iteration, class by class, on singular values of the samples, in float64 as published."""
    n, dim = features.shape
    wide = features.astype(np.float64)
    _, s, vt = np.linalg.svd(wide.T @ wide, full_matrices=False)
    s = np.sqrt(s)
    u = (wide @ vt.T) / s
    sigma, scores = s**2, []
    for c in range(labels.max() + 1):
        y = (labels == c).astype(np.float64)
        x2 = (u.T @ y) ** 2
        rest = (y**2).sum() - x2.sum()
        alpha = beta = 1.0
        for _ in range(11):
            t = alpha / beta
            gamma = (sigma / (sigma + t)).sum()
            m2 = (sigma * x2 / (t + sigma) ** 2).sum()
            r2 = (x2 / (1 + sigma / t) ** 2).sum() + rest
            alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (r2 + 1e-5)
            if abs(alpha / beta - t) / t <= 1e-3:
                break
        evidence = dim * np.log(alpha) + n * np.log(beta) - np.log(alpha + beta * sigma).sum()
        scores.append((evidence - beta * r2 - alpha * m2 - n * np.log(2 * np.pi)) / (2 * n))
    return float(np.mean(scores))


def sliced(n: int, dim: int, projections: int) -> dict[str, Any]:
    import ot

    source, target = samples(n, dim), samples(n, dim, seed=1)
    directions = draw_directions(dim, projections, seed=0)
    d, s, t = torch.from_numpy(directions), torch.from_numpy(source), torch.from_numpy(target)
    products = {
        "numpy": lambda: (directions @ source.T, directions @ target.T),
        "torch": lambda: (d @ s.T, d @ t.T),
    }
    times = in_turn(products | by_method(lambda: sliced_wasserstein(source, target, directions)), ROUNDS, clock())
    columns = np.ascontiguousarray(directions.T)
    times |= in_turn(
        {"POT": lambda: ot.sliced_wasserstein_distance(source, target, projections=columns)}, REFERENCE_ROUNDS, clock()
    )
    ours = sliced_wasserstein(source, target, directions)
    difference = abs(ours - float(ot.sliced_wasserstein_distance(source, target, projections=columns)))
    return {"n": n, "dim": dim, "projections": projections, "difference_from_pot": difference} | ratios(times, "POT")


class Replay(FakeEncoder):
    """An encoder of thirteen layers at 50 Hz whose frames cost nothing: all are from one array."""

    def __init__(self) -> None:
        super().__init__(n_layers=1)
        self.layers = tuple(Layer(i, str(i), HOUR["dim"], 50.0) for i in range(HOUR["layers"]))
        frames = 50 * 60
        self._frames = torch.randn(2 * frames, HOUR["dim"], generator=torch.Generator().manual_seed(0))

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        lengths = tuple(len(window) // 320 for window in windows)
        for layer in self.layers:
            start = 37 * layer.index
            yield LayerFrames(layer.index, self._frames[start : start + sum(lengths)], lengths)


def hour() -> dict[str, Any]:
    """Measure all scores of an hour of speech, and what the intervals add."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.flac"
        soundfile.write(clip, 0.1 * samples(round(CLIP_S * 16_000), 1)[:, 0], 16_000)  # silence would be skipped
        utterances = [
            Utterance(f"{i}", clip, label=str(i % HOUR["classes"]), speaker=str(i % 40)) for i in range(CLIPS_OF_HOUR)
        ]
        hubert = HubertModel(HUBERT).eval()
        minute = torch.randn(6, 160_000)
        times = alternate(
            {
                "hubert_minute": lambda: forward(hubert, minute),
                "without_intervals": lambda: score_all(utterances, blocks=1),
                "all": lambda: score_all(utterances, blocks=10),
            },
            HOUR_ROUNDS,
        )
    passes = 60 * times["hubert_minute"]
    return HOUR | {
        "scores": len(NAMES),
        "rounds": HOUR_ROUNDS,
        "seconds": {"hubert_hour": round(passes, 1), "all": round(times["all"], 1)},
        "share_of_passes": round(times["all"] / passes, 3),
        "intervals_share_of_run": round((times["all"] - times["without_intervals"]) / (passes + times["all"]), 4),
    }


@torch.inference_mode()
def forward(model: HubertModel, batch: torch.Tensor) -> None:
    model(batch, output_hidden_states=True)


def score_all(utterances: list[Utterance], *, blocks: int) -> None:
    """Sketch and score every layer, with every frame as a sample."""
    encoder, options = Replay(), ExtractionOptions(sample="frame", blocks=blocks)
    items = [Item(utterance, CLIP_S, row) for row, utterance in enumerate(utterances)]
    targets = utterance_targets(utterances, "classification")
    shards = plan_shards(items, "label", blocks=blocks, shard_s=options.shard_s)
    sketch = sketch_model(lambda: encoder, shards, targets, encoder.layers, options, lambda _: None)
    for layer in encoder.layers:
        key = sketch_key(layer)
        view = LayerView(sketch.layers[key], sketch.samples[key], targets.rows)
        estimate_all([get_score(name) for name in NAMES], view)


def ratios(times: dict[str, list[float]], reference: str) -> dict[str, Any]:
    """Return medians, the ratio of each method to the faster product, and the gain over a published algorithm."""
    seconds = {name: statistics.median(taken) for name, taken in times.items()}
    product = [min(pair) for pair in zip(times["numpy"], times["torch"], strict=True)]
    products = {
        name.removeprefix("score, "): statistics.median(a / b for a, b in zip(taken, product, strict=True))
        for name, taken in times.items()
        if name.startswith("score, ")
    }
    return {
        "seconds": {name: round(taken, 6) for name, taken in seconds.items()},
        "products": {name: round(ratio, 2) for name, ratio in products.items()},
        "times_quicker": round(seconds[reference] / seconds["score, auto"], 1),
        "than": reference,
    }


def memory_of(name: str, case: tuple[int, ...]) -> int:
    """Return the memory above the input in MB, with the libraries loaded."""
    LogME().fit(samples(500, case[1]), np.arange(500) % 3).score_  # noqa: B018
    SlicedWasserstein(n_projections=4).fit(samples(50, case[1]), samples(50, case[1]))
    one = samples(case[0], case[1])
    other: Any = samples(case[0], case[1], seed=1) if name == "sliced" else np.arange(case[0]) % case[2]
    before = peak_rss_mb()
    if name == "sliced":
        sliced_wasserstein(one, other, draw_directions(case[1], case[2], seed=0))
    else:
        LogME().fit(one, other).score_  # noqa: B018
    return round(peak_rss_mb() - before)


if __name__ == "__main__":
    main(sys.argv[1:])
