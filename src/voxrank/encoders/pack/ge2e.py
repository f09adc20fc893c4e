"""The GE2E speaker encoder: a mel spectrogram and three LSTM layers.

Weights: Resemblyzer's `pretrained.pt`. Source of the model: Wan et al., "Generalized End-to-End Loss for Speaker
Verification", ICASSP 2018. The package cuts long silences away before it encodes; here every frame is kept, so that
frames stay in step with the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, count_parameters, pick_device
from voxrank.encoders.taps import TapEncoder, Taps

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
N_MELS = 40
HIDDEN = 256
N_LAYERS = 3
TARGET_RMS = 10 ** (-30 / 20)
"""-30 dB of full scale: quieter audio is raised to it."""


class Ge2e(nn.Module):
    """Waveforms (batch, samples) → mel frames, the output of each LSTM, and the embedding of each frame."""

    filters: torch.Tensor
    hann: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lstms = nn.ModuleList(
            nn.LSTM(N_MELS if i == 0 else HIDDEN, HIDDEN, batch_first=True) for i in range(N_LAYERS)
        )
        self.linear = nn.Linear(HIDDEN, HIDDEN)
        filters = mel_filter_bank(
            WINDOW_SAMPLES // 2 + 1, N_MELS, 0.0, SAMPLE_RATE_HZ / 2, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)
        self.register_buffer("hann", torch.hann_window(WINDOW_SAMPLES), persistent=False)

    def mel(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Mel power, not its logarithm: (batch, samples) → (batch, 1 + samples // 160, 40)."""
        rms = waveforms.square().mean(dim=1, keepdim=True).sqrt()
        louder = torch.where((rms > 0) & (rms < TARGET_RMS), waveforms * TARGET_RMS / rms, waveforms)
        spectrum = torch.stft(
            louder, WINDOW_SAMPLES, HOP_SAMPLES, window=self.hann, center=True, pad_mode="constant", return_complex=True
        )
        power: torch.Tensor = spectrum.abs().square().transpose(1, 2)
        return power @ self.filters

    def forward(self, waveforms: torch.Tensor) -> Taps:
        """All layers, in order."""
        hidden = self.mel(waveforms)
        taps = {"mel": hidden}
        for number, lstm in enumerate(self.lstms, start=1):
            hidden, _ = lstm(hidden)
            taps[f"lstm {number}"] = hidden
        return taps | {"embedding": torch.relu(self.linear(hidden))}


def build(files: Sequence[Path], options: EncoderOptions) -> Encoder:
    """The encoder with Resemblyzer's weights."""
    state = torch.load(files[0], map_location="cpu", weights_only=True)["model_state"]
    module = Ge2e()
    kept = {}
    for name, value in state.items():
        if name.startswith("lstm."):
            parameter, _, layer = name.removeprefix("lstm.").rpartition("_l")
            kept[f"lstms.{layer}.{parameter}_l0"] = value
        elif name.startswith("linear."):
            kept[name] = value
    module.load_state_dict(kept, strict=True)
    device = pick_device(options.device)
    module = module.to(device).eval().requires_grad_(requires_grad=False)
    return TapEncoder(
        module,
        options,
        device=device,
        sample_rate=SAMPLE_RATE_HZ,
        parameters=count_parameters(module),
        min_samples=WINDOW_SAMPLES,
        hop_samples=HOP_SAMPLES,
    )
