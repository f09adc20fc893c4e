"""Synthetic speech by eSpeak NG: words in many voices, for the demo and for tests.

The extra `demo` installs the library and its voices (`espeakng-loader`). Words are spoken at random rates and pitches,
then convolved with a small room, mixed with noise and scaled. The label is the text given to the synthesiser.
"""

from __future__ import annotations

import csv
import ctypes
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from voxrank._support.espeak import IPA_EVENTS, UTF8, load
from voxrank.errors import OptionError

Samples = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
DEMO_WORDS = (
    *("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"),
    *("open", "close", "start", "next", "back", "play", "pause", "louder", "softer", "mute"),
)
DEMO_VOICES = (
    *("en-us", "en-us+m1", "en-us+m3", "en-us+f2", "en-us+f4", "en", "en+f1"),
    *("en-gb-scotland+m2", "en-gb-x-rp+f3", "en-029+m4", "en-gb-x-gbclan+f5", "en-gb-x-gbcwmd+m7"),
)
TEST_VOICES = 4
"""Number of voices at the end of the list that have the split "test" and are not in the training data."""

_NOISE_SEED = 1
"""Seed of the breath noise in some voices; by default, the library uses the time of day."""
_LAST_EVENT, _WORD_EVENT, _PHONE_EVENT = 0, 1, 7
_STRESS = "ˈˌ"
_RATE, _PITCH = 1, 3  # espeak_PARAMETER


@dataclass(frozen=True)
class SpokenPhone:
    """A phone with its exact times.

    Attributes:
        name: name in IPA, without stress marks; empty for a pause.
        start, end: start and end in seconds.
        new_word: whether the phone begins a word.
    """

    name: str
    start: float
    end: float
    new_word: bool


class Synthesiser:
    """A fresh instance of eSpeak NG. The same sequence of calls on a fresh instance gives the same samples.

    The C library keeps its state (noise, flutter, phase) in globals and never resets it. Each `Synthesiser` therefore
    loads its own copy, which stays loaded until the process ends.

    Args:
        timed: record when each phone begins (`speak_timed`).

    Raises:
        OptionError: the extra `demo` is not installed, or its voices are missing.
    """

    def __init__(self, *, timed: bool = False) -> None:
        espeak = load("speech synthesis needs", "demo", options=IPA_EVENTS if timed else 0)
        self.sample_rate = espeak.sample_rate
        self._library = espeak.functions
        self._variants = espeak.data / "voices" / "!v"
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))

    def speak(self, text: str, voice: str = "en-us", *, rate_wpm: int = 175, pitch: int = 50) -> Samples:
        """Speak a text.

        Args:
            text: text to speak.
            voice: an eSpeak NG voice, with a variant after "+" (such as "en-us+f3").
            rate_wpm: words per minute, 80 to 450.
            pitch: 0 to 99.

        Returns:
            Mono samples (n,) from -1 to 1, at `sample_rate` Hz.

        Raises:
            OptionError: there is no such voice.
        """
        return self.speak_timed(text, voice, rate_wpm=rate_wpm, pitch=pitch)[0]

    def speak_timed(
        self, text: str, voice: str = "en-us", *, rate_wpm: int = 175, pitch: int = 50
    ) -> tuple[Samples, list[SpokenPhone]]:
        """Speak a text as `speak` does, and return also the phones in order with their exact times.

        The list of phones is empty if the synthesiser is not `timed`. A plosive begins at its release, as in eSpeak NG;
        its closure belongs to the previous phone.
        """
        if not self._has_variant(voice) or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise OptionError(f"expected a voice of eSpeak NG such as en-us or en+f2, got {voice!r}")
        self._library.espeak_SetParameter(_RATE, rate_wpm, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        chunks: list[NDArray[np.int16]] = []
        events: list[tuple[int, int, str]] = []
        callback = _callback(chunks, events)
        self._library.espeak_SetSynthCallback(callback)
        content = text.encode() + b"\0"
        self._library.espeak_Synth(content, len(content), 0, 0, 0, UTF8, None, None)
        self._library.espeak_Synchronize()
        spoken = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int16)
        return (spoken / 32_768).astype(np.float32), _phones(events, len(spoken), self.sample_rate)

    def _has_variant(self, voice: str) -> bool:
        """Return whether the variant after "+" exists; the library would silently fall back to the plain voice."""
        _, plus, variant = voice.partition("+")
        return not plus or (self._variants / variant).is_file()


def make_words(folder: Path, *, words: Sequence[str], voices: Sequence[str], takes: int, seed: int) -> Path:
    """Speak every word in every voice, `takes` times, each time differently; the same seed gives the same bytes.

    Args:
        folder: folder for the FLAC files and `manifest.csv`, created if it does not exist.
        words: the classes.
        voices: the speakers; the last `TEST_VOICES` have the split "test".
        takes: number of takes of each word by each voice.
        seed: seed of rate, pitch, gain, noise and room.

    Returns:
        The manifest: path, label, speaker, split.

    Raises:
        OptionError: as for `Synthesiser`.
    """
    synthesiser = Synthesiser()
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    rows = [("path", "label", "speaker", "split")]
    for number, voice in enumerate(voices):
        split = "test" if number >= len(voices) - TEST_VOICES else "train"
        for word in words:
            for take in range(takes):
                rng = np.random.default_rng([seed, number, words.index(word), take])
                name = f"clips/{voice.replace('+', '-')}-{word}-{take}.flac"
                _write(folder / name, _flac(_take(synthesiser, word, voice, rng)))
                rows.append((name, word, voice, split))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    manifest = folder / "manifest.csv"
    _write(manifest, table.getvalue().encode())
    return manifest


def _take(synthesiser: Synthesiser, word: str, voice: str, rng: np.random.Generator) -> Samples:
    """Return a take of a word: spoken, convolved with a room, mixed with noise, and scaled."""
    rate_wpm, pitch = int(rng.integers(130, 221)), int(rng.integers(25, 76))
    spoken = synthesiser.speak(word, voice, rate_wpm=rate_wpm, pitch=pitch)
    dry = soxr.resample(spoken, synthesiser.sample_rate, SAMPLE_RATE_HZ)
    wet = fftconvolve(np.pad(dry, (0, SAMPLE_RATE_HZ // 10)), _room(rng))
    snr_db = rng.uniform(5, 30)
    noise = rng.normal(size=len(wet)) * np.sqrt(np.mean(wet**2)) * 10 ** (-snr_db / 20)
    mixed = wet + noise
    peak = 10 ** (rng.uniform(-20, -1) / 20)
    scaled: Samples = (mixed * peak / np.abs(mixed).max()).astype(np.float32)
    return scaled


def _room(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return an impulse response: the direct sound, then noise that decays by 60 dB in 50 to 300 ms."""
    decay_s = rng.uniform(0.05, 0.3)
    t = np.arange(int(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.normal(size=len(t)) * 10 ** (-3 * t / decay_s) * rng.uniform(0.02, 0.1)
    tail[0] = 1.0
    return tail


def _flac(samples: Samples) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
    return file.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, so that an interrupted run leaves no partial file."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


class _Event(ctypes.Structure):
    """The C structure espeak_EVENT."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


def _callback(chunks: list[NDArray[np.int16]], events: list[tuple[int, int, str]]) -> Any:
    """Return a C function that collects its input; keep a reference while the library may call it."""

    def collect(samples: Any, count: int, event_array: Any) -> int:
        if count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for index in itertools.count():
            event = event_array[index]
            if event.type == _LAST_EVENT:
                return 0
            if event.type in (_WORD_EVENT, _PHONE_EVENT):
                name = event.name.decode(errors="replace") if event.type == _PHONE_EVENT else ""
                events.append((event.type, event.sample, name))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    return kind(collect)


def _phones(events: list[tuple[int, int, str]], n_samples: int, sample_rate: int) -> list[SpokenPhone]:
    """Convert events of words and phones, each with its first sample, to phones without stress marks."""
    starts = [sample for kind, sample, _ in events if kind == _PHONE_EVENT] + [n_samples]
    phones: list[SpokenPhone] = []
    new_word = False
    for kind, sample, name in events:
        if kind == _WORD_EVENT:
            new_word = True
        else:
            end = starts[len(phones) + 1]
            phones.append(SpokenPhone(name.strip(_STRESS), sample / sample_rate, end / sample_rate, new_word))
            new_word = new_word and not phones[-1].name
    return phones
