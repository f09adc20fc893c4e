"""A loader of the C library eSpeak NG from `espeakng-loader`: speech in `testing.speech`, phones in `targets`.

The library keeps its state in globals and never resets all of it. Therefore each load uses a separate copy, which stays
loaded until the process ends.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxrank.errors import OptionError

UTF8 = 1
"""Value of espeakCHARS_UTF8."""
IPA_EVENTS = 3
"""Option of `load`: events for phones, with names in IPA."""

_RETRIEVE_SYNCHRONOUSLY = 2
_DO_NOT_EXIT = 0x8000
"""Option that stops the library from ending the process when it finds no voices."""


@dataclass(frozen=True)
class Espeak:
    """A loaded and initialised copy of the library.

    Attributes:
        functions: C functions by name.
        data: folder of its voices and dictionaries.
        sample_rate: sample rate of its speech, in Hz.
    """

    functions: Any
    data: Path
    sample_rate: int


def load(user: str, extra: str, *, options: int = 0) -> Espeak:
    """Load and initialise a copy of the library.

    Args:
        user: feature that needs it, for the message, such as "speech synthesis needs".
        extra: extra of voxrank that installs it.
        options: options of espeak_Initialize, besides those that are always set.

    Raises:
        OptionError: the package is not installed, or its voices are missing.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise OptionError(f"{user} espeakng-loader; run: pip install 'voxrank[{extra}]'") from error
    data = Path(espeakng_loader.get_data_path())
    functions = _load_copy(Path(espeakng_loader.get_library_path()))
    sample_rate = functions.espeak_Initialize(_RETRIEVE_SYNCHRONOUSLY, 0, os.fsencode(data), _DO_NOT_EXIT | options)
    if sample_rate <= 0:
        raise OptionError("eSpeak NG cannot start: its voices are missing; reinstall espeakng-loader")
    return Espeak(functions, data, sample_rate)


def find_languages(espeak: Espeak) -> dict[str, str]:
    """Return a mapping from codes of languages with a dictionary, such as "en-us", to the best voice."""
    best: dict[str, tuple[int, str]] = {}
    for name, languages in _list_voices(espeak.functions):
        if any((espeak.data / f"{code.partition('-')[0]}_dict").is_file() for _, code in languages):
            for priority, code in languages:
                best[code] = min(best.get(code, (priority, name)), (priority, name), key=lambda voice: voice[0])
    return {code: name for code, (_, name) in best.items()}


class _Voice(ctypes.Structure):
    """The C structure espeak_VOICE."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


def _list_voices(functions: Any) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Yield each voice and its languages, each with a priority; the lowest number is the best voice."""
    voices = functions.espeak_ListVoices(None)
    for voice in itertools.takewhile(bool, (voices[index] for index in itertools.count())):
        yield voice.contents.name.decode(), _read_languages(voice.contents.languages)


def _read_languages(address: int) -> list[tuple[int, str]]:
    """Read priorities and languages: for each, a byte and a string that ends with 0. A 0 byte ends the list."""
    languages = []
    while priority := ctypes.string_at(address, 1)[0]:
        code = ctypes.string_at(address + 1)
        languages.append((priority, code.decode()))
        address += len(code) + 2
    return languages


def _load_copy(path: Path) -> Any:
    """Load a copy of a C library, which has separate globals."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        functions = ctypes.CDLL(str(shutil.copy(path, folder)))
    functions.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    functions.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    functions.espeak_TextToPhonemes.restype = ctypes.c_char_p
    return functions
