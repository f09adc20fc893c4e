"""The Conformer and FastConformer encoders of NVIDIA NeMo, made of the Parakeet modules of transformers.

Parakeet is FastConformer as its later models use it. The parts that it lacks are added here: subsampling by full
convolutions, causal convolutions, layer normalisation inside the convolution module, and attention that is limited to
the frames nearby. All settings are attributes of a `ParakeetEncoderConfig`.

Source: NeMo's `ConformerEncoder` defines the computation and the names of the weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import ParakeetEncoder, ParakeetEncoderConfig
from transformers.modeling_outputs import BaseModelOutput

KERNEL, STRIDE = 3, 2
"""Size and stride of the convolutions of the subsampling."""

SAME, CAUSAL = (1, 1), (2, 1)
"""Steps of zeros before and after their input."""

MAX_WAVELENGTH = 10_000.0
"""Ratio of the longest to the shortest wavelength of the positions."""


def frequencies(width: int) -> torch.Tensor:
    """Return the angular frequencies (width / 2) of the relative positions, rounded as in NeMo.

    Args:
        width: number of features in a frame.
    """
    return torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(MAX_WAVELENGTH) / width))


class ConformerEncoder(ParakeetEncoder):
    """A Conformer encoder whose weights have the names of Parakeet's, except those of the subsampling.

    Args:
        config: Parakeet's configuration, with these attributes more: `subsampling` ("striding" or "dw_striding"),
            `causal_downsampling`, `conv_context` (frames before and after), `conv_norm` ("batch_norm" or
            "layer_norm"), `attention_context` (frames before and after; -1 for all) and `attention_style`
            ("regular" or "chunked_limited").
    """

    def __init__(self, config: ParakeetEncoderConfig) -> None:
        super().__init__(config)
        settings: Any = config
        self.subsampling: Any = Subsampling(config)
        width, kernel = settings.hidden_size, settings.conv_kernel_size
        for layer in self.layers:
            part: Any = layer.conv
            if settings.conv_context != [kernel // 2] * 2:
                part.depthwise_conv = ContextConv1d(
                    width, kernel, tuple(settings.conv_context), bias=settings.convolution_bias
                )
            if settings.conv_norm == "layer_norm":
                part.norm = FrameNorm(width)

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None) -> BaseModelOutput:
        """Compute all layers.

        Args:
            input_features: (batch, steps, bands).
            attention_mask: (batch, steps), nonzero where a step is audio; None if all are.

        Returns:
            The last layer, and as hidden states the input of the first block and every block's output.
        """
        lengths = None if attention_mask is None else attention_mask.sum(-1)
        hidden = self.subsampling(input_features, lengths) * self.input_scale
        mask = self._mask(hidden, lengths)
        positions = self.encode_positions(hidden)
        states = [hidden]
        for layer in self.layers:
            states.append(layer(states[-1], attention_mask=mask, position_embeddings=positions))
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=tuple(states))

    def _get_subsampling_output_length(self, input_lengths: torch.Tensor) -> torch.Tensor:
        counts: torch.Tensor = self.subsampling.count(input_lengths)
        return counts

    def _mask(self, hidden: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor | None:
        """Return which frame attends to which (batch, 1, frames, frames), or None if all attend to all."""
        batch, frames, _ = hidden.shape
        settings: Any = self.config
        near = nearby(frames, settings.attention_context, settings.attention_style)
        if near is None and lengths is None:
            return None
        mask = torch.ones(frames, frames, dtype=torch.bool) if near is None else near
        mask = mask.to(hidden.device).expand(batch, 1, frames, frames)
        if lengths is None:
            return mask
        counts = self.subsampling.count(lengths)
        heard = torch.arange(frames, device=hidden.device) < counts[:, None]
        both: torch.Tensor = mask & heard[:, None, None, :] & heard[:, None, :, None]
        return both


class Subsampling(nn.Module):
    """Convolutions over time and frequency, each of which halves the frame rate, and a projection.

    Attributes:
        conv: the convolutions, with ReLU.
        out: the projection to the width of the blocks.

    Args:
        config: the configuration of `ConformerEncoder`.
    """

    def __init__(self, config: ParakeetEncoderConfig) -> None:
        super().__init__()
        settings: Any = config
        padding = CAUSAL if settings.causal_downsampling else SAME
        channels, bands, parts = settings.subsampling_conv_channels, settings.num_mel_bins, []
        for number in range(int(math.log2(settings.subsampling_factor))):
            separable = settings.subsampling == "dw_striding" and number > 0
            convolution = Halving(channels if number else 1, channels, padding, groups=channels if separable else 1)
            parts += [convolution, *([nn.Conv2d(channels, channels, 1)] if separable else []), nn.ReLU()]
            bands = convolution.count(bands)
        self.conv = nn.ModuleList(parts)
        self.out = nn.Linear(channels * bands, settings.hidden_size)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map (batch, steps, bands) to (batch, frames, width); steps beyond `lengths` count as zeros everywhere."""
        hidden = _zero_beyond(features[:, None], lengths)
        for part in self.conv:
            hidden = part(hidden)
            if isinstance(part, Halving) and lengths is not None:
                lengths = part.count(lengths)
            hidden = _zero_beyond(hidden, lengths)
        projected: torch.Tensor = self.out(hidden.transpose(1, 2).flatten(2))
        return projected

    def count(self, steps: torch.Tensor) -> torch.Tensor:
        """Return the number of frames for a number of steps."""
        for part in self.conv:
            steps = part.count(steps) if isinstance(part, Halving) else steps
        return steps


class Halving(nn.Conv2d):
    """A convolution that halves time and frequency, with zeros around its input.

    Args:
        inputs: number of channels of the input.
        outputs: number of channels of the output.
        padding: rows of zeros before and after, in time and in frequency.
        groups: number of groups of channels.
    """

    def __init__(self, inputs: int, outputs: int, padding: tuple[int, int], groups: int) -> None:
        super().__init__(inputs, outputs, KERNEL, STRIDE, groups=groups)
        self.around = padding

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, time, frequency) to half of both."""
        return super().forward(nn.functional.pad(hidden, self.around * 2))

    def count(self, steps: Any) -> Any:
        """Return the length of the output for a length of the input."""
        return (steps + sum(self.around) - KERNEL) // STRIDE + 1


class ContextConv1d(nn.Conv1d):
    """A depthwise convolution over time with different numbers of frames before and after.

    Args:
        width: number of channels.
        kernel: number of frames that it sees.
        context: number of frames before and after.
        bias: whether it has a bias.
    """

    def __init__(self, width: int, kernel: int, context: tuple[int, int], *, bias: bool) -> None:
        super().__init__(width, width, kernel, groups=width, bias=bias)
        self.context = context

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (batch, width, frames) to the same shape."""
        return super().forward(nn.functional.pad(hidden, self.context))


class FrameNorm(nn.LayerNorm):
    """Layer normalisation of each frame where time is the last axis."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (batch, width, frames) to the same shape."""
        return super().forward(hidden.transpose(1, 2)).transpose(1, 2)


def nearby(frames: int, context: list[int], style: str) -> torch.Tensor | None:
    """Return which frame (row) attends to which (column), or None if all attend to all.

    Args:
        frames: number of frames.
        context: frames before and after that a frame attends to; -1 for all.
        style: "regular"; or "chunked_limited", where the frames of a chunk attend to the same frames: to the chunk,
            which is one frame longer than the context after, and to whole chunks before.
    """
    before, after = context
    if before < 0 and after < 0:
        return None
    position = torch.arange(frames)
    if style == "chunked_limited" and after >= 0:
        position, before, after = position // (after + 1), before // (after + 1) if before >= 0 else -1, 0
    ahead = position[None] - position[:, None]
    mask = torch.ones(frames, frames, dtype=torch.bool)
    if before >= 0:
        mask &= ahead >= -before
    return mask & (ahead <= after) if after >= 0 else mask


def _zero_beyond(hidden: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Set what lies beyond `lengths` in time to zero, in (batch, channels, time, frequency)."""
    if lengths is None:
        return hidden
    heard = torch.arange(hidden.shape[2], device=hidden.device) < lengths[:, None]
    return hidden.masked_fill(~heard[:, None, :, None], 0.0)
