"""The layers that have a sketch: single layers, joint layers of several, and layers under alternative labels.

A joint layer holds the mean of the frames of several layers, or their concatenation. `SketchKey` identifies each
sketch by its layer and the version of its labels, so that no two sketches share an entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import torch

from voxrank.config import Hertz
from voxrank.encoders.base import Layer, LayerFrames
from voxrank.errors import OptionError

JointKind = Literal["mean", "concat"]
JOINT_KINDS: tuple[JointKind, ...] = get_args(JointKind)

MAX_DIM = 4096
"""Maximum dimension of a concatenation: its moments take 130 MB, and their decomposition about ten seconds."""


RANKED_LABELS = 0
"""Version of the labels that determine the ranking; 1, 2, … are the alternatives to compare, in the given order."""


@dataclass(frozen=True)
class SketchKey:
    """The key of one sketch among those of a model.

    Its text form, such as "4/0" or "mean/1", is the name of the sketch in a file.

    Attributes:
        layer: index of the layer, or the kind of a joint layer.
        version: version of the labels: `RANKED_LABELS`, or n for alternative n.
    """

    layer: int | JointKind
    version: int = RANKED_LABELS

    def __str__(self) -> str:
        return f"{self.layer}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a key from its text form.

        Raises:
            ValueError: the text is not a valid key.
        """
        layer, _, version = text.partition("/")
        kind = next((kind for kind in JOINT_KINDS if kind == layer), None)
        numbers = [version] if kind else [layer, version]
        if not all(number.isascii() and number.isdecimal() for number in numbers):
            raise ValueError(f"expected a layer and a version of its labels, such as 4/0, got {text!r}")
        return cls(kind or int(layer), int(version))


@dataclass(frozen=True)
class JointLayer:
    """A layer that joins several layers of a model. A model has at most one joint layer of each kind.

    Attributes:
        kind: how the frames are joined.
        name: name for display, which says what the layer is made of.
        dim: number of features in a frame.
        frame_rate: frames per second of audio, in Hz.
        parts: indices of the layers that it joins.
    """

    kind: JointKind
    name: str
    dim: int
    frame_rate: Hertz
    parts: tuple[int, ...]

    @classmethod
    def of(cls, kind: JointKind, layers: Sequence[Layer], spec: str) -> Self:
        """Join layers of a model.

        Args:
            kind: how to join them.
            layers: the layers to join, at least one.
            spec: the model, for messages.

        Raises:
            OptionError: the layers cannot be joined.
        """
        first = layers[0]
        for layer in layers:
            if layer.frame_rate != first.frame_rate:
                raise OptionError(
                    _mismatch_message(kind, spec, f"{first.frame_rate:g} and {layer.frame_rate:g} frames a second")
                )
            if kind == "mean" and layer.dim != first.dim:
                raise OptionError(_mismatch_message(kind, spec, f"{first.dim} and {layer.dim} numbers in a frame"))
        dim = first.dim if kind == "mean" else sum(layer.dim for layer in layers)
        if dim > MAX_DIM:
            raise OptionError(
                f"{kind} of {len(layers)} layers of {spec} has {dim:,} dimensions, more than {MAX_DIM:,}; "
                f"name fewer layers, such as --layers {first.index},{layers[-1].index},{kind}"
            )
        indices = tuple(layer.index for layer in layers)
        return cls(kind, f"{kind} of {_listed(indices)}", dim, first.frame_rate, indices)

    def join(self, frames: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the joint frames (n, dim) from the frames (n, D) of its parts."""
        return torch.stack(list(frames)).mean(dim=0) if self.kind == "mean" else torch.cat(list(frames), dim=1)


def _mismatch_message(kind: str, spec: str, difference: str) -> str:
    return (
        f"{kind} needs layers of the same shape and rate, and those of {spec} have {difference}; name layers that match"
    )


def _listed(indices: tuple[int, ...]) -> str:
    consecutive = indices == tuple(range(indices[0], indices[-1] + 1))
    if consecutive and len(indices) > 1:
        return f"layers {indices[0]} to {indices[-1]}"
    return f"{'layers' if len(indices) > 1 else 'layer'} {', '.join(map(str, indices))}"


CandidateLayer = Layer | JointLayer
"""A layer that can be ranked."""


@dataclass(frozen=True)
class LayerVersion:
    """A layer whose frames are sketched under an alternative to the labels of the ranking.

    Attributes:
        layer: the layer that the frames come from.
        version: number of the alternative, from 1.
    """

    layer: CandidateLayer
    version: int

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def dim(self) -> int:
        """Numbers in a frame."""
        return self.layer.dim

    @property
    def frame_rate(self) -> Hertz:
        """Frames in a second of audio."""
        return self.layer.frame_rate


SketchedLayer = Layer | JointLayer | LayerVersion
"""Any layer that has a sketch."""


def layer_label(layer: SketchedLayer) -> int | JointKind:
    """Return the label of a layer: its index, or the kind of a joint layer."""
    if isinstance(layer, LayerVersion):
        return layer_label(layer.layer)
    return layer.kind if isinstance(layer, JointLayer) else layer.index


def sketch_key(layer: SketchedLayer) -> SketchKey:
    """Return the key of a layer's sketch."""
    return SketchKey(layer_label(layer), layer.version if isinstance(layer, LayerVersion) else RANKED_LABELS)


def keys_of(layers: Sequence[SketchedLayer]) -> dict[SketchKey, SketchedLayer]:
    """Return the layers by the keys of their sketches.

    Raises:
        ValueError: two layers have the same key.
    """
    keys = {sketch_key(layer): layer for layer in layers}
    if len(keys) < len(layers):
        raise ValueError(f"expected layers whose keys differ, got {', '.join(str(sketch_key(x)) for x in layers)}")
    return keys


def front(layer: SketchedLayer) -> int:
    """Return the index of the encoder layer that gives the frames; for a joint layer, the index of its first part."""
    if isinstance(layer, LayerVersion):
        return front(layer.layer)
    return layer.parts[0] if isinstance(layer, JointLayer) else layer.index


def kept_pieces(
    pieces: Iterable[LayerFrames], layers: Sequence[SketchedLayer]
) -> Iterator[tuple[SketchKey, LayerFrames]]:
    """Select the frames of each sketch. A joint layer follows as soon as all of its parts are available.

    Args:
        pieces: frames of all layers of a model, layer by layer for each group of windows.
        layers: the layers to sketch.

    Yields:
        The key of a sketch with a piece of its frames. A joint piece has the number of the last layer that it needed.
    """
    plain: dict[int, list[SketchKey]] = defaultdict(list)
    joint: dict[JointLayer, list[SketchKey]] = defaultdict(list)
    for layer in layers:
        frames_of = layer.layer if isinstance(layer, LayerVersion) else layer
        if isinstance(frames_of, JointLayer):
            joint[frames_of].append(sketch_key(layer))
        else:
            plain[frames_of.index].append(sketch_key(layer))
    needed = {part for layer in joint for part in layer.parts}
    held: dict[int, torch.Tensor] = {}
    for piece in pieces:
        for key in plain[piece.layer]:
            yield key, piece
        if piece.layer in needed:
            held[piece.layer] = piece.frames
        if needed and held.keys() == needed:
            for layer, keys in joint.items():
                joined = replace(piece, frames=layer.join([held[part] for part in layer.parts]))
                for key in keys:
                    yield key, joined
            held.clear()
