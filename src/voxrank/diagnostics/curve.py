"""Scores against the amount of data: whether more of it would change them, and from how much on the ranking held.

The blocks of the data (whole speakers, or utterances) are joined one after another: an eighth, a quarter and a half of
them, as near as their number allows, and all. What is in the moments of those blocks gives the score without another
pass. Each step but the last is the mean over up to three draws, which begin at different blocks. Parts of the data
lean to the small side of what as much audio of as many speakers as all of it would show: they have fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from voxrank.config import Seconds
from voxrank.diagnostics.rounding import significant
from voxrank.results.details import LearningCurve, ModelCurve
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments

SHARES = (1 / 8, 1 / 4, 1 / 2)
"""Of the blocks, before all of them."""
DRAWS = 3
DIGITS = 5
"""Of a value: blocks are known to single precision."""


def draws(blocks: Sequence[int]) -> list[list[list[int]]]:
    """For each step before the last one, the blocks of each draw, which hold those of the step before.

    Args:
        blocks: their numbers.
    """
    ordered = sorted(blocks)
    sizes = sorted({max(1, round(share * len(ordered))) for share in SHARES} - {len(ordered)})
    begins = sorted({draw * len(ordered) // DRAWS for draw in range(DRAWS)})
    turned = [ordered[begin:] + ordered[:begin] for begin in begins]
    return [[each[:size] for each in turned] for size in sizes]


def values_of_parts(
    moments: BlockedMoments, blocks: Sequence[int], value: Callable[[Spectrum], float], weight: float = 1.0
) -> list[float | None]:
    """The score at each step before the last one; None where a draw has fewer than two classes, or samples.

    Args:
        moments: of a layer.
        blocks: numbers of those of the data.
        value: the score.
        weight: how much of an independent sample each sample is worth.
    """
    steps = draws(blocks)
    found = [_values(_growing(moments, draw), value, weight) for draw in zip(*steps, strict=True)]
    return [None if None in step else float(np.mean(step)) for step in zip(*found, strict=True)]


def _growing(moments: BlockedMoments, draw: Sequence[Sequence[int]]) -> Iterator[Moments]:
    """The moments at each step of a draw: those of the step before, with further blocks."""
    whole = Moments.zeros(moments.total.dim, len(moments.total.square), values=moments.total.values)
    taken = 0
    for chosen in draw:
        for block in chosen[taken:]:
            if block in moments.blocks:
                whole.merge(moments.blocks[block].unpack())
        taken = len(chosen)
        yield whole


def _values(parts: Iterable[Moments], value: Callable[[Spectrum], float], weight: float) -> list[float | None]:
    return [value(Spectrum.of(part).thinned(weight)) if _scorable(part) else None for part in parts]


def _scorable(moments: Moments) -> bool:
    return moments.n > 1 and (moments.values or int((moments.square > 0).sum()) > 1)


@dataclass(frozen=True)
class Grown:
    """A model's score as the data grow.

    Attributes:
        model, layer: whose it is.
        parts: at each step before the last one; None where it cannot be had.
        whole: of all data.
    """

    model: str
    layer: int | str
    parts: tuple[float | None, ...]
    whole: float


def learning_curve(
    score: str, grown: Sequence[Grown], seconds: Mapping[int, Seconds], *, higher_is_better: bool
) -> LearningCurve | None:
    """Of models that saw the same data; None where there are no steps that all of them have.

    Args:
        score: its name.
        grown: each model.
        seconds: block → its audio.
        higher_is_better: the direction.
    """
    steps = draws(list(seconds))
    audio = [float(np.mean([sum(seconds[block] for block in chosen) for chosen in step])) for step in steps]
    kept = [step for step in range(len(steps)) if all(one.parts[step] is not None for one in grown)]
    if not kept or not grown:
        return None
    sign = -1 if higher_is_better else 1
    models = sorted(grown, key=lambda one: sign * one.whole)
    table = np.array([[one.parts[step] for step in kept] + [one.whole] for one in models], dtype=np.float64)
    first = (sign * table).argmin(axis=0) == 0
    held = int(np.flatnonzero(~first).max(initial=-1)) + 1
    at = [*(audio[step] for step in kept), sum(seconds.values())]
    return LearningCurve(
        score,
        higher_is_better,
        tuple(round(one, 3) for one in at),
        tuple(
            ModelCurve(one.model, one.layer, (*(significant(value, DIGITS) for value in row[:-1]), one.whole))
            for one, row in zip(models, table.tolist(), strict=True)
        ),
        tuple(_alike(column, table[:, -1]) for column in table.T),
        round(at[held], 3),
    )


def _alike(
    one: np.ndarray[tuple[int], np.dtype[np.float64]], last: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float | None:
    """Rank correlation; None for fewer than three, and where all are equal."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(last) == 0:
        return None
    return float(spearmanr(one, last).statistic)
