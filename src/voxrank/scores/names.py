"""Names of the scores, which can be read without importing the scores, because that takes seconds."""

from __future__ import annotations

COMBINATIONS: dict[str, tuple[str, ...]] = {"combined": ("logme", "knn"), "tuned": ("loo", "ncm", "knn")}
"""Combinations: name → its scores, of which those that support the task are used. "combined" averages the order by each
score (`voxrank.ranking.resampling.Column.combined`); "tuned" averages the scores themselves, for the layers of one
model (`voxrank.ranking.tuning`)."""
MODULES: dict[str, str] = {
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
NAMES = (*COMBINATIONS, *MODULES)
"""Names of combinations and built-in scores; the first is the default."""
