"""The encoder of Google's speech embedding in openWakeWord: convolutions over 32 mel bands, trained on keywords.

It has two ONNX graphs. The first computes the mel spectrogram in dB, with a floor 80 dB below the utterance's loudest
value. The second embeds windows of 76 frames (0.78 s) with a hop of 8 (80 ms); a remainder shorter than a hop is left
out. Source of the model: J. Lin et al., "Training Keyword Spotters with Limited and Synthesized Speech Data", arXiv
2002.01322.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Waveform
from voxrank.encoders.framewise import FramewiseEncoder, Packed
from voxrank.encoders.onnx import Graph, count_weights, libraries

FFT_SAMPLES = 512
MEL_HOP_SAMPLES = 160
N_MELS = 32
WINDOW_FRAMES = 76
STEP_FRAMES = 8
HOP_SAMPLES = STEP_FRAMES * MEL_HOP_SAMPLES
MIN_SAMPLES = FFT_SAMPLES + (WINDOW_FRAMES - 1) * MEL_HOP_SAMPLES
INT16 = np.iinfo(np.int16)
WINDOWS_AT_ONCE = 256

MEL_INPUT, MEL_OUTPUT = "input", "output"
INPUT, EMBEDDING = "input_1", "conv2d_19"
STAGES = {
    "model/max_pooling2d/MaxPool:0": 24,
    "model/max_pooling2d_1/MaxPool:0": 48,
    "model/max_pooling2d_2/MaxPool:0": 72,
    "model/max_pooling2d_3/MaxPool:0": 96,
    "model/max_pooling2d_4/MaxPool:0": 96,
}
"""Output tensor of each pooling → its number of channels."""
EMBEDDING_DIM = 96


class SpeechEmbedding(FramewiseEncoder):
    """An encoder whose layer 0 is the mel window averaged over time; layer 6 is the embedding.

    Layers 1 to 5 are the channels after each pooling, averaged over the window's time and frequency.
    """

    def __init__(self, weights: Sequence[bytes], options: EncoderOptions) -> None:
        stages = [(f"stage {i}", dim, HOP_SAMPLES) for i, dim in enumerate(STAGES.values(), start=1)]
        ends = ("mel", N_MELS, HOP_SAMPLES), ("embedding", EMBEDDING_DIM, HOP_SAMPLES)
        super().__init__(options, [ends[0], *stages, ends[1]], MIN_SAMPLES)
        mel, embedding = map(libraries()[0].load_model_from_string, weights)
        self._mel = Graph(mel, [MEL_OUTPUT], self.device)
        self._embedding = Graph(embedding, [*STAGES, EMBEDDING], self.device)
        self.parameters = count_weights(embedding.graph)

    def settings(self) -> dict[str, str]:
        """Return the digests of both graphs."""
        return {"mel": self._mel.digest, "embedding": self._embedding.digest}

    def _compute(self, windows: Sequence[Waveform]) -> Iterator[Packed]:
        pieces = [self._mel_windows(window) for window in windows]  # one by one: each needs its own floor
        lengths = [len(piece) for piece in pieces]
        mels = torch.cat(pieces)
        parts = [self._embedding.run({INPUT: part[..., None].numpy()}) for part in mels.split(WINDOWS_AT_ONCE)]
        yield mels.mean(1).to(self.device), lengths
        for name in STAGES:
            yield torch.cat([part[name].mean((2, 3)) for part in parts]).to(self.device), lengths
        yield torch.cat([part[EMBEDDING].flatten(start_dim=1) for part in parts]).to(self.device), lengths

    def _mel_windows(self, window: Waveform) -> torch.Tensor:
        """Map samples to overlapping windows of the mel spectrogram (T, 76, 32), scaled as the package does."""
        spectrum = self._mel.run({MEL_INPUT: as_int16(window)[None]})[MEL_OUTPUT][0, 0]
        return (spectrum / 10 + 2).unfold(0, WINDOW_FRAMES, STEP_FRAMES).transpose(1, 2)


def as_int16(window: Waveform) -> Waveform:
    """Return the samples rounded to 16-bit values, which the graph expects, in float32."""
    values: Waveform = np.clip(np.round(window * -float(INT16.min)), INT16.min, INT16.max)
    return values


def build(weights: Sequence[bytes], options: EncoderOptions) -> Encoder:
    """Build the encoder from openWakeWord's two graphs."""
    return SpeechEmbedding(weights, options)
