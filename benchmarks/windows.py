"""Measure what Whisper's window changes: 0, 0.5, 1 or 2 s of silence after the utterance, and "auto", against 30 s.

Every layer of Whisper tiny.en and base is scored on seven sets of recorded speech: words, digits, speakers, phones,
sentences of 3 to 10 s, syllables, and languages. The labels are the same for all windows; phones are aligned once, by a
flat start on MFCC. A row compares the layers' held-out accuracy with that of 30 s. It has the layer that is chosen, its
regret (the accuracy, with 30 s, that it loses to the layer that is chosen with 30 s), and the share of the processor
time of 30 s, measured in turn in the same process.

Run: python benchmarks/windows.py [SET …]
"""

from __future__ import annotations

import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import soundfile
from scipy.stats import spearmanr

import voxrank
from common import DATA, MADE, load, provenance, save
from study.cells import noisy
from study.debian import Recording, klettres
from study.debian import prompts as foreign_prompts
from voxrank.config import EncoderOptions, Seconds, SequenceOptions
from voxrank.data.audio import decode
from voxrank.data.utterance import Dataset, Utterance
from voxrank.encoders.base import Encoder
from voxrank.encoders.registry import load_encoder, register_scheme
from voxrank.encoders.whisper import Whisper
from voxrank.encoders.whisper_window import AUTO, WindowRule
from voxrank.results.ranking import LayerScore, Ranking

MODELS = ("pack:whisper-tiny.en", "pack:whisper-base")
WINDOWS = ("0", "0.5", "1", "2", "auto", "full")
"""Seconds of silence after the utterance, and the options. With 0.5 to 2 s, the window is a multiple of half a second;
"0" is "fit"."""
POSITIONS_HZ = 50
SCHEME = "window"
SCORES = ("accuracy", "likelihood", "logme")
TIMED_UTTERANCES, ROUNDS = 2, 2
PHONES = SequenceOptions(unit="phone", language="en-us", aligner="flat:mfcc")


def main(*names: str) -> None:
    register_scheme(SCHEME, load_with_window)
    for name in names or SETS:
        for model in MODELS:
            rows = measure(name, model)
            before = load("windows").get("rows", [])
            kept = [row for row in before if (row["set"], row["model"]) != (name, model)]
            save("windows", {"made": provenance(), "rows": kept + rows})


def load_with_window(rest: str, options: EncoderOptions) -> Encoder:
    """Load the model of ``window:WINDOW:SPEC`` with one of the `WINDOWS`."""
    window, _, spec = rest.partition(":")
    kind: Any = window if window in ("auto", "full") else "fit"
    encoder = load_encoder(spec, replace(options, whisper_window=kind))
    if kind == "fit" and window != "0" and isinstance(encoder, Whisper):
        encoder.rule = WindowRule(margin=round(float(window) * POSITIONS_HZ), step=AUTO.step)
    return encoder


def measure(name: str, model: str) -> list[dict[str, Any]]:
    """Return a row for each window."""
    chosen = SETS[name]
    data = chosen.data()
    if chosen.snr_db is not None:
        data = replace(
            data, utterances=noisy(data.utterances, MADE / "windows" / f"{name}{chosen.snr_db:+g}", chosen.snr_db)
        )
    specs = {window: f"{SCHEME}:{window}:{model}" for window in WINDOWS}
    options: dict[str, Any] = {"sequence": chosen.sequence} if chosen.sequence else {}
    ranking = voxrank.rank(data, list(specs.values()), scores=("default",), details="none", **options)
    seconds = measure_seconds(data, specs)
    rows = []
    for window, spec in specs.items():
        row = {"set": name, "model": model, "window": window, "utterances": len(data)}
        share = round(seconds[window] / seconds["full"], 4)
        row |= {"mean_s": round(fmean(map(length, data.utterances)), 2), "share": share}
        rows.append(row | compare(ranking, spec, specs["full"]))
        print({key: value for key, value in rows[-1].items() if key not in SCORES}, flush=True)
    return rows


def compare(ranking: Ranking, spec: str, full: str) -> dict[str, Any]:
    """Return the scores of a model's layers with one window, and how they agree with those of 30 s."""
    scores = [
        {
            name: [round(layer.scores[name].value, 4) for layer in layers_of(ranking, one) if name in layer.scores]
            for name in SCORES
        }
        for one in (spec, full)
    ]
    best, truth = (next(int(x.layer) for x in ranking.models if x.model == one) for one in (spec, full))
    return scores[0] | agreement(scores[0]["accuracy"], scores[1]["accuracy"], best, truth)


def agreement(here: list[float], there: list[float], best: int, truth: int) -> dict[str, Any]:
    """Return how the accuracy of the layers agrees with that of 30 s, and the choice of the best layer."""
    differences = np.subtract(here, there)
    ordered = min(len(set(here)), len(set(there))) > 1
    return {
        "difference": round(float(differences.mean()), 4),
        "typical": round(float(np.abs(differences).mean()), 4),
        "largest": round(float(np.abs(differences).max()), 4),
        "at_best": round(float(differences[truth]), 4),
        "spearman": round(float(spearmanr(here, there).statistic), 3) if ordered else None,
        "best": best,
        "best_full": truth,
        "regret": round(there[truth] - there[best], 4),
    }


def layers_of(ranking: Ranking, spec: str) -> list[LayerScore]:
    """Return the layers of a model, in order."""
    return sorted((layer for layer in ranking.layers if layer.model == spec), key=lambda layer: int(layer.layer))


def measure_seconds(data: Dataset, specs: dict[str, str]) -> dict[str, float]:
    """Return the processor seconds of the passes over some utterances of median length, by window, in turn."""
    middle = sorted(data.utterances, key=length)[len(data) // 2 :][:TIMED_UTTERANCES]
    encoders = {window: load_encoder(spec) for window, spec in specs.items()}
    taken: dict[str, list[float]] = {window: [] for window in specs}
    for turn in range(ROUNDS + 1):
        for window, encoder in encoders.items():
            waveforms = [decode(one, encoder.sample_rate) for one in middle]
            started = time.process_time()
            for _ in encoder.encode(waveforms):
                pass
            if turn:  # the first round is for warming up
                taken[window].append(time.process_time() - started)
    return {window: median(values) for window, values in taken.items()}


def length(one: Utterance) -> Seconds:
    """Return the length of a recording in seconds."""
    return float(soundfile.info(one.path).duration)


@dataclass(frozen=True)
class Set:
    """A set of labelled speech.

    Attributes:
        data: function that returns it.
        sequence: units of its transcripts; None for labels of utterances.
        snr_db: signal-to-noise ratio of the white noise in it, so that not every layer is always right; None for none.
    """

    data: Callable[[], Dataset]
    sequence: SequenceOptions | None = None
    snr_db: float | None = None


def words() -> Dataset:
    """Return ten Arabic words of 1 s, by eight speakers each."""
    return shared("arabic-commands", "label", classes=10, each=8, spread=lambda one: one.speaker)


def speakers() -> Dataset:
    """Return ten speakers of Arabic words, with eight words each."""
    return shared("arabic-commands", "speaker", classes=10, each=8, spread=lambda one: one.path.parent.name)


def digits() -> Dataset:
    """Return ten English digits of 0.2 to 2 s, by six speakers."""
    return shared("fsdd", "label", classes=10, each=8, spread=lambda one: one.speaker)


def phones() -> Dataset:
    """Return English prompts of up to 3 s, with their transcripts."""
    return english(0.6, 3.0, 60)


def sentences() -> Dataset:
    """Return English prompts of 3 to 10 s, with their transcripts."""
    return english(3.0, 10.0, 24)


def languages() -> Dataset:
    """Return prompts of 3 to 10 s in Spanish, French, Italian and Russian, one voice each."""
    found = [replace(as_utterance(one), label=one.language) for one in foreign_prompts() if 3 <= one.seconds <= 10]
    return of_classes("languages", found, each=10, spread=lambda one: one.id)


def syllables() -> Dataset:
    """Return syllables of a consonant and a vowel, labelled by the vowel, in five languages."""
    chosen = ("es", "pt_BR", "uk", "it", "tn")
    found = [
        replace(as_utterance(one), label=one.name[-1], speaker=one.language)
        for one in klettres()
        if one.kind == "syllab" and one.language in chosen and len(one.name) == 2 and one.name[-1] in "aeiou"
    ]
    return of_classes("syllables", found, each=12, spread=lambda one: one.speaker)


def shared(name: str, target: str, *, classes: int, each: int, spread: Callable[[Utterance], Hashable]) -> Dataset:
    """Return some utterances of some classes of a set in the shared folder."""
    data = voxrank.read_dataset(DATA / name / "manifest.csv", target=target, split="all")
    kept = sorted({str(one.label) for one in data.utterances}, key=digest)[:classes]
    found = [one for one in data.utterances if str(one.label) in kept]
    return replace(data, utterances=of_classes(name, found, each=each, spread=spread).utterances)


def english(least_s: Seconds, most_s: Seconds, count: int) -> Dataset:
    """Return some English prompts of a range of lengths, with their transcripts."""
    data = voxrank.read_dataset(DATA / "asterisk-en" / "manifest.csv", split="all")
    found = [one for one in data.utterances if least_s <= length(one) <= most_s]
    return replace(data, utterances=tuple(sorted(found, key=lambda one: digest(one.id))[:count]))


def of_classes(
    name: str, utterances: Iterable[Utterance], *, each: int, spread: Callable[[Utterance], Hashable]
) -> Dataset:
    """Return so many utterances of each class, taking the values of `spread` in turn."""
    turns: dict[Hashable, int] = defaultdict(int)
    ordered: dict[str, list[tuple[int, Utterance]]] = defaultdict(list)
    for one in sorted(utterances, key=lambda one: digest(one.id)):
        key = (one.label, spread(one))
        ordered[str(one.label)].append((turns[key], one))
        turns[key] += 1
    kept = [one for own in ordered.values() for _, one in sorted(own, key=lambda pair: pair[0])[:each]]
    return Dataset(name, "classification", "label", tuple(kept))


def as_utterance(one: Recording) -> Utterance:
    """Return a recording of the Debian packages."""
    return Utterance(id=f"{one.language}/{one.kind}/{one.name}", path=Path(one.path), language=one.language)


def digest(text: str) -> int:
    """Return a number that orders names at random, the same on every machine."""
    return zlib.crc32(text.encode())


SETS = {
    "words": Set(words, snr_db=0),
    "digits": Set(digits, snr_db=5),
    "speakers": Set(speakers, snr_db=10),
    "phones": Set(phones, PHONES),
    "sentences": Set(sentences, PHONES),
    "languages": Set(languages, snr_db=-10),
    "syllables": Set(syllables),
}


if __name__ == "__main__":
    main(*sys.argv[1:])
