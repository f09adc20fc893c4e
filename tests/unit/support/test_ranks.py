"""Ranks, rank correlations and quantiles are those of scipy.stats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from voxrank._support.ranks import average_ranks, spearman, student_quantile

VALUES = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1.0, 1.0 + 2**-50, 7.0, np.inf, np.nan])
"""Few values, so that many are equal."""


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2), elements=VALUES))
def test_ranks_are_those_of_scipy(rows):
    np.testing.assert_array_equal(average_ranks(rows), stats.rankdata(rows, axis=1))


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (3, 1)])
def test_few_values_have_ranks(shape):
    assert average_ranks(np.zeros(shape)).shape == shape


@given(arrays(np.float64, (2, 7), elements=st.integers(0, 3).map(float)))
def test_the_correlation_is_that_of_scipy(rows):
    found = spearman(*rows)
    if np.ptp(rows, axis=1).all():
        assert found == pytest.approx(stats.spearmanr(*rows).statistic, abs=1e-12)
    else:
        assert found is None


def test_two_values_have_no_correlation():
    assert spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None


@given(st.floats(1e-6, 1 - 1e-6), st.integers(1, 500))
def test_quantiles_are_those_of_scipy(share, degrees):
    assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-9, abs=1e-12)
