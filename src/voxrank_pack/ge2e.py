"""The encoder of GE2E: three LSTM layers over mel bands, trained to tell speakers apart.

The weights are those of the package Resemblyzer. Source of the model: L. Wan et al., "Generalized End-to-End Loss for
Speaker Verification", arXiv 1710.10467. The package cuts out long pauses, encodes pieces of 1.6 s and averages their
last frames. Here the LSTMs run through the whole window, so that every frame keeps its place in the audio.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Waveform, count_parameters
from voxrank.encoders.framewise import SAMPLE_RATE_HZ, FramewiseEncoder, Packed, stack_lstms
from voxrank.encoders.mel import MelBank

WINDOW_SAMPLES = 400
"""25 ms, which is also the length of the FFT."""
HOP_SAMPLES = 160
"""10 ms."""
N_MELS = 40
HIDDEN = 256
N_LAYERS = 3
LEAST_RMS = 10 ** (-30 / 20)
"""Minimum level, -30 dB of full scale: quieter audio is amplified to it."""


class Ge2e(FramewiseEncoder):
    """An encoder whose layer 0 is the mel power, 1 to 3 the LSTMs, 4 the embedding of each frame before averaging."""

    def __init__(self, state: dict[str, torch.Tensor], options: EncoderOptions) -> None:
        lstms = [(f"lstm {i}", HIDDEN, HOP_SAMPLES) for i in range(1, N_LAYERS + 1)]
        super().__init__(options, [("mel", N_MELS, HOP_SAMPLES), *lstms, ("embedding", HIDDEN, HOP_SAMPLES)])
        self._net = _build(state).to(self.device).eval().requires_grad_(requires_grad=False)
        self.parameters = count_parameters(self._net)
        self._bank = MelBank(N_MELS, WINDOW_SAMPLES, WINDOW_SAMPLES, SAMPLE_RATE_HZ, self.device)

    def network(self) -> nn.Module:
        """Return the LSTMs and the projection."""
        return self._net

    def blocks(self) -> dict[int, nn.Module]:
        """Return each LSTM and the projection."""
        return dict(enumerate(self._net, start=1))

    def _compute(self, windows: Sequence[Waveform]) -> Iterator[Packed]:
        half = WINDOW_SAMPLES // 2
        frames, lengths = self._cut([louder(w) for w in windows], WINDOW_SAMPLES, HOP_SAMPLES, before=half, after=half)
        mel = self._bank.power(frames)
        *lstms, linear = self._net.children()
        outputs = stack_lstms(lstms, mel, lengths)
        for hidden in (mel, *outputs, torch.relu(linear(outputs[-1]))):
            yield hidden, lengths


def louder(window: Waveform) -> Waveform:
    """Amplify a window to -30 dB of full scale (root mean square), unless it is at least as loud, or silent."""
    rms = float(np.sqrt(np.mean(np.square(window, dtype=np.float64))))
    return window * np.float32(LEAST_RMS / rms) if 0 < rms < LEAST_RMS else window


def _build(state: dict[str, torch.Tensor]) -> nn.Sequential:
    """Build the LSTMs as separate modules, so that each layer's output is available, and the projection."""
    sizes = [N_MELS] + [HIDDEN] * N_LAYERS
    net = nn.Sequential(*(nn.LSTM(size, HIDDEN) for size in sizes[:-1]), nn.Linear(HIDDEN, HIDDEN))
    for i in range(N_LAYERS):
        prefix, suffix = "lstm.", f"_l{i}"
        part = {name: value for name, value in state.items() if name.startswith(prefix) and name.endswith(suffix)}
        net[i].load_state_dict({f"{name[len(prefix) : -len(suffix)]}_l0": value for name, value in part.items()})
    net[N_LAYERS].load_state_dict({"weight": state["linear.weight"], "bias": state["linear.bias"]})
    return net


def build(weights: Sequence[bytes], options: EncoderOptions) -> Encoder:
    """Build the encoder from Resemblyzer's checkpoint."""
    checkpoint = torch.load(io.BytesIO(weights[0]), map_location="cpu", weights_only=True)
    return Ge2e(checkpoint["model_state"], options)
