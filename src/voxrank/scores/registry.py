"""The registry of scores, by name."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from voxrank._support.plugins import PluginError, find_plugin, plugin_names
from voxrank._support.threads import one_blas_thread
from voxrank.errors import OptionError, did_you_mean
from voxrank.scores.estimate import Estimate
from voxrank.scores.estimator import FittedMoments
from voxrank.scores.names import COMBINATIONS, DEFAULT, MODULES, TUNED
from voxrank.scores.score import Score
from voxrank.scores.view import LayerView

_SCORES: dict[str, Score] = {}


def register_score(score: Score) -> None:
    """Register a score under its name.

    Raises:
        ValueError: the name is already registered.
    """
    if score.name in _SCORES:
        raise ValueError(f"the score {score.name!r} is registered already; choose another name")
    _SCORES[score.name] = score


def get_score(name: str) -> Score:
    """Return the score of that name: a registered score, or else the score of a plug-in, which is then imported.

    Raises:
        OptionError: the name is unknown; the message lists similar names.
        PluginError: the plug-in cannot be used.
    """
    return _SCORES[name] if name in _SCORES else _load_plugin(name)


def _load_plugin(name: str) -> Score:
    plugin = find_plugin("scores", name)
    if plugin is None:
        raise OptionError(f"unknown score {name!r}; {did_you_mean(name, known_scores())}")
    score = plugin.load()
    if not isinstance(score, Score):
        raise plugin.refuse("a voxrank.scores.Score", score)
    if score.name != name:
        raise PluginError(
            f"the plug-in {name!r} of {plugin.origin} is a score named {score.name!r}; give both one name"
        )
    return score


def estimate_all(scores: Iterable[Score], view: LayerView) -> dict[str, Estimate]:
    """Return the estimates of one layer: score name → estimate."""
    with one_blas_thread(view.moments.total.dim):
        return {score.name: score.estimate(view) for score in scores}


def score_names() -> tuple[str, ...]:
    """Return the registered names, sorted."""
    return tuple(sorted(_SCORES))


def known_scores() -> tuple[str, ...]:
    """Return the sorted names of registered scores, combinations, plug-ins (not imported) and the default."""
    return tuple(sorted({*_SCORES, *COMBINATIONS, DEFAULT, TUNED, *plugin_names("scores")}))


for _module in dict.fromkeys(MODULES.values()):
    _score_module = import_module(f"voxrank.scores.{_module}")
    for _score in getattr(_score_module, "SCORES", None) or (_score_module.SCORE,):
        register_score(_score)

ESTIMATORS: dict[str, type[FittedMoments]] = {
    name: score.estimator
    for name, score in _SCORES.items()
    if score.estimator is not None and issubclass(score.estimator, FittedMoments)
}
"""The classes with the interface of scikit-learn, by score name, for scores of one set of features."""
