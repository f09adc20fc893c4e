"""Scores under changes of features that add no information: units, bases, copies, frame rates, noise."""

from typing import Any

import numpy as np
import pytest
import torch

from voxrank import scores
from voxrank.errors import OptionError
from voxrank.scores import ESTIMATORS, SampledScore, Spectrum, get_score
from voxrank.scores.checks import checked_features
from voxrank.sketches.moments import Moments, sum_runs
from voxrank.sketches.multiplication import self_products

OF_MOMENTS = [name for name in ESTIMATORS if not get_score(name).sampled]
N, DIM, K = 600, 12, 4
LABELS = np.arange(N) % K
GROUPS = np.repeat(np.arange(N // 20), 20)


def features(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, DIM)) * np.linspace(0.3, 2, DIM) + 0.5 * rng.normal(size=(K, DIM))[LABELS] + 1


def score(name, samples, labels=LABELS, groups=GROUPS):
    made: Any = ESTIMATORS[name]()
    return (
        made.fit(samples, labels, groups).score_ if isinstance(made, SampledScore) else made.fit(samples, labels).score_
    )


def close(value):
    return pytest.approx(value, rel=1e-6, abs=1e-6)  # GBC and TransRate add a small constant to the spread


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_unit_of_the_features_does_not_matter(name):
    assert score(name, 7 * features()) == close(score(name, features()))


HELD_OUT = {"accuracy", "balanced", "likelihood", "r2", "map"}
"""Scores of heads on standardised features: the unit of each feature does not matter, but their axes do."""


@pytest.mark.parametrize("name", sorted(HELD_OUT))
def test_the_unit_of_each_feature_does_not_matter_to_held_out_heads(name):
    assert score(name, features() * np.logspace(-3, 3, DIM)) == close(score(name, features()))


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in {"pwcca", *HELD_OUT}])
def test_a_rotation_of_the_features_does_not_matter(name):
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0]
    assert score(name, features() @ rotation) == close(score(name, features()))


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "logme"])
def test_the_origin_of_the_features_does_not_matter(name):
    assert score(name, features() + 5) == close(score(name, features()))


@pytest.mark.parametrize("name", ["cca", "vci"])
def test_canonical_correlations_do_not_depend_on_the_basis(name):
    mixing = np.random.default_rng(1).normal(size=(DIM, DIM))
    assert score(name, features() @ mixing) == close(score(name, features()))


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in {"hscore", "gbc", "transrate"}])
def test_repeating_every_dimension_does_not_matter(name):
    assert score(name, np.hstack([features(), features()])) == close(score(name, features()))


@pytest.mark.parametrize("name", ["logme", "hscore", "ridge", "knn", "ncm", "loo"])
def test_noise_dimensions_lower_the_score(name):
    def with_noise(seed, dims):
        noise = 2 * np.random.default_rng(100 + seed).normal(size=(N, dims))
        return score(name, np.hstack([features(seed), noise]))

    falls = [[with_noise(seed, dims) for seed in range(4)] for dims in (0, 20, 200)]
    assert np.mean(falls[0]) > np.mean(falls[1]) > np.mean(falls[2])


@pytest.mark.parametrize("name", ["cca", "pwcca", "vci", "rankme", "transrate"])
def test_noise_dimensions_improve_some_scores(name):
    noisy = np.hstack([features(), np.random.default_rng(100).normal(size=(N, 200))])
    gain = score(name, noisy) - score(name, features())
    assert (gain if get_score(name).higher_is_better else -gain) > 0.05


def walks(times=1, frames=15, seed=0):
    """Return moments of smooth frames of 40 utterances, with every frame `times` times, as at a higher rate."""
    rng = np.random.default_rng(seed)
    labels = np.arange(40) % K
    offsets = 2 * rng.normal(size=(K, DIM))
    runs = [np.repeat(rng.normal(size=(frames, DIM)).cumsum(axis=0) + offsets[k], times, axis=0) for k in labels]
    samples = torch.from_numpy(np.concatenate(runs))
    lengths = tuple(len(run) for run in runs)
    moments = Moments.zeros(DIM, K)
    moments.add(self_products(samples), sum_runs(samples, lengths), np.array(lengths), labels)
    return moments


def read(name, moments, *, effective):
    weight = 1 / moments.inflation() if effective else 1.0
    kind: Any = ESTIMATORS[name]
    return kind.read(Spectrum.of(moments).thinned(weight)).value


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_effective_frames_do_not_depend_on_the_frame_rate(name):
    assert read(name, walks(2), effective=True) == close(read(name, walks(), effective=True))


@pytest.mark.parametrize("name", ["logme", "hscore", "ridge"])
def test_plain_frames_score_higher_at_a_doubled_frame_rate(name):
    assert read(name, walks(2), effective=False) > read(name, walks(), effective=False) + 1e-4


def test_a_thinned_spectrum_has_the_evidence_of_a_tempered_likelihood():
    """Every log likelihood is multiplied by w: so are n, scatter and cross products in the closed form."""
    w, f, y = 0.3, features(), (LABELS == 0).astype(float)
    moments = Moments.zeros(DIM, 1, values=True)
    moments.update(torch.from_numpy(f), y[:, None])
    found = scores.LogME.read(Spectrum.of(moments).thinned(w)).value

    def evidence(log_alpha, log_beta):
        alpha, beta = np.exp([log_alpha, log_beta])
        precision = alpha * np.eye(DIM) + beta * w * f.T @ f
        m = beta * w * np.linalg.solve(precision, f.T @ y)
        fit = beta * w * ((y - f @ m) ** 2).sum() + alpha * m @ m
        return (
            w * N / 2 * (log_beta - np.log(2 * np.pi))
            + DIM / 2 * log_alpha
            - fit / 2
            - np.linalg.slogdet(precision)[1] / 2
        ) / (w * N)

    grid = [evidence(a, b) for a in np.linspace(0, 8, 81) for b in np.linspace(0.5, 3.5, 121)]
    assert max(grid) <= found + 1e-12
    assert max(grid) == pytest.approx(found, abs=1e-4)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_read_only_features_are_accepted(name):
    fixed = features()
    fixed.flags.writeable = False
    assert score(name, fixed) == score(name, features())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_and_huge_values_are_not(value):
    huge = np.full((6, 3), 3e38, dtype=np.float32)
    assert checked_features(huge) is huge
    huge[4, 1] = value
    with pytest.raises(OptionError, match="the features hold NaN or infinite values; drop those samples first"):
        checked_features(huge)
