"""Measure whether a ranking by aligned transcripts agrees with the ranking by exact times.

Every layer of every offline model is scored on phones, frame by frame (LogME, without silence). The labels are the
exact times of eSpeak speech, the flat start on layer 2 of Whisper base, the exact times moved by a frame at random, and
phones of equal length. All utterances of a language are aligned, and every second one is scored. The result is
Spearman's rank correlation with the exact times, by language, over all (model, layer) pairs.

Run: python benchmarks/stability.py
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from alignment import FRAME_S, MODEL, all_aligned, layers_of, spoken
from common import MODELS, provenance, save
from sentences import make_sentences, phone_numbers
from voxrank.config import EncoderOptions
from voxrank.encoders.registry import load_encoder
from voxrank.scores import LogME
from voxrank.targets.flatstart import flat_start
from voxrank.targets.timeline import Timeline

REFERENCE_LAYER = 2
LABELS = ("exact times", "flat start", "jitter", "equal lengths")
SILENCE = 0
EVERY = 2

Clips = Sequence[dict[str, Any]]


def main() -> None:
    clips = make_sentences()
    languages = list(dict.fromkeys(clip["language"] for clip in clips))
    own = {language: [clip for clip in clips if clip["language"] == language] for language in languages}
    timelines = {language: timelines_of(own[language]) for language in languages}
    values: dict[str, dict[str, dict[str, float]]] = {language: {} for language in languages}
    for spec in MODELS:
        started = time.perf_counter()
        encoder = load_encoder(spec, EncoderOptions(whisper_window="fit"))
        for language in languages:
            half = {name: every[::EVERY] for name, every in timelines[language].items()}
            values[language] |= scored(encoder, own[language][::EVERY], half)
        print(spec, round(time.perf_counter() - started), "s", flush=True)
    rows = []
    for language in languages:
        pairs = values[language]
        exact = [pairs[pair]["exact times"] for pair in pairs]
        row: dict[str, Any] = {"language": language, "pairs": len(pairs)}
        for name in LABELS[1:]:
            found = spearmanr(exact, [pairs[pair][name] for pair in pairs])
            row[name] = {"spearman": round(float(found.statistic), 4), "p": float(f"{found.pvalue:.2g}")}
        row["best"] = {name: best_pair(pairs, name) for name in LABELS}
        print(row, flush=True)
        rows.append(row)
    save("stability", {"made": provenance(), "reference": f"{MODEL}, layer {REFERENCE_LAYER}", "languages": rows})


def best_pair(pairs: dict[str, dict[str, float]], name: str) -> str:
    """Return the pair whose value by labels of this name is the highest."""
    return max(pairs, key=lambda pair: pairs[pair][name])


def timelines_of(clips: Clips) -> dict[str, list[Timeline]]:
    """Return the labels of one language in four versions."""
    numbers = phone_numbers(clips)
    encoder = load_encoder(MODEL, EncoderOptions(whisper_window="fit"))
    frames = [layers_of(encoder, clip, {REFERENCE_LAYER})[REFERENCE_LAYER].numpy() for clip in clips]
    utterances = [spoken(clip, part, numbers) for clip, part in zip(clips, frames, strict=True)]
    aligned = all_aligned(flat_start(utterances, len(numbers) + 1))
    rng = np.random.default_rng(0)
    found: dict[str, list[Timeline]] = {name: [] for name in LABELS}
    for clip, one, alignment in zip(clips, utterances, aligned, strict=True):
        phones = [phone for phone in clip["phones"] if phone["name"] and phone["end"] > phone["start"]]
        symbols = [numbers[phone["name"]] for phone in phones]
        starts, ends = (np.array([phone[key] for phone in phones]) for key in ("start", "end"))
        found["exact times"].append(Timeline.of(starts, ends, symbols))
        when, seconds = np.arange(len(one.features)) * FRAME_S, soundfile.info(clip["path"]).duration
        found["flat start"].append(Timeline.of_alignment(alignment, one.labels, when, seconds))
        found["jitter"].append(found["exact times"][-1].jittered(rng, FRAME_S))
        bounds = np.linspace(0, seconds, len(one.labels) + 1)
        found["equal lengths"].append(Timeline.of(bounds[:-1], bounds[1:], one.labels))
    return found


def scored(encoder: Any, clips: Clips, timelines: dict[str, list[Timeline]]) -> dict[str, dict[str, float]]:
    """Return LogME of each (model, layer) for each version of the labels."""
    rates, offsets = {layer.index: layer.frame_rate for layer in encoder.layers}, encoder.offsets()
    gathered: dict[int, list[torch.Tensor]] = {layer: [] for layer in rates}
    for clip in clips:
        for layer, frames in layers_of(encoder, clip, set(rates)).items():
            gathered[layer].append(frames)
    found = {}
    for layer, parts in gathered.items():
        features = torch.cat(parts).numpy()
        found[f"{encoder.spec}, layer {layer}"] = {
            name: logme(
                features,
                [
                    t.at(offsets[layer] + np.arange(len(p)) / rates[layer], rest=SILENCE)
                    for t, p in zip(own, parts, strict=True)
                ],
            )
            for name, own in timelines.items()
        }
    return found


def logme(features: NDArray[np.float32], labels: Sequence[NDArray[np.int64]]) -> float:
    """Return LogME over the frames that have a label."""
    symbols = np.concatenate(labels)
    heard = symbols > SILENCE
    return float(LogME().fit(features[heard], symbols[heard]).score_)


if __name__ == "__main__":
    main()
