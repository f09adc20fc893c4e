"""Names of the scores, which can be read without importing the scores, because that takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxrank.data.utterance import Task

COMBINATIONS: dict[str, tuple[str, ...]] = {"combined": ("logme", "knn")}
"""Combinations: name → the scores whose orders it averages (`voxrank.ranking.resampling.Column.combined`)."""
TUNED = "tuned"
"""Name of the order of blocks by what a head will reach after one block is tuned (`voxrank.ranking.tuning`)."""
MODULES: dict[str, str] = {
    "accuracy": "accuracy",
    "balanced": "accuracy",
    "likelihood": "accuracy",
    "r2": "accuracy",
    "map": "accuracy",
    "logme": "logme",
    "hscore": "hscore",
    "ridge": "ridge",
    "cca": "cca",
    "pwcca": "cca",
    "vci": "cca",
    "cka": "cka",
    "rankme": "rankme",
    "knn": "heldout",
    "ncm": "heldout",
    "loo": "heldout",
    "gbc": "separation",
    "transrate": "separation",
    "swd": "sliced",
    "frechet": "frechet",
    "tsne": "tsne",
}
"""Built-in scores, in the order shown: name → module of `voxrank.scores` that defines it, as `SCORE` or in `SCORES`."""
DEFAULT = "default"
"""Name that stands for the scores and the order of a ranking when the user names none."""
NAMES = (DEFAULT, *COMBINATIONS, TUNED, *MODULES)
"""Names that a user may give: the default, combinations and built-in scores."""
_OF_CLASSES = ("accuracy", "likelihood", "balanced", "logme")
DEFAULT_SCORES: dict[Task, tuple[str, ...]] = {
    "classification": _OF_CLASSES,
    "segmentation": _OF_CLASSES,
    "transcription": _OF_CLASSES,
    "multilabel": ("map", "r2", "logme"),
    "regression": ("r2", "logme"),
}
"""Task → the scores of a ranking when the user names none. The first one is what a user can expect."""
DEFAULT_ORDER: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "likelihood", "logme"),
    "regression": ("r2", "logme"),
}
"""Task → the scores whose orders are averaged for the default order, where a sample is an utterance. In other cases the
first score orders the ranking, and the next one decides ties."""
