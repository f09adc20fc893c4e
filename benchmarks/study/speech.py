"""Spoken sentences of known words in seven languages, by many voices, and recorded English prompts.

The corpora of eSpeak NG are written once to `.made/study/speech/NAME/`: a manifest (path, text, speaker, split,
language) and clips of 16 kHz in white noise of 15 to 30 dB. Words are drawn uniformly from the most frequent of the
language, rate and pitch for each clip. A voice occurs in one split only.

    python benchmarks/study/speech.py [NAME …]
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
import soxr
from wordfreq import top_n_list

sys.path.append(str(Path(__file__).parents[1]))

from common import DATA, MADE
from spoken import write_in_noise
from voxrank.testing.speech import SAMPLE_RATE_HZ, Synthesiser

FOLDER = MADE / "study" / "speech"
RATES_WPM = (120, 201)
PITCHES = (25, 76)
SNR_DB = (15.0, 30.0)
SEED = 2306

ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
TARGETS = ("de", "es", "fr", "it", "ru", "pl")
"""Languages to which the English model is adapted."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT, NUMBER, NOT_ENGLISH = re.compile(r"(?<![\d.])\d(?!\.?\d)"), re.compile(r"\d"), re.compile(r"[^a-z' ]+")


@dataclass(frozen=True)
class Clip:
    """A spoken sentence.

    Attributes:
        path: path of its audio; in a manifest, relative to it.
        text: transcript in lower case, words and single spaces.
        speaker: language and variant of the voice.
        split: "train", "validation" or "test".
        language: such as "de".
    """

    path: str
    text: str
    speaker: str
    split: str
    language: str


@dataclass(frozen=True)
class Corpus:
    """A corpus of spoken sentences, with its voices and splits.

    Attributes:
        language: language of the words.
        accents: voices of eSpeak NG.
        variants: variants of every accent, by split.
        takes: sentences of each voice, by split.
        frequent: size of the pool of the most frequent words.
        words: minimum number of words of a sentence, and the maximum plus one.
        seed: seed of all draws.
    """

    language: str
    accents: tuple[str, ...]
    variants: dict[str, tuple[str, ...]]
    takes: dict[str, int]
    frequent: int
    words: tuple[int, int]
    seed: int


ENGLISH = Corpus(
    language="en",
    accents=ACCENTS,
    variants={
        "train": ("m1", "m2", "m3", "m4", "m5", "m8", "f1", "f2", "f4"),
        "validation": ("m7", "f3"),
        "test": ("m6", "f5"),
    },
    takes={"train": 55, "validation": 10, "test": 10},
    frequent=1000,
    words=(2, 7),
    seed=SEED,
)


def target(language: str) -> Corpus:
    """Return a small corpus of one of the `TARGETS`: 180, 45 and 120 sentences."""
    return Corpus(
        language=language,
        accents=(language,),
        variants={"train": ("m1", "f1", "m3", "f2"), "validation": ("m4",), "test": ("m2", "f4")},
        takes={"train": 45, "validation": 45, "test": 60},
        frequent=500,
        words=(2, 6),
        seed=SEED + 1 + TARGETS.index(language),
    )


CORPORA = {"english": ENGLISH} | {language: target(language) for language in TARGETS}


def spoken(name: str, folder: Path = FOLDER) -> list[Clip]:
    """Return the clips of one of the `CORPORA`, with whole paths; create them the first time."""
    manifest = folder / name / "manifest.csv"
    if not manifest.exists():
        _make(CORPORA[name], manifest)
    with manifest.open(encoding="utf-8", newline="") as file:
        return [replace(Clip(**row), path=str(manifest.parent / row["path"])) for row in csv.DictReader(file)]


def recorded(folder: Path = DATA / "asterisk-en") -> list[Clip]:
    """Return English telephone prompts by one speaker, split by a hash of their names, 80 : 10 : 10."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["path"], plain_english(row["text"])) for row in csv.DictReader(file)]
    return [Clip(str(folder / path), text, "asterisk", _split(path), "en") for path, text in rows if text]


def plain_english(text: str) -> str:
    """Return lower case a to z, apostrophes, single spaces, digits as words; empty for larger, ambiguous numbers."""
    worded = DIGIT.sub(lambda found: DIGITS[int(found[0])], text.lower().replace("’", "'"))
    return "" if NUMBER.search(worded) else " ".join(NOT_ENGLISH.sub(" ", worded).split())


def frequent_words(language: str, count: int) -> list[str]:
    """Return the most frequent words that have only letters, and more than one."""
    words = [word for word in top_n_list(language, count) if word.isalpha() and len(word) > 1]
    return [word for word in words if word.isascii()] if language == "en" else words


def _make(corpus: Corpus, manifest: Path) -> None:
    (manifest.parent / "clips").mkdir(parents=True, exist_ok=True)
    synthesiser, words, clips = Synthesiser(), frequent_words(corpus.language, corpus.frequent), []
    for split, variants in corpus.variants.items():
        for voice in (f"{accent}+{variant}" for accent in corpus.accents for variant in variants):
            rng = np.random.default_rng([corpus.seed, *voice.encode()])
            for take in range(corpus.takes[split]):
                text = " ".join(rng.choice(words, rng.integers(*corpus.words)))
                path = f"clips/{voice.replace('+', '-')}-{take}.flac"
                _speak(synthesiser, manifest.parent / path, text, voice, rng)
                clips.append(Clip(path, text, voice, split, corpus.language))
    part = manifest.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[field.name for field in fields(Clip)], *map(astuple, clips)])
    part.replace(manifest)


def _speak(synthesiser: Synthesiser, path: Path, text: str, voice: str, rng: np.random.Generator) -> None:
    rate_wpm, pitch = int(rng.integers(*RATES_WPM)), int(rng.integers(*PITCHES))
    made = synthesiser.speak(text, voice, rate_wpm=rate_wpm, pitch=pitch)
    write_in_noise(path, soxr.resample(made, synthesiser.sample_rate, SAMPLE_RATE_HZ), SNR_DB, rng)


def _split(name: str) -> str:
    """Return the split by a hash, the same everywhere: one in ten for validation, one in ten for testing."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10
    return {0: "validation", 1: "test"}.get(share, "train")


def main(words: Sequence[str]) -> None:
    for chosen in words or CORPORA:
        print(chosen, len(spoken(chosen)), "clips")


if __name__ == "__main__":
    main(sys.argv[1:])
