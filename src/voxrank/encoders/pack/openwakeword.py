"""Google's speech embedding as openWakeWord ships it: a mel spectrogram and a stack of convolutions, both ONNX.

Source of the model: Lin et al., "Training Keyword Spotters with Limited and Synthesized Speech Data", ICASSP 2020. It
sees 76 mel frames (775 ms) at a time and moves on by 8 (80 ms); shorter audio is padded with zeros to one window.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank.encoders.onnx import Graph
from voxrank.encoders.taps import TapEncoder, Taps

SAMPLE_RATE_HZ = 16_000
MEL_HOP_SAMPLES = 160
WINDOW_FRAMES = 76
STEP_FRAMES = 8
MIN_SAMPLES = 512 + (WINDOW_FRAMES - 1) * MEL_HOP_SAMPLES
INT16_SCALE = 32_768.0
"""The mel graph was made for 16-bit samples."""
EMBEDDING = "conv2d_19"
LAYERS = f"*MaxPool*,{EMBEDDING}"


class SpeechEmbedding:
    """Waveforms (batch, samples) → mel window, pooled stages and embedding, one of each every 80 ms."""

    def __init__(self, files: Sequence[Path], device: torch.device) -> None:
        mel, embedding = (file.read_bytes() for file in files)
        self._mel = Graph(mel, "output", "pack:openwakeword", device)
        self._stages = Graph(embedding, LAYERS, "pack:openwakeword", device)
        self.parameters = self._stages.parameters

    def __call__(self, waveforms: torch.Tensor) -> Taps:
        """All layers, in order; stages are averaged over the window's time and frequency."""
        windows = np.concatenate([self._windows(waveform) for waveform in waveforms])
        batch = (len(waveforms), -1)
        taps = {"mel": torch.from_numpy(windows[..., 0].mean(axis=1)).unflatten(0, batch)}
        stages = self._stages.run("input_1", windows)
        final = stages.pop(EMBEDDING).reshape(len(windows), -1)
        for number, stage in enumerate(stages.values(), start=1):
            taps[f"stage {number}"] = torch.from_numpy(stage.mean(axis=(2, 3))).unflatten(0, batch)
        return taps | {"embedding": torch.from_numpy(final).unflatten(0, batch)}

    def _windows(self, waveform: torch.Tensor) -> NDArray[np.float32]:
        """One waveform (samples,) → (windows, 76, 32, 1)."""
        mel = self._mel.run("input", waveform.numpy()[None] * INT16_SCALE)["output"].reshape(-1, 32) / 10 + 2
        starts = range(0, len(mel) - WINDOW_FRAMES + 1, STEP_FRAMES)
        return np.stack([mel[start : start + WINDOW_FRAMES] for start in starts])[..., None].astype(np.float32)


def build(files: Sequence[Path], options: EncoderOptions) -> Encoder:
    """The encoder with the package's two graphs."""
    host = torch.device("cpu")
    embedding = SpeechEmbedding(files, host)
    return TapEncoder(
        embedding,
        options,
        device=host,
        sample_rate=SAMPLE_RATE_HZ,
        parameters=embedding.parameters,
        min_samples=MIN_SAMPLES,
        hop_samples=STEP_FRAMES * MEL_HOP_SAMPLES,
    )
