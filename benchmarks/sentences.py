"""Sentences of frequent words in seven languages, spoken by eSpeak NG, with the exact times of their phones.

Each clip has a few words drawn from the 2,000 most frequent of the language, at a random rate and pitch, with noise at
15 to 30 dB. The clips are created once and are the same on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from wordfreq import top_n_list

from common import MADE
from spoken import write_in_noise
from voxrank.testing.speech import SAMPLE_RATE_HZ, Synthesiser

VOICES = {
    "en-us": ("m1", "f2", "m4"),
    "de": ("m1", "f2"),
    "fr": ("m3", "f4"),
    "es": ("m1", "f2"),
    "it": ("m3", "f3"),
    "ru": ("m2", "f1"),
    "pl": ("m4", "f2"),
}
TAKES = 60
WORDS = (4, 9)
FREQUENT = 2000
RATES_WPM = (130, 220)
SNR_DB = (15.0, 30.0)
FOLDER = MADE / "sentences"


def make_sentences(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return clips with path, language, voice, text and phones (name, start, end, new_word); create them once."""
    index = folder / "phones.json"
    if index.exists():
        clips: list[dict[str, Any]] = json.loads(index.read_text(encoding="utf-8"))
        return clips
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    synthesiser, clips = Synthesiser(timed=True), []
    for language, variants in VOICES.items():
        words = [word for word in top_n_list(language[:2], FREQUENT) if word.isalpha() and len(word) > 1]
        for number, variant in enumerate(variants):
            rng = np.random.default_rng([list(VOICES).index(language), number])
            for take in range(TAKES):
                text = " ".join(rng.choice(words, rng.integers(*WORDS)))
                rate_wpm, pitch = int(rng.integers(*RATES_WPM)), int(rng.integers(25, 76))
                made, phones = synthesiser.speak_timed(text, f"{language}+{variant}", rate_wpm=rate_wpm, pitch=pitch)
                path = folder / "clips" / f"{language}-{variant}-{take}.flac"
                clean = soxr.resample(made, synthesiser.sample_rate, SAMPLE_RATE_HZ)
                write_in_noise(path, clean, SNR_DB, rng)
                clips.append(
                    {"path": str(path), "language": language, "voice": f"{language}+{variant}", "text": text}
                    | {"phones": [asdict(phone) for phone in phones]}
                )
    index.write_text(json.dumps(clips, ensure_ascii=False), encoding="utf-8")
    return clips


def phone_numbers(clips: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the number of each phone, from 1."""
    names = sorted({phone["name"] for clip in clips for phone in clip["phones"]} - {""})
    return {name: number for number, name in enumerate(names, start=1)}
