"""Test whether several layers together are better than the best one, and whether this can be predicted.

For each (task, model) there are `SPLITS` splits. Some speakers (words, voices) are for training and others for testing,
with few and with many training rows. Each split compares

- the sets of layers: single layers, two and three neighbours concatenated, all concatenated, and all concatenated with
  the weights w² of greatest evidence; for layers of equal shape also their mean, their sum with the weights of greatest
  evidence, and their sum with weights trained by gradient descent together with a linear head, as in SUPERB;
- the truth: the accuracy of a logistic regression on each set, with its strength chosen for each set on a third of the
  blocks of the training rows;
- the predictors, which see training rows only: log evidence (LogME) of standardised and of levelled layers, ridge
  regression without each block in turn (accuracy and R²), nearest neighbours, nearest class mean, the mean rank of the
  first and the neighbours, and, as a rival, the probe's own accuracy on the third on which its strength was chosen;
- rules that use no score of sets: all layers concatenated, their mean, the sum with trained weights, the last three,
  and the layer that `voxrank rank` puts first with its neighbours.

Advice by a predictor is the set with its highest value, in place of the single layer with its highest value.

The criterion was written before the reporting half was read. The development half chooses one predictor: the log
evidence of standardised layers (`advised.CHOSEN`), where its gain is above `advised.LEAST_GAIN`. Users see advice only
if the following holds on the reporting half. A cell is the mean over splits of a (task, model, number of rows).

1. Advice is no worse than the predictor's single layer, by half a point of accuracy, in at least 90 % of cells.
2. Its mean gain over that layer is above 0, with p < .05 by a one-sided signed-rank test over (task, model), and the
   95 % interval over resampled tasks and models together does not contain 0.
3. Spearman's rank correlation of predicted with true gain over all sets of several layers is at least .5 on average.
4. On average it is no worse than the best of those rules, which the development half chooses.

The criterion applies to all kinds of sets together. It also applies separately to neighbours with all layers
concatenated, and to sums (which are too few for 3). A separate kind need not meet 4 to be named beside one that does.

Run: python benchmarks/study/advice.py [--half development]. Cells are stored as they are computed; a second run
resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from common import provenance, save
from study import advised, jointgram
from study.evidence import concat_shares, gram_evidence, held_out_accuracy, sum_weights
from study.jointgram import Array, Gram, Ids, Known
from study.layersets import CORPORA, FOLDER, TASKS, Task, features_of, short
from study.run import made

NAME = "advice"
SPLITS = 3
SIZES = ("few", "many")
MOST_TESTED = 900
MOST_BLOCKS = 10
"""Maximum number of blocks of training rows; each is held out in turn."""
ADAM_STEPS, ADAM_RATE, WEIGHT_RATE, DECAY = 200, 0.02, 0.1, 1e-3
"""Steps, rates and weight decay of the trained sum, with all rows at once. The layers' weights have a higher rate than
the head, or they would hardly change."""


@dataclass(frozen=True)
class Split:
    """The rows of a split of a task.

    Attributes:
        train, test: (n,) and (m,) places in the corpus.
        known: labels and blocks of the training rows.
        wanted: (m,) labels of the test rows.
    """

    train: Ids
    test: Ids
    known: Known
    wanted: Ids


def split_of(task: Task, columns: dict[str, list[str]], number: int, per_class: int) -> Split:
    """Return the split with this number, the same for every model."""
    rng = np.random.default_rng([number, zlib.crc32(task.name.encode())])
    units, unit = np.unique(columns[task.unit], return_inverse=True)
    few_units = len(units) <= 3
    order = np.roll(np.arange(len(units)), -number) if few_units else rng.permutation(len(units))
    held = np.isin(unit, order[: max(1, len(units) // 3)])
    labels = np.unique(columns[task.label], return_inverse=True)[1]
    places = rng.permutation(len(labels))
    drawn = [places[(labels[places] == k) & ~held[places]][:per_class] for k in np.unique(labels)]
    train = np.sort(np.concatenate([own for own in drawn if len(own) == per_class]))
    classes, known = np.unique(labels[train], return_inverse=True)
    test = np.sort(places[held[places] & np.isin(labels[places], classes)][:MOST_TESTED])
    by = unit if len(np.unique(unit[train])) > 2 else np.unique(columns["clip"], return_inverse=True)[1]
    names = rng.permutation(np.unique(by[train]))
    blocks = np.argsort(names)[np.searchsorted(np.sort(names), by[train])] % MOST_BLOCKS
    return Split(train, test, Known(known, blocks), np.searchsorted(classes, labels[test]))


@dataclass(frozen=True)
class Layers:
    """A model's layers on the rows of a split, training rows first.

    Attributes:
        standard: for each layer, standardised rows (n + m, D).
        level: for each layer, levelled rows (n + m, D).
        alike: layers with the last layer's dimension and frame rate, which can be added.
        train: number of training rows, n.
    """

    standard: list[Array]
    level: list[Array]
    alike: list[int]
    train: int

    @classmethod
    def of(cls, features: dict[int, NDArray[np.float32]], rates: list[float], split: Split) -> Layers:
        """Select the rows of a split from all rows of a corpus."""
        rows, train = np.concatenate([split.train, split.test]), len(split.train)
        own = [features[index][rows] for index in sorted(features)]
        last = (own[-1].shape[1], rates[-1])
        alike = [i for i, (one, rate) in enumerate(zip(own, rates, strict=True)) if (one.shape[1], rate) == last]
        standard = [jointgram.standardised(one, train) for one in own]
        return cls(standard, [jointgram.levelled(one, train) for one in own], alike, train)

    @cached_property
    def grams(self) -> list[Gram]:
        """The Gram matrices of the standardised layers."""
        return [Gram.of(one, self.train) for one in self.standard]

    @cached_property
    def level_grams(self) -> list[Gram]:
        """The Gram matrices of the levelled layers."""
        return [Gram.of(one, self.train) for one in self.level]

    @cached_property
    def stack(self) -> Array:
        """The layers that can be added, (L, n + m, D)."""
        return np.stack([self.standard[index] for index in self.alike])

    def summed(self, weights: Array) -> Gram:
        """Return the Gram matrix of their weighted sum."""
        return Gram.of(np.tensordot(weights, self.stack, 1), self.train)


@dataclass(frozen=True)
class LayerSet:
    """A set of layers that is used as one layer.

    Attributes:
        kind: "single", "concat", "all", "concat by evidence", "mean", "sum by evidence" or "sum, trained".
        layers: indices of the layers.
        gram: Gram matrix of standardised layers.
        level: Gram matrix of levelled layers; the same for sums.
        weights: weights of the layers in a sum, or their squares in a concatenation, unless all are 1.
    """

    kind: str
    layers: tuple[int, ...]
    gram: Gram
    level: Gram
    weights: Array | None = None


def sets_of(layers: Layers, split: Split) -> Iterator[LayerSet]:
    """Return all sets that are compared."""
    count = len(layers.grams)
    for width in (1, 2, 3, count):
        for first in range(count - width + 1):
            parts = tuple(range(first, first + width))
            grams = [[of[part] for part in parts] for of in (layers.grams, layers.level_grams)]
            kind = {1: "single", count: "all"}.get(width, "concat")
            yield LayerSet(kind, parts, Gram.joint(grams[0]), Gram.joint(grams[1]))
    shares = concat_shares([gram.own for gram in layers.grams], split.known.targets)
    joint = Gram.joint(layers.grams, shares)
    yield LayerSet("concat by evidence", tuple(range(count)), joint, joint, shares)
    if len(layers.alike) > 1:
        alike = tuple(layers.alike)
        for kind, weights in (
            ("mean", np.full(len(alike), 1 / len(alike))),
            ("sum by evidence", sum_weights(layers.stack[:, : layers.train], split.known.targets)),
            ("sum, trained", trained_sum(layers.stack[:, : layers.train], split.known.labels)),
        ):
            summed = layers.summed(weights)
            yield LayerSet(kind, alike, summed, summed, weights)


def trained_sum(stack: Array, labels: Ids) -> Array:
    """Return the weights (L,) of a sum of layers (L, n, D), trained together with a linear head."""
    torch.manual_seed(0)
    rows, wanted = torch.from_numpy(stack.astype(np.float32)), torch.from_numpy(labels)
    head = torch.nn.Linear(stack.shape[2], int(labels.max()) + 1)
    torch.nn.init.zeros_(head.weight)
    logs = torch.nn.Parameter(torch.zeros(len(stack)))
    optimiser = torch.optim.AdamW(
        [
            {"params": head.parameters(), "lr": ADAM_RATE, "weight_decay": DECAY},
            {"params": [logs], "lr": WEIGHT_RATE, "weight_decay": 0.0},
        ]
    )
    for _ in range(ADAM_STEPS):
        optimiser.zero_grad()
        mixed = torch.tensordot(logs.softmax(0), rows, 1)
        torch.nn.functional.cross_entropy(head(mixed), wanted).backward()
        optimiser.step()
    return np.asarray(logs.detach().softmax(0).double().numpy())


def row_of(one: LayerSet, split: Split) -> dict[str, Any]:
    """Return the truth of a set and its predictions."""
    truth = jointgram.probe(one.gram, split.known, split.wanted)
    scores = {
        "logme": gram_evidence(one.gram.own, split.known.targets),
        "logme, levelled": gram_evidence(one.level.own, split.known.targets),
        "ridge": held_out_accuracy(one.gram.own, split.known.labels, split.known.blocks),
        "ridge R²": jointgram.ridge_r2(one.gram, split.known),
        "knn": jointgram.knn(one.gram, split.known),
        "ncm": jointgram.ncm(one.gram, split.known),
        "probe on the rest": truth.chosen_on,
    }
    about = {} if one.weights is None else {"weights": [round(float(w), 4) for w in one.weights]}
    return {
        "kind": one.kind,
        "layers": list(one.layers),
        "accuracy": round(truth.accuracy, 5),
        "scores": {name: round(value, 6) for name, value in scores.items()},
        **about,
    }


def cell(task: Task, spec: str) -> list[dict[str, Any]]:
    """Return the results of every split of a task with a model."""
    columns = CORPORA[task.corpus]().columns
    features, about = features_of(spec, task.corpus)
    found = []
    for size, per_class in zip(SIZES, task.per_class, strict=True):
        for number in range(SPLITS):
            split = split_of(task, columns, number, per_class)
            layers = Layers.of(features, about["rates"], split)
            sets = [row_of(one, split) for one in sets_of(layers, split)]
            counts = {"train": len(split.train), "test": len(split.test), "classes": int(split.wanted.max()) + 1}
            found.append({"size": size, "split": number, **counts, "sets": sets})
    return found


def kept(task: Task, spec: str, work: Callable[[Task, str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the stored results of a cell; compute them the first time."""
    path = FOLDER / "cells" / f"{task.name}-{short(spec).replace(' ', '-')}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        text = json.dumps(work(task, spec))
        temporary = path.with_suffix(".part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
        print(f"{task.name}, {short(spec)}: {time.perf_counter() - started:.0f} s", flush=True)
    return list(json.loads(path.read_text(encoding="utf-8")))


def store() -> dict[str, Any]:
    """Sum up both halves and write the result."""
    halves = {}
    for half in ("development", "reporting"):
        cells = [
            one
            for task in TASKS
            if task.half == half
            for spec in made(task.models)
            for one in advised.cells_of(task.name, short(spec), kept(task, spec, cell))
        ]
        halves[half] = advised.summed_up(cells)
    settings = {
        "splits": SPLITS,
        "most_tested": MOST_TESTED,
        "chosen": advised.CHOSEN,
        "worse": advised.WORSE,
        "menus": advised.MENUS,
        "whisper_window": "fit",
    }
    result = {"made": provenance(), "settings": settings, "held": advised.judged(halves), "halves": halves}
    save(NAME, result)
    return result


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("development", "reporting"), help="make the cells of one half, and no more")
    half = parser.parse_args(words).half
    torch.set_num_threads(1)
    for task in TASKS:
        if half in {None, task.half}:
            for spec in made(task.models):
                kept(task, spec, cell)
    if half is None:
        print(json.dumps(store()["held"], indent=1))


if __name__ == "__main__":
    main()
