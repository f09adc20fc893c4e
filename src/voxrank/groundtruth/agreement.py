"""Measures of agreement between scores and the results of fine-tuning.

Two lists over the same candidates are compared: the scores (C,), and the truth, which fine-tuning with S seeds gives
as (C, S). A rank correlation measures how similar the orders are. The regret is the loss from trusting the score. The
reliability is how well the truth agrees with itself, which limits every score.

In the single functions, higher scores are better; `agreement` accepts either direction. Undefined values are None,
never NaN. Missing truths are left out and counted, never filled in.

Source of the attenuation by noise: Spearman, "The proof and measurement of association between two things", American
J. of Psychology 15, 1904.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from voxrank.errors import OptionError
from voxrank.groundtruth.correlation import (
    DECIMALS,
    Array,
    Correlation,
    bounded,
    kendall,
    paired,
    rhos,
    spearman,
    undefined,
    weighted_kendall,
)
from voxrank.scores.estimate import CONFIDENCE

Interval = tuple[float, float]

TOP = 3
"""Number of best candidates whose recall `agreement` returns."""


@dataclass(frozen=True)
class Regret:
    """The loss from fine-tuning the first candidate by score instead of the best one; 0 is best.

    Attributes:
        absolute: loss in the task's metric: best minus chosen, or chosen minus best of an error rate.
        relative: share of the best candidate's correctness that is lost; None if that correctness is not above 0.
        of_chance: loss divided by the mean loss of a random candidate: 0 is best, 1 is as bad as chance; None if all
            candidates are equal.
    """

    absolute: float
    relative: float | None
    of_chance: float | None


@dataclass(frozen=True)
class Reliability:
    """The agreement of the truth with itself.

    Attributes:
        one_seed: mean Spearman correlation r between two seeds.
        all_seeds: the correlation between means over all seeds, S·r/(1 + (S−1)·r) (Spearman-Brown); 0 if r is not
            above 0.
        ceiling: √all_seeds, the expected correlation of the noiseless truth with this truth.
        seeds: S, the harmonic mean over the candidates.
    """

    one_seed: float
    all_seeds: float
    ceiling: float
    seeds: float


@dataclass(frozen=True)
class Chance:
    """The expected values of a random order.

    Attributes:
        spearman, recall, regret: as in `Agreement`.
    """

    spearman: float
    recall: float
    regret: Regret


@dataclass(frozen=True)
class Agreement:
    """The agreement of a score with the truth; correlations are positive if better scores go with better truths.

    Attributes:
        n: number of candidates with a score and a truth; all values refer to these.
        without_score, without_truth: numbers of candidates left out because they lack a score, or every truth.
        spearman: correlation with the mean over seeds.
        spearman_over_seeds: 95 % interval over other seeds; None with one seed.
        spearman_over_candidates: 95 % interval over other candidates and seeds. It is a lower bound of the uncertainty:
            layers of one model resemble each other, and a bootstrap is rough with fewer than ten candidates.
        spearman_tied: correlation with the truth in which candidates that seeds cannot distinguish are tied
            (`tied_truth`).
        groups: number of groups that seeds distinguish; None with one seed.
        kendall: τ-b.
        weighted_kendall: Kendall's τ with more weight on the best candidates.
        regret, recall: regret of the first candidate, recall of the first three; None without candidates.
        reliability: agreement of the truth with itself; None with one seed.
        chance: expected `regret` and `recall` of a random order; None without candidates.
    """

    n: int
    without_score: int
    without_truth: int
    spearman: Correlation
    spearman_over_seeds: Interval | None
    spearman_over_candidates: Interval | None
    spearman_tied: Correlation
    groups: int | None
    kendall: Correlation
    weighted_kendall: Correlation
    regret: Regret | None
    recall: float | None
    reliability: Reliability | None
    chance: Chance | None


def regret(scores: ArrayLike, truth: ArrayLike, *, truth_higher_is_better: bool = True) -> Regret:
    """Return the loss from trusting the score.

    The absolute regret, in points of accuracy or of error rate, is the main measure. The relative regret divides it by
    the best candidate's correctness: the truth itself where higher is better, 1 − error for an error rate. Accuracy and
    its error rate therefore give the same value. Dividing by the best error would call 2 % against 1 % a loss of 100 %.
    Where all candidates are nearly perfect, the relative regret is small however bad the choice; then use the share of
    chance.

    Args:
        scores: (n,) higher is better. If several are first together, their mean loss counts.
        truth: (n,) in the task's metric; an error rate as a fraction.
        truth_higher_is_better: True for an accuracy, False for an error rate.

    Returns:
        The absolute regret, the relative regret, and the regret as a share of chance.

    Raises:
        OptionError: the two lists differ in length, or are empty.

    Example:
        >>> regret([3, 1, 2], [0.8, 0.6, 0.9]).absolute.__round__(3)
        0.1
    """
    x, y = paired(scores, truth)
    _check_not_empty(x)
    best = float(y.max() if truth_higher_is_better else y.min())
    losses = np.abs(y - best)
    loss, chance_loss = float(losses[x == x.max()].mean()), float(losses.mean())
    correctness = best if truth_higher_is_better else 1 - best
    return Regret(
        loss, loss / correctness if correctness > 0 else None, loss / chance_loss if chance_loss > 0 else None
    )


def recall_at(scores: ArrayLike, truth: ArrayLike, k: int = TOP, *, truth_higher_is_better: bool = True) -> float:
    """Return the share of the k best by truth that are among the k best by score; 1 if there are no more than k.

    Ties across the k-th place, on either side, are broken at random: the value is the mean over all ways to break them.
    Arguments and errors are as for `regret`; k is at least 1.

    Example:
        >>> recall_at([5, 4, 3, 2], [0.9, 0.2, 0.8, 0.7], k=2)
        0.5
    """
    x, y = paired(scores, truth)
    _check_not_empty(x)
    if k < 1:
        raise OptionError(f"expected k of at least 1, got {k}; name how many of the best count")
    k = min(k, len(x))
    return float(_top_probabilities(x, k) @ _top_probabilities(y if truth_higher_is_better else -y, k)) / k


def tied_truth(values: ArrayLike, *, higher_is_better: bool = True) -> Array:
    """Return the truth, in which candidates that seeds cannot distinguish are tied.

    The spread of one seed is pooled over the candidates: s² = Σ (x − its candidate's mean)² / Σ (S_c − 1). Grouping
    begins at the best candidate. A candidate joins the group while its mean is within the least significant difference
    of the mean of the group's first: t_{.975} · s · √(1/S_first + 1/S_c), which is t_{.975} · √2 · standard error for
    equal S. Otherwise it begins the next group. Each group takes the mean of its candidates.

    The 5 % apply to a single comparison: with eight equal candidates, chance separates one of them in half of all
    studies. Seeds are not paired: variation that candidates share counts as noise, which leads to more ties.

    Args:
        values: (C, S) with NaN where a trial failed.
        higher_is_better: direction of the truth, which determines where grouping begins.

    Returns:
        (C,) group means; NaN without any value. If no candidate has more than one seed, the noise is unknown, and the
        values are returned without ties.

    Raises:
        OptionError: the values are not (C, S), or are infinite.

    Source: Fisher's least significant difference, "The Design of Experiments", 1935, section 24.
    """
    x = _trials(values)
    means, counts = _means(x), _counts(x)
    degrees_of_freedom = int(np.maximum(counts - 1, 0).sum())
    if not degrees_of_freedom:
        return means
    spread = float(np.sqrt(np.nansum((x - means[:, None]) ** 2) / degrees_of_freedom))
    scaled_spread = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom)) * spread
    with_truth = np.flatnonzero(counts)
    order = with_truth[np.argsort(-means[with_truth] if higher_is_better else means[with_truth], kind="stable")]
    groups: list[list[int]] = []
    for candidate in order.tolist():
        first = groups[-1][0] if groups else candidate
        limit = scaled_spread * np.sqrt(1 / counts[first] + 1 / counts[candidate])
        if groups and abs(means[candidate] - means[first]) <= limit:
            groups[-1].append(candidate)
        else:
            groups.append([candidate])
    tied = means.copy()
    for group in groups:
        tied[group] = means[group].mean()
    return tied


def reliability(values: ArrayLike) -> Reliability | None:
    """Return how well the truth agrees with itself, which limits the expected agreement of any score.

    The mean Spearman correlation r between two seeds, over the candidates that both have, is stepped up to the mean
    over S seeds. The expected correlation between the noiseless truth and the noisy truth is the square root of that
    (Spearman's attenuation; exact for Pearson's correlation, approximate for ranks). A score may exceed it by chance.

    Args:
        values: (C, S) with NaN where a trial failed.

    Returns:
        The reliability; None with one seed, or if no two seeds share three candidates that differ.

    Raises:
        OptionError: the values are not (C, S), or are infinite.

    Sources: Spearman, "Correlation calculated from faulty data", and Brown, "Some experimental results in the
    correlation of mental abilities", both British J. of Psychology 3, 1910.
    """
    x = _trials(values)
    x = x[_counts(x) > 0]
    correlations = [_seed_correlation(x[:, i], x[:, j]) for i, j in combinations(range(x.shape[1]), 2)]
    defined = [value for value in correlations if value is not None]
    if not defined:
        return None
    one_seed, seeds = float(np.mean(defined)), float(stats.hmean(_counts(x)))
    all_seeds = seeds * one_seed / (1 + (seeds - 1) * one_seed) if one_seed > 0 else 0.0
    return Reliability(one_seed, all_seeds, float(np.sqrt(all_seeds)), seeds)


def chance(truth: ArrayLike, k: int = TOP, *, truth_higher_is_better: bool = True) -> Chance:
    """Return the expected values of a random order, in closed form.

    Spearman is 0, recall is k/n, and the regret is that of a random candidate: best truth minus mean truth.
    Arguments and errors are as for `regret` and `recall_at`.
    """
    y, _ = paired(truth, truth)
    same = np.zeros(len(y))
    return Chance(
        0.0,
        recall_at(same, y, k, truth_higher_is_better=truth_higher_is_better),
        regret(same, y, truth_higher_is_better=truth_higher_is_better),
    )


def agreement(
    scores: ArrayLike,
    truth: ArrayLike,
    *,
    truth_higher_is_better: bool,
    score_higher_is_better: bool = True,
    seed: int = 0,
    n_resamples: int = 2000,
) -> Agreement:
    """Return all measures of agreement of a score with the truth.

    Intervals are percentiles of a bootstrap. Over seeds, the seeds of each candidate are resampled with replacement;
    deviations from its mean are widened by √(S/(S−1)), the small-sample correction. Over candidates, the candidates are
    resampled as well. Resampled truths are noisier than the truth itself, so their correlations are lower. An interval
    is therefore widened, where necessary, to contain its value.

    Args:
        scores: (C,) with NaN where there is none.
        truth: (C, S) results of fine-tuning for each seed, in the task's metric (error rates as fractions); NaN where a
            trial failed. Missing seeds are not used; candidates without any seed are left out.
        truth_higher_is_better: True for an accuracy, False for an error rate.
        score_higher_is_better: direction of the score.
        seed: seed of the resamples.
        n_resamples: number of resamples.

    Returns:
        The measures of agreement.

    Raises:
        OptionError: shapes do not match, or truths are infinite.
    """
    goodness = np.asarray(scores, dtype=np.float64) * (1 if score_higher_is_better else -1)
    trials = _trials(truth)
    if goodness.shape != trials.shape[:1]:
        raise OptionError(
            f"expected one score for each of the {len(trials)} candidates, got shape {goodness.shape}; "
            "scores are (C,) and truths (C, S)"
        )
    has_score, has_truth = ~np.isnan(goodness), _counts(trials) > 0
    goodness, trials = goodness[has_score & has_truth], trials[has_score & has_truth]
    means = _means(trials)
    tied = tied_truth(trials, higher_is_better=truth_higher_is_better)
    sign = 1 if truth_higher_is_better else -1
    rho = spearman(goodness, sign * means)
    over_seeds, over_candidates = _intervals(goodness, sign * trials, rho.value, n_resamples, seed)
    any_candidates = len(means) > 0
    return Agreement(
        n=len(means),
        without_score=int((~has_score).sum()),
        without_truth=int((~has_truth).sum()),
        spearman=rho,
        spearman_over_seeds=over_seeds,
        spearman_over_candidates=over_candidates,
        spearman_tied=spearman(goodness, sign * tied),
        groups=None if (_counts(trials) < 2).all() else len(np.unique(tied)),
        kendall=kendall(goodness, sign * means),
        weighted_kendall=weighted_kendall(goodness, sign * means),
        regret=regret(goodness, means, truth_higher_is_better=truth_higher_is_better) if any_candidates else None,
        recall=recall_at(goodness, means, truth_higher_is_better=truth_higher_is_better) if any_candidates else None,
        reliability=reliability(trials),
        chance=chance(means, truth_higher_is_better=truth_higher_is_better) if any_candidates else None,
    )


def _trials(values: ArrayLike) -> Array:
    """Return the truth as float64 (C, S)."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or np.isinf(x).any():
        raise OptionError(
            f"expected finite truths of shape (candidates, seeds), NaN where a trial failed, got shape {x.shape}; "
            "one seed is a single column"
        )
    return x


def _check_not_empty(x: Array) -> None:
    if not len(x):
        raise OptionError("expected at least one candidate, got none; give the scores and truths of at least one")


def _seed_correlation(a: Array, b: Array) -> float | None:
    """Return ρ between two seeds (C,), over the candidates that both have."""
    both = ~(np.isnan(a) | np.isnan(b))
    x, y = a[both], b[both]
    return None if undefined(x, y) else bounded(float(rhos(x[None], y[None])[0]))


def _counts(trials: Array) -> NDArray[np.int64]:
    """Return the number of seeds of each candidate, (C,)."""
    counts: NDArray[np.int64] = (~np.isnan(trials)).sum(axis=1)
    return counts


def _means(trials: Array) -> Array:
    """Return the means over the available seeds, (C,), rounded so that equal means are equal; NaN without any."""
    counts = _counts(trials)
    means: Array = np.divide(np.nansum(trials, axis=1), counts, out=np.full(len(trials), np.nan), where=counts > 0)
    return means.round(DECIMALS)


def _top_probabilities(goodness: Array, k: int) -> Array:
    """Return the probability of each candidate to be among the first k, (n,), with ties broken at random."""
    last = np.partition(goodness, -k)[-k]
    above, tied = goodness > last, goodness == last
    shares: Array = above + tied * (k - above.sum()) / tied.sum()
    return shares


def _intervals(
    goodness: Array, trials: Array, value: float | None, n_resamples: int, seed: int
) -> tuple[Interval | None, Interval | None]:
    """Return intervals of ρ: over seeds, and over candidates and seeds."""
    if value is None:
        return None, None
    rng = np.random.default_rng(seed)
    means = _resampled_means(trials, n_resamples, rng)
    drawn = rng.integers(len(goodness), size=(n_resamples, len(goodness)))
    over_candidates = _percentile_interval(rhos(goodness[drawn], np.take_along_axis(means, drawn, axis=1)), value)
    if (_counts(trials) < 2).all():
        return None, over_candidates
    return _percentile_interval(rhos(goodness[None], means), value), over_candidates


def _resampled_means(trials: Array, n_resamples: int, rng: np.random.Generator) -> Array:
    """Return means over resampled seeds of each candidate, (R, C); a candidate with a single seed does not vary."""
    columns = []
    for row in trials:
        values = row[~np.isnan(row)]
        widening = np.sqrt(len(values) / (len(values) - 1)) if len(values) > 1 else 0.0
        drawn = values[rng.integers(len(values), size=(n_resamples, len(values)))].mean(axis=1)
        columns.append(values.mean() + (drawn - values.mean()) * widening)
    return np.stack(columns, axis=1)


def _percentile_interval(resampled: Array, value: float) -> Interval | None:
    """Return the middle 95 % of the defined resamples, widened to contain the value."""
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return min(bounded(low), value), max(bounded(high), value)
