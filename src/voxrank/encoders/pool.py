"""The pool of loaded models, and the parser of a user's selection of layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from voxrank._support.memory import release_free_memory
from voxrank._support.progress import Progress
from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.joint import JOINT_KINDS, CandidateLayer, JointLayer
from voxrank.encoders.registry import load_encoder
from voxrank.errors import OptionError

logger = logging.getLogger(__name__)

KEPT_PARAMETERS = 500_000_000
"""Maximum total number of weights that stay loaded, after each model was loaded once as a check."""


class ModelPool:
    """Loads every model once before anything is encoded, and keeps small models loaded.

    Attributes:
        options: options that models are loaded with.
        layers: spec → layers of the model.
        parameters: spec → number of weights.
    """

    def __init__(self, specs: Sequence[str], options: EncoderOptions, watcher: Progress) -> None:
        self.options = options
        self._loaded: dict[str, Encoder] = {}
        self.layers: dict[str, tuple[Layer, ...]] = {}
        self.parameters: dict[str, int] = {}
        for position, spec in enumerate(specs, start=1):
            watcher.load(spec, position, len(specs))
            encoder = load_encoder(spec, options)
            for line in encoder.notes:
                logger.info("%s: %s", spec, line)
                watcher.note(f"{spec}: {line}")
            self.layers[spec], self.parameters[spec] = encoder.layers, encoder.parameters
            if sum(self.parameters.values()) <= KEPT_PARAMETERS:
                self._loaded[spec] = encoder
        release_free_memory()

    @property
    def specs(self) -> tuple[str, ...]:
        """The models of the pool."""
        return tuple(self.layers)

    def lend(self, spec: str) -> Encoder:
        """Return the encoder, which stays in the pool; a model that is not in the pool is loaded."""
        return self._loaded.get(spec) or load_encoder(spec, self.options)

    def take(self, spec: str) -> Encoder:
        """Return the encoder and remove it from the pool: the caller owns it."""
        return self._loaded.pop(spec, None) or load_encoder(spec, self.options)


def parse_layers(text: str, layers: Sequence[Layer], spec: str) -> list[CandidateLayer]:
    """Return the layers that a user selects.

    Args:
        text: comma-separated indices (negative ones count from the last layer) or "all". "mean" or "concat" joins
            the layers that are named with it, or all layers if none is named.
        layers: the layers of the model.
        spec: the model, for messages.

    Raises:
        OptionError: the list is not valid, the model has no such layer, or its layers cannot be joined.
    """
    words = [part.strip() for part in text.split(",") if part.strip()]
    kinds = [kind for kind in JOINT_KINDS if kind in words]
    named = [word for word in words if word not in JOINT_KINDS]
    try:
        numbers = list(range(len(layers))) if named in (["all"], []) and words else [int(word) for word in named]
    except ValueError:
        numbers = []
    if not numbers:
        raise OptionError(f"expected layers as 'all' or indices such as 0,3,6, with mean or concat, got {text!r}")
    missing = [number for number in numbers if not -len(layers) <= number < len(layers)]
    if missing:
        raise OptionError(f"{spec} has layers 0 to {len(layers) - 1}, not {missing[0]}; see `voxrank models {spec}`")
    chosen = [layers[index] for index in sorted({number % len(layers) for number in numbers})]
    joint = [JointLayer.of(kind, chosen, spec) for kind in kinds]
    return [*(chosen if named else []), *joint]
