"""Frozen options, one dataclass per stage of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Seconds = float
Hertz = float

WhisperWindow = Literal["full", "fit"]
DTypeName = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class EncoderOptions:
    """How a model is loaded and run.

    Attributes:
        device: "auto" (the best torch reports), or a torch device such as "cpu", "cuda:1", "mps".
        dtype: precision of the forward pass; features always leave it as float32.
        whisper_window: "full" pads every utterance to Whisper's 30 s, as it was trained;
            "fit" encodes a window cut to the utterance: faster, and not what the model was trained on.
        window_s: audio longer than this is cut into consecutive windows of at most this length,
            whose frames are joined (self-attention costs grow with the square of the window).
        batch_s: seconds of padded audio in one forward pass; halved when memory runs out.
        trust_remote_code: names of the hub models whose own code may run. Empty: none.
    """

    device: str = "auto"
    dtype: DTypeName = "float32"
    whisper_window: WhisperWindow = "full"
    window_s: Seconds = 60.0
    batch_s: Seconds = 60.0
    trust_remote_code: tuple[str, ...] = ()


Sample = Literal["frame", "utterance"]


@dataclass(frozen=True)
class ExtractionOptions:
    """How audio becomes sketches.

    Attributes:
        sample: what one sample is: every "frame" (temporal independence), or the "utterance" mean of its frames.
        threads: decoders that run ahead of the encoder.
        blocks: resampling blocks that the data are dealt into, at most; below 2, no intervals.
        shard_s: audio in one shard, about.
    """

    sample: Sample = "utterance"
    threads: int = 2
    blocks: int = 10
    shard_s: Seconds = 600.0
