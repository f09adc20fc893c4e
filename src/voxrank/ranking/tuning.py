"""Prediction of the score of a model after one block is tuned, from the scores of its frozen layers.

The score E(l) of a frozen layer l measures its information on the labels. Tuning block k replaces the map that was
learned in pre-training, and a head reads layer m behind it. The new map can use its input, E(k − 1). The frozen blocks
between the tuned block and the head are assumed to change the score as before, by E(m) − E(k). So

    tuned(k, m) = E(k − 1) + E(m) − E(k) = E(m) − (E(k) − E(k − 1)):

the score at the head, less the gain of the frozen block itself. With the head on the tuned block (m = k), this is the
score of the layer below. With the head on the top, layers are ordered by the gain of their block, smallest first. A
block that loses information on the labels comes first. The additive gains are an approximation; docs/study shows how
well it works.

E is the accuracy for samples of other speakers, averaged over a linear map, the nearest class mean and the nearest
neighbours (R² of values). Evidence works worse here. It measures how well labels are explained, which may rise between
layers of one model while fewer labels are predicted correctly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxrank.config import UseOptions
from voxrank.encoders.base import Layer
from voxrank.encoders.joint import CandidateLayer, JointKind, JointLayer, front
from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate
from voxrank.scores.names import COMBINATIONS
from voxrank.scores.registry import get_score

TUNED = "tuned"
"""Name of the score."""
FRAMES_FOR_TUNED = 2
"""Multiple of the usual number of samples that are kept for it: accuracies of neighbouring layers are close."""


def higher_is_better(name: str) -> bool:
    """Return the direction of a score, which may be `TUNED`."""
    return name == TUNED or get_score(name).higher_is_better


def is_order(name: str) -> bool:
    """Return whether a name stands for an order of all models, averaged over scores, rather than for a score."""
    return name in COMBINATIONS and name != TUNED


def reported_parts(name: str) -> tuple[str, ...]:
    """Return the scores whose values a name reports: those of an order, or the name itself."""
    return COMBINATIONS[name] if is_order(name) else (name,)


def check_strategy(names: Collection[str], use: UseOptions) -> None:
    """Check that `TUNED` is asked for only where a block will be tuned.

    Raises:
        OptionError: no block will be tuned.
    """
    if TUNED in names and use.strategy != "layer":
        raise OptionError(f"{TUNED} is for blocks that will be tuned; add --strategy layer, or name another score")


@dataclass(frozen=True)
class LayerSelection:
    """The layers of a model that a ranking needs.

    Attributes:
        ranked: candidates; empty where the model has no block to tune.
        read: layers that are scored, in order. Where a block will be tuned, they are more than the candidates.
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
            OptionError: `chosen` holds a joint layer, which is not the output of a single block.
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
    """Return the mean of several scores of one layer, with its influence by block of the data."""
    return Estimate(
        sum(estimate.value for estimate in estimates) / len(estimates),
        np.mean([estimate.influence for estimate in estimates], axis=0),
    )


def expected(scores: Mapping[int | JointKind, Estimate], block: int, last: int, use: UseOptions) -> Estimate:
    """Return the predicted score of a model with this block tuned, with its influence by block of the data.

    Args:
        scores: the score of each frozen layer, by its index.
        block: index of the tuned block, which equals the index of its output layer.
        last: index of the model's last layer.
        use: where the head is.
    """
    before, after, head = scores[block - 1], scores[block], scores[use.head(block, last)]
    return Estimate(before.value + head.value - after.value, before.influence + head.influence - after.influence)


def add_expected(
    estimates: Sequence[dict[str, Estimate]],
    layer_scores: Mapping[int | JointKind, Mapping[str, Estimate]],
    selection: LayerSelection,
    use: UseOptions,
) -> None:
    """Add `TUNED` to the estimates of each candidate layer, where its parts were computed.

    Args:
        estimates: score → estimate, in order of the candidates; they are changed.
        layer_scores: layer → its scores, for all layers that were read.
        selection: the candidates, and the last layer.
        use: where the head is.
    """
    parts = [name for name in COMBINATIONS[TUNED] if name in estimates[0]]
    if not parts:
        return
    means = {label: mean_of([scores[name] for name in parts]) for label, scores in layer_scores.items()}
    for layer, scores in zip(selection.ranked, estimates, strict=True):
        scores[TUNED] = expected(means, front(layer), selection.last, use)
