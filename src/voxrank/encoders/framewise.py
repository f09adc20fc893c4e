"""The base class of encoders that compute each utterance alone: frames are packed end to end, without padding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform, pick_device
from voxrank.encoders.padding import without_tf32

SAMPLE_RATE_HZ = 16_000
MIN_SAMPLES = 400
"""25 ms: one analysis window, and the shortest utterance that is accepted."""

Packed = tuple[torch.Tensor, Sequence[int]]
"""Frames (sum of lengths, dim) of all windows, end to end, and the number of frames of each window."""


class FramewiseEncoder(Encoder):
    """A small model of 16 kHz audio without padding: windows of any lengths share a pass.

    It computes in float32, whatever the option `dtype` is: these models are small, and some are sensitive to rounding.

    Args:
        options: device, windows and budget.
        layers: name, dimension and hop in samples of each layer.
        min_samples: length of the shortest window that gives a frame.
    """

    def __init__(
        self, options: EncoderOptions, layers: Sequence[tuple[str, int, int]], min_samples: int = MIN_SAMPLES
    ) -> None:
        self.device = pick_device(options.device)
        self.sample_rate = SAMPLE_RATE_HZ
        self.layers = tuple(Layer(i, name, dim, SAMPLE_RATE_HZ / hop) for i, (name, dim, hop) in enumerate(layers))
        self.parameters = 0
        self.pads = True
        self.min_samples = min_samples
        self.window_samples = max(min_samples, round(options.window_s * SAMPLE_RATE_HZ))
        self.budget_samples = round(options.batch_s * SAMPLE_RATE_HZ)

    @abstractmethod
    def _compute(self, windows: Sequence[Waveform]) -> Iterable[Packed]:
        """Return the packed frames of every layer, in order."""

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        with without_tf32(self.device):
            layers = list(self._compute(windows))
        for layer, (frames, lengths) in enumerate(layers):
            yield LayerFrames(layer, frames.float(), tuple(lengths))

    def _cut(self, windows: Sequence[Waveform], size: int, hop: int, *, before: int = 0, after: int = 0) -> Packed:
        """Cut each window into overlapping frames (T, size), with `before` and `after` zeros around it."""
        cut = [
            np.lib.stride_tricks.sliding_window_view(np.pad(window, (before, after)), size)[::hop] for window in windows
        ]
        return torch.from_numpy(np.concatenate(cut)).to(self.device), [len(frames) for frames in cut]


def stack_lstms(lstms: Iterable[nn.Module], frames: torch.Tensor, lengths: Sequence[int]) -> list[torch.Tensor]:
    """Run a stack of causal LSTMs; each sequence starts from a zero state.

    Args:
        lstms: LSTMs of one layer and one direction, with time as the first axis.
        frames: (sum of lengths, dim).
        lengths: frames of each sequence.

    Returns:
        The output of each LSTM, (sum of lengths, hidden).
    """
    hidden, outputs = pad_sequence(frames.split(list(lengths))), []  # zeros at the end do not affect a causal LSTM
    with _one_thread():
        for lstm in lstms:
            hidden, _ = lstm(hidden)
            outputs.append(torch.cat([hidden[:length, row] for row, length in enumerate(lengths)]))
    return outputs


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run the block on one core.

    The steps of an LSTM are too small to divide among cores. Cores that wait for each other at every step become ten
    times slower as soon as another thread, such as a decoder, needs one of them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
