"""`compat="published"` gives the measured results of the published code."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from voxrank.errors import OptionError
from voxrank.scores import LogME


def published(features, targets):
    """Run the iteration on singular values of the samples or, with more samples than dimensions, of FᵀF."""
    n, dim = features.shape
    if n > dim:
        _, squares, vh = np.linalg.svd(features.T @ features)
        kept = np.sqrt(squares) > 1e-10
        s = np.sqrt(squares[kept])
        u = features @ vh[kept].T / s
    else:
        u, s, _ = np.linalg.svd(features, full_matrices=False)
    sigma, scores = s**2, []
    for y in targets.T:
        x2 = (u.T @ y) ** 2
        a = b = 1.0
        for _ in range(11):
            t = a / b
            gamma = np.sum(sigma / (sigma + t))
            m2 = np.sum(sigma * x2 / (t + sigma) ** 2)
            r2 = np.sum(x2 / (1 + sigma / t) ** 2) + y @ y - x2.sum()
            a, b = gamma / (m2 + 1e-5), (n - gamma) / (r2 + 1e-5)
            if abs(a / b - t) / t <= 1e-3:
                break
        e = dim / 2 * np.log(a) + n / 2 * np.log(b) - np.log(a + b * sigma).sum() / 2
        scores.append((e - b / 2 * r2 - a / 2 * m2 - n / 2 * np.log(2 * np.pi)) / n)
    return np.mean(scores)


@pytest.mark.parametrize(("n", "dim"), [(300, 12), (2000, 64), (60, 200)])
def test_the_published_iteration_is_reproduced(n, dim):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 4
    features = rng.normal(size=(n, dim)) + rng.normal(size=(4, dim))[labels]
    expected = published(features, np.eye(4)[labels])
    assert LogME(compat="published").fit(features, labels).score_ == pytest.approx(expected, rel=1e-6)


BASE = np.random.default_rng(5).normal(size=(300, 6))
DEPENDENT = {
    "columns twice": np.hstack([BASE, BASE]),
    "sums of columns": np.hstack([BASE, BASE @ np.random.default_rng(6).normal(size=(6, 3))]),
    "a constant column beside sums of columns": np.hstack([BASE, BASE[:, :2] @ np.ones((2, 1)) + 3, np.ones((300, 1))]),
    "columns of zeros": np.hstack([BASE, np.zeros((300, 3))]),
    "one direction": BASE[:, :1] @ np.ones((1, 5)),
    "far from zero": np.hstack([BASE, BASE]) + 100,
    "fewer samples than dimensions, each twice": np.repeat(np.random.default_rng(7).normal(size=(20, 50)), 2, axis=0),
}


@pytest.mark.parametrize("case", DEPENDENT)
def test_the_published_iteration_is_reproduced_with_dependent_columns(case):
    features = DEPENDENT[case]
    labels = np.arange(len(features)) % 3
    expected = published(features, np.eye(3)[labels])
    assert LogME(compat="published").fit(features, labels).score_ == pytest.approx(expected, rel=1e-6)
    halves = [LogME(compat="published").fit(features[i::2], labels[i::2]) for i in range(2)]
    assert halves[0].merge(halves[1]).score_ == pytest.approx(expected, rel=1e-6)


def test_the_published_score_of_digits_is_reproduced():
    """Three of the 64 pixels are always 0; the value is that of the published code at its commit 56551ca."""
    digits = load_digits()
    score = LogME(compat="published").fit(digits.data, digits.target).score_
    assert score == pytest.approx(0.270277455465355, rel=1e-9)


def test_the_errors_of_the_published_code_are_reproduced():
    rng = np.random.default_rng(3)
    noise, labels = rng.normal(size=(200, 768)), rng.integers(0, 4, 200)
    old, new = LogME(compat="published"), LogME()
    assert (
        old.fit(noise, labels).score_ > 5 > 0 > new.fit(noise, labels).score_
    )  # measured 12.19 with the published code
    y = np.arange(300) % 3
    x = rng.normal(size=(300, 5)) + 2 * np.eye(3, 5)[y]
    assert abs(old.fit(1000 * x, y).score_ - old.fit(x, y).score_) > 0.01
    assert new.fit(1000 * x, y).score_ == pytest.approx(new.fit(x, y).score_)
    assert old.fit(x, 2 * y).score_ > old.fit(x, y).score_ + 1
    assert new.fit(x, 2 * y).score_ == new.fit(x, y).score_


def test_the_published_score_of_values_is_reproduced():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 6))
    y = x[:, :2] + rng.normal(size=(200, 2))
    assert LogME(regression=True, compat="published").fit(x, y).score_ == pytest.approx(published(x, y), rel=1e-9)


def test_other_values_of_compat_are_refused():
    with pytest.raises(OptionError, match="expected compat to be 'published' or None, got 'old'"):
        LogME(compat="old")
