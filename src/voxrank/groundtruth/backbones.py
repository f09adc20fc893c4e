"""Parts of a model below the head: frozen, with one tuned block, or tuned as a whole.

Each kind defines what is computed once from a batch, without gradients (`prepare`), and what is computed in every
step (`forward`). Everything before a tuned block is frozen, so its output is computed once for all epochs and trials.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from voxrank.encoders.base import Encoder, LayerFrames
from voxrank.errors import OptionError
from voxrank.groundtruth.audio import AudioBatch, unpadded_frames

TRAINING_ONLY = ("apply_spec_augment", "mask_time_prob", "mask_feature_prob", "layerdrop", "encoder_layerdrop")
"""Settings of transformers that are turned off."""

Hidden = tuple[torch.Tensor, torch.Tensor]
"""Frames (rows, T, D), padded with any values, and the number of frames in each row, (rows,)."""


@dataclass(frozen=True)
class Opaque:
    """Wraps audio, so that a trainer, which moves tensors only, passes it on unchanged."""

    batch: AudioBatch


class Backbone(nn.Module):
    """The part of a model below the head.

    Attributes:
        layer: layer whose frames the head reads, or whose block is tuned.
        dim: dimension of the frames that the head reads.
    """

    layer: int
    dim: int

    def replace(self, part: nn.Module) -> None:
        """Replace the tuned part by another, such as the same part with adapters."""
        raise NotImplementedError

    @abstractmethod
    def prepare(self, batch: AudioBatch) -> Any:
        """Compute the input of `forward`, once. Called without gradients."""

    @abstractmethod
    def forward(self, prepared: Any) -> Hidden:
        """Return the frames that the head reads."""

    def tuned(self) -> list[nn.Module]:
        """Return the modules that are trained, besides the head."""
        return []

    def train(self, mode: bool = True) -> Backbone:  # noqa: FBT001, FBT002 as torch has it
        """Set training mode on the tuned parts only, except for batch norms, whose statistics remain fixed."""
        super().train(mode=False)
        for part in self.tuned() if mode else ():
            for module in part.modules():
                module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
        return self


class FrozenLayer(Backbone):
    """The frozen frames of a layer; with `pooled`, the mean of each utterance as its only frame."""

    def __init__(self, encoder: Encoder, layer: int, *, pooled: bool) -> None:
        super().__init__()
        self.layer, self.dim = layer, encoder.layers[layer].dim
        self.pooled = pooled
        self._encoder = encoder

    def prepare(self, batch: AudioBatch) -> Any:
        """Compute the frames of the layer."""
        return self.of_frames(*layer_frames(self._encoder, batch, self.layer))

    def of_frames(self, hidden: torch.Tensor, lengths: torch.Tensor) -> Any:
        """Return the input of `forward`, from frames of the layer."""
        if self.pooled:
            hidden, lengths = masked_mean(hidden, lengths)[:, None], torch.ones_like(lengths)
        return {"hidden": hidden.cpu(), "lengths": lengths.cpu()}

    def forward(self, prepared: Any) -> Hidden:
        """Return the prepared frames."""
        return prepared["hidden"], prepared["lengths"]


class StackedBlocks(Backbone):
    """A tuned block of a stack, on the frozen output of the block below; with `top`, the blocks above run too."""

    def __init__(self, encoder: Encoder, layer: int, *, top: bool) -> None:
        super().__init__()
        stack = encoder.stack()
        self.layer = layer
        self._encoder = encoder
        self._indices = tuple(index for index in stack if index == layer or (top and index > layer))
        self.dim = encoder.layers[self._indices[-1]].dim
        self._blocks = nn.ModuleList(stack[index] for index in self._indices)

    def tuned(self) -> list[nn.Module]:
        """Return the tuned block."""
        return [self._blocks[0]]

    def replace(self, part: nn.Module) -> None:
        """Replace the tuned block."""
        self._blocks[0] = part

    def prepare(self, batch: AudioBatch) -> Any:
        """Record the arguments of the blocks."""
        return self.of_calls(*record_calls(self._encoder, batch))

    def of_calls(self, calls: dict[int, Any], lengths: Sequence[int]) -> Any:
        """Return the input of `forward`, from the recorded calls of all blocks."""
        recorded = [calls[index] for index in self._indices]
        return {
            "hidden": recorded[0]["hidden"],
            "calls": [call["arguments"] for call in recorded],
            "lengths": torch.tensor(lengths),
        }

    def forward(self, prepared: Any) -> Hidden:
        """Return the output of the last block."""
        hidden, lengths = prepared["hidden"], prepared["lengths"]
        with self._encoder.running(lengths.tolist()):
            for block, (inputs, keywords) in zip(self._blocks, prepared["calls"], strict=True):
                hidden = first_tensor(block(hidden, *inputs, **keywords))
        return hidden.float(), lengths


class WholeModel(Backbone):
    """A model that runs on audio in every step, tuned as a whole, or in the block that computes the layer."""

    def __init__(self, encoder: Encoder, layer: int, *, only_block: bool) -> None:
        super().__init__()
        network = encoder.network()
        if network is None:
            raise OptionError(f"{encoder.spec} has no weights that can be tuned here")
        self.layer, self.dim = layer, encoder.layers[layer].dim
        self._network, self._encoder = network, encoder
        self._tuned = encoder.blocks()[layer] if only_block else network
        for module in network.modules():
            keep_regular(module)

    def tuned(self) -> list[nn.Module]:
        """Return the model, or the block."""
        return [self._tuned]

    def replace(self, part: nn.Module) -> None:
        """Replace the tuned part; the new part has already changed the model in place."""
        self._tuned = part

    def prepare(self, batch: AudioBatch) -> Any:
        """Return the audio."""
        return Opaque(batch)

    def forward(self, prepared: Any) -> Hidden:
        """Return the frames of the layer."""
        return layer_frames(self._encoder, prepared.batch, self.layer)


def keep_regular(module: nn.Module) -> None:
    """Turn off settings that only long training needs: layer dropout, and masks longer than a short utterance."""
    if isinstance(getattr(module, "layerdrop", None), float):
        module.layerdrop = 0.0  # type: ignore[assignment]
    config = getattr(module, "config", None)
    for setting in TRAINING_ONLY:
        if hasattr(config, setting):
            setattr(config, setting, type(getattr(config, setting))())  # False or 0.0, by the type of the setting


def layer_frames(encoder: Encoder, batch: AudioBatch, layer: int) -> Hidden:
    """Return the frames of one layer for each utterance, with gradients if they are enabled."""
    for index, hidden, lengths in every_layer(encoder, batch):
        if index == layer:
            return hidden, lengths
    raise OptionError(f"{encoder.spec} has no layer {layer}")


def every_layer(encoder: Encoder, batch: AudioBatch) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Yield number, frames and lengths of all layers."""
    for piece in encoder._forward(batch.windows):  # noqa: SLF001, `encode` is for frozen models
        yield piece.layer, *_rows(piece, batch, encoder)


def _rows(piece: LayerFrames, batch: AudioBatch, encoder: Encoder) -> Hidden:
    lengths = frame_counts(piece.lengths, batch, encoder)
    rows = piece.frames.split(list(piece.lengths))
    hidden = pad_sequence([row[:length] for row, length in zip(rows, lengths, strict=True)], batch_first=True)
    return hidden, torch.tensor(lengths, device=hidden.device)


def frame_counts(lengths: Sequence[int], batch: AudioBatch, encoder: Encoder) -> list[int]:
    """Return the number of frames of each utterance, without the frames of padding after it."""
    if encoder.pads:
        return list(lengths)
    return [
        unpadded_frames(n, samples, len(window))
        for n, samples, window in zip(lengths, batch.samples, batch.windows, strict=True)
    ]


def record_calls(encoder: Encoder, batch: AudioBatch) -> tuple[dict[int, Any], list[int]]:
    """Record the arguments of each block of a stack in one pass, and the number of frames of each utterance."""
    calls: dict[int, Any] = {}
    with torch.no_grad(), _hooked(encoder.stack(), calls):
        lengths = [piece.lengths for piece in encoder._forward(batch.windows)]  # noqa: SLF001, as above
    return calls, frame_counts(lengths[-1], batch, encoder)


@contextmanager
def _hooked(stack: dict[int, nn.Module], calls: dict[int, Any]) -> Iterator[None]:
    hooks = [block.register_forward_pre_hook(_record(index, calls), with_kwargs=True) for index, block in stack.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _record(index: int, calls: dict[int, Any]) -> Callable[[nn.Module, Any, Any], None]:
    def record(_: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        keywords = dict(keywords)
        hidden, positional = (inputs[0], inputs[1:]) if inputs else (keywords.pop("hidden_states"), ())
        calls[index] = {"hidden": hidden.detach().cpu(), "arguments": (list(positional), keywords)}

    return record


def first_tensor(output: Any) -> torch.Tensor:
    """Return the output of a block, or the first of several outputs."""
    first: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return first


def masked_mean(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the mean of each row's frames: (rows, T, D) → (rows, D)."""
    mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
    return torch.where(mask[..., None], hidden, 0.0).sum(1) / lengths[:, None]
