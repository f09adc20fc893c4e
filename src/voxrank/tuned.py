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
from voxrank.errors import OptionError
from voxrank.joint import JointLayer
from voxrank.scores.estimate import Estimate

TUNED = "tuned"
"""The score's name."""


@dataclass(frozen=True)
class Asked:
    """Layers of a model.

    Attributes:
        ranked: those that are candidates; none where the model has no block.
        read: those whose features are needed for it, in order.
    """

    ranked: list[Layer]
    read: list[Layer]

    @classmethod
    def of(cls, chosen: list[Layer], layers: Sequence[Layer], use: UseOptions) -> Asked:
        """To expect something of the chosen layers of a model with these layers.

        Raises:
            OptionError: several layers together are among them, which no single block makes.
        """
        if joint := next((layer for layer in chosen if isinstance(layer, JointLayer)), None):
            raise OptionError(f"no single block makes the {joint.name}; leave {joint.kind} or --strategy layer out")
        blocks = [layer for layer in chosen if layer.index > 0]
        last = len(layers) - 1
        needed = {index for one in blocks for index in (one.index - 1, one.index, use.head(one.index, last))}
        return cls(blocks, [layers[index] for index in sorted(needed)])


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of several scores of one layer, and how it moves with each block of the data."""
    return Estimate(
        sum(one.value for one in estimates) / len(estimates), np.mean([one.influence for one in estimates], axis=0)
    )


def expected(scores: Mapping[int, Estimate], block: int, last: int, use: UseOptions) -> Estimate:
    """What is to be expected of a model with this block tuned, and how it moves with each block of the data.

    Args:
        scores: layer index → that layer's score as it is.
        block: index of the tuned block, which is that of the layer it makes.
        last: index of the model's last layer.
        use: where the head is.
    """
    before, after, head = scores[block - 1], scores[block], scores[use.head(block, last)]
    return Estimate(before.value + head.value - after.value, before.influence + head.influence - after.influence)
