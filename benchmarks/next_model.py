"""Measures how many models are tried until one is near the best, where published results choose the next one.

Each task of a published table is the user's task in turn, and the prior is fitted to the other tasks alone
(`task_prior.py`). The simulated user has the scores of a few models, tries the model that is chosen, and
so on until a model within 2 % of the best has been tried. Rules choose too: the largest model first, the best mean
published rank first, and others. Only the scores of the models that were tried are known, and neither their scale nor
their offset.

The variant of the prior is chosen on one half of the tasks, by a hash of their names, and reported on the other. It is
also chosen anew for each task by runs on the other tasks, none of which sees the task (nested). Conditions: the scores
as published; with noise that leaves a correlation of 0.9; without the tasks of the same kind or corpus; only models
that voxrank loads.

It needs only the catalogue. Run: python benchmarks/next_model.py (about ten minutes).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise, product
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata, spearmanr

from common import provenance, save
from published_table import SOURCES, Table, read_table
from task_prior import PriorSettings, TaskPrior, fit_prior, outlook, standardised

NAME = "next_model"
NEAR = 0.98
"""Share of the best result from which a model counts as near the best."""
NOISE = 0.484
"""Standard deviation of the noise of scores, in standard deviations of the results: a correlation of 0.9."""
DRAWS = 20
"""Random starting sets of each task."""
INNER_DRAWS = 3
"""Random starting sets of each task for the choice within the other tasks."""
POPULAR = {
    "maeb": ("facebook/wav2vec2-base", "facebook/hubert-base-ls960", "openai/whisper-base"),
    "superb": ("facebook/wav2vec2-base", "facebook/hubert-base-ls960", "wav2vec"),
}
FAMILY, SIZE = 0.4, 0.3
"""Shares of the kernel that models of one family, and of one size, have in common."""
SIZE_STEP = 0.5
"""Distance in log10 of the number of weights over which models count as alike."""
SEEN = (2, 4, 6)
"""Numbers of scored models after which odds and agreement are judged."""
BINS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
RESAMPLES = 10_000

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

DEFAULT = PriorSettings()


@dataclass(frozen=True)
class Variant:
    """A prior and a way to choose the next model.

    Attributes:
        settings: settings of the prior.
        kernel: whether the covariance is shrunk towards a kernel of family and size, not towards independent models.
        ranks: whether the published results are replaced by normal scores of their ranks.
        factors: number of factors of a low-rank covariance in place of the kernel's; None for that of the kernel.
        choice: attribute of `Outlook` of which the largest value is tried next.
    """

    settings: PriorSettings = DEFAULT
    kernel: bool = False
    ranks: bool = False
    factors: int | None = None
    choice: str = "gain"

    @property
    def name(self) -> str:
        s = self.settings
        form = f"{self.factors} factors" if self.factors else f"width {s.width:g}{', kernel' if self.kernel else ''}"
        means = f"mean {s.mean_strength:g}, noise {s.noise:g}"
        return f"{'ranks' if self.ranks else 'values'}, {form}, {means}, {self.choice}"


@dataclass(frozen=True)
class Condition:
    """The circumstances of a simulated user."""

    noise: float = 0.0
    without_related: bool = False
    only_loadable: bool = False


CONDITIONS = {
    "as published": Condition(),
    "noisy scores": Condition(noise=NOISE),
    "related tasks held out": Condition(without_related=True),
    "related held out, noisy": Condition(noise=NOISE, without_related=True),
    "models that voxrank loads": Condition(only_loadable=True),
}
PLAIN = CONDITIONS["as published"]
RULES = ("published rank", "largest", "largest encoder", "newest", "near the best most often", "random")
RIVALS = ("published rank", "largest")
"""The rules that the choice has to beat."""


def variants() -> list[Variant]:
    """Return the variants that are compared."""
    found = []
    for ranks, width, with_kernel in product((False, True), (1.0, 0.8, 0.6, 0.4), (False, True)):
        found.append(Variant(PriorSettings(width=width), with_kernel, ranks))
    for ranks, width in product((False, True), (0.8, 0.6)):
        found.append(Variant(PriorSettings(mean_strength=10.0, width=width, noise=0.2), ranks=ranks))
    for ranks, factors in product((False, True), (1, 2, 3, 4)):
        found.append(Variant(PriorSettings(width=1.0), ranks=ranks, factors=factors))
    for ranks, choice in product((False, True), ("odds", "result")):
        found.append(Variant(DEFAULT, ranks=ranks, choice=choice))
    return found


@dataclass(frozen=True)
class Trial:
    """One held-out task: the models that have a result on it, the prior from other tasks, and the starting sets."""

    table: Table
    task: int
    condition: Condition
    others: tuple[int, ...]

    @classmethod
    def of(cls, table: Table, task: int, condition: Condition, without: Sequence[int] = ()) -> Trial:
        """Hold out a task, and further tasks by the condition or by number."""
        out = {task, *without}
        if condition.without_related:
            out |= {i for i, name in enumerate(table.tasks) if table.related(table.tasks[task], name)}
        return cls(table, task, condition, tuple(i for i in range(len(table.tasks)) if i not in out))

    @property
    def models(self) -> Indices:
        """Indices of the candidates."""
        there = ~np.isnan(self.table.values[:, self.task])
        there = there & self.table.loadable if self.condition.only_loadable else there
        models: Indices = np.flatnonzero(there)
        return models

    @property
    def truth(self) -> Array:
        """Results of the candidates."""
        truth: Array = self.table.values[self.models, self.task]
        return truth

    @property
    def good(self) -> NDArray[np.bool_]:
        """Candidates within 2 % of the best."""
        near: NDArray[np.bool_] = np.asarray(self.truth >= NEAR * self.truth.max())
        return near

    def prior(self, variant: Variant) -> TaskPrior:
        """Fit the prior of the candidates to the other tasks."""
        results = self.table.values[:, self.others]
        if variant.ranks:
            results = normal_scores(results)
        if variant.factors:
            return factor_prior(results, variant.factors, variant.settings).of_models(self.models)
        alike = kernel(self.table.log_sizes, self.table.families) if variant.kernel else None
        return fit_prior(results, variant.settings, alike).of_models(self.models)

    def scores(self, draw: int) -> Array:
        """Return what the user measures: the truth, with the condition's noise."""
        rng = np.random.default_rng([draw, zlib.crc32(self.table.tasks[self.task].encode())])
        noise = rng.standard_normal(len(self.truth))
        scores: Array = self.truth + self.condition.noise * self.truth.std() * noise
        return scores

    def start(self, draw: int, size: int) -> list[int]:
        """Return a random starting set."""
        rng = np.random.default_rng([draw, size, zlib.crc32(self.table.tasks[self.task].encode())])
        return [int(i) for i in rng.choice(len(self.models), size, replace=False)]

    def popular(self) -> list[int]:
        """Return the three popular small models."""
        names = [self.table.models[i] for i in self.models]
        return [names.index(name) for name in POPULAR[self.table.source]]


def kernel(log_sizes: Array, families: Sequence[str]) -> Array:
    """Return (n, n): how alike models are by family and size, 1 on the diagonal; an unknown size is like no other."""
    names = np.asarray(families)
    near = np.nan_to_num(np.exp(-0.5 * ((log_sizes[:, None] - log_sizes[None]) / SIZE_STEP) ** 2))
    alike: Array = FAMILY * (names[:, None] == names[None]) + SIZE * near
    np.fill_diagonal(alike, 1.0)
    return alike


def factor_prior(results: Array, factors: int, settings: PriorSettings) -> TaskPrior:
    """Return a Gaussian with a covariance of a few factors and a variance of each model."""
    filled = np.nan_to_num(standardised(results))
    mean = filled.sum(axis=1) / (filled.shape[1] + settings.mean_strength)
    centred = (filled - mean[:, None]) / np.sqrt(filled.shape[1])
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    low = (u[:, :factors] * s[:factors] ** 2) @ u[:, :factors].T
    rest = np.maximum((centred**2).sum(axis=1) - np.diag(low), 0.05)
    return TaskPrior(mean[None], low + np.diag(rest), settings.noise)


def normal_scores(results: Array) -> Array:
    """Return the normal quantiles of the ranks within each task."""
    scores = np.full(results.shape, np.nan)
    for task in range(results.shape[1]):
        there = ~np.isnan(results[:, task])
        scores[there, task] = norm.ppf((rankdata(results[there, task]) - 0.5) / there.sum())
    return scores


def tries(trial: Trial, prior: TaskPrior, choice: str, start: Sequence[int], scores: Array) -> int:
    """Return the number of models tried beyond the start until one is near the best."""
    tried, good = list(start), trial.good
    while not good[tried].any():
        tried.append(next_of(prior, choice, tried, scores))
    return len(tried) - len(start)


def next_of(prior: TaskPrior, choice: str, tried: Sequence[int], scores: Array) -> int:
    """Return the model that is tried next."""
    values: Array = getattr(outlook(prior, tried, scores[list(tried)]), choice).copy()
    values[list(tried)] = -np.inf
    return int(values.argmax())


def tries_in_order(order: Sequence[int], good: NDArray[np.bool_], start: Sequence[int]) -> int:
    """Return the number of models tried beyond the start in a fixed order."""
    if good[list(start)].any():
        return 0
    rest = [i for i in order if i not in set(start)]
    return 1 + int(np.flatnonzero(good[rest])[0])


def rule_order(trial: Trial, rule: str) -> list[int]:
    """Return the candidates in the order of a rule; equal ones and unknown ones keep the table's order, at the end."""
    values = rule_values(trial.table, trial.table.values[:, trial.others], rule)[trial.models]
    return [int(i) for i in np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")]


def rule_values(table: Table, results: Array, rule: str) -> Array:
    """Return what a rule orders all models by, higher is better; `results` are those of the other tasks."""
    facts = {"largest": table.log_checkpoints, "largest encoder": table.log_sizes, "newest": table.released}
    if rule in facts:
        return facts[rule]
    ranks: Array = np.nanmean(shares_below(results), axis=1)
    if rule == "published rank":
        return ranks
    near: Array = np.mean(results >= NEAR * np.nanmax(results, axis=0), axis=1)
    return near + 1e-6 * ranks


def shares_below(results: Array) -> Array:
    """Return, for each result, the share of the other models that are worse."""
    shares = np.full(results.shape, np.nan)
    for task in range(results.shape[1]):
        there = ~np.isnan(results[:, task])
        shares[there, task] = (rankdata(results[there, task]) - 1) / max(there.sum() - 1, 1)
    return shares


def tries_of_rules(trial: Trial, starts: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return the mean number of tries of each rule."""
    good, found = trial.good, {}
    for rule in RULES[:-1]:
        order = rule_order(trial, rule)
        found[rule] = fmean(tries_in_order(order, good, start) for start in starts)
    n, m = len(good), int(good.sum())
    found["random"] = fmean(0.0 if good[list(s)].any() else (n - len(s) + 1) / (m + 1) for s in starts)
    return found


def starting_sets(trial: Trial) -> dict[str, list[list[int]]]:
    """Return the starting sets of a task, by their kind."""
    return {
        "three at random": [trial.start(draw, 3) for draw in range(DRAWS)],
        "one at random": [trial.start(draw, 1) for draw in range(DRAWS)],
        "three popular small ones": [trial.popular()],
    }


def tries_of_task(trial: Trial, variant: Variant) -> dict[str, dict[str, float]]:
    """Return the mean number of tries by kind of starting set, for the model and every rule."""
    prior, choice = trial.prior(variant), variant.choice
    expected, found = list(np.argsort(-prior.means.mean(axis=0))), {}
    for kind, starts in starting_sets(trial).items():
        scores = [trial.scores(draw) for draw in range(len(starts))]
        pairs = list(zip(starts, scores, strict=True))
        once = [np.argsort(-getattr(outlook(prior, s, y[s]), choice)) for s, y in pairs]
        found[kind] = {
            "model": fmean(tries(trial, prior, choice, s, y) for s, y in pairs),
            "model, updated once": fmean(
                tries_in_order([int(i) for i in o], trial.good, s) for o, s in zip(once, starts, strict=True)
            ),
            "model, not updated": fmean(tries_in_order([int(i) for i in expected], trial.good, s) for s in starts),
            **tries_of_rules(trial, starts),
        }
    return found


def is_development(task: str) -> bool:
    """Return whether a task belongs to the half on which the variant is chosen."""
    return hashlib.sha256(task.encode()).digest()[0] % 2 == 0


@cache
def inner_tries(source: str, variant: Variant, task: int, without: int | None) -> float:
    """Return the mean tries on a task with a prior that sees neither it nor another task."""
    trial = Trial.of(read_table(source), task, PLAIN, () if without is None else (without,))
    prior = trial.prior(variant)
    starts = [trial.start(draw, 3) for draw in range(INNER_DRAWS)]
    return fmean(tries(trial, prior, variant.choice, s, trial.truth) for s in starts)


def choose_variant(source: str, held_out: int | None) -> tuple[Variant, list[tuple[Variant, float]]]:
    """Return the best variant, and the mean tries of all.

    Args:
        source: name of the table.
        held_out: the task that no run may see; None for runs on the development half.
    """
    tasks = read_table(source).tasks
    own = [i for i, t in enumerate(tasks) if (is_development(t) if held_out is None else i != held_out)]
    rows = [(variant, fmean(inner_tries(source, variant, i, held_out) for i in own)) for variant in variants()]
    return min(rows, key=lambda row: row[1])[0], rows


def judge_odds(trial: Trial, variant: Variant) -> list[dict[str, Any]]:
    """Return, for each number of scored models, the odds of the unseen models with what came true, and agreements."""
    prior, rows = trial.prior(variant), []
    for seen, draw in product(SEEN, range(DRAWS)):
        tried, scores = trial.start(draw, seen), trial.scores(draw)
        rest = np.setdiff1d(np.arange(len(trial.models)), tried)
        found = outlook(prior, tried, scores[tried])
        best = trial.truth[tried[int(scores[tried].argmax())]]
        before = spearmanr(prior.means.mean(axis=0)[rest], trial.truth[rest]).statistic
        after = spearmanr(found.result[rest], trial.truth[rest]).statistic
        odds, better = found.odds[rest], trial.truth[rest] > best
        rows.append({"seen": seen, "before": before, "after": after, "odds": odds, "better": better})
    return rows


def calibration(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return Brier scores and the reliability of the odds, and mean agreements."""
    odds, better = (np.concatenate([row[key] for row in rows]) for key in ("odds", "better"))
    bins = []
    for low, high in pairwise(BINS):
        own = (odds >= low) & ((odds < high) | (high == BINS[-1]))
        if own.any():
            figures = {"stated": round(float(odds[own].mean()), 3), "came_true": round(float(better[own].mean()), 3)}
            bins.append({"low": low, "high": high, "n": int(own.sum()), **figures})
    rate = float(better.mean())
    return {
        "before": round(fmean(row["before"] for row in rows), 3),
        "after": round(fmean(row["after"] for row in rows), 3),
        "brier": round(float(np.mean((odds - better) ** 2)), 4),
        "brier_of_the_rate": round(rate * (1 - rate), 4),
        "reliability": bins,
    }


def compared(by_task: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Return the mean of each way to choose, and the difference of the model from it with its interval."""
    tasks = list(by_task)
    drawn = np.random.default_rng(0).integers(0, len(tasks), (RESAMPLES, len(tasks)))
    model, rows = np.array([by_task[task]["model"] for task in tasks]), []
    for name in by_task[tasks[0]]:
        own = np.array([by_task[task][name] for task in tasks])
        difference = model - own
        low, high = np.percentile(difference[drawn].mean(axis=1), [2.5, 97.5])
        figures = {"tries": own.mean(), "difference": difference.mean(), "low": low, "high": high}
        rows.append({"way": name} | {key: round(float(value), 3) for key, value in figures.items()})
    return rows


def study(source: str) -> dict[str, Any]:
    """Return all results of one table."""
    table = read_table(source)
    chosen, rows = choose_variant(source, None)
    nested = [choose_variant(source, task)[0] for task in range(len(table.tasks))]
    print(source, "chosen:", chosen.name, flush=True)
    conditions = {}
    for name, condition in CONDITIONS.items():
        trials = [Trial.of(table, task, condition) for task in range(len(table.tasks))]
        usable = [trial for trial in trials if not condition.only_loadable or source == "maeb"]
        if usable:
            conditions[name] = judged(usable, chosen, nested)
            print(source, name, conditions[name]["three at random"]["all, nested"][0]["tries"], flush=True)
    return {
        "models": len(table.models),
        "tasks": {task: "development" if is_development(task) else "reporting" for task in table.tasks},
        "chosen": asdict(chosen) | {"name": chosen.name},
        "nested": {task: variant.name for task, variant in zip(table.tasks, nested, strict=True)},
        "variants": sorted(
            ({"variant": variant.name, "tries": round(number, 3)} for variant, number in rows),
            key=lambda row: row["tries"],
        ),
        "conditions": conditions,
    }


def judged(trials: Sequence[Trial], chosen: Variant, nested: Sequence[Variant]) -> dict[str, Any]:
    """Return tries, agreements and calibration under one condition."""
    names = [trial.table.tasks[trial.task] for trial in trials]
    fixed = {name: tries_of_task(trial, chosen) for name, trial in zip(names, trials, strict=True)}
    own = {
        name: fixed[name] if variant == chosen else tries_of_task(trial, variant)
        for name, trial, variant in zip(names, trials, nested, strict=True)
    }
    found: dict[str, Any] = {}
    for kind in next(iter(fixed.values())):
        reporting = {name: value[kind] for name, value in fixed.items() if not is_development(name)}
        every = {name: value[kind] for name, value in own.items()}
        tasks = {name: {way: round(number, 2) for way, number in value.items()} for name, value in every.items()}
        found[kind] = {"reporting half": compared(reporting), "all, nested": compared(every), "by_task": tasks}
    odds = [row for trial, variant in zip(trials, nested, strict=True) for row in judge_odds(trial, variant)]
    found["odds"] = {str(seen): calibration([row for row in odds if row["seen"] == seen]) for seen in SEEN}
    return found


def wins(found: dict[str, Any]) -> dict[str, bool]:
    """Return, for both ways to report, whether the model needs fewer tries than each rival, with intervals below 0."""
    parts = {part: found["three at random"][part] for part in ("reporting half", "all, nested")}
    return {part: all(row["high"] < 0 for row in rows if row["way"] in RIVALS) for part, rows in parts.items()}


def main() -> None:
    sources = {source: study(source) for source in SOURCES}
    verdict = {
        source: {name: wins(condition) for name, condition in found["conditions"].items()}
        for source, found in sources.items()
    }
    settings = {"near": NEAR, "noise": NOISE, "draws": DRAWS, "inner_draws": INNER_DRAWS, "resamples": RESAMPLES}
    save(NAME, {"made": provenance(), "settings": settings, "wins": verdict, "sources": sources})
    for source, found in verdict.items():
        print(source, found)


if __name__ == "__main__":
    main()
