"""How far scores, made without fine-tuning, agree with what fine-tuning gives.

Two lists over the same candidates are compared: the scores (C,), and the truth, which fine-tuning with S seeds gives as
(C, S). A correlation of ranks says how alike the orders are; the regret says what is lost by trusting the score; the
reliability says how well the truth agrees with itself, which no score can beat.

In the single functions the scores are higher for better; `agreement` takes either direction. What cannot be told is
None, never NaN. Missing truths are left out and counted, never filled in.

Source of the attenuation by noise: Spearman, "The proof and measurement of association between two things", American J.
of Psychology 15, 1904.
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
"""Candidates whose recall `agreement` gives."""


@dataclass(frozen=True)
class Regret:
    """What is lost by fine-tuning the candidate that the score puts first instead of the best one; 0 is best.

    Attributes:
        absolute: in the task's own metric: best minus chosen, or chosen minus best of an error rate.
        relative: share of the best candidate's correctness that is lost; None where that is not above 0.
        of_chance: as a share of what a candidate picked at random loses on average: 0 is the best, 1 as bad as chance;
            None where all candidates are equal.
    """

    absolute: float
    relative: float | None
    of_chance: float | None


@dataclass(frozen=True)
class Reliability:
    """How well the truth agrees with itself.

    Attributes:
        one_seed: mean Spearman correlation between two seeds.
        all_seeds: the same between means over all the seeds, S·r/(1 + (S−1)·r) (Spearman-Brown); 0 where r is not above
            0.
        ceiling: √all_seeds, what a score that knows the noiseless truth is expected to reach against this one.
        seeds: S, the harmonic mean over the candidates.
    """

    one_seed: float
    all_seeds: float
    ceiling: float
    seeds: float


@dataclass(frozen=True)
class Chance:
    """What a random order is expected to reach.

    Attributes:
        spearman, recall, regret: as those of `Agreement`.
    """

    spearman: float
    recall: float
    regret: Regret


@dataclass(frozen=True)
class Agreement:
    """Agreement of a score with the truth; correlations are positive where the better score goes with the better truth.

    Attributes:
        n: candidates with a score and a truth; all figures are about these.
        without_score, without_truth: candidates left out for want of a score, or of any truth.
        spearman: with the mean over seeds.
        spearman_over_seeds: 95 % interval over other seeds; None with one seed.
        spearman_over_candidates: 95 % interval over other candidates and seeds. Layers of one model resemble each
            other, and below ten candidates a bootstrap is rough: at least so much is unknown.
        spearman_tied: with the truth in which candidates that seeds cannot tell apart are tied (`tied_truth`).
        groups: how many groups seeds do tell apart; None with one seed.
        kendall: τ-b.
        weighted_kendall: the same with more weight on the best candidates.
        regret, recall: of the first, and of the first three; None without candidates.
        reliability: of the truth; None with one seed.
        chance: beside `regret` and `recall`; None without candidates.
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
    """What is lost by trusting the score.

    The absolute one is the honest headline: points of accuracy, or of error rate. The relative one divides by the
    best candidate's correctness, which is the truth itself where higher is better, and 1 − error of an error rate, so
    that accuracy and its error rate tell the same. Dividing by the best error instead would call 2 % against 1 % a loss
    of 100 %; but where all candidates are nearly right, the relative loss looks small however bad the choice, and the
    share of chance is the one to read.

    Args:
        scores: (n,) higher for better. Where several are first together, what they lose on average.
        truth: (n,) in the task's metric; an error rate as a fraction.
        truth_higher_is_better: whether it is an accuracy, or an error rate.

    Raises:
        OptionError: the two are not lists of as many numbers, or are empty.

    Example:
        >>> regret([3, 1, 2], [0.8, 0.6, 0.9]).absolute.__round__(3)
        0.1
    """
    x, y = paired(scores, truth)
    _check_some(x)
    best = float(y.max() if truth_higher_is_better else y.min())
    behind = np.abs(y - best)
    lost, by_chance = float(behind[x == x.max()].mean()), float(behind.mean())
    correct = best if truth_higher_is_better else 1 - best
    return Regret(lost, lost / correct if correct > 0 else None, lost / by_chance if by_chance > 0 else None)


def recall_at(scores: ArrayLike, truth: ArrayLike, k: int = TOP, *, truth_higher_is_better: bool = True) -> float:
    """Share of the truth's k best that are among the k best by score; 1 where there are no more than k.

    Ties across the k-th place, on either side, are broken at random: the value is what that gives on average.
    Arguments and errors as of `regret`; k is at least 1.

    Example:
        >>> recall_at([5, 4, 3, 2], [0.9, 0.2, 0.8, 0.7], k=2)
        0.5
    """
    x, y = paired(scores, truth)
    _check_some(x)
    if k < 1:
        raise OptionError(f"expected k of at least 1, got {k}; name how many of the best count")
    k = min(k, len(x))
    return float(_in_top(x, k) @ _in_top(y if truth_higher_is_better else -y, k)) / k


def tied_truth(values: ArrayLike, *, higher_is_better: bool = True) -> Array:
    """The truth, with candidates tied that seeds cannot tell apart.

    The spread of one seed is pooled over the candidates: s² = Σ (x − its candidate's mean)² / Σ (S_c − 1). From the
    best on, a candidate joins the group while its mean is within the least significant difference of that of the
    group's first, t_{.975} · s · √(1/S_first + 1/S_c), which is t_{.975} · √2 · standard error for equal S; else it
    begins the next group. Each group takes the mean of its candidates. The 5 % are those of one comparison: of eight
    equal candidates, luck splits one off in half of all studies. Seeds are not paired: what they share between
    candidates counts as noise, which errs to more ties.

    Args:
        values: (C, S) with NaN where a trial failed.
        higher_is_better: where grouping begins.

    Returns:
        (C,) group means; NaN without any value. With no more than one seed anywhere the noise is unknown, and the
        values come back untied.

    Raises:
        OptionError: not (C, S), or infinite.

    Source: Fisher's least significant difference, "The Design of Experiments", 1935, section 24.
    """
    x = _trials(values)
    means, counts = _means(x), _counts(x)
    freedom = int(np.maximum(counts - 1, 0).sum())
    if not freedom:
        return means
    spread = float(np.sqrt(np.nansum((x - means[:, None]) ** 2) / freedom))
    least = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * spread
    known = np.flatnonzero(counts)
    order = known[np.argsort(-means[known] if higher_is_better else means[known], kind="stable")]
    groups: list[list[int]] = []
    for candidate in order.tolist():
        first = groups[-1][0] if groups else candidate
        limit = least * np.sqrt(1 / counts[first] + 1 / counts[candidate])
        if groups and abs(means[candidate] - means[first]) <= limit:
            groups[-1].append(candidate)
        else:
            groups.append([candidate])
    tied = means.copy()
    for group in groups:
        tied[group] = means[group].mean()
    return tied


def reliability(values: ArrayLike) -> Reliability | None:
    """How well the truth ranks itself, and so how well any score can be expected to.

    The mean Spearman correlation r between two seeds, over the candidates that both have, is stepped up to the mean
    over S seeds. A score that knows the noiseless truth correlates with the noisy one by the square root of that
    (Spearman's attenuation; exact for Pearson's correlation, near for ranks). A score may exceed it by luck.

    Args:
        values: (C, S) with NaN where a trial failed.

    Returns:
        None with one seed, or where no two seeds share three candidates that differ.

    Raises:
        OptionError: not (C, S), or infinite.

    Sources: Spearman, "Correlation calculated from faulty data", and Brown, "Some experimental results in the
    correlation of mental abilities", both British J. of Psychology 3, 1910.
    """
    x = _trials(values)
    x = x[_counts(x) > 0]
    found = [_between(x[:, i], x[:, j]) for i, j in combinations(range(x.shape[1]), 2)]
    known = [value for value in found if value is not None]
    if not known:
        return None
    one, seeds = float(np.mean(known)), float(stats.hmean(_counts(x)))
    stepped = seeds * one / (1 + (seeds - 1) * one) if one > 0 else 0.0
    return Reliability(one, stepped, float(np.sqrt(stepped)), seeds)


def chance(truth: ArrayLike, k: int = TOP, *, truth_higher_is_better: bool = True) -> Chance:
    """What a random order is expected to reach, in closed form.

    Spearman 0, recall k/n, and the regret of picking any candidate: best truth minus mean truth.
    Arguments and errors as of `regret` and `recall_at`.
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
    """All of it at once.

    Intervals are percentiles of a bootstrap. Over seeds, the seeds of each candidate are drawn anew with replacement;
    deviations from its mean are widened by √(S/(S−1)), the small-sample correction. Over candidates, these are drawn
    anew as well. Resampled truths are noisier than the truth itself, so that their correlations lie lower: an interval
    is widened, where need be, to hold its value.

    Args:
        scores: (C,) with NaN where there is none.
        truth: (C, S) what fine-tuning gave for each seed, in the task's metric (error rates as fractions); NaN where a
            trial failed. A seed that a candidate lacks is not used; candidates without any are left out.
        truth_higher_is_better: whether it is an accuracy, or an error rate.
        score_higher_is_better: the score's direction.
        seed: of the resamples.
        n_resamples: how many.

    Raises:
        OptionError: shapes do not fit, or truths are infinite.
    """
    goodness = np.asarray(scores, dtype=np.float64) * (1 if score_higher_is_better else -1)
    trials = _trials(truth)
    if goodness.shape != trials.shape[:1]:
        raise OptionError(
            f"expected one score for each of the {len(trials)} candidates, got shape {goodness.shape}; "
            "scores are (C,) and truths (C, S)"
        )
    scored, tried = ~np.isnan(goodness), _counts(trials) > 0
    goodness, trials = goodness[scored & tried], trials[scored & tried]
    means = _means(trials)
    tied = tied_truth(trials, higher_is_better=truth_higher_is_better)
    sign = 1 if truth_higher_is_better else -1
    rho = spearman(goodness, sign * means)
    over_seeds, over_candidates = _intervals(goodness, sign * trials, rho.value, n_resamples, seed)
    some = len(means) > 0
    return Agreement(
        n=len(means),
        without_score=int((~scored).sum()),
        without_truth=int((~tried).sum()),
        spearman=rho,
        spearman_over_seeds=over_seeds,
        spearman_over_candidates=over_candidates,
        spearman_tied=spearman(goodness, sign * tied),
        groups=None if (_counts(trials) < 2).all() else len(np.unique(tied)),
        kendall=kendall(goodness, sign * means),
        weighted_kendall=weighted_kendall(goodness, sign * means),
        regret=regret(goodness, means, truth_higher_is_better=truth_higher_is_better) if some else None,
        recall=recall_at(goodness, means, truth_higher_is_better=truth_higher_is_better) if some else None,
        reliability=reliability(trials),
        chance=chance(means, truth_higher_is_better=truth_higher_is_better) if some else None,
    )


def _trials(values: ArrayLike) -> Array:
    """The truth as float64 (C, S)."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or np.isinf(x).any():
        raise OptionError(
            f"expected finite truths of shape (candidates, seeds), NaN where a trial failed, got shape {x.shape}; "
            "one seed is a single column"
        )
    return x


def _check_some(x: Array) -> None:
    if not len(x):
        raise OptionError("expected at least one candidate, got none; give scores and truths of some")


def _between(a: Array, b: Array) -> float | None:
    """ρ between two seeds (C,), over the candidates that both have."""
    both = ~(np.isnan(a) | np.isnan(b))
    x, y = a[both], b[both]
    return None if undefined(x, y) else bounded(float(rhos(x[None], y[None])[0]))


def _counts(trials: Array) -> NDArray[np.int64]:
    """(C,) seeds that each candidate has."""
    counts: NDArray[np.int64] = (~np.isnan(trials)).sum(axis=1)
    return counts


def _means(trials: Array) -> Array:
    """(C,) means over the seeds that are there, equal ones equal in spite of rounding; NaN without any."""
    counts = _counts(trials)
    means: Array = np.divide(np.nansum(trials, axis=1), counts, out=np.full(len(trials), np.nan), where=counts > 0)
    return means.round(DECIMALS)


def _in_top(goodness: Array, k: int) -> Array:
    """(n,) probability of each candidate to be among the first k, ties broken at random."""
    last = np.partition(goodness, -k)[-k]
    above, tied = goodness > last, goodness == last
    shares: Array = above + tied * (k - above.sum()) / tied.sum()
    return shares


def _intervals(
    goodness: Array, trials: Array, value: float | None, n_resamples: int, seed: int
) -> tuple[Interval | None, Interval | None]:
    """Of ρ: over seeds, and over candidates and seeds."""
    if value is None:
        return None, None
    rng = np.random.default_rng(seed)
    means = _resampled_means(trials, n_resamples, rng)
    drawn = rng.integers(len(goodness), size=(n_resamples, len(goodness)))
    over_candidates = _middle(rhos(goodness[drawn], np.take_along_axis(means, drawn, axis=1)), value)
    if (_counts(trials) < 2).all():
        return None, over_candidates
    return _middle(rhos(goodness[None], means), value), over_candidates


def _resampled_means(trials: Array, n_resamples: int, rng: np.random.Generator) -> Array:
    """(R, C) means over seeds drawn anew within each candidate; one that has a single seed stays as it is."""
    columns = []
    for row in trials:
        own = row[~np.isnan(row)]
        widening = np.sqrt(len(own) / (len(own) - 1)) if len(own) > 1 else 0.0
        drawn = own[rng.integers(len(own), size=(n_resamples, len(own)))].mean(axis=1)
        columns.append(own.mean() + (drawn - own.mean()) * widening)
    return np.stack(columns, axis=1)


def _middle(resampled: Array, value: float) -> Interval | None:
    """The middle 95 % of the resamples that are defined, widened to hold the value."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return min(bounded(low), value), max(bounded(high), value)
