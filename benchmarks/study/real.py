"""The cells of models with real pre-trained weights: tasks of recorded speech, with few and many examples per class.

A cell is a task, a number of training examples per class, and a way of tuning: a linear head on every layer of all
models (`probe`), one block of Whisper tiny.en or base at a time with a head on it (`layer`), or each model as a whole
(`full`). Its name fixes its half (`Cell.half`). Noise is added where a task would leave no room.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from common import DATA, MADE, MODELS
from study.cells import WHISPERS, Cell, few, noisy, prompts
from study.debian import Recording, klettres
from study.debian import prompts as foreign_prompts
from voxrank.config import SequenceOptions, TuningOptions
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset, Utterance

FOLDER = "real"
"""Folder of the results."""
TUNED_WHOLE = tuple(model for model in MODELS if model not in ("pack:crepe", "pack:openwakeword"))
"""Models that are tuned whole: without CREPE, whose convolutions over 64 ms every 20 ms would train longer than all
the others together, and openWakeWord, which has no weights that can be tuned."""
TESTED = 300
"""Number of test utterances of a task, at most."""
LATIN = "abcdefghijklmnopqrstuvwxyz"
CONSONANTS_AND_VOWEL = {f"{consonant}{vowel}" for consonant in (*LATIN, "") for vowel in "aeiou"}


@dataclass(frozen=True)
class Task:
    """A task of classes.

    Attributes:
        name: name of the task, in the names of its cells.
        utterances: function that returns all utterances, with their splits.
        target: what a class is.
        snr_db: signal-to-noise ratio, for the noise that is added.
        sizes: numbers of training examples per class.
        classes: number of classes.
    """

    name: str
    utterances: Callable[[], tuple[Utterance, ...]]
    target: str
    snr_db: float
    sizes: tuple[int, ...]
    classes: int

    def data(self, size: int, draw: int = 0) -> Dataset:
        """Return a data set with this number of training examples per class."""
        chosen = self.utterances()
        tested = {"test": TESTED // self.classes, "validation": min(10, max(4, size // 2))}
        for split, most in (("train", size), *tested.items()):
            chosen = few(chosen, split, most, draw)
        mixed = noisy(chosen, MADE / "study" / "noisy" / f"{self.name}-{self.snr_db:g}", self.snr_db)
        return Dataset(self.name, "classification", self.target, mixed)


def words() -> tuple[Utterance, ...]:
    """Return twenty Arabic words, tested on unseen speakers."""
    return _shared("arabic-commands", "label", lambda u: {"val": "validation"}.get(str(u.split), str(u.split)))


def word_speakers() -> tuple[Utterance, ...]:
    """Return thirty speakers of Arabic words, tested on other words."""
    parts = ("train", "train", "validation", "test", "test")
    return _shared("arabic-commands", "speaker", lambda u: parts[_hash(u.path.parent.name) % 5])


def digits() -> tuple[Utterance, ...]:
    """Return ten English digits, tested on two unseen speakers."""
    held = {"lucas": "test", "theo": "test", "yweweler": "validation"}
    return _shared("fsdd", "label", lambda u: held.get(str(u.speaker), "train"))


def digit_speakers() -> tuple[Utterance, ...]:
    """Return six speakers of digits, tested on other digits."""
    parts = ("train", "validation", "test", "test", "train", "test", "validation", "train", "test", "train")
    return _shared("fsdd", "speaker", lambda u: parts[int(u.path.stem[0])])


def languages() -> tuple[Utterance, ...]:
    """Return prompts of 0.4 to 4 s in four languages, one voice each, tested on other prompts."""
    parts = ("train", "train", "train", "validation", "test", "test")
    found = [one for one in foreign_prompts() if 0.4 <= one.seconds <= 4]
    return tuple(
        replace(_utterance(one), label=one.language, split=parts[_hash(f"{one.kind}/{one.name}") % 6]) for one in found
    )


def vowels() -> tuple[Utterance, ...]:
    """Return the vowels of syllables of a consonant and a vowel, tested on voices of other languages."""
    held = {"it": "test", "tn": "test", "ru": "validation"}
    chosen = ("es", "pt_BR", "uk", *held)
    return tuple(
        replace(_utterance(one), label=one.name[-1], speaker=one.language, split=held.get(one.language, "train"))
        for one in klettres()
        if one.kind == "syllab" and one.language in chosen and one.name in CONSONANTS_AND_VOWEL
    )


def letters() -> tuple[Utterance, ...]:
    """Return the names of letters in several languages, tested on other voices."""
    held = {"it": "test", "pt_BR": "test", "prompts es": "test", "prompts it": "validation"}
    found = [(one, one.language) for one in klettres() if one.kind == "alpha"]
    found += [(one, f"prompts {one.language}") for one in foreign_prompts() if one.kind == "letters"]
    chosen = ("de", "en_GB", "es", "nds", "prompts fr", "prompts ru", *held)
    return tuple(
        replace(_utterance(one), label=one.name, speaker=voice, split=held.get(voice, "train"))
        for one, voice in found
        if one.name in LATIN and voice in chosen
    )


def syllables() -> Dataset:
    """Return syllables with their letters as a text; training and testing share the voices, not the syllables."""
    parts = ("train", "train", "validation", "test", "train", "test")
    found = [one for one in klettres() if one.kind == "syllab" and one.language in ("es", "it", "pt_BR", "tn")]
    chosen = [one for one in found if one.name.isascii() and one.name.isalpha()]
    return Dataset(
        "syllables",
        "transcription",
        "text",
        tuple(replace(_utterance(one), text=one.name, split=parts[_hash(one.name) % 6]) for one in chosen),
    )


def numbers() -> Dataset:
    """Return numbers in four languages, and letters in three, as a text that eSpeak NG reads."""
    parts = ("train", "train", "validation", "test", "train", "test")
    found = [
        one
        for one in foreign_prompts()
        if (one.kind == "digits" and one.name.isdigit()) or (one.kind == "letters" and one.name in LATIN)
    ]
    return Dataset(
        "numbers",
        "transcription",
        "text",
        tuple(
            replace(_utterance(one), text=one.name, split=parts[_hash(one.name) % 6])
            for one in found
            if one.kind == "digits" or one.language != "ru"
        ),
    )


def english(share: int) -> Dataset:
    """Return English telephone prompts; a part of those for training where `share` is above 1."""
    data = prompts()
    kept = [one for one in data.utterances if one.split != "train" or _hash(one.id) % share == 0]
    return replace(data, utterances=tuple(kept))


def _shared(name: str, target: str, split_of: Callable[[Utterance], str]) -> tuple[Utterance, ...]:
    dataset = read_dataset(DATA / name / "manifest.csv", target=target, split="all")
    return tuple(replace(one, split=split_of(one)) for one in dataset.utterances)


def _utterance(one: Recording) -> Utterance:
    return Utterance(id=f"{one.language}/{one.kind}/{one.name}", path=Path(one.path), language=one.language)


def _hash(text: str) -> int:
    return zlib.crc32(text.encode())


TASKS = (
    Task("words", words, "label", 5, (5, 20, 100), 20),
    Task("word-speakers", word_speakers, "speaker", 5, (5, 20), 30),
    Task("digits", digits, "label", 10, (5, 20, 100), 10),
    Task("digit-speakers", digit_speakers, "speaker", 0, (5, 20, 100), 6),
    Task("languages", languages, "label", -5, (5, 20, 100), 4),
    Task("vowels", vowels, "label", 20, (5, 20), 5),
    Task("letters", letters, "label", 20, (5,), 26),
)
TIMED: dict[str, tuple[Callable[[], Dataset], SequenceOptions]] = {
    "phones": (partial(english, 1), SequenceOptions(unit="phone", language="en-us")),
    "phones-third": (partial(english, 3), SequenceOptions(unit="phone", language="en-us")),
    "characters": (partial(english, 1), SequenceOptions(unit="char")),
    "syllables": (syllables, SequenceOptions(unit="char")),
    "numbers": (numbers, SequenceOptions(unit="phone")),
}
"""Tasks of sequences, which a CTC head writes."""

EPOCHS = {5: 20, 20: 10, 100: 4}
"""Most epochs of tuning, by the number of examples; validation chooses among them."""
PROBE_EPOCHS = {5: 60, 20: 40, 100: 20}
MOST = {
    "layer": {"words": 20, "word-speakers": 5},
    "full": {"words": 5, "word-speakers": 0, "languages": 20},
}
"""Most examples per class of a way of tuning, where more would take an hour: fixed by the cost, before any result."""


def cells() -> tuple[Cell, ...]:
    """Return all cells: fewest examples first, since they take the least time."""
    found = []
    for size in (5, 20, 100):
        for task in (task for task in TASKS if size in task.sizes):
            data = partial(task.data, size)
            probe = TuningOptions(strategy="probe", epochs=PROBE_EPOCHS[size], patience=10)
            layer = TuningOptions(strategy="layer", epochs=EPOCHS[size], patience=5)
            whole = TuningOptions(strategy="full", epochs=EPOCHS[size], patience=5)
            found.append(Cell(f"probe-{task.name}-{size}", "cross-model", data, MODELS, probe))
            if size <= MOST["layer"].get(task.name, 100):
                found.append(Cell(f"layer-{task.name}-{size}", "self-supervised", data, WHISPERS, layer))
            if size <= MOST["full"].get(task.name, 100):
                found.append(Cell(f"full-{task.name}-{size}", "cross-model", data, TUNED_WHOLE, whole))
    for name, (timed, sequence) in TIMED.items():
        tuning = TuningOptions(strategy="layer", epochs=12, patience=4)
        found.append(Cell(f"layer-{name}", "self-supervised", timed, WHISPERS, tuning, sequence))
    return tuple(found)
