"""Runs of tests report skipped tests; in a run that must be whole, a skipped test is a failure."""

from collections import Counter
from types import SimpleNamespace

import pytest

import skips

NO_BROWSER = "no Chromium here; run: apt-get install chromium"
BY_ROOT = skips.OF_THE_SYSTEM[0]


def report(reason, **options):
    return SimpleNamespace(longrepr=("test_x.py", 1, f"Skipped: {reason}"), **options)


def test_reasons_are_counted_and_expected_failures_are_not():
    found = skips.reasons_of([report(NO_BROWSER), report(NO_BROWSER), report(BY_ROOT), report("x", wasxfail="y")])
    assert found == {NO_BROWSER: 2, BY_ROOT: 1}


def test_the_summary_counts_the_skipped_tests_by_reason():
    lines = skips.summary(Counter({NO_BROWSER: 2, BY_ROOT: 1}), whole=False)
    assert lines == ["3 tests were skipped:", f"  2 × {NO_BROWSER}", f"  1 × {BY_ROOT}"]
    assert skips.summary(Counter({BY_ROOT: 1}), whole=False)[0] == "1 test was skipped:"
    assert skips.summary(Counter(), whole=True) == []


@pytest.mark.parametrize(("reason", "fails"), [(NO_BROWSER, True), (BY_ROOT, False)])
def test_a_run_that_must_be_whole_fails_where_a_package_is_missing(reason, fails):
    found = Counter({reason: 1})
    assert skips.missing(found, whole=True) == fails
    assert not skips.missing(found, whole=False)
    assert ("is set" in skips.summary(found, whole=True)[-1]) == fails
