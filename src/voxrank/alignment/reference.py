"""Choice of the layer for the flat start, on a few minutes of the data.

A flat start can fail: on some features a few units take all of the time, and the others get a frame each. Failed
alignments differ from each other, whereas correct alignments agree, whatever features they come from. The layers at a
third, half and two thirds of the height of every candidate are tried. The layer is chosen whose alignment agrees best
with the three alignments nearest to it. This needs no reference times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxrank._support.memory import release_free_memory
from voxrank.alignment.base import AlignmentContext, Transcript
from voxrank.alignment.flat import fit_frames
from voxrank.alignment.frames import Framed, divided, frames_of_layers
from voxrank.config import EncoderOptions
from voxrank.data.shards import Item
from voxrank.encoders.base import Layer
from voxrank.engines.task import Lend, Task
from voxrank.errors import DataError, UtteranceError
from voxrank.targets.timeline import Timeline

logger = logging.getLogger(__name__)

TRIED_S = 120.0
"""Amount of audio that layers are tried on, in seconds."""
HEIGHTS = (1 / 3, 1 / 2, 2 / 3)
"""Heights of the layers that are tried, from the input (0) to the last layer (1)."""
LEAST_RATE_HZ = 25.0
"""Minimum frame rate. Slower layers miss short units, and are tried only where there are no others."""
NEAREST = 3
"""Number of nearest alignments whose agreement is averaged."""
STEP_S = 0.02
"""Time step at which alignments are compared, in seconds."""
FAILED = -2
"""Label of utterances that an alignment lacks."""

ModelLayer = tuple[str, int]
"""A model and one of its layers."""


@dataclass(frozen=True)
class Trial:
    """The layers of a model to try, and the transcripts to try them on."""

    spec: str
    layers: tuple[Layer, ...]
    transcripts: tuple[Transcript, ...]


@dataclass(frozen=True)
class TryLayers(Task[Trial, "list[NDArray[np.int64] | DataError]"]):
    """The task to align some transcripts on each of the layers of a model.

    Attributes:
        names: names of the units.
        threads: number of threads that decode audio ahead.
    """

    names: tuple[str, ...]
    threads: int

    def items(self, part: Trial) -> Sequence[Item]:
        """Return the utterances of the transcripts."""
        return [transcript.item for transcript in part.transcripts]

    def run(self, part: Trial, lend: Lend, options: EncoderOptions) -> list[NDArray[np.int64] | DataError]:  # noqa: ARG002
        """Return the labels by each layer at regular times, or the reason why it aligns nothing."""
        encoded = frames_of_layers(lend(part.spec), part.layers, self.threads, part.transcripts)
        framed = _framed(encoded, part.layers)
        found: list[NDArray[np.int64] | DataError] = []
        for layer in part.layers:
            try:
                fitted = fit_frames(framed.pop(layer.index), part.transcripts, self.names)
            except DataError as error:
                found.append(error)
            else:
                found.append(_sampled_labels(fitted.timelines, part.transcripts))
        release_free_memory()
        return found


def choose_reference(
    specs: Sequence[str], transcripts: Sequence[Transcript], names: Sequence[str], context: AlignmentContext
) -> ModelLayer:
    """Return the candidate and its layer on which a flat start aligns these transcripts best.

    Args:
        specs: the candidates.
        transcripts: transcripts of the data.
        names: names of the units.
        context: the layers of the candidates, and the engine, which tries them.

    Raises:
        DataError: no utterance can be aligned.
    """
    layers_by_model = _layers_to_try({spec: context.layers[spec] for spec in specs})
    if sum(map(len, layers_by_model.values())) == 1:
        return next((spec, layer.index) for spec, layers in layers_by_model.items() for layer in layers)
    tried = tuple(transcripts[index].to_encode() for index in divided(transcripts, TRIED_S)[0])
    trials = [Trial(spec, tuple(layers), tried) for spec, layers in layers_by_model.items()]
    labels: dict[ModelLayer, NDArray[np.int64]] = {}
    refused: DataError | None = None
    results = context.engine.map(TryLayers(tuple(names), context.threads), trials, context.lend)
    for trial, found in zip(trials, results, strict=True):
        for layer, result in zip(trial.layers, found, strict=True):
            if isinstance(result, DataError):
                refused = result
            else:
                labels[trial.spec, layer.index] = result
    if not labels:
        raise refused or DataError("there is no model to align with")
    agreements = agreement(list(labels.values()))
    for (spec, chosen), share in zip(labels, agreements, strict=True):
        logger.info("flat start on %s, layer %d: agrees with its nearest in %.3f of the time", spec, chosen, share)
    return list(labels)[int(np.argmax(agreements))]


def _framed(
    encoded: Iterable[tuple[int, dict[int, Framed] | UtteranceError]], layers: Sequence[Layer]
) -> dict[int, dict[int, Framed]]:
    """Return layer → index of an utterance → its frames, without utterances that could not be encoded."""
    framed: dict[int, dict[int, Framed]] = {layer.index: {} for layer in layers}
    for index, frames_by_layer in encoded:
        if not isinstance(frames_by_layer, UtteranceError):
            for layer, frames in frames_by_layer.items():
                framed[layer][index] = frames
    return framed


def agreement(labels: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return (n,) the mean share of the time in which each of n alignments agrees with those nearest to it."""
    if len(labels) == 1:
        return np.zeros(1)
    shares = np.array([[np.mean(left == right) for right in labels] for left in labels])
    np.fill_diagonal(shares, -1.0)
    nearest = np.sort(shares, axis=1)[:, -min(NEAREST, len(labels) - 1) :]
    return np.asarray(nearest.mean(axis=1))


def _layers_to_try(layers: Mapping[str, Sequence[Layer]]) -> dict[str, list[Layer]]:
    """Return the layers to try: of those with at least `LEAST_RATE_HZ`, or of all where no layer has it."""
    quick = {
        spec: [layer for layer in model_layers if layer.frame_rate >= LEAST_RATE_HZ]
        for spec, model_layers in layers.items()
    }
    usable = {spec: model_layers for spec, model_layers in quick.items() if model_layers} or {
        spec: list(model_layers) for spec, model_layers in layers.items()
    }
    positions = {
        spec: sorted({round((len(model_layers) - 1) * height) for height in HEIGHTS})
        for spec, model_layers in usable.items()
    }
    return {spec: [usable[spec][position] for position in chosen] for spec, chosen in positions.items()}


def _sampled_labels(
    timelines: Mapping[int, Timeline | UtteranceError], transcripts: Sequence[Transcript]
) -> NDArray[np.int64]:
    """Return the labels of these utterances at regular times."""
    parts = []
    for index, transcript in enumerate(transcripts):
        times = np.arange(STEP_S / 2, transcript.item.seconds, STEP_S)
        timeline = timelines.get(index)
        parts.append(timeline.at(times) if isinstance(timeline, Timeline) else np.full(len(times), FAILED))
    return np.concatenate(parts)
