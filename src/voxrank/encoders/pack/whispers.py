"""Whisper tiny.en and base, from CTranslate2 checkpoints; base's travels in two parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank.encoders.ct2 import encoder_from_buffer


def build(files: Sequence[Path], options: EncoderOptions) -> Encoder:
    """The encoder of the checkpoint that `files`, joined, hold."""
    return encoder_from_buffer(b"".join(file.read_bytes() for file in files), options)
