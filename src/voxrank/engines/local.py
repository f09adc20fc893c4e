"""The engine of one process: shards one after another, decoded ahead in threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from voxrank.config import ExtractionOptions, Seconds
from voxrank.data.utterance import Skipped
from voxrank.encoders.base import Encoder, Layer
from voxrank.extraction import OnAudio, ShardSketch, sketch_shards
from voxrank.shards import Shard
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.projections import BLOCK_LIMIT, Quantiles
from voxrank.sketches.sample import Sample
from voxrank.sketches.store import register_kind
from voxrank.targets.labels import Targets


@dataclass
class ModelSketch:
    """All shards of one model together.

    Attributes:
        layers: layer index → moments in blocks.
        samples: layer index → some of its samples; empty where none are kept.
        projections: layer index → block → its samples along random directions; empty where none are kept.
        skipped: utterances that this model could not use.
        used_s: audio that entered the sketch.
        encode_s: wall time spent in forward passes.
    """

    layers: dict[int, BlockedMoments]
    samples: dict[int, Sample]
    projections: dict[int, dict[int, Quantiles]]
    skipped: list[Skipped] = field(default_factory=list)
    used_s: Seconds = 0.0
    encode_s: Seconds = 0.0

    def merge(self, shard: ShardSketch, block: int) -> None:
        """Take in a shard of that block."""
        for layer, moments in shard.layers.items():
            self.layers[layer].close_block(block, moments)
        for layer, sample in shard.samples.items():
            self.samples[layer].merge(sample)
        for layer, values in shard.projections.items():
            self.projections[layer].setdefault(block, Quantiles(BLOCK_LIMIT)).merge(values)
        self.skipped += shard.skipped
        self.used_s += shard.used_s
        self.encode_s += shard.encode_s


register_kind(ModelSketch)


def sketch_model(
    encoder: Encoder,
    shards: Sequence[Shard],
    targets: Targets,
    layers: Sequence[Layer],
    options: ExtractionOptions,
    on_audio: OnAudio,
) -> ModelSketch:
    """Sketch every shard with one encoder and merge. Arguments and errors as `extraction.sketch_shards`."""
    sketch = ModelSketch(
        {layer.index: BlockedMoments.zeros(layer.dim, targets.count, values=targets.values) for layer in layers},
        {layer.index: Sample.empty(options.kept_samples, layer.dim) for layer in layers if options.kept_samples},
        {layer.index: {} for layer in layers if options.projections},
    )
    for shard, part in sketch_shards(encoder, shards, targets, layers, options, on_audio):
        sketch.merge(part, shard.block)
    return sketch
