"""Batches whose padding has no effect on the frames, and the check that it has none.

Attention masks exclude padded frames from attention. Padding can still enter in two places. The front end of the
wav2vec 2.0 families may normalise over time (group norm); it runs row by row at the true length, so that its output is
exact in any batch. A convolution inside the transformer (data2vec, conformers) gets padded input frames that are set to
zero, which is what it sees past the end of an utterance alone. `leaks` measures whether this is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from voxrank.encoders.base import LayerFrames, Waveform

LEAK_TOLERANCE = 1e-4
"""Relative difference above which padding has an effect; rounding in float32 stays near 1e-6."""
KEPT_NOISE_SAMPLES = 1 << 20
"""Samples of noise that are generated once per process: loading a model probes about thirty lengths."""


@dataclass
class TrueLengths:
    """The number of valid steps and frames in each row of the current batch.

    Attributes:
        steps: input steps of each row: samples, or frames of a spectrogram.
        frames: frames of each row inside the transformer.
    """

    steps: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def zero_padding(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Zero the padded frames, as a forward pre-hook of a convolution over (rows, channels, frames)."""
        hidden, *others = inputs  # some convolutions take a mask as well
        longest = max(self.frames)
        if hidden.ndim != 3 or hidden.shape[-1] != longest or min(self.frames) == longest:
            return None
        return (hidden.masked_fill(~valid(self.frames, longest, hidden.device)[:, None], 0.0), *others)


class RowByRow(nn.Module):
    """Runs a front end on one row at a time, at its true length, and pads the outputs with zeros."""

    def __init__(self, front: nn.Module, lengths: TrueLengths) -> None:
        super().__init__()
        self.front = front
        self.lengths = lengths

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Map (rows, samples) to (rows, channels, frames)."""
        rows = [self.front(row[None, :steps]) for row, steps in zip(waveforms, self.lengths.steps, strict=True)]
        longest = max(row.shape[-1] for row in rows)
        return torch.cat([nn.functional.pad(row, (0, longest - row.shape[-1])) for row in rows])


def keep_padding_out(model: nn.Module, lengths: TrueLengths) -> None:
    """Change a model in place so that modules that mix frames other than by attention use the true `lengths`."""
    front = getattr(model, "feature_extractor", None)
    of_front = set(front.modules()) if isinstance(front, nn.Module) else set()
    for module in model.modules():
        if isinstance(module, nn.Conv1d) and module.kernel_size[0] > 1 and module not in of_front:
            module.register_forward_pre_hook(lengths.zero_padding)
    if isinstance(front, nn.Module):
        model.feature_extractor = RowByRow(front, lengths).eval()


def valid(lengths: Sequence[int], longest: int, device: torch.device) -> torch.Tensor:
    """Return a mask (rows, longest) that is True where a row holds audio."""
    return torch.arange(longest, device=device) < torch.tensor(lengths, device=device)[:, None]


def pack_layers(
    states: list[torch.Tensor], lengths: Sequence[int] | Callable[[int], Sequence[int]]
) -> Iterator[LayerFrames]:
    """Yield the valid frames of each layer, and release the layer.

    Args:
        states: hidden states (rows, frames, dim), one per layer; the list is emptied during the iteration.
        lengths: number of frames of each row, or a function that returns them for the number of frames of a layer; at
            most the frames of the layer are taken.
    """
    states.reverse()
    for layer in range(len(states)):
        counts = lengths(states[-1].shape[1]) if callable(lengths) else lengths
        yield _pack(layer, states.pop(), counts)


def _pack(layer: int, hidden: torch.Tensor, lengths: Sequence[int]) -> LayerFrames:
    counts = tuple(min(length, hidden.shape[1]) for length in lengths)
    packed = torch.cat([row[:count] for row, count in zip(hidden, counts, strict=True)])
    return LayerFrames(layer, packed.float(), counts)


def leaks(alone: Sequence[Sequence[LayerFrames]], together: Sequence[LayerFrames]) -> bool:
    """Return whether windows give other frames in one padded batch than alone.

    Differences are relative to the size of each feature, and the median feature decides. So the few very large features
    of transformers neither hide a leak nor cause a false alarm.

    Args:
        alone: the layers of each window.
        together: the layers of all windows in one batch.
    """
    for layers in zip(together, *alone, strict=True):
        batch, singles = layers[0], layers[1:]
        if batch.lengths != tuple(sum(single.lengths) for single in singles):
            return True
        expected = torch.cat([single.frames for single in singles])
        scale = expected.abs().amax(0).clamp_min(torch.finfo(torch.float32).tiny)
        difference = (batch.frames - expected).abs().amax(0) / scale
        if not difference.median().item() <= LEAK_TOLERANCE:
            return True
    return False


def noise(samples: int) -> Waveform:
    """Return white noise for probing encoders; always the same, and longer noise begins with shorter noise."""
    drawn = _cached_noise() if samples <= KEPT_NOISE_SAMPLES else _drawn_noise(samples)
    return drawn[:samples].copy()


@lru_cache(maxsize=1)
def _cached_noise() -> Waveform:
    return _drawn_noise(KEPT_NOISE_SAMPLES)


def _drawn_noise(samples: int) -> Waveform:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def without_tf32(device: torch.device) -> AbstractContextManager[None]:
    """Keep CUDA convolutions in true float32: TF32, the default, rounds to 1e-3, differently in every batch."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
