"""Held-out linear heads equal heads that are fitted without the fold, and predict what dense formulas predict."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from voxrank.scores import head
from voxrank.scores.accuracy import HeldOutAccuracy
from voxrank.scores.head import MISLABELLED, _Heads, deal_folds, predict_classes, predict_values


def samples(n=90, dim=12, classes=4, apart=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    x = rng.normal(size=(n, dim)) * rng.uniform(0.1, 30, dim) + 5
    return x + apart * rng.normal(size=(classes, dim))[labels] * x.std(axis=0), labels, rng.integers(0, 5, n)


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def dense_log_odds(x, labels, outside, ridge):
    """Return the log odds of a discriminant that is fitted to the samples outside the fold, for all samples."""
    rest, numbers = x[outside], labels[outside]
    mean, known = rest.mean(axis=0), np.unique(numbers)
    centres = np.array([rest[numbers == c].mean(axis=0) for c in known]) - mean
    within = sum(
        (rest[numbers == c] - mean - d).T @ (rest[numbers == c] - mean - d) for c, d in zip(known, centres, strict=True)
    )
    weights = np.linalg.solve(within + ridge * np.eye(x.shape[1]), centres.T)
    odds = (x - mean) @ weights - np.einsum("kd,dk->k", centres, weights) / 2
    return (len(rest) - len(known)) * odds, known


@pytest.mark.parametrize(("n", "dim"), [(90, 12), (40, 60), (30, 200)])
@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 10.0])
def test_log_odds_equal_those_of_a_discriminant_fitted_without_the_fold(n, dim, ridge):
    x, labels, folds = samples(n, dim)
    heads = _Heads.of(x, np.eye(4)[labels], folds)
    odds, z = heads.log_odds(ridge), standardised(x)
    for fold in np.unique(folds):
        inside = folds == fold
        expected, known = dense_log_odds(z, labels, ~inside, ridge * heads.strengths[0])
        assert odds[np.ix_(inside, known)] == pytest.approx(expected[inside], rel=1e-5, abs=1e-6)


def test_a_class_without_samples_outside_the_fold_has_no_share_and_is_not_predicted():
    x, labels, folds = samples()
    labels[labels == 3] = 2
    labels[folds == 0] = 3
    shares = np.exp(_Heads.of(x, np.eye(4)[labels], folds).log_shares)
    assert (shares[folds == 0, 3] == 0).all()
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(x)))
    held_out = predict_classes(x, labels, folds, 4)
    assert (held_out.predicted[folds == 0] != 3).all()
    assert held_out.log_likelihood[folds == 0] == pytest.approx(np.full((folds == 0).sum(), np.log(MISLABELLED / 4)))


class FixedCovariance:
    """An estimator for scikit-learn whose covariance is given."""

    def __init__(self, covariance_):
        self.covariance_ = covariance_

    def fit(self, _):
        return self


def test_the_discriminant_of_scikit_learn_with_this_covariance_predicts_the_same_classes():
    x, _, _ = samples(n=200, dim=8)
    labels, folds = np.arange(200) % 4, np.repeat(np.arange(5), 40)
    x += 0.8 * np.random.default_rng(1).normal(size=(4, 8))[labels] * x.std(axis=0)
    z, ridge = standardised(x), 0.05
    heads = _Heads.of(x, np.eye(4)[labels], folds)
    predicted = heads.log_odds(ridge).argmax(axis=1)
    for fold in range(5):
        rest = folds != fold
        within = sum(np.cov(z[rest & (labels == c)].T, bias=True) for c in range(4)) / 4
        covariance = within + ridge * heads.strengths[0] / rest.sum() * np.eye(8)
        model = LinearDiscriminantAnalysis(
            solver="lsqr", covariance_estimator=FixedCovariance(covariance), priors=np.full(4, 0.25)
        )
        assert (model.fit(z[rest], labels[rest]).predict(z[~rest]) == predicted[~rest]).all()


@pytest.mark.parametrize("dim", [12, 200])
def test_predictions_of_values_equal_those_of_ridge_regression_fitted_without_the_fold(dim):
    x, _, folds = samples(dim=dim)
    values = x[:, :2] / 7 + np.random.default_rng(3).normal(size=(90, 2))
    heads = _Heads.of(x, values, folds)
    predictions = heads.predictions(0.01)
    for fold in np.unique(folds):
        inside = folds == fold
        model = Ridge(alpha=0.01 * heads.strengths[0]).fit(standardised(x)[~inside], values[~inside])
        assert predictions[inside] == pytest.approx(model.predict(standardised(x)[inside]), rel=1e-6)


def test_predicted_values_do_not_depend_on_their_unit():
    x, _, folds = samples()
    values = x[:, :1] + 3 * np.random.default_rng(0).normal(size=(90, 1))
    expected = predict_values(x, values, folds)
    assert predict_values(x, 1e6 + 1000 * values, folds) == pytest.approx(1e6 + 1000 * expected, rel=1e-9)


def test_predicted_classes_do_not_depend_on_the_unit_or_the_origin_of_features():
    x, labels, folds = samples(apart=0.5)
    expected = predict_classes(x, labels, folds, 4).log_likelihood
    moved = x * np.logspace(-3, 3, x.shape[1]) + 100
    assert predict_classes(moved, labels, folds, 4).log_likelihood == pytest.approx(expected, rel=1e-5)


def test_constant_features_change_nothing():
    x, labels, folds = samples(apart=0.5)
    expected = predict_classes(x, labels, folds, 4)
    wider = np.hstack([x, np.full((len(x), 3), 1e5)])
    assert (predict_classes(wider, labels, folds, 4).log_likelihood == expected.log_likelihood).all()


@pytest.mark.parametrize("x", [np.zeros((20, 3)), np.full((20, 3), 7.0)])
def test_features_that_tell_nothing_give_the_shares_of_the_classes(x):
    labels, folds = np.repeat([0, 0, 0, 1], 5), np.arange(20) % 5
    held_out = predict_classes(x, labels, folds, 2)
    assert (held_out.predicted == 0).all()
    expected = np.log((1 - MISLABELLED) * np.where(labels == 0, 0.75, 0.25) + MISLABELLED / 2)
    assert held_out.log_likelihood == pytest.approx(expected)


def test_a_single_fold_cannot_be_predicted():
    x, labels, _ = samples()
    one = np.zeros(90, dtype=int)
    assert (predict_classes(x, labels, one, 4).predicted == -1).all()
    values = x[:, :1]
    assert predict_values(x, values, one) == pytest.approx(np.full((90, 1), values.mean()))


def test_the_likelihood_is_nearly_that_of_the_distribution_that_made_the_samples():
    rng = np.random.default_rng(0)
    labels, centres = rng.integers(0, 3, 3000), rng.normal(size=(3, 10))
    x = centres[labels] + 1.5 * rng.normal(size=(3000, 10))
    logits = -((x[:, None] - centres) ** 2).sum(axis=2) / (2 * 1.5**2)
    best = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(3000), labels].mean()
    held_out = predict_classes(x, labels, np.arange(3000) % 10, 3)
    assert held_out.log_likelihood.mean() == pytest.approx(best, abs=0.02)


def test_shuffled_labels_have_the_likelihood_of_guessing():
    x, labels, folds = samples(n=2000, dim=40)
    shuffled = np.random.default_rng(5).permutation(labels)
    held_out = predict_classes(x, shuffled, folds, 4)
    assert held_out.log_likelihood.mean() == pytest.approx(-np.log(4), abs=0.02)


def test_every_ridge_is_tried_and_the_best_taken(monkeypatch):
    x, labels, folds = samples(apart=0.4)
    best = predict_classes(x, labels, folds, 4).log_likelihood.mean()
    alone = []
    for ridge in head.RIDGES:
        monkeypatch.setattr(head, "RIDGES", np.array([ridge]))
        alone.append(predict_classes(x, labels, folds, 4).log_likelihood.mean())
    assert best == pytest.approx(max(alone), rel=1e-3)
    assert min(alone) < best - 0.05


def test_folds_are_the_first_groups_with_which_heads_can_be_tested():
    same, single = np.zeros(30, dtype=int), np.arange(30)
    assert deal_folds(np.repeat([7, 2, 9], 10), single).tolist() == np.repeat([1, 0, 2], 10).tolist()
    assert deal_folds(same, np.repeat(np.arange(15), 2)).tolist() == np.repeat(np.arange(15) % 10, 2).tolist()
    assert deal_folds(same, same, single).tolist() == (np.arange(30) % 10).tolist()
    speakers, utterances = np.repeat([0, 1], 15), np.repeat(np.arange(10), 3)
    assert (
        deal_folds(speakers, utterances, classes=speakers).tolist() == utterances.tolist()
    )  # a speaker for each class
    assert deal_folds(speakers, utterances, classes=single % 2).tolist() == speakers.tolist()


def test_equal_samples_without_groups_are_held_out_together():
    """The result of `fit` does not depend on the order of samples that are equal but for their label."""
    rng = np.random.default_rng(0)
    of_row = np.arange(30) % 2
    x = np.repeat(rng.normal(size=(30, 4)) + 1.5 * of_row[:, None], 2, axis=0)
    labels = np.repeat(of_row, 2)
    labels[1:21:4] = 1 - labels[1:21:4]  # the second of two equal samples has another label
    order = rng.permutation(60)
    assert HeldOutAccuracy().fit(x, labels).score_ == HeldOutAccuracy().fit(x[order], labels[order]).score_


def test_a_sample_of_few_of_many_classes_costs_no_more_than_its_own_classes():
    x, labels, folds = samples(apart=0.5)
    few = predict_classes(x, labels, folds, 4)
    many = predict_classes(x, 25_000 * labels, folds, 100_000)
    assert (many.predicted == 25_000 * few.predicted).mean() > 0.9  # the bound of a loss depends on their number
    assert many.log_likelihood.shape == few.log_likelihood.shape
