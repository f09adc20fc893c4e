"""What a run of the tests skipped: its last lines say so, with the reasons, and CI does not pass without these tests.

A plugin of pytest, which `conftest.py` registers. Where `VOXRANK_TESTS_WHOLE` is set, a run that skips a test ends
with an error, unless the reason is the system itself and nothing can be installed against it.
"""

import os
from collections import Counter

import pytest

WHOLE = "VOXRANK_TESTS_WHOLE"
OF_THE_SYSTEM = ("whoever may do all is stopped by no mode", "this file system has only UTF-8 names")
"""Reasons of tests that CI may skip."""


def reason_of(report):
    """Why a test was skipped, without pytest's prefix."""
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


def reasons_of(reports):
    """Reason → number of skipped tests; an expected failure is no skipped test."""
    return Counter(reason_of(report) for report in reports if not hasattr(report, "wasxfail"))


def summary(reasons, *, whole):
    """Lines that say how many tests were skipped, for each reason; none if none was."""
    if not reasons:
        return []
    count = reasons.total()
    head = "1 test was skipped:" if count == 1 else f"{count} tests were skipped:"
    lines = [head, *(f"  {number} × {reason}" for reason, number in reasons.most_common())]
    return [*lines, f"{WHOLE} is set: expected all tests to run"] if missing(reasons, whole=whole) else lines


def missing(reasons, *, whole):
    """Whether a run that must be whole is not."""
    return whole and bool(set(reasons) - set(OF_THE_SYSTEM))


def _skipped(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter, reasons_of(reporter.stats.get("skipped", []) if reporter else [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Let a run that must be whole and is not end with an error."""
    if exitstatus == pytest.ExitCode.OK and missing(_skipped(session.config)[1], whole=WHOLE in os.environ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config):
    """Write the summary below everything else."""
    reporter, reasons = _skipped(config)
    for line in summary(reasons, whole=WHOLE in os.environ):
        reporter.write_line(line, yellow=True)
