"""Numbers are formatted alike wherever people read them."""

import doctest

import pytest

from voxrank._support import words
from voxrank._support.words import duration, figure, si
from voxrank._support.words import strict_percent as percent


def test_the_examples_of_docstrings_hold():
    failed, tried = doctest.testmod(words)
    assert tried >= 13
    assert failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (-0.0004, "0.000"), (-1.5, "−1.500"), (99.9999, "100.000"), (123456.7, "123,456.7"), (None, "–")],
)
def test_figures_are_rounded_for_readers(value, text):
    assert figure(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0\xa0%"), (1e-9, "0.1\xa0%"), (0.5, "50\xa0%"), (0.994, "99.4\xa0%"), (1, "100\xa0%"), (None, "–")],
)
def test_shares_are_written_as_percentages(share, text):
    assert percent(share) == text


def test_sizes_and_times_have_fitting_units():
    assert [si(n) for n in (0, 999, 328_201, 8_208_384, 1.5e9)] == ["0", "999", "328.2 k", "8.2 M", "1.5 G"]
    assert [duration(s) for s in (0.04, 99.94, 100, 3600, 36_000)] == [
        "0.0 s",
        "99.9 s",
        "1.7 min",
        "60.0 min",
        "10.0 h",
    ]
