"""The definition of a score: its name, title, direction, tasks, sketches, formula and class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from voxrank.data.utterance import TIMED, Task
from voxrank.scores.estimate import Estimate
from voxrank.scores.view import LayerView, Read

CLASSES: tuple[Task, ...] = ("classification", *TIMED)
"""Tasks in which each target is a single class."""


@dataclass(frozen=True)
class Score:
    """A score that ranks layers.

    Attributes:
        name: name of the score, for `--score`.
        title: title of the score in tables.
        higher_is_better: direction of the score.
        estimate: function of a layer's sketches that returns value and influence.
        sampled: whether the score reads a sample of frames besides the moments.
        tasks: tasks that the score supports.
        needs_source: whether the score compares the data with source data.
        projected: whether the score reads projections.
        package: optional package that the score needs; empty for none.
        read: function that reads the score from the moments, where the score needs nothing else.
        estimator: class with the interface of scikit-learn that computes the score of arrays; None: there is none.
        summary: phrase that says what the score measures.
    """

    name: str
    title: str
    higher_is_better: bool
    estimate: Callable[[LayerView], Estimate]
    sampled: bool = False
    tasks: tuple[Task, ...] = get_args(Task)
    needs_source: bool = False
    projected: bool = False
    package: str = ""
    read: Read | None = None
    estimator: type | None = None
    summary: str = ""


def of_moments(
    name: str,
    title: str,
    read: Read,
    *,
    higher_is_better: bool = True,
    tasks: tuple[Task, ...] = get_args(Task),
    estimator: type | None = None,
    summary: str = "",
) -> Score:
    """Return a score that reads the moments alone.

    Args:
        name: name of the score, for `register_score` and `--score`.
        title: title of the score in tables.
        read: function of a `Spectrum` that returns a `Reading`: the value, and the means to compute its interval.
        higher_is_better: direction of the score.
        tasks: tasks that the score supports.
        estimator: class with the interface of scikit-learn that computes the score of arrays.
        summary: phrase that says what the score measures.

    Returns:
        The score, not registered yet.
    """
    return Score(
        name,
        title,
        higher_is_better,
        lambda view: view.estimate(read),
        tasks=tasks,
        read=read,
        estimator=estimator,
        summary=summary,
    )
