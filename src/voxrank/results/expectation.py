"""The result to expect of a linear head on the best layer, in words and in the measure of the task."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from voxrank._support.words import percent, score_figure, strict_percent
from voxrank.data.utterance import TIMED

if TYPE_CHECKING:
    from voxrank.results.ranking import DataSummary, Ranking, ScoreValue

MEASURES = {"accuracy": "accuracy", "balanced": "mean recall of classes", "r2": "R²", "map": "mean average precision"}
"""Scores that are the result of a held-out head → what they measure."""
PERCENTS = ("accuracy", "balanced")
UNITS = {"frame": " per frame", "effective": " per frame", "segment": " per part"}
"""Kind of sample → what the result is about, where it is not about utterances."""
BEYOND = {
    "layer": "; tuning the block usually reaches more",
    "full": "; fine-tuning usually reaches more, and how much more differs between models",
}
"""Strategy → what else is to be said for it."""


def expectation(ranking: Ranking) -> str:
    """Return what to expect, such as "expected accuracy 84 % (78 to 90 %) on speakers not heard".

    The text is empty where the first score is not the result of a held-out head, or of one on another layer.
    """
    name = ranking.options["scores"][0]
    if name not in MEASURES or not ranking.data.held_out or ranking.options.get("head_at") == "top":
        return ""
    unit = UNITS.get(ranking.options.get("sample", ""), "") if ranking.task not in TIMED else " per segment"
    value = ranking.best.scores[name]
    return f"expected {MEASURES[name]}{unit} {_figures(name, value)} on {ranking.data.held_out} not heard"


def reference(ranking: Ranking) -> str:
    """Return sentences about guessing, and about what the expectation means; empty where `expectation` is empty."""
    if not expectation(ranking):
        return ""
    name, scores = ranking.options["scores"][0], ranking.best.scores
    if scores[name].value <= _nothing_known(ranking.data, name):
        return "That is no better than guessing."
    guessing, beyond = _guessing(ranking.data, name, scores), BEYOND.get(ranking.options.get("strategy", ""), "")
    return f"{guessing}This is what a linear head on the frozen layer reaches{beyond}."


def ordering(ranking: Ranking) -> str:
    """Return a sentence that says how layers are ordered; empty where the first score orders them."""
    *others, last = ranking.order
    if others:
        return f"Layers are ordered by the mean of their ranks by {', '.join(others)} and {last}."
    return "" if last == ranking.options["scores"][0] else f"Layers are ordered by {last}."


def _nothing_known(data: DataSummary, name: str) -> float:
    """Return what is reached without features."""
    if name == "accuracy":
        return data.majority or 0.0
    return 1 / data.classes if name == "balanced" and data.classes else 0.0


def _figures(name: str, value: ScoreValue) -> str:
    shown = strict_percent if name in PERCENTS else score_figure
    if value.low is None or value.high is None or value.low == value.high:  # no block differs from the others
        return f"{shown(value.value)}"
    return f"{shown(value.value)} ({shown(value.low)} to {shown(value.high)})"


def _guessing(data: DataSummary, name: str, scores: dict[str, ScoreValue]) -> str:
    if name == "r2" and data.deviation is not None:
        error = data.deviation * sqrt(max(1 - scores[name].value, 0.0))
        return f"That is an error of {error:.3g} in the unit of the values, where their mean has {data.deviation:.3g}. "
    if name in PERCENTS and data.classes and data.majority is not None:
        chance, majority = percent(1 / data.classes), percent(data.majority)
        more = name == "accuracy" and majority != chance
        return f"Guessing reaches {chance}{f', the most frequent class alone {majority}' if more else ''}. "
    return ""
