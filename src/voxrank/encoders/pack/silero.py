"""Silero VAD at 16 kHz: a short-time spectrum, four convolutions and an LSTM, trained to find speech.

Weights of the package silero-vad, from its safetensors file, which holds another training of the network than its
graphs. Source: https://github.com/snakers4/silero-vad. The package steps through the audio by chunks of 32 ms, each
with the 4 ms before it; here the convolutions take all chunks at once, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Waveform, count_parameters
from voxrank.encoders.framewise import FramewiseEncoder, Packed, stack_lstms

CHUNK_SAMPLES = 512
CONTEXT_SAMPLES = 64
"""Of the chunk before, in front of each chunk; and as many mirrored behind it."""
FFT_SAMPLES = 256
FFT_HOP_SAMPLES = 128
BINS = FFT_SAMPLES // 2 + 1
CONVOLUTIONS = ((BINS, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
"""Channels in, channels out, stride."""
HIDDEN = 128
STEPS = (4, 4, 2, 1, 1, 1)
"""Frames that each layer makes of a chunk."""


class SileroVad(FramewiseEncoder):
    """Layer 0 is the magnitude spectrum, 1 to 4 the convolutions, 5 the LSTM; each at its own frame rate."""

    def __init__(self, state: dict[str, torch.Tensor], options: EncoderOptions) -> None:
        dims = [BINS, *(channels for _, channels, _ in CONVOLUTIONS), HIDDEN]
        names = ["spectrum", "conv 1", "conv 2", "conv 3", "conv 4", "lstm"]
        hops = [CHUNK_SAMPLES // steps for steps in STEPS]
        super().__init__(options, list(zip(names, dims, hops, strict=True)))
        self._convolutions, self._lstm = _build(state)
        for part in (self._convolutions, self._lstm):
            part.to(self.device).eval().requires_grad_(requires_grad=False)
            self.parameters += count_parameters(part)
        self._fourier = state["stft_conv.weight"].to(self.device)

    def network(self) -> nn.Module:
        """All that has weights."""
        return nn.ModuleList([*self._convolutions, self._lstm])

    def blocks(self) -> dict[int, nn.Module]:
        """Each convolution, and the LSTM."""
        return dict(enumerate([*self._convolutions, self._lstm], start=1))

    def _compute(self, windows: Sequence[Waveform]) -> Iterator[Packed]:
        chunks, counts = self._chunks(windows)
        mirrored = functional.pad(chunks[:, None], (0, CONTEXT_SAMPLES), mode="reflect")
        real, imaginary = functional.conv1d(mirrored, self._fourier, stride=FFT_HOP_SAMPLES).split(BINS, dim=1)
        hidden = (real.square() + imaginary.square()).sqrt()
        yield _frames(hidden, counts)
        for convolution in self._convolutions:
            hidden = torch.relu(convolution(hidden))
            yield _frames(hidden, counts)
        yield stack_lstms([self._lstm], *_frames(hidden, counts))[0], counts

    def _chunks(self, windows: Sequence[Waveform]) -> Packed:
        """Chunks with their contexts (T, 576), the last of each window filled up with zeros."""
        size = CONTEXT_SAMPLES + CHUNK_SAMPLES
        packed = [
            self._cut([w], size, CHUNK_SAMPLES, before=CONTEXT_SAMPLES, after=-len(w) % CHUNK_SAMPLES) for w in windows
        ]
        return torch.cat([chunks for chunks, _ in packed]), [len(chunks) for chunks, _ in packed]


def _frames(hidden: torch.Tensor, counts: Sequence[int]) -> Packed:
    """Map (chunks, channels, steps) to frames in order of time (chunks · steps, channels)."""
    steps = hidden.shape[2]
    return hidden.transpose(1, 2).flatten(end_dim=1), [count * steps for count in counts]


def _build(state: dict[str, torch.Tensor]) -> tuple[nn.ModuleList, nn.LSTM]:
    convolutions = nn.ModuleList(nn.Conv1d(i, o, 3, stride, padding=1) for i, o, stride in CONVOLUTIONS)
    for number, convolution in enumerate(convolutions, start=1):
        convolution.load_state_dict({name: state[f"conv{number}.{name}"] for name in ("weight", "bias")})
    lstm = nn.LSTM(CONVOLUTIONS[-1][1], HIDDEN)
    lstm.load_state_dict({name: state[f"lstm_cell.{name.removesuffix('_l0')}"] for name in lstm.state_dict()})
    return convolutions, lstm


def build(weights: Sequence[bytes], options: EncoderOptions) -> Encoder:
    """The encoder of silero-vad's safetensors file."""
    return SileroVad(safetensors.torch.load(weights[0]), options)
