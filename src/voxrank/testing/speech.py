"""Speech made on the spot by eSpeak NG: words in many voices, for the demo and for tests.

The extra `demo` brings the library and its voices (`espeakng-loader`). Words are spoken at random rates and pitches,
then set in a small room, mixed with noise and scaled; the label is the text that the synthesiser was given.
"""

from __future__ import annotations

import csv
import ctypes
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

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
"""Of the voices, how many of the last are the split "test": nobody hears them in training."""

_RETRIEVE_SYNCHRONOUSLY = 2
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_lock = Lock()  # the C library keeps its state in globals


def espeak_available() -> bool:
    """Whether the extra `demo` is installed."""
    try:
        import espeakng_loader  # noqa: F401
    except ImportError:
        return False
    return True


def speak(text: str, voice: str = "en-us", *, rate_wpm: int = 175, pitch: int = 50) -> tuple[Samples, int]:
    """Speak a text.

    Args:
        text: what to say.
        voice: an eSpeak NG voice, with a variant after "+" (such as "en-us+f3").
        rate_wpm: words in a minute, 80 to 450.
        pitch: 0 to 99.

    Returns:
        Mono samples (n,) from -1 to 1, and their rate in Hz.

    Raises:
        OptionError: the extra `demo` is not installed, or there is no such voice.
    """
    chunks: list[NDArray[np.int16]] = []

    def collect(samples: Any, count: int, _: Any) -> int:
        if count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _callback_type()(collect)
    with _lock:
        library, rate_hz = _library()
        if not _has_variant(voice) or library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise OptionError(f"expected a voice of eSpeak NG such as en-us or en+f2, got {voice!r}")
        library.espeak_SetParameter(_RATE, rate_wpm, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        library.espeak_SetSynthCallback(callback)
        content = text.encode() + b"\0"
        library.espeak_Synth(content, len(content), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
    spoken = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int16)
    return (spoken / 32_768).astype(np.float32), rate_hz


def make_words(folder: Path, *, words: Sequence[str], voices: Sequence[str], takes: int, seed: int) -> Path:
    """Speak every word in every voice, `takes` times, each time differently; the same seed makes the same bytes.

    Args:
        folder: made if need be; takes the FLAC files and `manifest.csv`.
        words: the classes.
        voices: the speakers; the last `TEST_VOICES` have the split "test".
        takes: of each word by each voice.
        seed: of rate, pitch, gain, noise and room.

    Returns:
        The manifest: path, label, speaker, split.

    Raises:
        OptionError: as `speak`.
    """
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    rows = [("path", "label", "speaker", "split")]
    for number, voice in enumerate(voices):
        split = "test" if number >= len(voices) - TEST_VOICES else "train"
        for word in words:
            for take in range(takes):
                rng = np.random.default_rng([seed, number, words.index(word), take])
                name = f"clips/{voice.replace('+', '-')}-{word}-{take}.flac"
                _write(folder / name, _take(word, voice, rng))
                rows.append((name, word, voice, split))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    manifest = folder / "manifest.csv"
    manifest.write_text(table.getvalue(), encoding="utf-8")
    return manifest


def _take(word: str, voice: str, rng: np.random.Generator) -> Samples:
    """One reading of a word: spoken, set in a room, mixed with noise, scaled."""
    spoken, rate_hz = speak(word, voice, rate_wpm=int(rng.integers(130, 221)), pitch=int(rng.integers(25, 76)))
    dry = soxr.resample(spoken, rate_hz, SAMPLE_RATE_HZ)
    wet = fftconvolve(np.pad(dry, (0, SAMPLE_RATE_HZ // 10)), _room(rng))
    snr_db = rng.uniform(5, 30)
    noise = rng.normal(size=len(wet)) * np.sqrt(np.mean(wet**2)) * 10 ** (-snr_db / 20)
    mixed = wet + noise
    peak = 10 ** (rng.uniform(-20, -1) / 20)
    return (mixed * peak / np.abs(mixed).max()).astype(np.float32)


def _room(rng: np.random.Generator) -> NDArray[np.float64]:
    """An impulse response: the direct sound, then noise that decays by 60 dB in 50 to 300 ms."""
    decay_s = rng.uniform(0.05, 0.3)
    t = np.arange(int(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.normal(size=len(t)) * 10 ** (-3 * t / decay_s) * rng.uniform(0.02, 0.1)
    tail[0] = 1.0
    return tail


def _write(path: Path, samples: Samples) -> None:
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")


def _has_variant(voice: str) -> bool:
    """Whether the variant after "+" is there; the library itself would fall back to the plain voice without a word."""
    import espeakng_loader

    _, plus, variant = voice.partition("+")
    return not plus or (Path(espeakng_loader.get_data_path()) / "voices" / "!v" / variant).is_file()


@cache
def _callback_type() -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@cache
def _library() -> tuple[Any, int]:
    """The C library, started, and its sample rate in Hz."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise OptionError("speech synthesis needs espeakng-loader; run: pip install 'voxrank[demo]'") from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    rate_hz = library.espeak_Initialize(_RETRIEVE_SYNCHRONOUSLY, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate_hz <= 0:
        raise OptionError("eSpeak NG cannot start: its voices are missing; reinstall espeakng-loader")
    return library, rate_hz
