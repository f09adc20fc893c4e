"""Silero VAD at 16 kHz: a learned short-time spectrum, four convolutions and an LSTM, one frame every 32 ms.

Weights: `silero_vad_16k.safetensors` of the package silero-vad. The package steps through the audio in windows of 512
samples with 64 of the window before; here the convolutions take all windows at once and the LSTM runs over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, count_parameters, pick_device
from voxrank.encoders.taps import TapEncoder, Taps

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 512
CONTEXT_SAMPLES = 64
STFT_SAMPLES = 256
STFT_HOP_SAMPLES = 128
BINS = STFT_SAMPLES // 2 + 1
CHANNELS = ((BINS, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
"""In, out and stride of the convolutions."""


class SileroVad(nn.Module):
    """Waveforms (batch, samples) → spectrum, convolutions and LSTM for each window of 32 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * BINS, STFT_SAMPLES, stride=STFT_HOP_SAMPLES, bias=False)
        self.convs = nn.ModuleList(nn.Conv1d(i, o, 3, stride=s, padding=1) for i, o, s in CHANNELS)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, waveforms: torch.Tensor) -> Taps:
        """All layers, in order; what a window holds in several steps is averaged."""
        batch = len(waveforms)
        hidden = self._spectrum(waveforms)  # (batch · windows, bins, steps)
        taps = {"spectrum": hidden.mean(dim=2).unflatten(0, (batch, -1))}
        for number, conv in enumerate(self.convs, start=1):
            hidden = torch.relu(conv(hidden))
            taps[f"conv {number}"] = hidden.mean(dim=2).unflatten(0, (batch, -1))
        return taps | {"lstm": self.lstm(taps["conv 4"])[0]}

    def speech_probability(self, waveforms: torch.Tensor) -> torch.Tensor:
        """What the model was trained for: (batch, samples) → (batch, windows)."""
        hidden = torch.relu(self(waveforms)["lstm"]).transpose(1, 2)
        return torch.sigmoid(self.final_conv(hidden)).squeeze(1)

    def _spectrum(self, waveforms: torch.Tensor) -> torch.Tensor:
        short = -waveforms.shape[1] % WINDOW_SAMPLES
        padded = functional.pad(waveforms, (CONTEXT_SAMPLES, short))
        windows = padded.unfold(1, CONTEXT_SAMPLES + WINDOW_SAMPLES, WINDOW_SAMPLES).flatten(end_dim=1)
        reflected = functional.pad(windows, (0, CONTEXT_SAMPLES), mode="reflect").unsqueeze(1)
        real, imaginary = self.stft_conv(reflected).split(BINS, dim=1)
        return torch.sqrt(real.square() + imaginary.square())


def build(files: Sequence[Path], options: EncoderOptions) -> Encoder:
    """The encoder with the package's weights."""
    module = read_module(files[0])
    device = pick_device(options.device)
    module = module.to(device)
    return TapEncoder(
        module,
        options,
        device=device,
        sample_rate=SAMPLE_RATE_HZ,
        parameters=count_parameters(module),
        hop_samples=WINDOW_SAMPLES,
    )


def read_module(path: Path) -> SileroVad:
    """The module with the weights of a safetensors file."""
    state = {}
    for name, value in load_file(path).items():
        layer, _, parameter = name.partition(".")
        if layer.startswith("conv"):
            state[f"convs.{int(layer[4:]) - 1}.{parameter}"] = value
        elif layer == "lstm_cell":
            state[f"lstm.{parameter}_l0"] = value
        else:
            state[name] = value
    module = SileroVad()
    module.load_state_dict(state, strict=True)
    return module.eval().requires_grad_(requires_grad=False)
