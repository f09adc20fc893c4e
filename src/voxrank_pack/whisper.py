"""The encoders of Whisper tiny.en and base, from CTranslate2 checkpoints; base's is stored in two parts."""

from __future__ import annotations

from collections.abc import Sequence

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank.encoders.ct2 import encoder_from_buffer


def build(weights: Sequence[bytes], options: EncoderOptions) -> Encoder:
    """Build the encoder from the parts of a checkpoint."""
    return encoder_from_buffer(weights[0] if len(weights) == 1 else b"".join(weights), options)
