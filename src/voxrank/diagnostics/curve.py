"""Learning curves: a score against the amount of data.

They show whether more data would change the scores, and from which amount of data the same model came first. The blocks
of the data (whole speakers, or utterances) are merged in steps: an eighth, a quarter and a half of them, as near as
their number allows, and all. The moments of these blocks give the score without another pass. Each step but the last is
the mean over up to three draws, which begin at different blocks. Parts of the data have fewer speakers than all data.
Therefore the steps tend to understate the score of as much audio from all speakers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxrank._support.ranks import spearman
from voxrank.config import Seconds
from voxrank.results.details import LearningCurve, ModelCurve
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments

SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Shares of the blocks at the steps before the last one, which holds all blocks."""
DRAWS = 3
"""Maximum number of draws of each step."""
DIGITS = 5
"""Significant digits of a value, because blocks have single precision."""


def draws(blocks: Sequence[int]) -> list[list[list[int]]]:
    """Return the blocks of each draw at each step before the last one. Each step includes the previous step.

    Args:
        blocks: numbers of the blocks.
    """
    ordered = sorted(blocks)
    sizes = sorted({max(1, round(share * len(ordered))) for share in SHARES} - {len(ordered)})
    starts = sorted({draw * len(ordered) // DRAWS for draw in range(DRAWS)})
    rotated = [ordered[start:] + ordered[:start] for start in starts]
    return [[order[:size] for order in rotated] for size in sizes]


def values_of_parts(
    moments: BlockedMoments, blocks: Sequence[int], value: Callable[[Spectrum], float], weight: float = 1.0
) -> list[float | None]:
    """Return the score at each step before the last one; None where a draw has fewer than two classes, or samples.

    Args:
        moments: moments of a layer.
        blocks: numbers of the blocks of the data.
        value: the score.
        weight: number of independent samples that each sample is worth.
    """
    steps = draws(blocks)
    values = [_values_of_draw(_growing_moments(moments, draw), value, weight) for draw in zip(*steps, strict=True)]
    return [None if None in step else float(np.mean(step)) for step in zip(*values, strict=True)]


def _growing_moments(moments: BlockedMoments, draw: Sequence[Sequence[int]]) -> Iterator[Moments]:
    """Yield the moments at each step of a draw: the moments of the previous step, merged with further blocks."""
    merged = Moments.zeros(moments.total.dim, len(moments.total.square), values=moments.total.values)
    n_merged = 0
    for chosen in draw:
        for block in chosen[n_merged:]:
            if block in moments.blocks:
                merged.merge(moments.blocks[block].unpack())
        n_merged = len(chosen)
        yield merged


def _values_of_draw(parts: Iterable[Moments], value: Callable[[Spectrum], float], weight: float) -> list[float | None]:
    return [value(Spectrum.of(part).thinned(weight)) if _scorable(part) else None for part in parts]


def _scorable(moments: Moments) -> bool:
    return moments.n > 1 and (moments.values or int((moments.square > 0).sum()) > 1)


@dataclass(frozen=True)
class ModelGrowth:
    """The score of a model as the data grow.

    Attributes:
        model, layer: the model and its layer.
        parts: score at each step before the last one; None where it cannot be computed.
        whole: score on all data.
    """

    model: str
    layer: int | str
    parts: tuple[float | None, ...]
    whole: float


def learning_curve(
    score: str, grown: Sequence[ModelGrowth], seconds: Mapping[int, Seconds], *, higher_is_better: bool
) -> LearningCurve | None:
    """Return the learning curve of models that saw the same data; None where they have no step in common.

    Args:
        score: name of the score.
        grown: scores of each model.
        seconds: block → its audio, in seconds.
        higher_is_better: direction of the score.
    """
    steps = draws(list(seconds))
    audio = [float(np.mean([sum(seconds[block] for block in chosen) for chosen in step])) for step in steps]
    common = [step for step in range(len(steps)) if all(growth.parts[step] is not None for growth in grown)]
    if not common or not grown:
        return None
    sign = -1 if higher_is_better else 1
    models = sorted(grown, key=lambda growth: sign * growth.whole)
    table = np.array([[growth.parts[step] for step in common] + [growth.whole] for growth in models], dtype=np.float64)
    first = (sign * table).argmin(axis=0) == 0
    stable = int(np.flatnonzero(~first).max(initial=-1)) + 1
    amounts = [*(audio[step] for step in common), sum(seconds.values())]
    return LearningCurve(
        score,
        higher_is_better,
        tuple(round(amount, 3) for amount in amounts),
        tuple(
            ModelCurve(growth.model, growth.layer, (*(significant(value, DIGITS) for value in row[:-1]), growth.whole))
            for growth, row in zip(models, table.tolist(), strict=True)
        ),
        tuple(spearman(column, table[:, -1]) for column in table.T),
        round(amounts[stable], 3),
    )


def significant(number: float, digits: int) -> float:
    """Round a number to so many significant digits.

    Example:
        >>> significant(-0.036345, 3)
        -0.0363
    """
    return float(f"{number:.{digits}g}")
