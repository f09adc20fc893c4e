"""The registry of scores, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

from voxrank._support.plugins import PluginError, find_plugin, plugin_names
from voxrank._support.threads import one_blas_thread
from voxrank.data.utterance import TIMED, Task
from voxrank.errors import OptionError, did_you_mean
from voxrank.scores.cca import read_cca, read_pwcca, read_vci
from voxrank.scores.cka import read_cka
from voxrank.scores.estimate import Estimate
from voxrank.scores.frechet import estimate_frechet
from voxrank.scores.heldout import estimate_knn, estimate_loo, estimate_ncm
from voxrank.scores.hscore import read_hscore
from voxrank.scores.logme import read_logme
from voxrank.scores.rankme import read_rankme
from voxrank.scores.ridge import read_ridge
from voxrank.scores.separation import estimate_gbc, estimate_transrate
from voxrank.scores.sliced import estimate_swd
from voxrank.scores.tsne import estimate_tsne
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


def of_moments(
    name: str, title: str, read: Read, *, higher_is_better: bool = True, tasks: tuple[Task, ...] = get_args(Task)
) -> Score:
    """Return a score that reads the moments alone.

    Args:
        name: name of the score, for `register_score` and `--score`.
        title: title of the score in tables.
        read: function of a `Spectrum` that returns a `Reading`: the value, and the means to compute its interval.
        higher_is_better: direction of the score.
        tasks: tasks that the score supports.

    Returns:
        The score, not registered yet.
    """
    return Score(name, title, higher_is_better, lambda view: view.estimate(read), tasks=tasks, read=read)


_SCORES: dict[str, Score] = {}
COMBINATIONS: dict[str, tuple[str, ...]] = {"combined": ("logme", "knn"), "tuned": ("loo", "ncm", "knn")}
"""Combinations: name → its scores, of which those that support the task are used. "combined" averages the order by each
score (`voxrank.ranking.resampling.Column.combined`); "tuned" averages the scores themselves, for the layers of one
model (`voxrank.ranking.tuning`)."""


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
    return _SCORES[name] if name in _SCORES else _plugged(name)


def _plugged(name: str) -> Score:
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
    """Return the sorted names of registered scores, combinations and plug-ins. Plug-ins are not imported."""
    return tuple(sorted({*_SCORES, *COMBINATIONS, *plugin_names("scores")}))


for _score in (
    of_moments("logme", "LogME", read_logme),
    of_moments("hscore", "H-score", read_hscore),
    of_moments("ridge", "ridge R²", read_ridge),
    of_moments("cca", "CCA", read_cca),
    of_moments("pwcca", "PWCCA", read_pwcca),
    of_moments("vci", "VCI", read_vci, higher_is_better=False),
    of_moments("cka", "CKA", read_cka),
    of_moments("rankme", "RankMe", read_rankme),
    Score("knn", "kNN", higher_is_better=True, estimate=estimate_knn, sampled=True),
    Score("ncm", "NCM", higher_is_better=True, estimate=estimate_ncm, sampled=True, tasks=CLASSES),
    Score("loo", "LOO ridge", higher_is_better=True, estimate=estimate_loo, sampled=True),
    Score("gbc", "GBC", higher_is_better=True, estimate=estimate_gbc, sampled=True, tasks=CLASSES),
    Score(
        "transrate",
        "TransRate",
        higher_is_better=True,
        estimate=estimate_transrate,
        sampled=True,
        tasks=CLASSES,
    ),
    Score("swd", "SWD", higher_is_better=False, estimate=estimate_swd, needs_source=True, projected=True),
    Score("frechet", "Fréchet", higher_is_better=False, estimate=estimate_frechet, needs_source=True),
    Score(
        "tsne",
        "t-SNE",
        higher_is_better=False,
        estimate=estimate_tsne,
        sampled=True,
        needs_source=True,
        package="sklearn",
    ),
):
    register_score(_score)
