"""Spoken lists are read, by their ending or by name, and errors in them are reported."""

import pytest

from voxrank.data.rows import Request
from voxrank.errors import DataError
from voxrank_example.spoken import FORMAT

LIST = """# anna
yes clips/0001.wav
no   clips/0002.wav

# ben
yes clips/0003 with spaces.wav
lonely
"""


@pytest.fixture
def spoken(tmp_path):
    path = tmp_path / "commands.spoken"
    path.write_text(LIST, encoding="utf-8")
    return path


def test_it_is_read(spoken):
    assert FORMAT.matches(str(spoken))
    assert not FORMAT.matches(str(spoken.with_suffix(".csv")))
    dataset = FORMAT.read(str(spoken), Request())
    assert [(u.label, u.speaker, u.path.name) for u in dataset.utterances] == [
        ("yes", "anna", "0001.wav"),
        ("no", "anna", "0002.wav"),
        ("yes", "ben", "0003 with spaces.wav"),
    ]
    assert dataset.task == "classification"
    assert [(s.utterance, s.reason) for s in dataset.skipped] == [
        ("commands.spoken, line 7", "expected a label and a path, got 'lonely'")
    ]


def test_another_column_may_be_the_target(spoken):
    assert {u.label for u in FORMAT.read(str(spoken), Request(target="speaker")).utterances} == {"anna", "ben"}


def test_an_empty_list_is_refused(spoken):
    spoken.write_text("# anna\n")
    with pytest.raises(DataError, match="expected at least one usable row"):
        FORMAT.read(str(spoken), Request())
