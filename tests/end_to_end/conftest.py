"""Fixtures that run the command line in this process."""

import gc

import pytest

from voxrank.cli.main import exit_code


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a function that runs a command line and returns (exit code, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        code = exit_code([str(a) for a in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def assert_same():
    """Return a function that checks that two rankings, as JSON, have the same winner and the same scores."""

    def check(found, expected):
        assert found["models"][0]["model"] == expected["models"][0]["model"]
        for mine, theirs in zip(found["layers"], expected["layers"], strict=True):
            assert mine["layer"] == theirs["layer"]
            for name, score in mine["scores"].items():
                assert score["value"] == pytest.approx(theirs["scores"][name]["value"], rel=1e-9)
                assert score["low"] == pytest.approx(theirs["scores"][name]["low"], rel=1e-5)

    return check


@pytest.fixture(autouse=True)
def _collect_ignored_files(request):
    """Collect the files that Ray leaves in the test that ignores their warnings, not in a later one."""
    yield
    if any("ResourceWarning" in mark.args[0] for mark in request.node.iter_markers("filterwarnings")):
        gc.collect()
