"""What a run starts from: utterances that can be read, in shards, and models that can be loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxrank.config import EncoderOptions, ExtractionOptions
from voxrank.data.audio import probe_all
from voxrank.data.read import read_unlabelled
from voxrank.data.utterance import Dataset, Skipped
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.registry import load_encoder
from voxrank.errors import DataError, OptionError
from voxrank.joint import JOINT_KINDS, JointLayer
from voxrank.progress import Progress
from voxrank.shards import Item, Shard, plan_shards
from voxrank.targets.labels import Targets, utterance_targets

KEPT_PARAMETERS = 500_000_000
"""Models are loaded once to see that all of them can be; up to this many weights in all stay loaded."""


@dataclass(frozen=True)
class Prepared:
    """What every candidate sees: the utterances that can be used, their targets and shards."""

    items: list[Item]
    skipped: tuple[Skipped, ...]
    targets: Targets
    shards: list[Shard]


def prepare(dataset: Dataset, options: ExtractionOptions) -> Prepared:
    """Look at the audio files, and deal those that can be read into shards.

    Raises:
        DataError: none of them can be read, or their labels leave nothing to tell apart.
    """
    items, skipped = _readable(dataset, dataset.source, options)
    targets = utterance_targets([item.utterance for item in items], dataset.task)
    shards = plan_shards(items, dataset.target, blocks=options.blocks, shard_s=options.shard_s)
    return Prepared(items, skipped, targets, shards)


def _readable(dataset: Dataset, name: str, options: ExtractionOptions) -> tuple[list[Item], tuple[Skipped, ...]]:
    """The utterances whose audio can be read, and why others cannot."""
    probed, skipped = probe_all(dataset, options.threads)
    if not probed:
        reason = f"; the first: {skipped[0].utterance}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"none of the {len(dataset)} utterances of {name} can be read{reason}")
    return [Item(p.utterance, p.seconds, row) for row, p in enumerate(probed)], skipped


@dataclass(frozen=True)
class Origin(Prepared):
    """The source data: their one target says nothing."""

    dataset: Dataset


def prepare_source(source: str | os.PathLike[str] | Dataset, options: ExtractionOptions) -> Origin:
    """The same of source data, whose labels are not read. Errors as `prepare` and `read_unlabelled`."""
    dataset = source if isinstance(source, Dataset) else read_unlabelled(source)
    items, skipped = _readable(dataset, f"the source {dataset.source}", options)
    targets = Targets(("source",), np.zeros(len(items), dtype=np.int64))
    shards = plan_shards(items, dataset.target, blocks=1, shard_s=options.shard_s)
    return Origin(items, (*dataset.skipped, *skipped), targets, shards, dataset)


class Stable:
    """The candidates: each is loaded once before anything is encoded, and small ones stay loaded."""

    def __init__(self, specs: Sequence[str], options: EncoderOptions, watcher: Progress) -> None:
        self._options = options
        self._kept: dict[str, Encoder] = {}
        self.layers: dict[str, tuple[Layer, ...]] = {}
        self.parameters: dict[str, int] = {}
        for position, spec in enumerate(specs, start=1):
            watcher.load(spec, position, len(specs))
            encoder = load_encoder(spec, options)
            self.layers[spec], self.parameters[spec] = encoder.layers, encoder.parameters
            if sum(self.parameters.values()) <= KEPT_PARAMETERS:
                self._kept[spec] = encoder

    def take(self, spec: str) -> Encoder:
        """The encoder, which the caller then owns."""
        return self._kept.pop(spec, None) or load_encoder(spec, self._options)


def parse_layers(wanted: str, layers: Sequence[Layer], spec: str) -> list[Layer]:
    """The layers a user asked for.

    Args:
        wanted: comma-separated indices (negative ones count from the last layer) or "all", and "mean" or "concat" for
            those named together; of all layers where none is named.
        layers: that the model has.
        spec: the model, for the message.

    Raises:
        OptionError: no such list, the model has no such layer, or its layers cannot be put together.
    """
    words = [part.strip() for part in wanted.split(",") if part.strip()]
    kinds = [kind for kind in JOINT_KINDS if kind in words]
    named = [word for word in words if word not in JOINT_KINDS]
    try:
        numbers = list(range(len(layers))) if named in (["all"], []) and words else [int(word) for word in named]
    except ValueError:
        numbers = []
    if not numbers:
        raise OptionError(f"expected layers as 'all' or indices such as 0,3,6, with mean or concat, got {wanted!r}")
    missing = [number for number in numbers if not -len(layers) <= number < len(layers)]
    if missing:
        raise OptionError(f"{spec} has layers 0 to {len(layers) - 1}, not {missing[0]}; see `voxrank models {spec}`")
    chosen = [layers[place] for place in sorted({number % len(layers) for number in numbers})]
    joint = [JointLayer.of(kind, chosen, len(layers) + place, spec) for place, kind in enumerate(kinds)]
    return [*(chosen if named else []), *joint]
