"""Scores of frozen layers → what is to be expected once a block is tuned.

The score E(l) of a frozen layer l says what it knows of the labels. Tuning block k puts another map in the place of
the one that was learned in pre-training, and a head reads layer m behind it. What the new map can draw on is what comes
in, E(k − 1); what the frozen blocks behind it do to the labels on the way to the head is taken to be what they did
before, E(m) − E(k). So

    tuned(k, m) = E(k − 1) + E(m) − E(k) = E(m) − (E(k) − E(k − 1)):

the score at the head, less what the block had added by itself. With the head on the tuned block (m = k) the layer
below speaks for it. With the head on the top, layers are in order of how little their block adds, and one that loses
what the labels need comes first. That gains add up is an approximation; docs/study shows what it is worth.

E is the accuracy for samples of other speakers, averaged over a linear map, the nearest class mean and the nearest
neighbours (R² of values). Evidence serves worse here: it asks how well labels are explained, and between layers of one
model that may rise where fewer of them are told right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxrank.config import UseOptions
from voxrank.encoders.base import Layer
from voxrank.encoders.joint import CandidateLayer, JointKind, JointLayer
from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate

TUNED = "tuned"
"""The score's name."""


@dataclass(frozen=True)
class LayerSelection:
    """The layers of a model that a ranking needs.

    Attributes:
        ranked: candidates; none where the model has no block to tune.
        read: layers that are scored, in order. They are more than the candidates where a block will be tuned.
        last: index of the model's last layer.
    """

    ranked: Sequence[CandidateLayer]
    read: Sequence[CandidateLayer]
    last: int

    @classmethod
    def all_of(cls, chosen: Sequence[CandidateLayer], layers: Sequence[Layer]) -> LayerSelection:
        """Select layers that are used as they are.

        Args:
            chosen: layers that the user asked for.
            layers: all layers of the model.
        """
        return cls(chosen, chosen, len(layers) - 1)

    @classmethod
    def for_tuning(cls, chosen: Sequence[CandidateLayer], layers: Sequence[Layer], use: UseOptions) -> LayerSelection:
        """Select the layers whose scores are needed to predict the result of tuning each block.

        Args:
            chosen: layers that the user asked for.
            layers: all layers of the model.
            use: where the head is.

        Raises:
            OptionError: a joint layer is among them, which no single block makes.
        """
        blocks: list[Layer] = []
        for layer in chosen:
            if isinstance(layer, JointLayer):
                raise OptionError(f"no single block makes the {layer.name}; leave {layer.kind} or --strategy layer out")
            if layer.index > 0:
                blocks.append(layer)
        last = len(layers) - 1
        needed = {index for block in blocks for index in (block.index - 1, block.index, use.head(block.index, last))}
        return cls(blocks, [layers[index] for index in sorted(needed)], last)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of several scores of one layer, and how it moves with each block of the data."""
    return Estimate(
        sum(one.value for one in estimates) / len(estimates), np.mean([one.influence for one in estimates], axis=0)
    )


def expected(scores: Mapping[int | JointKind, Estimate], block: int, last: int, use: UseOptions) -> Estimate:
    """What is to be expected of a model with this block tuned, and how it moves with each block of the data.

    Args:
        scores: the score of each frozen layer, by its index.
        block: index of the tuned block, which is that of the layer it makes.
        last: index of the model's last layer.
        use: where the head is.
    """
    before, after, head = scores[block - 1], scores[block], scores[use.head(block, last)]
    return Estimate(before.value + head.value - after.value, before.influence + head.influence - after.influence)
