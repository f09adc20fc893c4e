"""Every score meets the contract for scores."""

from functools import partial

import numpy as np
import pytest

from voxrank.scores import ESTIMATORS, LogME, RankMe, get_score, score_names
from voxrank.testing.scores import check_score

CLASSES = list(ESTIMATORS.values())
BOTH = [score for name, score in ESTIMATORS.items() if "regression" in get_score(name).tasks]


def test_every_score_of_one_set_of_features_has_a_class():
    assert set(ESTIMATORS) == {name for name in score_names() if not get_score(name).needs_source}
    assert all(score.higher_is_better == get_score(name).higher_is_better for name, score in ESTIMATORS.items())


@pytest.mark.parametrize("score", CLASSES)
def test_every_score_for_classes_passes_the_battery(score):
    check_score(score)


@pytest.mark.parametrize("score", BOTH)
def test_every_score_for_values_passes_the_battery(score):
    check_score(partial(score, regression=True), values=True)


@pytest.mark.parametrize("score", CLASSES)
def test_separated_classes_score_better_than_noise(score):
    """Well separated classes score better than noise, for every score that reads labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    noise = rng.normal(size=(300, 10))
    apart = noise + 6 * np.eye(3, 10)[labels]
    good, bad = score().fit(apart, labels).score_, score().fit(noise, labels).score_
    if score is RankMe:
        return
    assert (good > bad) == score.higher_is_better


def test_the_battery_finds_a_score_that_depends_on_order():
    class Forgetful(LogME):
        def merge(self, other):
            return self

    with pytest.raises(AssertionError, match="merged parts"):
        check_score(Forgetful)
