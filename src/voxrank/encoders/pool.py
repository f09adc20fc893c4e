"""The pool of loaded models, and the parser of a user's selection of layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from voxrank._support.memory import release_free_memory
from voxrank._support.progress import Progress
from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.identity import ModelFacts
from voxrank.encoders.joint import JOINT_KINDS, CandidateLayer, JointLayer
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError, OptionError

logger = logging.getLogger(__name__)

KEPT_PARAMETERS = 500_000_000
"""Maximum total number of weights that stay loaded, after each model was loaded once as a check."""


class ModelMemory(Protocol):
    """A memory of models that earlier runs loaded, such as the cache."""

    def recall_model(self, spec: str, options: EncoderOptions) -> ModelFacts | None:
        """Return the facts of a model; None if it must be loaded."""

    def learn_model(self, spec: str, options: EncoderOptions, facts: ModelFacts) -> None:
        """Learn the facts of a model that was loaded."""


class ModelPool:
    """Loads every model once before anything is encoded, and keeps small models loaded.

    A model that an earlier run loaded is not loaded until it is needed.

    Attributes:
        options: options that models are loaded with.
        layers: spec → layers of the model.
        parameters: spec → number of weights.
    """

    def __init__(
        self, specs: Sequence[str], options: EncoderOptions, watcher: Progress, memory: ModelMemory | None = None
    ) -> None:
        self.options = options
        self._memory = memory
        self._loaded: dict[str, Encoder] = {}
        self._recalled: dict[str, ModelFacts] = {}
        self.layers: dict[str, tuple[Layer, ...]] = {}
        self.parameters: dict[str, int] = {}
        for position, spec in enumerate(specs, start=1):
            watcher.load(spec, position, len(specs))
            facts = self._recall(spec) or ModelFacts.of(self._load(spec))
            for line in facts.notes:
                logger.info("%s: %s", spec, line)
                watcher.note(f"{spec}: {line}")
            self.layers[spec], self.parameters[spec] = facts.layers, facts.parameters
        release_free_memory()

    def _recall(self, spec: str) -> ModelFacts | None:
        facts = None if self._memory is None else self._memory.recall_model(spec, self.options)
        if facts is not None:
            self._recalled[spec] = facts
        return facts

    def _load(self, spec: str) -> Encoder:
        """Load a model for the first time in this run, and keep it if there is room."""
        encoder = load_encoder(spec, self.options)
        if self._memory is not None:
            self._memory.learn_model(spec, self.options, ModelFacts.of(encoder))
        if sum(each.parameters for each in self._loaded.values()) + encoder.parameters <= KEPT_PARAMETERS:
            self._loaded[spec] = encoder
        return encoder

    @property
    def specs(self) -> tuple[str, ...]:
        """The models of the pool."""
        return tuple(self.layers)

    def lend(self, spec: str) -> Encoder:
        """Return the encoder, which stays in the pool; a model that is not in the pool is loaded.

        Raises:
            ModelError: the model has changed since the run began, or cannot be loaded.
        """
        if spec in self._recalled:
            return self._load_recalled(spec)
        return self._loaded.get(spec) or load_encoder(spec, self.options)

    def take(self, spec: str) -> Encoder:
        """Return the encoder and remove it from the pool: the caller owns it. The errors are those of `lend`."""
        encoder = self.lend(spec)
        self._loaded.pop(spec, None)
        return encoder

    def _load_recalled(self, spec: str) -> Encoder:
        recalled, encoder = self._recalled.pop(spec), self._load(spec)
        facts = ModelFacts.of(encoder)
        if self._memory is not None and (facts != recalled or self._memory.recall_model(spec, self.options) != facts):
            raise ModelError(f"{spec} has changed during the run; run it again")
        return encoder


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
