"""The encoder of Silero VAD at 16 kHz: a spectrum, four convolutions and an LSTM, trained to find speech.

The weights are those of the package silero-vad, from its safetensors file, which holds another training of the network
than its graphs. Source: https://github.com/snakers4/silero-vad. The package processes chunks of 32 ms in turn, each
with the 4 ms before it. Here the convolutions process all chunks at once, with the same result.
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
"""Samples of the previous chunk before each chunk; the same number is mirrored after it."""
FFT_SAMPLES = 256
FFT_HOP_SAMPLES = 128
BINS = FFT_SAMPLES // 2 + 1
CONVOLUTIONS = ((BINS, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
"""Channels in, channels out and stride of each convolution."""
HIDDEN = 128
STEPS = (4, 4, 2, 1, 1, 1)
"""Number of frames per chunk in each layer."""


class SileroVad(FramewiseEncoder):
    """An encoder with the magnitude spectrum (layer 0), convolutions (1 to 4) and LSTM (5), each at its frame rate."""

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
        """Return the modules with weights."""
        return nn.ModuleList([*self._convolutions, self._lstm])

    def blocks(self) -> dict[int, nn.Module]:
        """Return each convolution, and the LSTM."""
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
        """Cut windows into chunks with their context (T, 576); the last chunk of a window is padded with zeros."""
        size = CONTEXT_SAMPLES + CHUNK_SAMPLES
        packed = [
            self._cut([w], size, CHUNK_SAMPLES, before=CONTEXT_SAMPLES, after=-len(w) % CHUNK_SAMPLES) for w in windows
        ]
        return torch.cat([chunks for chunks, _ in packed]), [len(chunks) for chunks, _ in packed]


def _frames(hidden: torch.Tensor, counts: Sequence[int]) -> Packed:
    """Map (chunks, channels, steps) to frames in order of time, (chunks · steps, channels)."""
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
    """Build the encoder from silero-vad's safetensors file."""
    return SileroVad(safetensors.torch.load(weights[0]), options)
