"""Reports skipped tests: the last lines of a run show them with their reasons, and CI fails without these tests.

It is a plugin of pytest, which `conftest.py` registers. If `VOXRANK_TESTS_WHOLE` is set, a run that skips a test ends
with an error, unless the reason is the system itself, for which nothing can be installed.
"""

import os
from collections import Counter

import pytest

WHOLE = "VOXRANK_TESTS_WHOLE"
OF_THE_SYSTEM = ("whoever may do all is stopped by no mode", "this file system has only UTF-8 names")
"""Reasons of tests that CI may skip."""


def reason_of(report):
    """Return why a test was skipped, without pytest's prefix."""
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


def reasons_of(reports):
    """Return the number of skipped tests by reason; an expected failure does not count."""
    return Counter(reason_of(report) for report in reports if not hasattr(report, "wasxfail"))


def summary(reasons, *, whole):
    """Return lines that say how many tests were skipped, for each reason; none without skipped tests."""
    if not reasons:
        return []
    count = reasons.total()
    head = "1 test was skipped:" if count == 1 else f"{count} tests were skipped:"
    lines = [head, *(f"  {number} × {reason}" for reason, number in reasons.most_common())]
    return [*lines, f"{WHOLE} is set: expected all tests to run"] if missing(reasons, whole=whole) else lines


def missing(reasons, *, whole):
    """Return whether a run that must be whole skipped a test."""
    return whole and bool(set(reasons) - set(OF_THE_SYSTEM))


def _skipped(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter, reasons_of(reporter.stats.get("skipped", []) if reporter else [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """End a run with an error if it must be whole and is not."""
    if exitstatus == pytest.ExitCode.OK and missing(_skipped(session.config)[1], whole=WHOLE in os.environ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config):
    """Write the summary below everything else."""
    reporter, reasons = _skipped(config)
    for line in summary(reasons, whole=WHOLE in os.environ):
        reporter.write_line(line, yellow=True)
