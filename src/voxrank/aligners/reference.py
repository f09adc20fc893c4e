"""Which layer's features the flat start should look at: the best so far, found on a few minutes of the data.

It begins with a layer a third of the way up the first candidate. By the labels of that flat start LogME scores all
layers of all candidates; the best one is the next to start from, until it is the one that the labels came from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from voxrank.aligners.base import Transcript
from voxrank.aligners.flat import Flat
from voxrank.aligners.frames import LayerSource
from voxrank.config import ExtractionOptions
from voxrank.encoders.base import Encoder, Layer
from voxrank.engines.local import sketch_model
from voxrank.errors import UtteranceError
from voxrank.scores.registry import estimate_all, get_score
from voxrank.scores.view import LayerView
from voxrank.shards import Item, Shard
from voxrank.targets.labels import Targets, Timed
from voxrank.targets.timeline import Timeline
from voxrank.targets.units import FIRST

logger = logging.getLogger(__name__)

TRIED_S = 120.0
"""Audio that layers are tried on."""
LEAST_RATE_HZ = 25.0
"""Slower layers pass over units, and are tried only where there are no others."""
ROUNDS = 3

Found = Mapping[int, Timeline | UtteranceError]
Place = tuple[str, int]
"""A model and one of its layers."""


def choose_reference(
    specs: Sequence[str],
    lend: Callable[[str], Encoder],
    transcripts: Sequence[Transcript],
    names: Sequence[str],
    threads: int,
) -> Place:
    """The candidate, and its layer, that tell the units of these transcripts apart best.

    Args:
        specs: the candidates.
        lend: loads one, or has it still.
        transcripts: of the data.
        names: of the units.
        threads: decoders that run ahead.

    Raises:
        DataError: nothing can be aligned.
    """
    layers = _usable({spec: lend(spec).layers for spec in specs})
    if sum(map(len, layers.values())) == 1:
        return next((spec, layer.index) for spec, own in layers.items() for layer in own)
    spec, own = next(iter(layers.items()))
    place = (spec, own[round((len(own) - 1) / 3)].index)
    for _ in range(ROUNDS):
        source = LayerSource(lend(place[0]), place[1], threads)
        some = source.divided(transcripts, TRIED_S)[0]
        targets, items = _labelled(Flat(source).fit(transcripts, some, names, _silently).timelines, transcripts, names)
        values = {
            (spec, layer): value
            for spec in layers
            for layer, value in _scored(lend(spec), layers[spec], targets, items).items()
        }
        best = max(values, key=lambda pair: values[pair])
        logger.info("features for the flat start: by the labels of %s, layer %d, those of %s, layer %d", *place, *best)
        if best == place:
            break
        place = best
    return place


def _usable(layers: Mapping[str, Sequence[Layer]]) -> dict[str, list[Layer]]:
    """The layers that are quick enough; all where none is."""
    quick = {spec: [layer for layer in own if layer.frame_rate >= LEAST_RATE_HZ] for spec, own in layers.items()}
    return {spec: own for spec, own in quick.items() if own} or {spec: list(own) for spec, own in layers.items()}


def _labelled(
    found: Found, transcripts: Sequence[Transcript], names: Sequence[str]
) -> tuple[Targets, tuple[Item, ...]]:
    """Targets of the utterances that could be aligned, and the utterances, the longest first."""
    timelines: list[Timeline] = []
    items: list[Item] = []
    for place, timeline in sorted(found.items()):
        if isinstance(timeline, Timeline):
            items.append(replace(transcripts[place].item, row=len(items)))
            timelines.append(replace(timeline, symbols=timeline.symbols - FIRST))
    targets = Targets(tuple(names), np.arange(len(names)), timed=Timed(tuple(timelines)))
    return targets, tuple(sorted(items, key=lambda item: -item.seconds))


def _scored(encoder: Encoder, layers: Sequence[Layer], targets: Targets, items: tuple[Item, ...]) -> dict[int, float]:
    """Layer → LogME of its frames."""
    options = ExtractionOptions(sample="frame", kept_samples=0)
    sketch = sketch_model(encoder, [Shard(0, items)], targets, layers, options, _silently)
    score = get_score("logme")
    views = {layer: LayerView(moments, None, targets.rows) for layer, moments in sketch.layers.items()}
    return {layer: estimate_all([score], view)[score.name].value for layer, view in views.items()}


def _silently(_seconds: float) -> None:
    """Nobody watches a trial."""
