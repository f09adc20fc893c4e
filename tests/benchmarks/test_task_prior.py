"""The choice of the next model: closed forms, invariances, and input that is refused."""

import numpy as np
import pytest
from scipy.stats import norm

from task_prior import (
    OFFSET_VARIANCE,
    PriorSettings,
    TaskPrior,
    fit_prior,
    outlook,
    standardised,
)
from voxrank.errors import OptionError

SINGLE = PriorSettings(width=1.0)


@pytest.fixture
def table():
    """Return results of eight models on six tasks that share two factors."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(8, 6))


def test_standardised_tasks_have_mean_zero_and_variance_one_without_what_is_missing(table):
    table[2, 1] = np.nan
    found = standardised(100 + 7 * table)
    np.testing.assert_allclose(np.nanmean(found, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(found, axis=0), 1)
    assert np.isnan(found[2, 1])


def test_covariance_is_that_of_the_tasks_shrunk_towards_the_kernel(table):
    alike = np.full((8, 8), 0.3) + 0.7 * np.eye(8)
    settings = PriorSettings(strength=4.0, mean_strength=2.0, width=1.0)
    found = fit_prior(table, settings, alike)
    z = standardised(table)
    mean = z.sum(axis=1) / 8
    centred = z - mean[:, None]
    np.testing.assert_allclose(found.means, mean[None])
    expected = (4 * np.mean(centred**2) * alike + centred @ centred.T) / 10
    np.testing.assert_allclose(found.covariance, expected, atol=1e-8)


def test_a_narrow_prior_is_centred_at_the_published_tasks(table):
    found = fit_prior(table, PriorSettings(width=0.01, mean_strength=0.0))
    assert found.means.shape == (6, 8)
    np.testing.assert_allclose(found.means, standardised(table).T, atol=1e-3)


def test_a_missing_result_is_replaced_by_its_expectation():
    rng = np.random.default_rng(1)
    strong, sign = np.outer(np.linspace(-1, 1, 8), rng.choice([-1.0, 1.0], 30)), PriorSettings(strength=0.1, width=0.01)
    whole = strong + 0.01 * rng.normal(size=strong.shape)
    missing = whole.copy()
    missing[7, 0] = np.nan
    found = fit_prior(missing, sign).means[0]
    assert np.sign(found[7]) == np.sign(whole[7, 0])
    assert abs(found[7]) > 0.7 * abs(found[6])


def test_with_one_gaussian_and_one_scored_model_the_odds_are_in_closed_form():
    covariance = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 1.0]])
    found = outlook(TaskPrior(np.array([[0.0, 0.3, -0.2]]), covariance, noise=0.1), [0], [0.83])
    total = covariance[0, 0] + 0.1 + OFFSET_VARIANCE
    posterior = covariance - np.outer(covariance[:, 0], covariance[0]) / total
    for model, mean in ((1, 0.3), (2, -0.2)):
        variance = posterior[model, model] + posterior[0, 0] - 2 * posterior[0, model]
        assert found.odds[model] == pytest.approx(norm.cdf(mean / np.sqrt(variance)), abs=0.02)


def test_the_odds_do_not_depend_on_the_unit_of_the_scores(table):
    prior, tried, scores = fit_prior(table, PriorSettings()), [1, 4, 6], np.array([0.71, 0.64, 0.82])
    one, other = outlook(prior, tried, scores), outlook(prior, tried, 250 * scores - 40)
    np.testing.assert_allclose(one.odds, other.odds, rtol=1e-9)
    np.testing.assert_allclose(one.result, other.result, rtol=1e-9)
    np.testing.assert_allclose(250 * one.gain, other.gain, rtol=1e-9)


def test_the_order_of_models_does_not_matter(table):
    prior, order = fit_prior(table, PriorSettings()), np.random.default_rng(2).permutation(8)
    places = np.argsort(order)
    one = outlook(prior, [1, 4, 6], [0.7, 0.6, 0.8])
    other = outlook(prior.of_models(order), [int(places[i]) for i in (6, 1, 4)], [0.8, 0.7, 0.6])
    np.testing.assert_allclose(one.odds[order], other.odds, rtol=1e-9)


def test_scores_that_follow_a_published_task_point_to_its_best_model(table):
    prior, task = fit_prior(table, PriorSettings(strength=1.0, noise=0.01)), table[:, 3]
    tried = [int(i) for i in np.argsort(task)[:4]]
    found = outlook(prior, tried, 0.5 + 0.1 * task[tried])
    unseen = np.setdiff1d(np.arange(8), tried)
    assert unseen[found.gain[unseen].argmax()] == task.argmax()
    assert found.odds[task.argmax()] > 0.9


def test_equal_scores_are_no_fault(table):
    found = outlook(fit_prior(table, PriorSettings()), [0, 1], [0.5, 0.5])
    assert np.isfinite(found.odds).all()
    assert ((found.odds >= 0) & (found.odds <= 1)).all()


def test_equal_published_models_are_no_fault(table):
    table[1] = table[0]
    found = outlook(fit_prior(table, SINGLE), [0, 2], [0.5, 0.6])
    assert np.isfinite(found.gain).all()


@pytest.mark.parametrize("values", [np.zeros((4, 1)), np.zeros(4)])
def test_a_single_task_is_refused(values):
    with pytest.raises(OptionError, match="two tasks or more, got shape"):
        standardised(values)


def test_a_task_without_differences_is_refused(table):
    table[:, 2] = 0.5
    with pytest.raises(OptionError, match="got one result for all of them; leave that task out"):
        fit_prior(table, SINGLE)


@pytest.mark.parametrize(("tried", "scores"), [([], []), ([0, 1], [0.5]), ([0], [np.nan])])
def test_scores_that_do_not_fit_the_models_are_refused(table, tried, scores):
    prior = fit_prior(table, SINGLE)
    with pytest.raises(OptionError, match="expected a finite score for each tried model"):
        outlook(prior, tried, scores)
