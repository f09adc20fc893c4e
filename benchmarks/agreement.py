"""Do the scores order (model, layer) pairs as a trained probe does? A first look, on recorded speech.

For each task, every layer of every model of the offline pack is frozen; a logistic regression on pooled features is
trained on few examples a class and tested on speakers it has not heard (for speaker identity: on other takes). Its
accuracy is the truth; it is repeated over seeds, so that we also know how well the truth agrees with itself, which no
score can beat. Scores see the training rows only: with utterance means as samples all of them, with every frame those
of the moments. kNN and NCM hold out speakers (single utterances, where the speaker is the target).
The rules that look at no data (depth, dimension, parameters) stand beside it.

Run: python benchmarks/agreement.py [--fresh]. Rows are kept as they are made; a second run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import DATA, MODELS, load, provenance, save
from voxrank import scores
from voxrank.config import EncoderOptions
from voxrank.data.audio import decode
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Utterance
from voxrank.encoders.base import Encoder, LayerFrames
from voxrank.encoders.registry import load_encoder
from voxrank.sketches.moments import Moments, self_products, sum_runs

NAME = "agreement"
SEEDS = (0, 1, 2)
BATCH = 64
MAX_GROUPS = 100
OF_MOMENTS: dict[str, type[scores.MomentScore]] = {
    "logme": scores.LogME,
    "hscore": scores.HScore,
    "ridge": scores.RidgeR2,
    "cca": scores.CCA,
    "pwcca": scores.PWCCA,
    "vci": scores.VCI,
    "cka": scores.CKA,
    "rankme": scores.RankMe,
}
OF_SAMPLES: dict[str, type[scores.SampledScore]] = {
    "knn": scores.KNN,
    "ncm": scores.NearestClassMean,
    "loo": scores.LeaveOneOut,
    "gbc": scores.GBC,
    "transrate": scores.TransRate,
}
RULES = ("depth", "dim", "parameters")
PER_CLASS = 10
"""Training examples a class for the probe: few, so that the truth has room below 100 %."""


@dataclass(frozen=True)
class Task:
    """A question asked of the layers."""

    name: str
    manifest: str
    target: str

    def is_test(self, utterance: Utterance) -> bool:
        """Words are tested on unheard speakers; speakers on other takes."""
        if self.target == "speaker":
            return zlib.crc32(utterance.path.stem.encode()) % 2 == 1
        if self.manifest == "fsdd":
            return utterance.speaker in {"lucas", "theo"}
        return utterance.split == "test"


TASKS = (
    Task("fsdd digits, unseen speakers", "fsdd", "label"),
    Task("fsdd speakers", "fsdd", "speaker"),
    Task("arabic words, unseen speakers", "arabic-commands", "label"),
    Task("arabic speakers", "arabic-commands", "speaker"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget the rows made before")
    arguments = parser.parse_args()
    result = {} if arguments.fresh else load(NAME)
    rows: list[dict[str, Any]] = result.get("rows", [])
    done = {(row["task"], row["model"]) for row in rows}
    for manifest in dict.fromkeys(task.manifest for task in TASKS):
        tasks = [task for task in TASKS if task.manifest == manifest]
        for model in MODELS:
            missing = [task for task in tasks if (task.name, model) not in done]
            if missing:
                rows += list(score_model(model, manifest, missing))
                store(rows)
                print(f"{manifest}: {model} done", flush=True)
    for line in store(rows):
        print(line)


def store(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write what is known so far; returns the summary."""
    lines = summary(rows)
    save(NAME, {"made": provenance(), "settings": settings(), "summary": lines, "rows": rows})
    return lines


def settings() -> dict[str, Any]:
    return {"per_class": PER_CLASS, "seeds": len(SEEDS), "whisper_window": "fit", "probe": "logistic regression, C = 1"}


def score_model(model: str, manifest: str, tasks: list[Task]) -> Iterator[dict[str, Any]]:
    """Rows for every layer of a model on the tasks of one manifest: features are made once."""
    encoder = load_encoder(model, EncoderOptions(whisper_window="fit"))
    path = DATA / manifest / "manifest.csv"
    utterances = read_dataset(path, split="all").utterances
    labels = {t.name: [u.label for u in read_dataset(path, split="all", target=t.target).utterances] for t in tasks}
    test = {t.name: np.array([t.is_test(u) for u in utterances]) for t in tasks}
    ids = {name: np.unique(values, return_inverse=True)[1] for name, values in labels.items()}
    groups = {t.name: speakers(utterances, t) for t in tasks}
    started = time.perf_counter()
    means, frames = encode(encoder, utterances, ids, test)
    encode_s = time.perf_counter() - started
    for layer in encoder.layers:
        for task in tasks:
            train = ~test[task.name]
            accuracies = probe(means[layer.index], ids[task.name], train)
            yield {
                "task": task.name,
                "model": model,
                "layer": layer.index,
                "dim": layer.dim,
                "parameters": encoder.parameters,
                "depth": layer.index / max(len(encoder.layers) - 1, 1),
                "accuracy": accuracies,
                "utterance": by_utterance(means[layer.index][train], ids[task.name][train], groups[task.name][train]),
                "frame": by_frame(frames[task.name][layer.index]),
                "encode_s": round(encode_s, 1),
            }


Means = dict[int, NDArray[np.float64]]
FrameMoments = dict[str, dict[int, Moments]]


def encode(
    encoder: Encoder,
    utterances: tuple[Utterance, ...],
    ids: dict[str, NDArray[np.int64]],
    test: dict[str, NDArray[np.bool_]],
) -> tuple[Means, FrameMoments]:
    """Pooled features of all utterances, and the frame moments of each task's training rows, in one pass."""
    parts: dict[int, list[NDArray[np.float64]]] = {layer.index: [] for layer in encoder.layers}
    moments = {
        name: {layer.index: Moments.zeros(layer.dim, int(labels.max()) + 1) for layer in encoder.layers}
        for name, labels in ids.items()
    }
    for start in range(0, len(utterances), BATCH):
        batch = slice(start, min(start + BATCH, len(utterances)))
        pieces: dict[int, list[LayerFrames]] = {layer.index: [] for layer in encoder.layers}
        for piece in encoder.encode([decode(u, encoder.sample_rate) for u in utterances[batch]]):
            pieces[piece.layer].append(piece)
        for layer, parts_of_layer in pieces.items():
            frames = torch.cat([piece.frames for piece in parts_of_layer])
            counts = np.sum([piece.lengths for piece in parts_of_layer], axis=0)
            sums = sum_runs(frames, tuple(counts.tolist()))
            parts[layer].append(sums / counts[:, None])
            for name, labels in ids.items():
                train = ~test[name][batch]
                kept = frames[torch.from_numpy(np.repeat(train, counts))]
                moments[name][layer].add(self_products(kept), sums[train], counts[train], labels[batch][train])
    return {layer: np.concatenate(values) for layer, values in parts.items()}, moments


def speakers(utterances: tuple[Utterance, ...], task: Task) -> NDArray[Any]:
    """Groups that are held out together."""
    if task.target == "speaker":
        return np.array([u.id for u in utterances])
    return np.array([u.speaker for u in utterances])


def by_utterance(features: NDArray[np.float64], labels: NDArray[np.int64], groups: NDArray[Any]) -> dict[str, float]:
    """Every score of utterance means, higher for better."""
    values = {name: score().fit(features, labels).score_ for name, score in OF_MOMENTS.items()}
    few = groups if len(set(groups)) <= MAX_GROUPS else None
    values |= {name: score().fit(features, labels, few).score_ for name, score in OF_SAMPLES.items()}
    return {name: value * (1 if scores.get_score(name).higher_is_better else -1) for name, value in values.items()}


def by_frame(moments: Moments) -> dict[str, float]:
    """Every score of the frames' moments, higher for better."""
    spectrum = scores.Spectrum.of(moments)
    values = {name: score.read(spectrum).value for name, score in OF_MOMENTS.items()}
    return {name: value * (1 if scores.get_score(name).higher_is_better else -1) for name, value in values.items()}


def probe(features: NDArray[np.float64], labels: NDArray[np.int64], train: NDArray[np.bool_]) -> list[float]:
    """Accuracy on the test rows of a logistic regression trained on `PER_CLASS` rows a class, for each seed."""
    accuracies = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(train & (labels == k)), PER_CLASS, replace=False) for k in np.unique(labels)]
        )
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        classifier.fit(features[chosen], labels[chosen])
        accuracies.append(float(classifier.score(features[~train], labels[~train])))
    return accuracies


def columns(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """What is compared with the truth: every score, and the rules."""
    found = {
        f"{name}_{how}": [row[how][name] for row in rows] for how in ("utterance", "frame") for name in rows[0][how]
    }
    return found | {name: [row[name] for row in rows] for name in RULES}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spearman of each score and rule with the mean accuracy, for each task; and of the truth with itself."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        chosen = [row for row in rows if row["task"] == task]
        accuracy = np.array([row["accuracy"] for row in chosen])
        line: dict[str, Any] = {"task": task, "pairs": len(chosen)}
        if len(chosen) > 2:
            for name, values in columns(chosen).items():
                if len(set(values)) == 1:
                    continue  # one model so far
                rho, p = stats.spearmanr(values, accuracy.mean(axis=1))
                line[name] = {"spearman": round(float(rho), 3), "p": float(f"{p:.2g}")}
            between = [stats.spearmanr(accuracy[:, i], accuracy[:, j])[0] for i in range(3) for j in range(i)]
            line["truth_with_itself"] = round(float(np.mean(between)), 3)
            line["best_accuracy"] = round(float(accuracy.mean(axis=1).max()), 3)
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
