"""Section of scores against the cost of models: their size, and the speed of their forward passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from voxrank._support.words import count, figure, si, times_real_time
from voxrank.report.page import charts
from voxrank.report.page.models import layer_cell, short
from voxrank.report.page.parts import Cell, Chart, Part, Table, number_cell, rows_of, text_cell
from voxrank.report.page.words import first_score, higher_is_better, shown, titled
from voxrank.results.ranking import ModelScore, Ranking

WITHOUT_WEIGHTS = 0.3
"""Position of models without weights on a logarithmic axis, as a share of the smallest model with weights."""
LOGARITHMIC = 5
"""Minimum ratio of the largest to the smallest value for a logarithmic axis."""
ROOM = 0.3
"""Share of the axis that a name may take; the name avoids the front if there is room."""


def trade_off_part(ranking: Ranking) -> Part | None:
    """Return the section of scores against parameters and against speed; None for a single model."""
    if len(ranking.models) < 2:
        return None
    timed = [model for model in ranking.models if model.speed is not None]
    plots = [_by_size(ranking)]
    explanation = (
        "The dashed front joins the models that no other model beats both in this score and in size, or in speed: "
        "with a limit on either, take the best model within it."
    )
    paragraphs = [explanation]
    if len(timed) > 1:
        plots.append(_by_speed(ranking, timed))
    if 0 < len(timed) < len(ranking.models):
        missing = len(ranking.models) - len(timed)
        paragraphs.append(f"{count(missing, 'model')} came from the cache, so that no speed was measured.")
    elif not timed:
        paragraphs.append("All features came from the cache, so that no speed was measured.")
    return Part(
        "trade-off",
        "Score against size and speed",
        "Size and speed",
        tuple(paragraphs),
        charts=tuple(plots),
        beside=True,
    )


def _by_size(ranking: Ranking) -> Chart:
    sizes = [float(model.parameters) for model in ranking.models]
    smallest = min((size for size in sizes if size > 0), default=1.0)
    note = "; models without weights stand at the left edge" if min(sizes) <= 0 else ""
    return _trade_off(
        ranking,
        ranking.models,
        "parameters",
        [size if size > 0 else WITHOUT_WEIGHTS * smallest for size in sizes],
        [-size for size in sizes],
        lambda model: si(model.parameters),
        note=note,
    )


def _by_speed(ranking: Ranking, timed: Sequence[ModelScore]) -> Chart:
    speeds = [model.speed or 0.0 for model in timed]
    return _trade_off(
        ranking,
        timed,
        "speed",
        [max(speed, 1e-3) for speed in speeds],
        speeds,
        lambda model: times_real_time(model.speed),
        title="seconds of audio encoded in one second",
    )


def _trade_off(
    ranking: Ranking,
    models: Sequence[ModelScore],
    cost: str,
    positions: Sequence[float],
    cheapness: Sequence[float],
    describe: Callable[[ModelScore], str],
    *,
    title: str = "",
    note: str = "",
) -> Chart:
    """Return a chart of scores against `cost`, with its table.

    Args:
        ranking: the ranking with the scores.
        models: models to show.
        cost: name of the cost.
        positions: position of each model on the x axis, above 0.
        cheapness: cheapness of each model, higher for better.
        describe: returns the cost of a model as text.
        title: title of the x axis; `cost` by default.
        note: note about the axis, after the sentence.
    """
    score = first_score(ranking)
    higher = higher_is_better(ranking, score)
    values = [model.scores[score] for model in models]
    on_front = front([v.value if higher else -v.value for v in values], cheapness)
    log = max(positions) / min(positions) > LOGARITHMIC
    rises = cost == "parameters"
    rows = [
        {
            "name": shown(model.model),
            "layer": str(model.layer),
            "x": x,
            "told": describe(model),
            "y": short(value.value),
            "low": short(value.low),
            "high": short(value.high),
            "front": is_ahead,
            "left": _relative_position(x, positions, log=log) > (ROOM if rises else 1 - ROOM),
        }
        for model, value, x, is_ahead in zip(models, values, positions, on_front, strict=True)
    ]
    front_models = [model for model, is_ahead in zip(models, on_front, strict=True) if is_ahead]
    names = ", ".join(f"{shown(m.model)} ({describe(m)}, {figure(m.scores[score].value)})" for m in front_models)
    table = Table(
        f"Score against {cost}; models on the front are marked",
        ("model", "best layer", cost, titled(ranking, score), "on the front"),
        rows_of(
            [
                text_cell(shown(model.model)),
                layer_cell(model.layer),
                Cell(describe(model), -cheap if cost == "parameters" else cheap, number=True),
                number_cell(value.value, figure(value.value)),
                text_cell("yes" if is_ahead else "no"),
            ]
            for model, value, cheap, is_ahead in zip(models, values, cheapness, on_front, strict=True)
        ),
        marked=tuple(i for i, is_ahead in enumerate(on_front) if is_ahead),
    )
    return Chart(
        f"by-{cost}",
        charts.trade_off(
            rows,
            title or cost,
            titled(ranking, score),
            log=log,
            reverse=not higher,
            falls=not rises,
        ),
        f"Score against {cost}{note}. On the front: {names}.",
        table,
        title=f"Against {cost}",
        height="medium",
    )


def _relative_position(x: float, positions: Sequence[float], *, log: bool) -> float:
    """Return the relative position of a value on the axis, from 0 to 1."""
    low, high, position = (math.log(v) if log else v for v in (min(positions), max(positions), x))
    return (position - low) / (high - low) if high > low else 0.5


def front(goodness: Sequence[float], cheapness: Sequence[float]) -> list[bool]:
    """Return whether each candidate is on the Pareto front: no other is at least as good in both and better in one.

    Args:
        goodness: score of each candidate, higher for better.
        cheapness: cheapness of each candidate, higher for better.

    Returns:
        One truth value for each candidate; equal candidates share their value.

    Example:
        >>> front([3, 2, 1], [1, 2, 1])
        [True, True, False]
    """
    pairs = list(zip(goodness, cheapness, strict=True))
    return [not any(_dominates(other, candidate) for other in pairs) for candidate in pairs]


def _dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a != b
