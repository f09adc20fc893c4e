"""Numbers spoken in eight languages by many voices, with labels and values that are known exactly.

Each clip is a number of four digits, spoken by eSpeak NG at a random rate. The label is the language, the value the
rate (in tens of words a minute). A speaker is a language with a variant of its voice; three variants of all languages
are kept for testing.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile
import soxr

from voxrank.testing.speech import SAMPLE_RATE_HZ, Synthesiser

LANGUAGES = ("en-us", "de", "fr", "es", "it", "ru", "pl", "tr")
VARIANTS = ("m1", "m2", "m3", "m4", "f1", "f2", "f3", "m5", "m7", "f4")
TEST_VARIANTS = 3
"""Number of the last variants, which are for testing only."""
TAKES = 12
RATES_WPM = (120, 280)
SNR_DB = (5.0, 30.0)


def make_numbers(folder: Path) -> Path:
    """Return the manifest (path, label, value, speaker, split); create it once."""
    manifest = folder / "manifest.csv"
    if manifest.exists():
        return manifest
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    synthesiser = Synthesiser()
    rows = []
    for language in LANGUAGES:
        for number, variant in enumerate(VARIANTS):
            rng = np.random.default_rng([LANGUAGES.index(language), number])
            split = "test" if number >= len(VARIANTS) - TEST_VARIANTS else "train"
            for take in range(TAKES):
                name, rate = f"clips/{language}-{variant}-{take}.flac", int(rng.integers(*RATES_WPM))
                speak(synthesiser, folder / name, f"{language}+{variant}", rate, rng)
                rows.append((name, language, rate / 10, f"{language}+{variant}", split))
    with manifest.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label", "value", "speaker", "split"), *rows])
    return manifest


def speak(synthesiser: Synthesiser, path: Path, voice: str, rate_wpm: int, rng: np.random.Generator) -> None:
    """Write one number in noise."""
    text, pitch = str(rng.integers(1000, 10_000)), int(rng.integers(25, 76))
    spoken = synthesiser.speak(text, voice, rate_wpm=rate_wpm, pitch=pitch)
    clean = soxr.resample(spoken, synthesiser.sample_rate, SAMPLE_RATE_HZ)
    write_in_noise(path, clean, SNR_DB, rng)


def write_in_noise(path: Path, clean: np.ndarray, snr_db: tuple[float, float], rng: np.random.Generator) -> None:
    """Write the audio with white noise, at half of full scale."""
    noise = rng.normal(size=len(clean)) * np.sqrt(np.mean(clean**2)) * 10 ** (-rng.uniform(*snr_db) / 20)
    mixed = clean + noise
    soundfile.write(path, (0.5 * mixed / np.abs(mixed).max()).astype(np.float32), SAMPLE_RATE_HZ, subtype="PCM_16")
