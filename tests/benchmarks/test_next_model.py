"""The study of the next model: tasks are held out, and models tried are counted alike for all ways to choose."""

from dataclasses import replace

import numpy as np
import pytest

import next_model
import published_table
from next_model import CONDITIONS, PLAIN, RULES, Trial, Variant
from task_prior import PriorSettings

FACTORS = Variant(PriorSettings(width=1.0), factors=2)


@pytest.fixture(scope="module")
def table():
    """Return the table of MAEB."""
    return published_table.read_table("maeb")


def test_tables_have_the_models_and_tasks_of_their_sources(table):
    superb = published_table.read_table("superb")
    assert table.values.shape == (49, 20)
    assert superb.values.shape == (15, 13)
    assert not np.isnan(superb.values).any()
    assert np.isnan(table.values).sum() == 15
    assert superb.values[:, superb.tasks.index("ASR")].max() == pytest.approx(100 - 3.62)


@pytest.mark.parametrize("variant", [Variant(), Variant(kernel=True), Variant(ranks=True), FACTORS])
def test_the_prior_does_not_see_the_task_that_is_held_out(table, variant):
    values = table.values.copy()
    values[:, 3] = np.random.default_rng(0).permutation(values[:, 3])
    there = np.isfinite(table.values[:, 3]) & np.isfinite(values[:, 3])
    one, other = (Trial.of(replace(table, values=v), 3, PLAIN) for v in (table.values, values))
    left, right = (trial.prior(variant).means for trial in (one, other))
    np.testing.assert_array_equal(
        left[:, np.isin(one.models, np.flatnonzero(there))], right[:, np.isin(other.models, np.flatnonzero(there))]
    )


def test_rules_do_not_see_the_task_that_is_held_out(table):
    values = table.values.copy()
    values[:, 3] = -values[:, 3]
    for rule in RULES[:-1]:
        orders = [
            next_model.rule_order(Trial.of(replace(table, values=v), 3, PLAIN), rule) for v in (table.values, values)
        ]
        assert orders[0] == orders[1]


def test_related_tasks_are_those_of_a_kind_or_a_corpus(table):
    task = table.tasks.index("VoxPopuliGenderID")
    others = Trial.of(table, task, CONDITIONS["related tasks held out"]).others
    left_out = {name for i, name in enumerate(table.tasks) if i not in others}
    assert left_out == {
        *("VoxPopuliGenderID", "VoxPopuliAccentID", "VoxPopuliLanguageID"),
        *("IEMOCAPGender", "CommonLanguageGenderDetection", "CommonLanguageAgeDetection"),
    }


def test_every_task_but_one_shares_its_kind_with_others(table):
    kinds = set().union(*published_table.KINDS)
    assert kinds | {"ER"} == {*table.tasks, *published_table.read_table("superb").tasks}


def test_models_that_voxrank_cannot_load_are_no_candidates(table):
    trial = Trial.of(table, 0, CONDITIONS["models that voxrank loads"])
    assert "google/yamnet" in table.models
    assert "google/yamnet" not in {table.models[i] for i in trial.models}


def test_noise_leaves_a_correlation_of_nine_tenths(table):
    trial = Trial.of(table, 0, CONDITIONS["noisy scores"])
    correlations = [np.corrcoef(trial.truth, trial.scores(draw))[0, 1] for draw in range(200)]
    assert np.mean(correlations) == pytest.approx(0.9, abs=0.01)


def test_tries_in_an_order_count_models_beyond_the_start():
    good = np.array([False, False, True, False])
    assert next_model.tries_in_order([0, 1, 3, 2], good, [1]) == 3
    assert next_model.tries_in_order([2, 0, 1, 3], good, [1]) == 1
    assert next_model.tries_in_order([0, 1, 3, 2], good, [2]) == 0


def test_starting_sets_are_the_same_in_every_run(table):
    trial = Trial.of(table, 0, PLAIN)
    assert trial.start(4, 3) == Trial.of(table, 0, PLAIN).start(4, 3)
    assert len(set(trial.start(4, 3))) == 3
    assert [table.models[trial.models[i]] for i in trial.popular()] == list(next_model.POPULAR["maeb"])


def test_every_way_to_choose_finds_a_model_near_the_best(table):
    trial = Trial.of(table, table.tasks.index("MInDS14"), PLAIN)
    prior = trial.prior(Variant())
    found = next_model.tries(trial, prior, "gain", trial.start(0, 3), trial.truth)
    assert 0 <= found <= len(trial.models) - 3
    assert set(next_model.tries_of_rules(trial, [trial.start(0, 3)])) == set(RULES)


def test_a_difference_has_a_paired_interval():
    by_task = {f"task {n}": {"model": 2.0 + n, "largest": 5.0 + n} for n in range(6)}
    row = next(row for row in next_model.compared(by_task) if row["way"] == "largest")
    assert (row["tries"], row["difference"], row["low"], row["high"]) == (7.5, -3.0, -3.0, -3.0)


def test_calibration_of_odds_that_come_true_has_a_brier_score_of_zero():
    rows = [{"before": 0.1, "after": 0.5, "odds": np.array([0.0, 1.0]), "better": np.array([False, True])}]
    found = next_model.calibration(rows)
    assert (found["brier"], found["brier_of_the_rate"]) == (0.0, 0.25)
    assert [(one["stated"], one["came_true"]) for one in found["reliability"]] == [(0.0, 0.0), (1.0, 1.0)]
