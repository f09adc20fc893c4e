"""The command line, run in this process."""

import pytest

from voxrank.cli.main import exit_code


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line; gives (exit code, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        code = exit_code([str(a) for a in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
