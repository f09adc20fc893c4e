"""Score name → score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voxrank.errors import OptionError, did_you_mean
from voxrank.scores.estimate import Estimate
from voxrank.scores.logme import estimate_logme
from voxrank.scores.view import LayerView


@dataclass(frozen=True)
class Score:
    """A score that ranks layers.

    Attributes:
        name: as the user asks for it.
        title: as tables show it.
        higher_is_better: the direction.
        estimate: a layer's sketches → value and influence.
    """

    name: str
    title: str
    higher_is_better: bool
    estimate: Callable[[LayerView], Estimate]


_SCORES: dict[str, Score] = {}


def register_score(score: Score) -> None:
    """Make a score known by its name.

    Raises:
        ValueError: the name is taken.
    """
    if score.name in _SCORES:
        raise ValueError(f"the score {score.name!r} is registered already; choose another name")
    _SCORES[score.name] = score


def get_score(name: str) -> Score:
    """The score of that name.

    Raises:
        OptionError: unknown; the known ones are listed.
    """
    if name not in _SCORES:
        raise OptionError(f"unknown score {name!r}; {did_you_mean(name, _SCORES)}")
    return _SCORES[name]


def score_names() -> tuple[str, ...]:
    """The registered names, sorted."""
    return tuple(sorted(_SCORES))


register_score(Score("logme", "LogME", higher_is_better=True, estimate=estimate_logme))
