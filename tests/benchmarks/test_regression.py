"""The ratios of the benchmark regression are measured, and one above its limit is named."""

import pytest


@pytest.fixture
def regression(bench):
    return bench.script("regression", N=300, DIM=8, CLASSES=3, PROJECTIONS=4, ROUNDS=1)


def test_every_limit_has_a_measured_ratio(regression):
    found = regression.measure()
    assert all(found[limit.case][limit.key] > 0 for limit in regression.LIMITS)


def test_ratios_are_costs_of_the_score(regression):
    found = regression.ratios({"numpy": 0.5, "torch": 0.8, "score, auto": 1.0, "published": 4.0}, "published")
    assert found == {"products": 2.0, "slower": 0.25}


def test_a_ratio_above_its_limit_is_named(regression, monkeypatch):
    found = {name: {"products": 1.0, "slower": 0.1} for name in ("logme", "sliced")}
    assert regression.exceeded(found) == []
    found["logme"]["products"] = 9.0
    monkeypatch.setattr(regression, "measure", lambda: found)
    with pytest.raises(SystemExit, match=r"logme: expected products of at most 5, got 9\.00"):
        regression.main()
