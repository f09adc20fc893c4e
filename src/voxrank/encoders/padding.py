"""Batches whose padding leaves no trace in the frames, and the proof of it.

Attention masks keep padded frames out of attention. Two other places let them in, and are closed here: the front end
of the wav2vec 2.0 families, which may normalise over time (group norm) and is run row by row at true length, so that
what it makes is exact in any batch; and a convolution inside the transformer (data2vec, conformers), whose padded input
frames are set to zero, which is what it would see past the end of the utterance alone. Whether that was enough is
measured by `leaks`.
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
"""Noise that is drawn once a process: a model is probed with some thirty lengths when it is loaded."""


@dataclass
class TrueLengths:
    """How much of each row of the running batch is audio.

    Attributes:
        steps: input steps of each row: samples, or frames of a spectrogram.
        frames: frames of each row inside the transformer.
    """

    steps: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def zero_padding(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Forward pre-hook of a convolution over (rows, channels, frames): zero the padded frames."""
        hidden, *others = inputs  # some convolutions take a mask as well
        longest = max(self.frames)
        if hidden.ndim != 3 or hidden.shape[-1] != longest or min(self.frames) == longest:
            return None
        return (hidden.masked_fill(~valid(self.frames, longest, hidden.device)[:, None], 0.0), *others)


class RowByRow(nn.Module):
    """Runs a front end on one row at a time, at its true length, and pads what comes out with zeros."""

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
    """Change a model in place so that `lengths` governs every module that mixes frames other than by attention."""
    front = getattr(model, "feature_extractor", None)
    of_front = set(front.modules()) if isinstance(front, nn.Module) else set()
    for module in model.modules():
        if isinstance(module, nn.Conv1d) and module.kernel_size[0] > 1 and module not in of_front:
            module.register_forward_pre_hook(lengths.zero_padding)
    if isinstance(front, nn.Module):
        model.feature_extractor = RowByRow(front, lengths).eval()


def valid(lengths: Sequence[int], longest: int, device: torch.device) -> torch.Tensor:
    """Mask (rows, longest): True where a row holds audio."""
    return torch.arange(longest, device=device) < torch.tensor(lengths, device=device)[:, None]


def pack_layers(
    states: list[torch.Tensor], lengths: Sequence[int] | Callable[[int], Sequence[int]]
) -> Iterator[LayerFrames]:
    """Yield the true frames of each layer, and forget the layer.

    Args:
        states: hidden states (rows, frames, dim), one a layer; emptied on the way.
        lengths: frames of each row, or a function that returns them for a layer of so many frames; a layer that has
            fewer frames bounds them.
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
    """Whether windows came out differently in one padded batch than each alone.

    A feature's difference is taken relative to its own size, and the median feature decides, so that the few very
    large features that transformers have neither hide a leak nor feign one.

    Args:
        alone: for each window, its layers.
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
    """White noise that encoders are probed with: always the same, a longer one beginning with the shorter."""
    drawn = _kept_noise() if samples <= KEPT_NOISE_SAMPLES else _drawn_noise(samples)
    return drawn[:samples].copy()


@lru_cache(maxsize=1)
def _kept_noise() -> Waveform:
    return _drawn_noise(KEPT_NOISE_SAMPLES)


def _drawn_noise(samples: int) -> Waveform:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def without_tf32(device: torch.device) -> AbstractContextManager[None]:
    """Keep CUDA convolutions in true float32: TF32, their default, rounds to 1e-3 and differently in every batch."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
