"""Synthetic rankings and validations for tests of reports: with all possible parts, in any size, under any names."""

import numpy as np

from voxrank.data.utterance import Skipped
from voxrank.groundtruth.agreement import agreement
from voxrank.groundtruth.verdict import Cost as ValidationCost
from voxrank.groundtruth.verdict import Judged, Parts, Truth, Validation
from voxrank.results.details import ClassView, Details, Knowledge, LayerClasses, LearningCurve, ModelCurve, Picture
from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity

NAMES = ("openai/whisper-base", "facebook/hubert-base-ls960", "pack:ge2e", "logmel")
CLASSES = ("yes", "no", "stop", "go")
SCORES = {"combined": True, "logme": True, "frechet": False}


def make_ranking(
    names=NAMES,
    *,
    n_layers=5,
    scores=SCORES,
    classes=CLASSES,
    columns=("speaker", "channel"),
    task="classification",
    intervals=True,
    joint=False,
    details=True,
    skipped=2,
    lead=1.0,
    **changed,
):
    """Return a ranking of these models, best first; `lead` is the share of resamples in which each beats the next."""
    rng = np.random.default_rng(5)
    layers = []
    for number, name in enumerate(names):
        for layer in [*range(n_layers), *(["mean"] if joint else [])]:
            depth = n_layers / 2 if layer == "mean" else layer
            good = 1 - 0.6 * (number + 0.3) / len(names) - 0.05 * abs(depth - n_layers // 2)
            values = {n: good if higher else 5 - 4 * good for n, higher in scores.items()}
            values = {
                n: ScoreValue(v, *((v - 0.04, v + 0.03) if intervals else (None, None))) for n, v in values.items()
            }
            layers.append(LayerScore(name, layer, f"block {layer}", 64, values))
    layers.sort(key=lambda layer: -next(iter(layer.scores.values())).value)
    best = {name: next(layer for layer in layers if layer.model == name) for name in names}
    share = [1.0] if len(names) == 1 else [lead, *[(1 - lead) / (len(names) - 1)] * (len(names) - 1)]
    models = tuple(
        ModelScore(
            name,
            best[name].layer,
            place,
            share[place - 1] if intervals else None,
            10 ** (9 - place) if place < 4 else 0,
            best[name].scores,
            speed=20.0 * place,
        )
        for place, name in enumerate(names, start=1)
    )
    count = range(len(names))
    beats = tuple(tuple(0.0 if i == j else lead if i < j else 1 - lead for j in count) for i in count)
    given = {
        "task": task,
        "data": DataSummary(1200 + skipped, 1200, 1834.0, "5f21611d350fe0b0a748d7a77ebeb6a8"),
        "models": models,
        "layers": tuple(layers),
        "beats": beats if intervals else None,
        "cost": Cost(60.0, 2.0, 70.5, 900.0, 0.0, 120.0),
        "skipped": tuple(
            Skipped(f"clips/{i}.wav", "no such file", None if i % 2 else names[0]) for i in range(skipped)
        ),
        "options": {
            "voxrank": "0.1.0",
            "data": "train.csv",
            "target": "label",
            "split": "all",
            "scores": list(scores),
            "higher_is_better": dict(scores),
            "layers": "all",
            "seed": 0,
        },
        "sensitivity": (Sensitivity("uniform", 0.93, 0.0004, names[0], 2),),
        "details": make_details(names, n_layers, classes, columns, rng) if details else Details(),
    }
    return Ranking(**given | changed)


def make_details(names, n_layers, classes, columns, rng):
    """Return details with all possible parts."""
    views = tuple(
        ClassView(name, 60, 0.5 + 0.4 * i / len(classes), ((classes[i - 1], 0.3), (classes[i - 2], 0.1)))
        for i, name in enumerate(classes)
    )
    pictures = tuple(
        Picture(
            name, 2, method, place, tuple(classes), _points(rng, len(classes), spread), 0.4 if method == "pca" else None
        )
        for method in ("pca", "t-sne")
        for place, name, spread in (("best", names[0], 4.0), ("worst", names[-1], 0.5))
    )
    knowledge = tuple(
        Knowledge(column, name, layer, 0.9 - 0.1 * layer, 0.3, 4, 300)
        for column in columns
        for name in names
        for layer in range(min(n_layers, 6))
    )
    seconds = (60.0, 240.0, 960.0, 1834.0)
    curves = tuple(
        ModelCurve(name, 2, tuple(1 - 0.2 * i - 0.3 / (s + 1) for s in range(4))) for i, name in enumerate(names)
    )
    curve = LearningCurve("logme", True, seconds, curves, (None, 0.6, 1.0, 1.0), 240.0)
    layers = tuple(LayerClasses(name, 2, views[: len(views) - place % 2]) for place, name in enumerate(names))
    return Details(layers, pictures, knowledge, curve)


def _points(rng, classes, spread):
    return tuple(
        (float(spread * np.cos(c) + rng.normal()), float(spread * np.sin(c) + rng.normal()), float(c))
        for c in range(classes)
        for _ in range(15)
    )


def make_validation(names=NAMES, *, failed=False):
    """Return a validation of two layers of each model, fine-tuned with two seeds."""
    truth = tuple(
        Truth(
            name,
            layer,
            f"block {layer}",
            64,
            1000,
            (None, None) if failed else (0.9 - 0.1 * i, 0.88 - 0.1 * i),
            (),
            30.0,
        )
        for i, name in enumerate(names)
        for layer in (1, 2)
    )
    values = tuple(1.0 - 0.1 * i for i in range(len(truth)))
    numbers = [[float("nan") if v is None else v for v in one.values] for one in truth]
    found = agreement(values, numbers, truth_higher_is_better=True, n_resamples=50)
    judged = tuple(
        Judged(n, kind, True, values, 2.0, found) for n, kind in (("combined", "score"), ("deepest", "rule"))
    )
    cost = ValidationCost(60.0, 2.0, 0.0, 900.0, 90.0, 1000.0, 900.0)
    return Validation(
        "classification",
        "probe",
        "accuracy",
        True,
        Parts("speaker", 90, 20, 40, 500.0),
        truth,
        judged,
        cost,
        (),
        (),
        {},
    )
