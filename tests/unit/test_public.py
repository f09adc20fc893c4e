"""The public names are exactly those that are listed."""

import subprocess
import sys

import pytest

import voxrank
from voxrank import scores
from voxrank.errors import OptionError, RequestError, did_you_mean
from voxrank.scores import Score, get_score, register_score, score_names


def test_the_public_names_are_those_listed():
    assert sorted(voxrank.__all__) == [
        *("AlignedData", "CacheOptions", "DataError", "Dataset", "EncoderOptions", "EngineOptions"),
        *("ExtractionOptions", "ModelError", "OptionError", "Ranking", "RequestError", "RunError"),
        *("SequenceOptions", "StoppingOptions", "TuningOptions", "UseOptions"),
        *(
            "Utterance",
            "UtteranceError",
            "Validation",
            "VoxrankError",
            "align",
            "rank",
            "read_dataset",
            "validate",
            "write_page",
        ),
    ]
    assert all(hasattr(voxrank, name) for name in voxrank.__all__)
    assert all(hasattr(scores, name) for name in scores.__all__)


def test_help_does_not_wait_for_torch():
    code = (
        "import sys, voxrank.cli.main; print(sorted({'torch', 'transformers', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_public_name_is_refused():
    with pytest.raises(AttributeError, match="module 'voxrank' has no attribute 'rnak'"):
        _ = voxrank.rnak
    assert dir(voxrank) == sorted(voxrank.__all__)


def test_wrong_requests_are_value_errors_too():
    assert issubclass(RequestError, ValueError)


def test_scores_are_registered_once_and_found_by_name():
    assert get_score("logme").higher_is_better
    assert "logme" in score_names()
    with pytest.raises(OptionError, match=r"unknown score 'lgme'; did you mean logme\?"):
        get_score("lgme")
    again = Score("logme", "x", higher_is_better=True, estimate=get_score("logme").estimate)
    with pytest.raises(ValueError, match="the score 'logme' is registered already"):
        register_score(again)


def test_all_names_are_given_where_none_is_near():
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
