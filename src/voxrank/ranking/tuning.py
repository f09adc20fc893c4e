"""Prediction of the scores of a model after one block is tuned, from the scores of its frozen layers.

A score E(l) of a frozen layer l measures its information on the labels. Tuning block k replaces the map that was
learned in pre-training, and a head reads layer m behind it. With enough data the new map makes whatever it needs of its
input, so that E(k − 1) is what counts; with little data it stays near the old one, and E(k) does. A mean of the two
stands for the tuned block, with the share w of the output (`Prediction`). The frozen blocks between the tuned block and
the head are assumed to change the score as before, by E(m) − E(k). So

    tuned(k, m) = (1 − w) E(k − 1) + w E(k) + E(m) − E(k) = E(m) − (1 − w) (E(k) − E(k − 1)):

the score at the head, less a part of the gain of the frozen block. With the head on the tuned block (m = k), it is the
mean of the scores of its input and its output. With the head on the top, layers of a model are ordered by the gain of
their block, smallest first. A block that loses information on the labels comes first. The additive gains are an
approximation; docs/study shows how well it works.

This is computed for each of the scores that order frozen layers (`voxrank.ranking.plan.default_order`), and "tuned" is
the mean of the orders by them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from voxrank.config import UseOptions
from voxrank.encoders.base import Layer
from voxrank.encoders.joint import CandidateLayer, JointKind, JointLayer, front
from voxrank.errors import OptionError
from voxrank.scores.estimate import Estimate
from voxrank.scores.names import COMBINATIONS, TUNED
from voxrank.scores.registry import get_score

FRAMES_FOR_TUNED = 2
"""Multiple of the usual number of samples that are kept for it: accuracies of neighbouring layers are close."""


SHARE, SHARE_TIMED = 0.5, 0.75
"""Share w of a block's output where utterances have labels, and where frames have: there a head on frames profits less
from a rewritten block (docs/tuned)."""


@dataclass(frozen=True)
class Prediction:
    """The prediction that is made for blocks that will be tuned.

    Attributes:
        use: where the head is.
        scores: the scores that are predicted.
        share: share w of a block's output.
    """

    use: UseOptions
    scores: tuple[str, ...]
    share: float


def higher_is_better(name: str) -> bool:
    """Return the direction of a score, of `TUNED`, or of the `prediction` of a score."""
    return name == TUNED or name.startswith(f"{TUNED} ") or get_score(name).higher_is_better


def prediction(score: str) -> str:
    """Return the name, among the estimates of a layer, of a score as predicted after tuning."""
    return f"{TUNED} {score}"


def ordered_by(name: str, known: Iterable[str]) -> list[str]:
    """Return the estimates by which a name orders layers: one score, or several whose orders are averaged.

    Args:
        name: name of a score, of a combination, or `TUNED`.
        known: names of the estimates of a layer.
    """
    if name == TUNED:
        return [one for one in known if one.startswith(f"{TUNED} ")]
    return [one for one in COMBINATIONS.get(name, (name,)) if one in known]


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


def expected(
    scores: Mapping[int | JointKind, Estimate], block: int, last: int, use: UseOptions, share: float
) -> Estimate:
    """Return the predicted score of a model with this block tuned, with its influence by block of the data.

    Args:
        scores: the score of each frozen layer, by its index.
        block: index of the tuned block, which equals the index of its output layer.
        last: index of the model's last layer.
        use: where the head is.
        share: share w of the block's output.
    """
    before, after, head = scores[block - 1], scores[block], scores[use.head(block, last)]
    return Estimate(
        head.value - (1 - share) * (after.value - before.value),
        head.influence - (1 - share) * (after.influence - before.influence),
    )


def add_expected(
    estimates: Sequence[dict[str, Estimate]],
    layer_scores: Mapping[int | JointKind, Mapping[str, Estimate]],
    selection: LayerSelection,
    wanted: Prediction,
) -> None:
    """Add the prediction of each score to the estimates of each candidate layer.

    Args:
        estimates: score → estimate, in order of the candidates; they are changed.
        layer_scores: layer → its scores, for all layers that were read.
        selection: the candidates, and the last layer.
        wanted: what is predicted; scores that were not computed are left out.
    """
    for score in (score for score in wanted.scores if score in estimates[0]):
        of_layers = {label: found[score] for label, found in layer_scores.items()}
        for layer, found in zip(selection.ranked, estimates, strict=True):
            found[prediction(score)] = expected(of_layers, front(layer), selection.last, wanted.use, wanted.share)
