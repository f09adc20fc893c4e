"""Several layers of a model as one: the mean of their frames, or the frames end to end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from voxrank.encoders.base import Layer, LayerFrames
from voxrank.errors import OptionError

JointKind = Literal["mean", "concat"]
JOINT_KINDS: tuple[JointKind, ...] = get_args(JointKind)

MAX_DIM = 4096
"""Of a concatenation: its moments take 130 MB, and some ten seconds to decompose."""


@dataclass(frozen=True)
class JointLayer(Layer):
    """A layer made of others.

    Attributes:
        kind: how.
        parts: indices of the layers that it is made of.
    """

    kind: JointKind
    parts: tuple[int, ...]

    @classmethod
    def of(cls, kind: JointKind, layers: Sequence[Layer], index: int, spec: str) -> JointLayer:
        """Of these layers of a model, as its layer `index`.

        Raises:
            OptionError: their frames cannot be put together.
        """
        first = layers[0]
        for layer in layers:
            if layer.frame_rate != first.frame_rate:
                raise OptionError(
                    _refused(kind, spec, f"{first.frame_rate:g} and {layer.frame_rate:g} frames a second")
                )
            if kind == "mean" and layer.dim != first.dim:
                raise OptionError(_refused(kind, spec, f"{first.dim} and {layer.dim} numbers in a frame"))
        dim = first.dim if kind == "mean" else sum(layer.dim for layer in layers)
        if dim > MAX_DIM:
            raise OptionError(
                f"{kind} of {len(layers)} layers of {spec} has {dim:,} dimensions, more than {MAX_DIM:,}; "
                f"name fewer layers, such as --layers {first.index},{layers[-1].index},{kind}"
            )
        indices = tuple(layer.index for layer in layers)
        return cls(index, f"{kind} of {_listed(indices)}", dim, first.frame_rate, kind, indices)

    def join(self, frames: Sequence[torch.Tensor]) -> torch.Tensor:
        """The joint frames (n, dim) of its parts' (n, D)."""
        return torch.stack(list(frames)).mean(dim=0) if self.kind == "mean" else torch.cat(list(frames), dim=1)


def _refused(kind: str, spec: str, difference: str) -> str:
    return f"{kind} needs layers that fit, and those of {spec} have {difference}; name layers that are alike"


def _listed(indices: tuple[int, ...]) -> str:
    consecutive = indices == tuple(range(indices[0], indices[-1] + 1))
    if consecutive and len(indices) > 1:
        return f"layers {indices[0]} to {indices[-1]}"
    return f"{'layers' if len(indices) > 1 else 'layer'} {', '.join(map(str, indices))}"


@dataclass(frozen=True)
class LayerVersion(Layer):
    """A layer once more, whose frames have other labels.

    Attributes:
        of: index of the layer.
        version: number of the labels, in `Timed.versions`.
    """

    of: int
    version: int


def layer_label(layer: Layer) -> int | str:
    """What a layer is called: its index, or the kind of a joint one."""
    return layer.kind if isinstance(layer, JointLayer) else layer.index


def front(layer: Layer) -> int:
    """Index of the model's own layer that a layer's frames come from: itself, or the first of those it is made of."""
    if isinstance(layer, LayerVersion):
        return layer.of
    return layer.parts[0] if isinstance(layer, JointLayer) else layer.index


def kept_pieces(pieces: Iterable[LayerFrames], layers: Sequence[Layer]) -> Iterator[LayerFrames]:
    """The pieces of the layers asked for, with those of joint layers as soon as their parts are there.

    Args:
        pieces: of all layers of a model, each group of windows layer by layer.
        layers: to keep.
    """
    kept: dict[int, list[int]] = defaultdict(list)
    for layer in layers:
        if not isinstance(layer, JointLayer):
            kept[front(layer)].append(layer.index)
    joint = [layer for layer in layers if isinstance(layer, JointLayer)]
    needed = {part for layer in joint for part in layer.parts}
    held: dict[int, torch.Tensor] = {}
    for piece in pieces:
        for index in kept[piece.layer]:
            yield piece if index == piece.layer else replace(piece, layer=index)
        if piece.layer in needed:
            held[piece.layer] = piece.frames
        if needed and held.keys() == needed:
            for layer in joint:
                yield LayerFrames(
                    layer.index, layer.join([held[part] for part in layer.parts]), piece.lengths, piece.windows
                )
            held.clear()
