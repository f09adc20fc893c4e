"""Compare the default score, and others, with probes that are trained and tested on speakers not heard.

Every layer of every model of the offline pack is frozen. The truth of a cell is a logistic regression on standardised
features (ridge regression for values), trained on some examples per class and tested on other speakers: its accuracy,
or its R². It is repeated over draws of the examples. Scores see the examples of the first draw alone, as a ranking
sees its data: a bounded sample in blocks of speakers. The expected accuracy and its interval are compared with the
accuracy that the probe reached on the same examples.

Cells: words, digits and speakers with 5 to 76 examples, languages and speaking rates, and phones from a forced
alignment, where an example is the frame in the middle of a segment.

Run: python benchmarks/heldout.py [--fresh]. Features stay in benchmarks/.made; rows are stored as they are computed.
"""

from __future__ import annotations

import argparse
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from agreement import TASKS, Task, speakers
from common import DATA, MADE, MODELS, load, provenance, save
from voxrank import scores
from voxrank._support.progress import Progress
from voxrank.config import DetailOptions, EncoderOptions, ExtractionOptions, RankRequest, SequenceOptions
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset
from voxrank.engines.base import engine_of
from voxrank.ranking.plan import resolve
from voxrank.ranking.prepare import prepare_run
from voxrank.ranking.runner import ModelRunner
from voxrank.scores.head import deal_folds
from voxrank.scores.names import DEFAULT_ORDER
from voxrank.scores.registry import estimate_all
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import Sample, frame_keys, utterance_key

NAME = "heldout"
SIZES, VALUES, SEGMENTS = (5, 10, 30, 76), (50, 200), (1000, 4000)
"""Examples per class, examples of values, and segments of phones, of which a cell is made."""
DRAWS = 3
KEPT = ExtractionOptions().kept_samples
OLD = "default before"
"""LogME; from 20 examples per class on, the mean order by LogME and kNN."""
FEW = 20
COLUMNS = ("accuracy", "likelihood", "balanced", "r2", "logme", "hscore", "ridge", "knn", "ncm", "loo")


@dataclass(frozen=True)
class Rows:
    """The examples of a task, in the order of the features.

    Attributes:
        targets: (n,) class ids, or (n, 1) values.
        test: (n,) whether an example is for testing.
        groups: (n,) what is held out together.
        most_tested: number of test examples that are used, at most.
    """

    targets: NDArray[Any]
    test: NDArray[np.bool_]
    groups: NDArray[np.int64]
    most_tested: int = 600

    @property
    def values(self) -> bool:
        """True if targets are values."""
        return self.targets.ndim == 2

    def draw(self, size: int, seed: int, *, per_class: bool) -> NDArray[np.int64]:
        """Return positions of training examples: at most `size` of each class, or in all."""
        rng, train = np.random.default_rng([seed, size]), ~self.test
        if not per_class:
            return np.sort(rng.permutation(np.flatnonzero(train))[:size])
        ids = np.unique(self.targets)
        return np.concatenate([rng.permutation(np.flatnonzero(train & (self.targets == k)))[:size] for k in ids])

    @cached_property
    def tested(self) -> NDArray[np.int64]:
        """Positions of the test examples."""
        return np.sort(np.random.default_rng(7).permutation(np.flatnonzero(self.test))[: self.most_tested])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget the rows made before")
    result = {} if parser.parse_args(words).fresh else load(NAME)
    rows: list[dict[str, Any]] = result.get("rows", [])
    done = {(row["cell"], row["model"], row["layer"]) for row in rows}
    warnings.simplefilter("ignore", ConvergenceWarning)
    for task in TASKS:
        examples = rows_of(task)
        sizes = VALUES if task.values else SIZES
        for model, layer, features in utterance_features(task):
            rows += score_layer(task.name, examples, features, (model, layer), done, sizes, per_class=not task.values)
            store(rows)
        print(task.name, flush=True)
    for model, layer, features, examples in phone_features():
        rows += score_layer("phones", examples, features, (model, layer), done, SEGMENTS, per_class=False)
        store(rows)
    for line in store(rows)["summary"]:
        print(line)


def store(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the rows so far with their summary."""
    content = {"made": provenance(), "settings": settings(), **summary(rows), "rows": rows}
    save(NAME, content)
    return content


def settings() -> dict[str, Any]:
    return {
        "draws": DRAWS,
        "kept_samples": KEPT,
        "whisper_window": "fit",
        "probe": "logistic regression, C = 1, on standardised features; ridge regression for values",
        "data": {task.name: task.manifest for task in TASKS} | {"phones": "asterisk-en"},
        "target": {task.name: task.target for task in TASKS} | {"phones": "phone, by a flat start"},
    }


def rows_of(task: Task) -> Rows:
    """Read the targets of a task."""
    utterances = read_dataset(task.path, split="all", target=task.target).utterances
    groups = np.unique(speakers(utterances, task), return_inverse=True)[1]
    return Rows(task.targets(), np.array([task.is_test(u) for u in utterances]), groups.astype(np.int64))


def utterance_features(task: Task) -> Iterator[tuple[str, int, NDArray[np.float32]]]:
    """Yield every layer of every model with the means of all utterances of a task, in their order."""
    dataset = read_dataset(task.path, split="all", target=task.target)
    order = {utterance_key(u.id): index for index, u in enumerate(dataset.utterances)}
    for model, layer, sample in samples_of(task.manifest, dataset, SequenceOptions()):
        positions = np.array([order[key] for key in sample["utterances"]])
        features = np.empty_like(sample["features"])
        features[positions] = sample["features"]
        yield model, layer, features


def phone_features() -> Iterator[tuple[str, int, NDArray[np.float32], Rows]]:
    """Yield every layer with the frames in the middle of its segments; whole utterances are for testing."""
    dataset = read_dataset(DATA / "asterisk-en" / "manifest.csv", target="text", split="all")
    for model, layer, sample in samples_of("phones", dataset, SequenceOptions(unit="phone", language="en-us")):
        utterances = np.unique(sample["utterances"], return_inverse=True)[1].astype(np.int64)
        test = np.array([zlib.crc32(key.tobytes()) % 5 < 2 for key in sample["utterances"]])
        yield model, layer, sample["features"], Rows(sample["rows"], test, utterances, most_tested=4000)


def samples_of(name: str, dataset: Dataset, sequence: SequenceOptions) -> Iterator[tuple[str, int, Any]]:
    """Yield the samples of every layer, all of them; they are encoded once."""
    folder = MADE / "heldout" / name
    folder.mkdir(parents=True, exist_ok=True)
    missing = tuple(m for m in MODELS if not (folder / f"{m.replace(':', '_')}.npz").exists())
    if missing:
        encode(folder, missing, dataset, sequence)
    for model in MODELS:
        content = np.load(folder / f"{model.replace(':', '_')}.npz")
        for layer in range(int(content["layers"])):
            yield model, layer, {key: content[f"{key}_{layer}"] for key in ("features", "rows", "utterances")}


def encode(folder: Any, models: tuple[str, ...], dataset: Dataset, sequence: SequenceOptions) -> None:
    request = RankRequest(
        models=models,
        encoder=EncoderOptions(whisper_window="fit"),
        extraction=ExtractionOptions(kept_samples=200_000),
        sequence=sequence,
        details=DetailOptions("none"),
    )
    plan, watcher = resolve(request, dataset), Progress()
    with engine_of(request.engine, request.encoder, watcher.note) as engine:
        data = prepare_run(plan, dataset, None, engine, None, watcher)
        for run in ModelRunner(plan, data, engine, None, watcher).run():
            samples = {key.layer: sample for key, sample in run.sketch.samples.items()}
            arrays: dict[str, Any] = {"layers": len(samples)}
            for layer, sample in samples.items():
                arrays |= {f"features_{layer}": sample.features, f"rows_{layer}": sample.rows}
                arrays |= {f"utterances_{layer}": sample.utterances}
            np.savez(folder / f"{run.model.replace(':', '_')}.npz", **arrays)
            print("encoded", run.model, flush=True)


def score_layer(
    task: str,
    examples: Rows,
    features: NDArray[np.float32],
    candidate: tuple[str, int],
    done: set[tuple[str, str, int]],
    sizes: tuple[int, ...],
    *,
    per_class: bool,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of examples."""
    model, layer = candidate
    for size in sizes:
        cell = f"{task}, {size}"
        if (cell, model, layer) in done:
            continue
        draws = [examples.draw(size, seed, per_class=per_class) for seed in range(DRAWS)]
        truth = [probe(features, examples, draw) for draw in draws]
        started = time.perf_counter()
        estimates = estimate(features[draws[0]], examples.targets[draws[0]], examples.groups[draws[0]])
        seconds = time.perf_counter() - started
        main_score = "r2" if examples.values else "accuracy"
        yield {
            "cell": cell,
            "model": model,
            "layer": layer,
            "dim": features.shape[1],
            "truth": truth,
            "interval": [round(end, 5) for end in estimates[main_score].interval() or ()],
            "scores": {name: float(f"{estimate.value:.8g}") for name, estimate in estimates.items()},
            "seconds": round(seconds, 3),
        }


def probe(features: NDArray[np.float32], examples: Rows, train: NDArray[np.int64]) -> float:
    """Return the result of a probe on the test examples."""
    model = RidgeCV(np.logspace(-2, 5, 15)) if examples.values else LogisticRegression(max_iter=300)
    fitted = make_pipeline(StandardScaler(), model).fit(features[train], examples.targets[train])
    return round(float(fitted.score(features[examples.tested], examples.targets[examples.tested])), 5)


def estimate(features: NDArray[np.float32], targets: NDArray[Any], groups: NDArray[np.int64]) -> dict[str, Any]:
    """Return the estimates of every score, from sketches like those of a ranking."""
    n_targets = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    blocks, values = deal_folds(groups), targets.ndim == 2
    moments = BlockedMoments.zeros(features.shape[1], n_targets, values=values)
    for block in np.unique(blocks):
        part = Moments.zeros(features.shape[1], n_targets, values=values)
        part.update(torch.from_numpy(features[blocks == block]), targets[blocks == block])
        moments.close_block(int(block), part)
    sample = Sample.empty(KEPT, features.shape[1])
    owners = np.arange(len(features), dtype=np.uint64)
    keys = frame_keys(owners * np.uint64(0x9E3779B97F4A7C15), [1] * len(features))
    sample.update(torch.from_numpy(features), keys, np.arange(len(features)), blocks, utterances=owners)
    task = "regression" if values else "classification"
    usable = [score for name in COLUMNS if task in (score := scores.get_score(name)).tasks]
    return estimate_all(usable, LayerView(moments, sample, targets))


def columns(rows: list[dict[str, Any]], size: int) -> dict[str, NDArray[np.float64]]:
    """Return the values that are compared with the truth, higher for better."""
    found = {name: np.array([row["scores"][name] for row in rows]) for name in rows[0]["scores"]}
    rank = {name: stats.rankdata(values) for name, values in found.items()}
    first = "accuracy" if "accuracy" in found else "r2"
    if size in SEGMENTS:
        found["default"] = found["accuracy"] + 1e-6 * rank["likelihood"]
    else:
        order = DEFAULT_ORDER["classification" if first == "accuracy" else "regression"]
        found["default"] = np.sum([rank[name] for name in order], axis=0)
    if "likelihood" in rank:
        found["likelihood+logme"] = rank["likelihood"] + rank["logme"]
        found["accuracy+likelihood+logme"] = rank["accuracy"] + rank["likelihood"] + rank["logme"]
    is_few = first == "accuracy" and size < FEW
    found[OLD] = found["logme"] if is_few or size in SEGMENTS else rank["logme"] + rank["knn"]
    return found


def calibration(rows: list[dict[str, Any]], truth: NDArray[np.float64]) -> dict[str, float]:
    """Return how near the expected accuracy is to that of the probe on the same examples, over the layers of a cell."""
    expected = np.array([row["scores"]["accuracy"] for row in rows])
    low, high = np.array([row["interval"] for row in rows]).T
    return {
        "bias": round(float((expected - truth).mean()), 4),
        "error": round(float(np.abs(expected - truth).mean()), 4),
        "covered": round(float(((low <= truth) & (truth <= high)).mean()), 4),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each cell, the rank correlation and the relative regret of every score, and the calibration."""
    lines = []
    for cell in dict.fromkeys(row["cell"] for row in rows):
        chosen = [row for row in rows if row["cell"] == cell]
        if len({row["model"] for row in chosen}) < len(MODELS):
            continue
        truth = np.array([row["truth"] for row in chosen])
        mean, first = truth.mean(axis=1), truth[:, 0]
        line: dict[str, Any] = {"cell": cell, "layers": len(chosen), "best": round(float(mean.max()), 4)}
        line["scores"] = {
            name: {
                "spearman": round(float(stats.spearmanr(values, mean)[0]), 4),
                "regret": round(float(1 - mean[values.argmax()] / mean.max()), 4),
            }
            for name, values in columns(chosen, int(cell.rpartition(" ")[2])).items()
        }
        pairs = [stats.spearmanr(truth[:, i], truth[:, j])[0] for i in range(DRAWS) for j in range(i)]
        line["truth_with_itself"] = round(float(np.mean(pairs)), 4)
        if "accuracy" in chosen[0]["scores"]:
            line |= calibration(chosen, first)
        line["seconds"] = round(float(np.mean([row["seconds"] for row in chosen])), 3)
        lines.append(line)
    return {"summary": lines}


if __name__ == "__main__":
    main()
