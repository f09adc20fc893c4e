"""Evaluation of the cells of `advice.py`: advice by each predictor and by each rule, against the single layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr, wilcoxon

Array = NDArray[np.float64]
Row = dict[str, Any]

MENUS = {
    "neighbours": ("single", "concat"),
    "ends": ("single", "concat", "all"),
    "sums": ("single", "mean", "sum by evidence"),
    "whole": ("single", "concat", "all", "concat by evidence", "mean", "sum by evidence"),
}
"""Kinds of sets from which advice may choose, by menu."""
CHOSEN = "logme"
"""The predictor that the development half chose: log evidence of standardised layers."""
LEAST_GAIN = 5e-3
"""Minimum gain in log evidence per sample and target: weights for layers of noise gain a third of that."""
MARGINS = (0.0, LEAST_GAIN, 0.01, 0.02, 0.03)
"""Further minimum gains, for a later comparison."""
SHOWN = ("whole", "ends", "sums")
"""Menus from which advice would be shown: all kinds, concatenated neighbours alone, and sums alone."""
RULES = ("all", "mean", "sum, trained", "last three", "best and neighbours")
BY_EVIDENCE = ("concat by evidence", "sum by evidence")
"""Rules that always use one kind, with the weights of greatest evidence."""
WORSE = 0.005
"""Half a point of accuracy: smaller losses count as no worse."""
LEAST_NO_WORSE, MOST_P, LEAST_SPEARMAN = 0.9, 0.05, 0.5
"""Thresholds of the criterion."""
FEW_OF_CLASS = 20
"""Below this number per class the default ranking is by LogME alone."""
RESAMPLES = 2000
LEAST_SETS = 5
"""Minimum number of sets of several layers for a rank correlation."""


@dataclass(frozen=True)
class Cell:
    """A task, a model and a number of rows.

    Attributes:
        task, model, size: names of the task, the model and the number of rows.
        splits: results of `advice.cell` of this size.
    """

    task: str
    model: str
    size: str
    splits: list[Row]

    @property
    def sets(self) -> list[Row]:
        """The sets of the first split; the others have the same sets in the same order."""
        found: list[Row] = self.splits[0]["sets"]
        return found

    @cached_property
    def kinds(self) -> NDArray[Any]:
        """The kinds of the sets, (S,)."""
        return np.array([one["kind"] for one in self.sets])

    @cached_property
    def accuracy(self) -> Array:
        """The accuracy of the probes, (splits, S)."""
        return np.array([[one["accuracy"] for one in split["sets"]] for split in self.splits])

    @cached_property
    def scores(self) -> dict[str, Array]:
        """The values (splits, S) of each predictor, higher is better; "default" is the order of `voxrank rank`."""
        found = {
            name: np.array([[one["scores"][name] for one in split["sets"]] for split in self.splits])
            for name in self.sets[0]["scores"]
        }
        found["combined"] = rankdata(found["logme, levelled"], axis=1) + rankdata(found["knn"], axis=1)
        found["logme + ridge"] = rankdata(found["logme"], axis=1) + rankdata(found["ridge"], axis=1)
        found["ridge + knn"] = rankdata(found["ridge"], axis=1) + rankdata(found["knn"], axis=1)
        few = self.splits[0]["train"] / self.splits[0]["classes"] < FEW_OF_CLASS
        found["default"] = found["logme, levelled" if few else "combined"]
        return found

    def among(self, kinds: Iterable[str]) -> NDArray[np.bool_]:
        """Return which sets are of these kinds, (S,)."""
        return np.isin(self.kinds, list(kinds))

    def chosen(self, name: str, kinds: Iterable[str], margin: float = 0.0) -> NDArray[np.intp]:
        """Return the set with the highest score, or the single layer unless the gain is above the margin, (splits,)."""
        values = self.scores[name]
        best = np.where(self.among(kinds), values, -np.inf).argmax(axis=1)
        single = np.where(self.among(["single"]), values, -np.inf).argmax(axis=1)
        rows = np.arange(len(values))
        chosen: NDArray[np.int_] = np.where(values[rows, best] > values[rows, single] + margin, best, single)
        return chosen

    def reached(self, chosen: NDArray[np.intp]) -> float:
        """Return the mean accuracy over the splits of the sets chosen in each."""
        return float(self.accuracy[np.arange(len(chosen)), chosen].mean())

    def rule(self, name: str, single_by: str) -> float:
        """Return the accuracy of a rule."""
        if name == "best and neighbours":
            return self.reached(np.array([self._around(place) for place in self.chosen(single_by, ["single"])]))
        if name == "last three":
            return float(self.accuracy[:, np.flatnonzero(self._of_width(3))[-1]].mean())
        return float(self.accuracy[:, self.kinds == name].mean())

    def _of_width(self, width: int) -> NDArray[np.bool_]:
        return np.array([one["kind"] == "concat" and len(one["layers"]) == width for one in self.sets])

    def _around(self, single: int) -> int:
        """Return the three neighbours with a layer in the middle, or at the end of the model."""
        triples = np.flatnonzero(self._of_width(3))
        return int(triples[np.clip(self.sets[single]["layers"][0] - 1, 0, len(triples) - 1)])

    @property
    def known_best(self) -> float:
        """The accuracy of the single layer that is best on the other splits, as if every layer had been fine-tuned."""
        single = np.flatnonzero(self.kinds == "single")
        own = self.accuracy[:, single]
        others = (own.sum(axis=0) - own) / (len(own) - 1)
        return float(own[np.arange(len(own)), others.argmax(axis=1)].mean())

    def known(self, kinds: Iterable[str]) -> float:
        """Return the accuracy of the set of these kinds that is best on the other splits."""
        own = self.accuracy[:, self.among(kinds)]
        others = (own.sum(axis=0) - own) / (len(own) - 1)
        return float(own[np.arange(len(own)), others.argmax(axis=1)].mean())

    def agreement(self, name: str, kinds: Iterable[str]) -> tuple[float | None, float | None]:
        """Return Spearman of predicted with true gain over sets of several layers, and of the gain over the best part.

        Predictions are of one split, truths are the mean over splits.
        """
        several = np.flatnonzero(self.among(kinds) & (self.kinds != "single"))
        if len(several) < LEAST_SETS:
            return None, None
        truth = self.accuracy.mean(axis=0)
        parts = [np.isin(np.arange(len(self.kinds)), self.sets[place]["layers"]) for place in several]
        added = np.array([truth[place] - truth[own].max() for place, own in zip(several, parts, strict=True)])
        gains, adds = [], []
        for values in self.scores[name]:
            predicted = np.array([values[place] - values[own].max() for place, own in zip(several, parts, strict=True)])
            gains.append(spearman(values[several], truth[several]))
            adds.append(spearman(predicted, added))
        return float(np.mean(gains)), float(np.mean(adds))

    def truth_with_itself(self, kinds: Iterable[str]) -> tuple[float, float] | None:
        """Return the same correlations of one split's truth with the mean of the others."""
        several = np.flatnonzero(self.among(kinds) & (self.kinds != "single"))
        if len(several) < LEAST_SETS:
            return None
        parts = [np.isin(np.arange(len(self.kinds)), self.sets[place]["layers"]) for place in several]

        def added(truth: Array) -> Array:
            return np.array([truth[place] - truth[own].max() for place, own in zip(several, parts, strict=True)])

        gains, adds = [], []
        for number, one in enumerate(self.accuracy):
            others = np.delete(self.accuracy, number, axis=0).mean(axis=0)
            gains.append(spearman(one[several], others[several]))
            adds.append(spearman(added(one), added(others)))
        return float(np.mean(gains)), float(np.mean(adds))


def spearman(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation, or 0 if all values of one side are equal."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)


def cells_of(task: str, model: str, splits: Sequence[Row]) -> list[Cell]:
    """Return a cell for each size."""
    sizes = dict.fromkeys(split["size"] for split in splits)
    return [Cell(task, model, size, [one for one in splits if one["size"] == size]) for size in sizes]


def gain_of(cells: Sequence[Cell], gains: Array) -> dict[str, Any]:
    """Return a summary of gains (C,) over a single layer."""
    names = np.array([(cell.task, cell.model) for cell in cells])
    pairs = np.unique(names, axis=0)
    by_pair = np.array([gains[(names == pair).all(axis=1)].mean() for pair in pairs])
    test = wilcoxon(by_pair, alternative="greater") if by_pair.any() else None
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(RESAMPLES):
        weights = np.ones(len(pairs))
        for column in (0, 1):
            values, places = np.unique(pairs[:, column], return_inverse=True)
            weights *= np.bincount(rng.integers(0, len(values), len(values)), minlength=len(values))[places]
        if weights.sum():
            resampled.append(weights @ by_pair / weights.sum())
    return {
        "gain": round(float(gains.mean()), 5),
        "interval": [round(float(end), 5) for end in np.percentile(resampled, [2.5, 97.5])],
        "p": 1.0 if test is None else float(f"{test.pvalue:.2g}"),
        "no_worse": round(float((gains >= -WORSE).mean()), 4),
        "better": round(float((gains > WORSE).mean()), 4),
        "worst": round(float(gains.min()), 4),
    }


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None."""
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def by_predictor(cells: Sequence[Cell], name: str, menu: str, margin: float = 0.0) -> Row:
    """Return the results of advice by one predictor from one menu."""
    kinds = MENUS[menu]
    reached = np.array([cell.reached(cell.chosen(name, kinds, margin)) for cell in cells])
    own = np.array([cell.reached(cell.chosen(name, ["single"])) for cell in cells])
    default = np.array([cell.reached(cell.chosen("default", ["single"])) for cell in cells])
    best = np.array([cell.known_best for cell in cells])
    agreement = [cell.agreement(name, kinds) for cell in cells]
    picked = [cell.kinds[place] for cell in cells for place in cell.chosen(name, kinds, margin)]
    predicted = [
        np.mean([cell.scores[name][i, place] for i, place in enumerate(cell.chosen(name, kinds, margin))])
        - np.mean([cell.scores[name][i, place] for i, place in enumerate(cell.chosen(name, ["single"]))])
        for cell in cells
    ]
    return {
        "predictor": name,
        "menu": menu,
        "margin": margin,
        "accuracy": round(float(reached.mean()), 5),
        "over_own_single": gain_of(cells, reached - own),
        "over_default": gain_of(cells, reached - default),
        "over_known_best": gain_of(cells, reached - best),
        "own_single": round(float(own.mean()), 5),
        "spearman": mean_of(gain for gain, _ in agreement),
        "spearman_added": mean_of(added for _, added in agreement),
        "spearman_over_cells": round(spearman(np.array(predicted), reached - own), 4),
        "single_kept": round(float(np.mean([kind == "single" for kind in picked])), 4),
    }


def summed_up(cells: Sequence[Cell]) -> Row:
    """Return the summary of one half."""
    whole = MENUS["whole"]
    itself = [cell.truth_with_itself(whole) for cell in cells]
    return {
        "tasks": list(dict.fromkeys(cell.task for cell in cells)),
        "models": list(dict.fromkeys(cell.model for cell in cells)),
        "cells": len(cells),
        "default": mean_of(cell.reached(cell.chosen("default", ["single"])) for cell in cells),
        "known_best": mean_of(cell.known_best for cell in cells),
        "known_best_set": mean_of(cell.known(whole) for cell in cells),
        "truth_with_itself": [mean_of(one and one[place] for one in itself) for place in (0, 1)],
        "rules": [by_rule(cells, name) for name in (*RULES, *BY_EVIDENCE)],
        "predictors": [
            by_predictor(cells, name, menu, LEAST_GAIN if name == CHOSEN else 0.0)
            for menu in MENUS
            for name in cells[0].scores
        ],
        "margins": [by_predictor(cells, CHOSEN, "whole", margin) for margin in MARGINS],
        "by_task": by_task(cells),
        "lost": lost(cells),
    }


def lost(cells: Sequence[Cell]) -> list[Row]:
    """Return the cells in which the chosen predictor's set was worse than its single layer, the worst first."""
    found = []
    for cell in cells:
        best = cell.chosen(CHOSEN, MENUS["whole"], LEAST_GAIN)
        single = cell.chosen(CHOSEN, ["single"])
        rows = np.arange(len(best))
        gains = cell.accuracy[rows, best] - cell.accuracy[rows, single]
        predicted = cell.scores[CHOSEN][rows, best] - cell.scores[CHOSEN][rows, single]
        if gains.mean() < -WORSE:
            found.append(
                {
                    "task": cell.task,
                    "model": cell.model,
                    "size": cell.size,
                    "train": cell.splits[0]["train"],
                    "singles": [cell.sets[place]["layers"][0] for place in single],
                    "accuracy": round(cell.reached(single), 4),
                    "gains": [round(float(gain), 4) for gain in gains],
                    "predicted": round(float(predicted.mean()), 4),
                }
            )
    return sorted(found, key=lambda one: float(np.mean(one["gains"])))


def by_task(cells: Sequence[Cell]) -> list[Row]:
    """Return means over models, for each task and number of rows."""
    found = []
    for task, size in dict.fromkeys((cell.task, cell.size) for cell in cells):
        own = [cell for cell in cells if (cell.task, cell.size) == (task, size)]
        menus = {
            menu: mean_of(cell.reached(cell.chosen(CHOSEN, MENUS[menu], LEAST_GAIN)) for cell in own) for menu in SHOWN
        }
        found.append(
            {
                "task": task,
                "size": size,
                "train": own[0].splits[0]["train"],
                "classes": own[0].splits[0]["classes"],
                "single": mean_of(cell.reached(cell.chosen(CHOSEN, ["single"])) for cell in own),
                "known_best": mean_of(cell.known_best for cell in own),
                **{rule: mean_of(cell.rule(rule, "default") for cell in own) for rule in ("all", "sum, trained")},
                **menus,
            }
        )
    return found


def judged(halves: dict[str, Row]) -> Row:
    """Return, for each menu, whether the criterion of `advice.py` holds on the reporting half."""
    rules = [one for one in halves["development"]["rules"] if one["rule"] in RULES]
    rule = max(rules, key=lambda one: one["accuracy"])["rule"]
    reached = next(one["accuracy"] for one in halves["reporting"]["rules"] if one["rule"] == rule)
    found: Row = {"rule": rule, "rule_accuracy": reached}
    for menu in SHOWN:
        one = next(
            row for row in halves["reporting"]["predictors"] if (row["predictor"], row["menu"]) == (CHOSEN, menu)
        )
        gain = one["over_own_single"]
        found[menu] = {
            "no worse": gain["no_worse"] >= LEAST_NO_WORSE,
            "gain": gain["gain"] > 0 and gain["p"] < MOST_P and gain["interval"][0] > 0,
            "spearman": None if one["spearman"] is None else one["spearman"] >= LEAST_SPEARMAN,
            "rule": one["accuracy"] >= reached,
        }
    return found


def by_rule(cells: Sequence[Cell], name: str) -> Row:
    """Return the results of one rule."""
    reached = np.array([cell.rule(name, "default") for cell in cells])
    default = np.array([cell.reached(cell.chosen("default", ["single"])) for cell in cells])
    best = np.array([cell.known_best for cell in cells])
    return {
        "rule": name,
        "accuracy": round(float(reached.mean()), 5),
        "over_default": gain_of(cells, reached - default),
        "over_known_best": gain_of(cells, reached - best),
    }
