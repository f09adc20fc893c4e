"""Agreement of scores with fine-tuning: known answers, properties, missing trials and degenerate lists."""

import json
import time
from dataclasses import asdict
from math import factorial, nan, sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from voxrank.errors import OptionError
from voxrank.groundtruth.agreement import Regret, agreement, chance, recall_at, regret, reliability, tied_truth
from voxrank.groundtruth.correlation import Correlation, kendall, spearman, weighted_kendall

CORRELATIONS = (spearman, kendall, weighted_kendall)
BOTH = st.integers(3, 12).flatmap(lambda n: st.tuples(*[st.lists(st.integers(-9, 9), min_size=n, max_size=n)] * 2))


def noisy(truths, seeds, spread, seed=0):
    """Return trials (C, S) around the truths."""
    rng = np.random.default_rng(seed)
    return np.array(truths)[:, None] + spread * rng.normal(size=(len(truths), seeds))


# Correlations


def test_spearman_equals_a_value_computed_by_hand():
    assert spearman([1, 2, 3, 4], [10, 30, 20, 40]).value == pytest.approx(1 - 6 * 2 / (4 * 15))
    found = spearman([1, 2, 3], [1, 2, 3])
    assert found == Correlation(1.0, 2 / 6, 3, exact=True)


def test_tied_values_take_the_mean_of_their_ranks():
    assert spearman([1, 1, 2], [1, 2, 3]).value == pytest.approx(sqrt(3) / 2)
    assert spearman([1, 1, 2], [1, 2, 3]).p == pytest.approx(4 / 6)


def test_p_of_a_perfect_order_is_never_zero():
    """The approximation by Student's t gives 0."""
    assert stats.spearmanr(range(12), range(12)).pvalue == 0
    assert spearman(range(12), range(12)).p == pytest.approx(2 / factorial(12))
    assert spearman(range(12), range(12)[::-1]).value == -1


def test_the_exact_p_of_nine_values_takes_well_below_a_second():
    a, b = np.random.default_rng(0).normal(size=(2, 9))
    started = time.process_time()
    assert spearman(a, b).exact
    assert time.process_time() - started < 0.8
    assert not spearman(range(10), [3, *range(9)]).exact


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize(("a", "b"), [([], []), ([1], [2]), ([1, 2], [2, 1]), ([1, 1, 1], [1, 2, 3])])
def test_correlations_of_too_few_or_constant_values_are_undefined(correlation, a, b):
    assert correlation(a, b) == correlation(b, a) == Correlation(None, None, len(a), exact=False)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@given(BOTH)
@settings(max_examples=60, deadline=None)
def test_correlations_are_symmetric_bounded_and_depend_on_ranks_alone(correlation, both):
    a, b = both
    found = correlation(a, b)
    assume(found.value is not None)
    assert -1 <= found.value <= 1
    assert found == correlation(np.exp(np.array(a) / 3), np.array(b) * 7 - 2)
    assert correlation(b, a).value == pytest.approx(found.value)
    assert found.p is None or 0 < found.p <= 1


@pytest.mark.parametrize("correlation", [spearman, kendall])
@given(BOTH)
@settings(max_examples=60, deadline=None)
def test_reversing_the_order_of_one_side_reverses_the_sign(correlation, both):
    a, b = both
    found, turned = correlation(a, b), correlation(a, [-x for x in b])
    assume(found.value is not None)
    assert turned.value == pytest.approx(-found.value)
    assert turned.p == pytest.approx(found.p)


def test_weighted_kendall_weights_the_top_more_than_the_bottom():
    truth = np.arange(8)[::-1]
    top, bottom = truth.copy(), truth.copy()
    top[:2], bottom[-2:] = top[1::-1], bottom[:-3:-1]
    assert kendall(truth, top).value == kendall(truth, bottom).value
    assert weighted_kendall(truth, top).value < weighted_kendall(truth, bottom).value


def test_infinite_scores_have_a_rank():
    assert spearman([-np.inf, 0, 1, 2], [1, 2, 3, 4]).value == 1


# Regret, recall, chance


def test_regret_of_an_accuracy_is_the_best_less_the_chosen_one():
    found = regret([1, 3, 2], [0.9, 0.6, 0.75])
    assert found == Regret(pytest.approx(0.3), pytest.approx(0.3 / 0.9), pytest.approx(0.3 / 0.15))
    assert regret([3, 1, 2], [0.9, 0.6, 0.75]) == Regret(0.0, 0.0, 0.0)


def test_an_error_rate_and_its_accuracy_have_the_same_regret():
    accuracy = np.array([0.98, 0.99, 0.5])
    found = regret([3, 2, 1], 1 - accuracy, truth_higher_is_better=False)
    assert found == Regret(pytest.approx(0.01), pytest.approx(0.01 / 0.99), pytest.approx(0.01 / (0.5 / 3)))
    other = regret([3, 2, 1], accuracy)
    assert list(asdict(found).values()) == pytest.approx(list(asdict(other).values()))


def test_regret_of_scores_tied_at_the_top_is_their_mean_regret():
    assert regret([2, 2, 1], [0.9, 0.7, 0.8]).absolute == pytest.approx(0.1)


def test_shares_of_regret_are_undefined_without_a_positive_divisor():
    assert regret([1, 2], [0.0, -1.0]).relative is None
    assert regret([1, 2], [1.2, 1.5], truth_higher_is_better=False).relative is None
    assert regret([1, 2], [0.5, 0.5]) == Regret(0.0, 0.0, None)
    assert regret([1], [0.5]) == Regret(0.0, 0.0, None)


@given(BOTH)
@settings(max_examples=60, deadline=None)
def test_regret_is_within_the_range_of_the_truth_and_ignores_its_sign(both):
    scores, truth = both
    found = regret(scores, truth)
    assert 0 <= found.absolute <= max(truth) - min(truth)
    assert regret(truth, truth).absolute == 0
    assert found.absolute == regret(scores, [-x for x in truth], truth_higher_is_better=False).absolute


def test_recall_equals_values_computed_by_hand():
    assert recall_at([6, 5, 4, 3, 2, 1], [6, 1, 5, 4, 3, 2]) == pytest.approx(2 / 3)
    assert recall_at([1, 2, 3, 4], [4, 3, 2, 1], k=2) == 0
    assert recall_at([1, 2, 3, 4], [4, 3, 2, 1], k=2, truth_higher_is_better=False) == 1
    assert recall_at([1, 2], [2, 1]) == 1


def test_recall_with_ties_is_the_mean_over_random_tie_breaking():
    scores, truth = np.array([3, 2, 2, 2, 1, 0]), np.array([5, 5, 5, 5, 9, 1])
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20_000):
        first = [set(np.lexsort((rng.random(6), -x))[:3]) for x in (scores, truth)]
        found.append(len(first[0] & first[1]) / 3)
    assert recall_at(scores, truth) == pytest.approx(np.mean(found), abs=0.01)
    # The first is certain by score and has 2/4 in the truth's top. Three share two places, and have 2/4 as well.
    assert recall_at(scores, truth) == pytest.approx((1 / 2 + 3 * (2 / 3) * (1 / 2)) / 3)


def test_chance_is_the_mean_over_random_orders():
    truth = np.array([0.9, 0.85, 0.7, 0.4, 0.3])
    expected = chance(truth)
    assert (expected.spearman, expected.recall) == (0, pytest.approx(3 / 5))
    assert expected.regret.absolute == pytest.approx(0.9 - truth.mean())
    assert expected.regret.of_chance == 1
    rng = np.random.default_rng(1)
    orders = [rng.permutation(5) for _ in range(4000)]
    assert np.mean([regret(o, truth).absolute for o in orders]) == pytest.approx(expected.regret.absolute, abs=0.02)
    assert np.mean([recall_at(o, truth) for o in orders]) == pytest.approx(expected.recall, abs=0.02)


def test_chance_regret_of_an_error_rate_is_its_mean_less_the_lowest():
    assert chance([0.1, 0.3], k=1, truth_higher_is_better=False).regret.absolute == pytest.approx(0.1)


# Ties within the noise of seeds, and reliability


def test_tied_truth_equals_groups_computed_by_hand():
    """Each candidate's spread is 0.02: s = 0.02·√2, 4 degrees of freedom; t = 2.776, so the limit is 2.776·0.02·√2."""
    centres = np.array([0.90, 0.83, 0.80, 0.70])
    values = centres[:, None] + np.array([-0.02, 0.02])
    assert float(stats.t.ppf(0.975, 4)) * 0.02 * sqrt(2) == pytest.approx(0.0785, abs=1e-4)
    # 0.83 is within 0.0785 of 0.90. 0.80 is not, though it is near 0.83, and begins a group; 0.70 is 0.1 below that.
    assert tied_truth(values) == pytest.approx([0.865, 0.865, 0.80, 0.70])
    # From the other end 0.70 is alone, and 0.80 takes in 0.83.
    assert tied_truth(values, higher_is_better=False) == pytest.approx([0.90, 0.815, 0.815, 0.70])


def test_only_equal_candidates_are_tied_where_all_seeds_agree():
    values = [[0.5, 0.5], [0.5, 0.5], [0.6, 0.6]]
    assert tied_truth(values).tolist() == [0.5, 0.5, 0.6]


def test_without_a_second_seed_the_noise_is_unknown():
    assert tied_truth([[0.5], [0.51]]).tolist() == [0.5, 0.51]
    assert tied_truth([[0.5, nan], [nan, 0.51]]).tolist() == [0.5, 0.51]


def test_fewer_seeds_widen_the_limit_and_failed_candidates_stay_out():
    full = np.array([[0.88, 0.92, 0.90], [0.81, 0.85, 0.83], [nan, nan, nan]])
    few = full.copy()
    few[1] = [0.83, nan, nan]
    assert len(set(tied_truth(full)[:2])) == 2
    assert len(set(tied_truth(few)[:2])) == 1
    assert np.isnan(tied_truth(full)[2])


def test_equal_candidates_are_mostly_tied_and_distant_ones_are_not():
    for count, share in {2: 0.95, 8: 0.5}.items():
        equal = [len(set(tied_truth(noisy([0.8] * count, 5, 0.05, seed)))) == 1 for seed in range(300)]
        assert np.mean(equal) == pytest.approx(share, abs=0.06)
    assert all(len(set(tied_truth(noisy([0.2, 0.5, 0.8], 5, 0.02, seed)))) == 3 for seed in range(50))


def test_reliability_equals_values_computed_by_hand():
    values = np.array([[1.0, 1], [2, 3], [3, 2], [4, 4]])
    found = reliability(values)
    assert found.one_seed == pytest.approx(0.8)
    assert found.all_seeds == pytest.approx(2 * 0.8 / 1.8)
    assert (found.ceiling, found.seeds) == (pytest.approx(sqrt(2 * 0.8 / 1.8)), 2)


def test_reliability_of_seeds_that_contradict_each_other_is_zero():
    found = reliability([[1, 4], [2, 3], [3, 2], [4, 1]])
    assert (found.one_seed, found.all_seeds, found.ceiling) == (-1, 0, 0)


@pytest.mark.parametrize("values", [[[1], [2], [3]], [[1, 1], [2, 2]], [[1, 5], [1, 6], [1, 7]], np.zeros((0, 2))])
def test_reliability_is_none_where_it_cannot_be_estimated(values):
    assert reliability(values) is None


def test_a_score_equal_to_the_noiseless_truth_reaches_just_the_ceiling():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=300)
    found = reliability(noisy(truth, 4, 1.0, seed=4))
    reached = np.mean([spearman(truth, noisy(truth, 4, 1.0, seed=s).mean(1)).value for s in range(5, 25)])
    assert reached == pytest.approx(found.ceiling, abs=0.03)
    halves = [noisy(truth, 4, 1.0, seed=s).mean(1) for s in (30, 31)]
    assert spearman(*halves).value == pytest.approx(found.all_seeds, abs=0.06)


def test_reliability_uses_candidates_that_two_seeds_share():
    values = np.array([[1.0, 1, nan], [2, 3, nan], [3, 2, nan], [4, 4, 7], [nan, 9, nan], [nan, nan, nan]])
    found = reliability(values)
    assert found.one_seed == pytest.approx(0.8)
    assert found.seeds == pytest.approx(stats.hmean([2, 2, 2, 3, 1]))


# All at once


def test_an_error_rate_agrees_positively_with_a_distance():
    """Lower is better for both, so that agreement is positive."""
    error = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    found = agreement(
        [1, 3, 2, 5, 4], noisy(error, 3, 0.002), truth_higher_is_better=False, score_higher_is_better=False
    )
    assert found.spearman.value == pytest.approx(0.8)
    assert found.kendall.value == pytest.approx(0.6)
    assert found.weighted_kendall.value == weighted_kendall([-1, -3, -2, -5, -4], -error).value
    assert found.regret.absolute == 0
    assert found.recall == 1
    assert found.groups == 5
    assert found.chance.regret.absolute == pytest.approx(0.2, abs=0.01)
    assert found == agreement(
        [-1, -3, -2, -5, -4], noisy(error, 3, 0.002), truth_higher_is_better=False, score_higher_is_better=True
    )


def test_agreement_is_json():
    content = json.loads(
        json.dumps(
            asdict(agreement([1, 2, 4, 3], noisy([1, 2, 3, 4], 2, 0.1), truth_higher_is_better=True)), allow_nan=False
        )
    )
    assert content["spearman"]["value"] == pytest.approx(0.8)


def test_intervals_hold_the_value_and_grow_with_the_noise():
    truth, scores = np.arange(8) / 10, [0, 2, 1, 3, 4, 6, 5, 7]
    widths = []
    for spread in (0.001, 0.1):
        found = agreement(scores, noisy(truth, 4, spread), truth_higher_is_better=True)
        low, high = found.spearman_over_seeds
        assert low <= found.spearman.value <= high
        assert found.spearman_over_candidates[0] <= low + 0.1
        widths.append(high - low)
    assert widths[0] == pytest.approx(0, abs=1e-9)
    assert widths[1] > 0.1


def test_the_same_seed_gives_the_same_intervals():
    values = noisy(np.arange(6) / 10, 3, 0.1)
    first, again, other = (
        agreement(range(6), values, truth_higher_is_better=True, seed=seed, n_resamples=300) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.spearman_over_candidates != other.spearman_over_candidates


def test_the_interval_over_seeds_covers_the_correlations_of_other_seeds():
    """The interval contains at least 90 % of the correlations with means over other seeds of the same number."""
    truth, scores = np.arange(12) / 12, np.random.default_rng(0).permutation(12)
    scores = np.where(np.arange(12) % 3 == 0, scores, np.arange(12))
    inside = []
    for trial in range(60):
        found = agreement(scores, noisy(truth, 5, 0.1, seed=trial), truth_higher_is_better=True, n_resamples=400)
        low, high = found.spearman_over_seeds
        inside.append(low <= spearman(scores, truth).value <= high)
    assert np.mean(inside) >= 0.9


def test_noise_and_reliability_are_unknown_with_a_single_seed():
    found = agreement([1, 2, 3, 4], [[0.1], [0.3], [0.2], [0.4]], truth_higher_is_better=True)
    assert (found.spearman_over_seeds, found.reliability, found.groups) == (None, None, None)
    assert found.spearman_tied == found.spearman
    assert found.spearman_over_candidates is not None


def test_failed_trials_and_missing_scores_are_left_out_and_counted():
    whole = noisy(np.arange(6) / 10, 3, 0.01)
    holes = np.insert(whole, [2, 4], nan, axis=0)
    scores = [0, 1, 50, 2, 3, -50, nan, 5]
    holes[0, 1] = nan
    found = agreement(scores, holes, truth_higher_is_better=True)
    assert (found.n, found.without_score, found.without_truth) == (5, 1, 2)
    assert found.spearman.value == 1
    assert found.regret.absolute == 0


def test_a_seed_that_is_missing_is_not_filled_in():
    with_hole = [[0.5, nan], [0.4, 0.4], [0.3, 0.3]]
    found = agreement([2, 3, 1], with_hole, truth_higher_is_better=True)
    assert found.regret.absolute == pytest.approx(0.1)


@pytest.mark.parametrize("values", [np.full((4, 2), nan), np.zeros((4, 0)), np.zeros((0, 3))])
def test_agreement_is_undefined_where_every_trial_failed(values):
    found = agreement(np.arange(len(values)), values, truth_higher_is_better=True)
    assert (found.n, found.without_truth) == (0, len(values))
    assert found.spearman.value is None
    assert (found.regret, found.recall, found.chance, found.reliability) == (None,) * 4


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_candidates_for_a_correlation_still_have_a_regret(n):
    found = agreement([2, 1][:n], noisy([0.1, 0.9][:n], 3, 0.01), truth_higher_is_better=True)
    assert found.spearman.value is found.spearman_over_seeds is found.spearman_over_candidates is None
    assert found.regret.absolute == pytest.approx(0.8 * (n - 1), abs=0.05)


def test_agreement_with_equal_truths_has_no_correlation():
    found = agreement([1, 2, 3, 4], np.full((4, 3), 0.7), truth_higher_is_better=True)
    assert (found.spearman.value, found.kendall.value, found.groups) == (None, None, 1)
    assert found.regret == Regret(0.0, 0.0, None)


def test_means_of_the_same_values_in_another_order_are_equal():
    values = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.1], [0.9, 0.9, 0.9]]
    assert (
        agreement([3, 2, 1, 4], values, truth_higher_is_better=True).spearman.value
        == spearman([3, 2, 1, 4], [1, 1, 1, 2]).value
    )


WRONG = {
    "lengths": (
        lambda: spearman([1, 2, 3], [1, 2]),
        r"expected two lists of as many numbers .* shapes \(3,\) and \(2,\)",
    ),
    "dimensions": (lambda: kendall([[1, 2]], [[1, 2]]), "expected two lists of as many numbers"),
    "NaN": (lambda: regret([1, nan], [1, 2]), "without NaN"),
    "nothing": (lambda: regret([], []), "expected at least one candidate"),
    "nothing to recall": (lambda: recall_at([], []), "expected at least one candidate"),
    "k": (lambda: recall_at([1], [1], k=0), "expected k of at least 1, got 0"),
    "one dimension": (lambda: tied_truth([1, 2]), r"expected finite truths of shape \(candidates, seeds\)"),
    "infinite": (lambda: reliability([[1.0, np.inf]]), "expected finite truths"),
    "scores": (
        lambda: agreement([1, 2], [[1], [2], [3]], truth_higher_is_better=True),
        "expected one score for each of the 3 candidates",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_requests_are_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()
