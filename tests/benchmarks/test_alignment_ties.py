"""The comparison of alignments on ties runs to its end on tiny sizes."""

import numpy as np
import pytest

import alignment_ties


def test_the_comparison_of_alignments_runs(bench):
    bench.script("alignment_ties", FRAMES=(2, 1), MINUTE=(40, 12)).main()
    result = bench.result("alignment-ties")
    counts = result["aligners"]["voxrank"]
    assert result["problems"] == {"all": 492, "feasible": 98, "tied": 9, "without_labels": 8}
    assert counts["optimal"] == result["problems"]["feasible"]
    assert counts["refused"] == result["problems"]["all"] - result["problems"]["feasible"]
    assert result["speed"]["times_voxrank"]["voxrank"] == 1.0
    assert set(bench.tables("alignment-ties")) == {"alignment-ties"}


@pytest.mark.parametrize(
    ("symbols", "best", "expected"),
    [
        ([0, 1], -3.0, "optimal"),
        ([1, 0], -3.0, "suboptimal"),
        ([0, 0], -3.0, "invalid"),
        (None, -3.0, "wrongly refused"),
        (None, -np.inf, "refused"),
        ([0, 1], -np.inf, "accepted"),
    ],
)
def test_an_outcome_is_judged_by_the_best_path(symbols, best, expected):
    log_probs = np.array([[-1.0, -3.0], [-2.0, -2.0]])
    assert alignment_ties.outcome(symbols, log_probs, (1,), best) == expected
