"""Measure early stopping on real speech: how much it saves, and how often it keeps the best model of all data.

Every model sees all data once, with the cache, and its forward passes are timed. Then rankings with early stopping run
from the cache, with other random orders of the rounds and at several levels of confidence. Savings are counted in
seconds of those forward passes, so that a large model counts more than a small one.

Run: python benchmarks/stopping.py [--draws 20]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import voxrank
from common import DATA, MADE, MODELS, load, provenance, save
from voxrank.config import CacheOptions, EncoderOptions, StoppingOptions

NAME = "stopping"
FOLDER = MADE / "cache"
SETS = (
    ("arabic-commands", "label"),
    ("arabic-commands", "speaker"),
    ("fsdd", "label"),
    ("fsdd", "speaker"),
)
CONFIDENCES = (0.9, 0.95, 0.99)
ENCODER = EncoderOptions(device="cpu", whisper_window="fit")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    draws = parser.parse_args(words).draws
    result = load(NAME) or {"encode_s": {}, "sets": {}}
    for name, target in SETS:
        seconds = result["encode_s"].setdefault(name, {})
        for model in MODELS:
            found = ranked(name, target, [model])
            if model not in seconds:
                seconds[model] = round(found.cost.encode_s, 2)
                save(NAME, result)
                print(name, model, seconds[model], flush=True)
        full = ranked(name, target, list(MODELS))
        result["sets"][f"{name} {target}"] = {
            "utterances": full.data.used,
            "seconds": round(full.data.seconds, 1),
            "order": [one.model for one in full.models],
            "scores": [round(one.scores["logme"].value, 4) for one in full.models],
            "confidence": {
                str(level): summed(list(races(name, target, level, draws, seconds)), full) for level in CONFIDENCES
            },
        }
        result["made"] = provenance()
        save(NAME, result)
        print(name, target, result["sets"][f"{name} {target}"]["confidence"], flush=True)


def ranked(name: str, target: str, models: list[str], **options: Any) -> voxrank.Ranking:
    """Rank by LogME, from the cache."""
    return voxrank.rank(
        DATA / name / "manifest.csv",
        models,
        target=target,
        split="all",
        scores=["logme"],
        encoder=ENCODER,
        cache=CacheOptions(str(FOLDER), 100),
        **options,
    )


def races(name: str, target: str, level: float, draws: int, seconds: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Run rankings that stop early, each with another random order."""
    whole = sum(seconds.values())
    for draw in range(draws):
        found = ranked(name, target, list(MODELS), stopping=StoppingOptions(level), seed=draw)
        encoded = sum(one.share * seconds[one.model] for one in found.models)
        yield {
            "first": found.best.model,
            "left": [one.model for one in found.models if one.share == found.best.share],
            "share": found.best.share,
            "saved": 1 - encoded / whole,
        }


def summed(runs: list[dict[str, Any]], full: voxrank.Ranking) -> dict[str, Any]:
    """Return how often the best model of all data was kept, and the savings: the mean and the minimum."""
    winner = full.best.model
    saved = np.array([one["saved"] for one in runs])
    return {
        "draws": len(runs),
        "kept": sum(winner in one["left"] for one in runs),
        "first": sum(winner == one["first"] for one in runs),
        "saved": round(float(saved.mean()), 4),
        "saved_least": round(float(saved.min()), 4),
        "share": round(float(np.mean([one["share"] for one in runs])), 4),
    }


if __name__ == "__main__":
    main()
