"""The result to expect of a linear head on the best layer, in words and in the measure of the task."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from voxrank._support.words import percent, score_figure

if TYPE_CHECKING:
    from voxrank.results.ranking import DataSummary, Ranking, ScoreValue

MEASURES = {"accuracy": "accuracy", "balanced": "mean recall of classes", "r2": "R²", "map": "mean average precision"}
"""Scores that are the result of a held-out head → what they measure."""
PERCENTS = ("accuracy", "balanced")


def expectation(ranking: Ranking) -> str:
    """Return what to expect, such as "expected accuracy 84 % (78 to 90 %) on speakers not heard".

    The text is empty where the score that orders the ranking is not the result of a held-out head.
    """
    name = ranking.options["scores"][0]
    if name not in MEASURES or not ranking.data.held_out:
        return ""
    value = ranking.best.scores[name]
    return f"expected {MEASURES[name]} {_figures(name, value)} on {ranking.data.held_out} not heard"


def reference(ranking: Ranking) -> str:
    """Return one or two sentences about guessing, and about fine-tuning; empty where `expectation` is empty."""
    if not expectation(ranking):
        return ""
    known = _guessing(ranking.data, ranking.options["scores"][0], ranking.best.scores)
    return f"{known}This is what a linear head on the frozen layer reaches; fine-tuning should reach at least that."


def _figures(name: str, value: ScoreValue) -> str:
    shown = percent if name in PERCENTS else score_figure
    if value.low is None or value.high is None:
        return f"{shown(value.value)}"
    low, high = max(value.low, 0.0) if name != "r2" else value.low, min(value.high, 1.0)
    return f"{shown(value.value)} ({shown(low)} to {shown(high)})"


def _guessing(data: DataSummary, name: str, scores: dict[str, ScoreValue]) -> str:
    if name == "r2" and data.deviation is not None:
        error = data.deviation * sqrt(max(1 - scores[name].value, 0.0))
        return f"That is an error of {error:.3g} in the unit of the values, where their mean has {data.deviation:.3g}. "
    if name in PERCENTS and data.classes and data.majority is not None:
        chance, majority = percent(1 / data.classes), percent(data.majority)
        more = name == "accuracy" and majority != chance
        return f"Guessing reaches {chance}{f', the most frequent class alone {majority}' if more else ''}. "
    return ""
