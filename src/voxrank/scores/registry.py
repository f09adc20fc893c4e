"""Score name → score."""

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
"""Tasks whose targets are one class of several."""


@dataclass(frozen=True)
class Score:
    """A score that ranks layers.

    Attributes:
        name: as the user asks for it.
        title: as tables show it.
        higher_is_better: the direction.
        estimate: a layer's sketches → value and influence.
        sampled: whether it reads a sample of frames besides the moments.
        tasks: what it can score.
        needs_source: whether it compares with source data.
        projected: whether it reads projections.
        package: that it needs beside voxrank's own dependencies; empty for none.
        read: how it reads the moments, where it reads nothing else.
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
    """A score that is read from the moments alone.

    Args:
        name: as `register_score` and `--score` take it.
        title: as tables show it.
        read: a `Spectrum` → its `Reading`: the value, and how its interval is found.
        higher_is_better: its direction.
        tasks: what it can score.

    Returns:
        The score, not registered yet.
    """
    return Score(name, title, higher_is_better, lambda view: view.estimate(read), tasks=tasks, read=read)


_SCORES: dict[str, Score] = {}
COMBINATIONS: dict[str, tuple[str, ...]] = {"combined": ("logme", "knn"), "tuned": ("loo", "ncm", "knn")}
"""Name → the scores that it is made of, as far as they serve the task: their order is averaged
(`voxrank.ranking.resampling.Column.combined`), or they are, over the layers of one model (`voxrank.ranking.tuning`)."""


def register_score(score: Score) -> None:
    """Make a score known by its name.

    Raises:
        ValueError: the name is taken.
    """
    if score.name in _SCORES:
        raise ValueError(f"the score {score.name!r} is registered already; choose another name")
    _SCORES[score.name] = score


def get_score(name: str) -> Score:
    """The score of that name: a registered one, or else a plug-in's, which is then imported.

    Raises:
        OptionError: unknown; the known ones are listed.
        PluginError: a plug-in cannot be used.
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
    """Score name → estimate, of one layer."""
    with one_blas_thread(view.moments.total.dim):
        return {score.name: score.estimate(view) for score in scores}


def score_names() -> tuple[str, ...]:
    """The registered names, sorted."""
    return tuple(sorted(_SCORES))


def known_scores() -> tuple[str, ...]:
    """All that may be asked for, sorted: registered ones, combinations, and plug-ins, of which none is imported."""
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
