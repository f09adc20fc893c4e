"""The part of a model below the head: frozen, one block of it tuned, or all of it.

Each kind says what is made of a batch once, without gradients (`prepare`), and what is computed in every step
(`forward`). What comes before a tuned block is frozen, so that its output is made once for all epochs and trials.
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
from voxrank.groundtruth.audio import AudioBatch, own_frames

TRAINING_ONLY = ("apply_spec_augment", "mask_time_prob", "mask_feature_prob", "layerdrop", "encoder_layerdrop")
"""Settings of transformers that are turned off."""

Hidden = tuple[torch.Tensor, torch.Tensor]
"""Frames (rows, T, D), padded with anything, and how many there are in each row (rows,)."""


@dataclass(frozen=True)
class Opaque:
    """Audio on its way through a trainer, which moves tensors only."""

    batch: AudioBatch


class Backbone(nn.Module):
    """What comes below the head.

    Attributes:
        layer: whose frames the head reads, or whose block is tuned.
        dim: numbers in a frame that the head reads.
    """

    layer: int
    dim: int

    def replace(self, part: nn.Module) -> None:
        """Tune another part in place of the one that is, such as the same with adapters."""
        raise NotImplementedError

    @abstractmethod
    def prepare(self, batch: AudioBatch) -> Any:
        """What `forward` takes, made once. Called without gradients."""

    @abstractmethod
    def forward(self, prepared: Any) -> Hidden:
        """The frames that the head reads."""

    def tuned(self) -> list[nn.Module]:
        """What is trained, beside the head."""
        return []

    def train(self, mode: bool = True) -> Backbone:  # noqa: FBT001, FBT002 as torch has it
        """Only what is tuned leaves evaluation mode, but for batch norms: their statistics stay as they are."""
        super().train(mode=False)
        for part in self.tuned() if mode else ():
            for module in part.modules():
                module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
        return self


class FrozenLayer(Backbone):
    """Frames of a layer, as they are; with `pooled` the mean of each utterance as its only frame."""

    def __init__(self, encoder: Encoder, layer: int, *, pooled: bool) -> None:
        super().__init__()
        self.layer, self.dim = layer, encoder.layers[layer].dim
        self.pooled = pooled
        self._encoder = encoder

    def prepare(self, batch: AudioBatch) -> Any:
        """The frames."""
        return self.of_frames(*layer_frames(self._encoder, batch, self.layer))

    def of_frames(self, hidden: torch.Tensor, lengths: torch.Tensor) -> Any:
        """The same, from frames of the layer."""
        if self.pooled:
            hidden, lengths = masked_mean(hidden, lengths)[:, None], torch.ones_like(lengths)
        return {"hidden": hidden.cpu(), "lengths": lengths.cpu()}

    def forward(self, prepared: Any) -> Hidden:
        """The same."""
        return prepared["hidden"], prepared["lengths"]


class StackedBlocks(Backbone):
    """One block of a stack is tuned, on the frozen output of the block below; with `top`, those above are run too."""

    def __init__(self, encoder: Encoder, layer: int, *, top: bool) -> None:
        super().__init__()
        stack = encoder.stack()
        self.layer = layer
        self._encoder = encoder
        self._numbers = tuple(number for number in stack if number == layer or (top and number > layer))
        self.dim = encoder.layers[self._numbers[-1]].dim
        self._blocks = nn.ModuleList(stack[number] for number in self._numbers)

    def tuned(self) -> list[nn.Module]:
        """The block."""
        return [self._blocks[0]]

    def replace(self, part: nn.Module) -> None:
        """Tune another block in its place."""
        self._blocks[0] = part

    def prepare(self, batch: AudioBatch) -> Any:
        """What the blocks were called with."""
        return self.of_calls(*record_calls(self._encoder, batch))

    def of_calls(self, calls: dict[int, Any], lengths: Sequence[int]) -> Any:
        """The same, from calls of all blocks."""
        own = [calls[number] for number in self._numbers]
        return {"hidden": own[0]["hidden"], "calls": [call["rest"] for call in own], "lengths": torch.tensor(lengths)}

    def forward(self, prepared: Any) -> Hidden:
        """The output of the last of them."""
        hidden, lengths = prepared["hidden"], prepared["lengths"]
        with self._encoder.running(lengths.tolist()):
            for block, (inputs, named) in zip(self._blocks, prepared["calls"], strict=True):
                hidden = first_tensor(block(hidden, *inputs, **named))
        return hidden.float(), lengths


class WholeModel(Backbone):
    """The model runs on audio in every step; all of it is tuned, or the block that makes the layer."""

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
        """The model, or the block."""
        return [self._tuned]

    def replace(self, part: nn.Module) -> None:
        """Tune another part, which has changed the model where it stands."""
        self._tuned = part

    def prepare(self, batch: AudioBatch) -> Any:
        """The audio."""
        return Opaque(batch)

    def forward(self, prepared: Any) -> Hidden:
        """Frames of the layer."""
        return layer_frames(self._encoder, prepared.batch, self.layer)


def keep_regular(module: nn.Module) -> None:
    """Turn off what only long training needs: blocks left out at random, and masks longer than a short utterance."""
    if isinstance(getattr(module, "layerdrop", None), float):
        module.layerdrop = 0.0  # type: ignore[assignment]
    config = getattr(module, "config", None)
    for setting in TRAINING_ONLY:
        if hasattr(config, setting):
            setattr(config, setting, type(getattr(config, setting))())  # False or 0.0, as the setting is


def layer_frames(encoder: Encoder, batch: AudioBatch, layer: int) -> Hidden:
    """Frames of one layer, each utterance's own, with gradients where they are wanted."""
    for number, hidden, lengths in every_layer(encoder, batch):
        if number == layer:
            return hidden, lengths
    raise OptionError(f"{encoder.spec} has no layer {layer}")


def every_layer(encoder: Encoder, batch: AudioBatch) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """The same of all layers: number, frames and lengths."""
    for piece in encoder._forward(batch.windows):  # noqa: SLF001, `encode` is for frozen models
        yield piece.layer, *_rows(piece, batch, encoder)


def _rows(piece: LayerFrames, batch: AudioBatch, encoder: Encoder) -> Hidden:
    lengths = frame_counts(piece.lengths, batch, encoder)
    rows = piece.frames.split(list(piece.lengths))
    hidden = pad_sequence([row[:length] for row, length in zip(rows, lengths, strict=True)], batch_first=True)
    return hidden, torch.tensor(lengths, device=hidden.device)


def frame_counts(made: Sequence[int], batch: AudioBatch, encoder: Encoder) -> list[int]:
    """Frames of each utterance among those made, some of which may be of the silence behind it."""
    if encoder.pads:
        return list(made)
    return [own_frames(n, own, len(w)) for n, own, w in zip(made, batch.samples, batch.windows, strict=True)]


def record_calls(encoder: Encoder, batch: AudioBatch) -> tuple[dict[int, Any], list[int]]:
    """What each block of a stack is called with, from one pass; and the frames of each utterance."""
    calls: dict[int, Any] = {}
    with torch.no_grad(), _hooked(encoder.stack(), calls):
        made = [piece.lengths for piece in encoder._forward(batch.windows)]  # noqa: SLF001, as above
    return calls, frame_counts(made[-1], batch, encoder)


@contextmanager
def _hooked(stack: dict[int, nn.Module], calls: dict[int, Any]) -> Iterator[None]:
    hooks = [
        block.register_forward_pre_hook(_record(number, calls), with_kwargs=True) for number, block in stack.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _record(number: int, calls: dict[int, Any]) -> Callable[[nn.Module, Any, Any], None]:
    def record(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        named = dict(named)
        hidden, rest = (inputs[0], inputs[1:]) if inputs else (named.pop("hidden_states"), ())
        calls[number] = {"hidden": hidden.detach().cpu(), "rest": (list(rest), named)}

    return record


def first_tensor(output: Any) -> torch.Tensor:
    """What a block gives out, alone or as the first of several."""
    found: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return found


def masked_mean(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The mean of each row's frames: (rows, T, D) → (rows, D)."""
    there = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
    return torch.where(there[..., None], hidden, 0.0).sum(1) / lengths[:, None]
