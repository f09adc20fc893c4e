"""Compare the scores with trained probes: do they order (model, layer) pairs alike on recorded and synthetic speech?

For each task, every layer of every model of the offline pack is frozen. A probe on pooled features is trained on few
examples and tested on unseen speakers (for speaker identity: on other takes). Classes use a logistic regression and its
accuracy, values use ridge regression and its R². That is the truth. It is repeated over seeds, which shows how well the
truth agrees with itself; no score can agree better.

Scores see the training rows only, under four views of what a sample is: the mean of an utterance, the mean of a
segment, every frame, and every frame weighted by its effective number (`voxrank.config.ExtractionOptions`). Scores of
single samples (kNN and similar scores) see all utterance means and hold out speakers, or utterances where the speaker
is the target. The comparison also has rules that read no data (depth, dimension, parameters) and mean ranks of two or
three scores.

Run: python benchmarks/agreement.py [--fresh]. Rows are stored as they are computed; a second run resumes.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import DATA, MADE, MODELS, load, provenance, save
from spoken import make_numbers
from voxrank import scores
from voxrank.config import EncoderOptions, ExtractionOptions, Sample
from voxrank.data.audio import decode
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Utterance
from voxrank.encoders.base import Encoder, LayerFrames
from voxrank.encoders.registry import load_encoder
from voxrank.extraction.segments import segment_frames, segment_means
from voxrank.sketches.moments import Moments, sum_runs
from voxrank.sketches.multiplication import self_products

NAME = "agreement"
SEEDS = (0, 1, 2)
BATCH = 64
MAX_GROUPS = 100
OF_MOMENTS = {name: score for name, score in scores.ESTIMATORS.items() if issubclass(score, scores.MomentScore)}
OF_SAMPLES = {name: score for name, score in scores.ESTIMATORS.items() if issubclass(score, scores.SampledScore)}
RULES = ("depth", "dim", "parameters")
PER_CLASS = 10
"""Number of training examples per class of the probe. It is small, so that the truth stays below 100 %."""
WITH_VALUES = 100
"""Number of training examples of a probe of values."""
VIEWS = get_args(Sample)
COMBINED = ("logme", "hscore", "ridge", "pwcca", "cka", "knn", "loo")
"""Scores of utterance means whose mean ranks are tried. They support values as well as classes."""


@dataclass(frozen=True)
class Task:
    """A task on which the layers are compared."""

    name: str
    manifest: str
    target: str

    def is_test(self, utterance: Utterance) -> bool:
        """Return which rows are for testing: words are tested on unseen speakers, speakers on other takes."""
        if self.target == "speaker":
            return zlib.crc32(utterance.path.stem.encode()) % 2 == 1
        if self.manifest == "fsdd":
            return utterance.speaker in {"lucas", "theo"}
        return utterance.split == "test"

    @property
    def path(self) -> Path:
        """The path of the manifest."""
        return make_numbers(MADE / "spoken") if self.manifest == "spoken" else DATA / self.manifest / "manifest.csv"

    @property
    def values(self) -> bool:
        """True if the task predicts values rather than classes."""
        return self.target == "value"

    def targets(self) -> NDArray[Any]:
        """Return class ids (n,), or values (n, 1) with mean 0 and standard deviation 1."""
        utterances = read_dataset(self.path, split="all", target=self.target).utterances
        if not self.values:
            return np.unique([u.label for u in utterances], return_inverse=True)[1]
        values = np.array([u.value for u in utterances], dtype=np.float64)[:, None]
        return np.asarray((values - values.mean()) / values.std())


TASKS = (
    Task("fsdd digits, unseen speakers", "fsdd", "label"),
    Task("fsdd speakers", "fsdd", "speaker"),
    Task("arabic words, unseen speakers", "arabic-commands", "label"),
    Task("arabic speakers", "arabic-commands", "speaker"),
    Task("languages, unheard voices", "spoken", "label"),
    Task("speaking rate, unheard voices", "spoken", "value"),
)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget the rows made before")
    arguments = parser.parse_args(words)
    result = {} if arguments.fresh else load(NAME)
    rows: list[dict[str, Any]] = result.get("rows", [])
    done = {(row["task"], row["model"]) for row in rows}
    for manifest in dict.fromkeys(task.manifest for task in TASKS):
        tasks = [task for task in TASKS if task.manifest == manifest]
        for model in MODELS:
            missing = [task for task in tasks if (task.name, model) not in done]
            if missing:
                rows += list(score_model(model, missing))
                store(rows)
                print(f"{manifest}: {model} done", flush=True)
    for line in store(rows):
        print(line)


def store(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the results so far; return the summary."""
    lines = summary(rows)
    complete = len(lines) == len(TASKS) and all(line["spearman"] for line in lines)
    chosen = held_out(lines) if complete else []
    save(NAME, {"made": provenance(), "settings": settings(), "summary": lines, "held_out": chosen, "rows": rows})
    return lines


def settings() -> dict[str, Any]:
    return {
        "per_class": PER_CLASS,
        "with_values": WITH_VALUES,
        "seeds": len(SEEDS),
        "whisper_window": "fit",
        "segment_s": ExtractionOptions().segment_s,
        "probe": "logistic regression, C = 1; ridge regression, its strength by leave-one-out",
    }


def score_model(model: str, tasks: list[Task]) -> Iterator[dict[str, Any]]:
    """Return rows for every layer of a model on the tasks of one manifest; features are computed once."""
    encoder = load_encoder(model, EncoderOptions(whisper_window="fit"))
    utterances = read_dataset(tasks[0].path, split="all").utterances
    targets = {t.name: t.targets() for t in tasks}
    test = {t.name: np.array([t.is_test(u) for u in utterances]) for t in tasks}
    groups = {t.name: speakers(utterances, t) for t in tasks}
    started = time.perf_counter()
    means, moments = encode(encoder, utterances, targets, test)
    encode_s = time.perf_counter() - started
    for layer in encoder.layers:
        for task in tasks:
            train = ~test[task.name]
            pooled, wanted = means[layer.index], targets[task.name]
            frames, segments = moments[task.name][layer.index]
            yield {
                "task": task.name,
                "model": model,
                "layer": layer.index,
                "dim": layer.dim,
                "parameters": encoder.parameters,
                "depth": layer.index / max(len(encoder.layers) - 1, 1),
                "accuracy": probe(pooled, wanted, train),
                "utterance": by_utterance(pooled[train], wanted[train], groups[task.name][train]),
                "segment": by_moments(segments),
                "effective": by_moments(frames, 1 / frames.inflation()),
                "frame": by_moments(frames),
                "inflation": round(frames.inflation(), 2),
                "encode_s": round(encode_s, 1),
            }


Means = dict[int, NDArray[np.float64]]
Both = tuple[Moments, Moments]
"""Moments of frames and of segments."""


def encode(
    encoder: Encoder,
    utterances: tuple[Utterance, ...],
    targets: dict[str, NDArray[Any]],
    test: dict[str, NDArray[np.bool_]],
) -> tuple[Means, dict[str, dict[int, Both]]]:
    """Compute the pooled features of all utterances, and the moments of each task's training rows, in one pass."""
    parts: dict[int, list[NDArray[np.float64]]] = {layer.index: [] for layer in encoder.layers}
    moments = {
        name: {layer.index: (zeros(layer.dim, wanted), zeros(layer.dim, wanted)) for layer in encoder.layers}
        for name, wanted in targets.items()
    }
    longest = {layer.index: segment_frames(ExtractionOptions().segment_s, layer.frame_rate) for layer in encoder.layers}
    for start in range(0, len(utterances), BATCH):
        batch = slice(start, min(start + BATCH, len(utterances)))
        pieces: dict[int, list[LayerFrames]] = {layer.index: [] for layer in encoder.layers}
        for piece in encoder.encode([decode(u, encoder.sample_rate) for u in utterances[batch]]):
            pieces[piece.layer].append(piece)
        for layer, of_layer in pieces.items():
            frames = joined(of_layer)
            sums = sum_runs(frames.frames, frames.lengths)
            parts[layer].append(sums / np.array(frames.lengths)[:, None])
            for name, wanted in targets.items():
                train = ~test[name][batch]
                for kept, samples in zip(
                    moments[name][layer], (frames, segment_means(frames, longest[layer])), strict=True
                ):
                    add_rows(kept, samples, train, wanted[batch])
    return {layer: np.concatenate(values) for layer, values in parts.items()}, moments


def zeros(dim: int, targets: NDArray[Any]) -> Moments:
    """Return moments without samples."""
    values = targets.ndim == 2
    return Moments.zeros(dim, 1 if values else int(targets.max()) + 1, values=values)


def joined(pieces: Sequence[LayerFrames]) -> LayerFrames:
    """Concatenate the pieces of a batch, utterance after utterance."""
    runs = [torch.split(piece.frames, list(piece.lengths)) for piece in pieces]
    frames = torch.cat([run for of_utterance in zip(*runs, strict=True) for run in of_utterance])
    return LayerFrames(pieces[0].layer, frames, tuple(np.sum([piece.lengths for piece in pieces], axis=0).tolist()))


def add_rows(moments: Moments, samples: LayerFrames, chosen: NDArray[np.bool_], targets: NDArray[Any]) -> None:
    """Add the samples of the chosen utterances of a batch."""
    lengths = np.array(samples.lengths)
    kept = samples.frames[torch.from_numpy(np.repeat(chosen, lengths))]
    sums = sum_runs(kept, tuple(lengths[chosen].tolist()))
    moments.add(self_products(kept), sums, lengths[chosen], targets[chosen])


def speakers(utterances: tuple[Utterance, ...], task: Task) -> NDArray[Any]:
    """Return the groups that are held out together."""
    if task.target == "speaker":
        return np.array([u.id for u in utterances])
    return np.array([u.speaker for u in utterances])


def by_utterance(features: NDArray[np.float64], targets: NDArray[Any], groups: NDArray[Any]) -> dict[str, float]:
    """Return every score of utterance means that supports these targets; higher is better."""
    moments = zeros(features.shape[1], targets)
    moments.update(torch.from_numpy(features), targets)
    few = groups if len(set(groups)) <= MAX_GROUPS else None
    task = "regression" if targets.ndim == 2 else "classification"
    values = {
        name: (score(regression=True) if task == "regression" else score()).fit(features, targets, few).score_
        for name, score in OF_SAMPLES.items()
        if task in scores.get_score(name).tasks
    }
    return by_moments(moments) | signed(values)


def by_moments(moments: Moments, weight: float = 1.0) -> dict[str, float]:
    """Return every score of the moments, with each sample weighted by `weight`; higher is better."""
    spectrum = scores.Spectrum.of(moments).thinned(weight)
    return signed({name: score.read(spectrum).value for name, score in OF_MOMENTS.items()})


def signed(values: dict[str, float]) -> dict[str, float]:
    return {name: value * (1 if scores.get_score(name).higher_is_better else -1) for name, value in values.items()}


def probe(features: NDArray[np.float64], targets: NDArray[Any], train: NDArray[np.bool_]) -> list[float]:
    """Return the result of a probe that is trained on few rows, on the test rows, for each seed."""
    reached = []
    for seed in SEEDS:
        chosen = few_rows(targets, train, np.random.default_rng(seed))
        model = RidgeCV(np.logspace(-2, 5, 15)) if targets.ndim == 2 else LogisticRegression(max_iter=2000)
        fitted = make_pipeline(StandardScaler(), model).fit(features[chosen], targets[chosen])
        reached.append(float(fitted.score(features[~train], targets[~train])))
    return reached


def few_rows(targets: NDArray[Any], train: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the training rows of a probe: the same number of each class, or a number in all."""
    if targets.ndim == 2:
        return np.asarray(rng.choice(np.flatnonzero(train), WITH_VALUES, replace=False))
    return np.concatenate(
        [rng.choice(np.flatnonzero(train & (targets == k)), PER_CLASS, replace=False) for k in np.unique(targets)]
    )


def columns(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the values to compare with the truth: every score under every view, rules, and mean ranks of scores."""
    found = {f"{name}_{view}": [row[view][name] for row in rows] for view in VIEWS for name in rows[0][view]}
    ranks = {name: stats.rankdata(found[f"{name}_utterance"]) for name in COMBINED}
    for count in (2, 3):
        for names in combinations(COMBINED, count):
            found["+".join(names)] = np.mean([ranks[name] for name in names], axis=0).tolist()
    return found | {name: [row[name] for row in rows] for name in RULES}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Spearman of each score and rule with the mean accuracy, for each task, and of the truth with itself."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        chosen = [row for row in rows if row["task"] == task]
        accuracy = np.array([row["accuracy"] for row in chosen])
        line: dict[str, Any] = {"task": task, "pairs": len(chosen), "spearman": {}, "p": {}}
        if len({row["model"] for row in chosen}) > 1:
            for name, values in columns(chosen).items():
                rho, p = stats.spearmanr(values, accuracy.mean(axis=1))
                line["spearman"][name], line["p"][name] = round(float(rho), 3), float(f"{p:.2g}")
            between = [stats.spearmanr(accuracy[:, i], accuracy[:, j])[0] for i in range(3) for j in range(i)]
            line["truth_with_itself"] = round(float(np.mean(between)), 3)
            line["best_accuracy"] = round(float(accuracy.mean(axis=1).max()), 3)
        lines.append(line)
    return lines


def held_out(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each task, the score or mean rank that is best on average over the other tasks, with its result."""
    candidates = [f"{name}_utterance" for name in COMBINED]
    candidates += [name for name in lines[0]["spearman"] if "+" in name]
    found = []
    for line in lines:
        others = [other for other in lines if other is not line]
        best = max(candidates, key=lambda name: float(np.mean([o["spearman"][name] for o in others])))
        found.append({"task": line["task"], "chosen": best, "spearman": line["spearman"][best]})
    return found


if __name__ == "__main__":
    main()
