"""Old names of documented modules."""

import subprocess
import sys
import warnings
from importlib import import_module

import pytest

from voxrank._support.moved import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_module_with_the_new_name_and_warns(old, new, monkeypatch):
    for name in MOVED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = import_module(old)
    expected = DeprecationWarning, f"{old} has moved to {new}; import it from there"
    assert expected in [(warning.category, str(warning.message)) for warning in caught]
    assert module is import_module(new)
    assert module.__spec__.name == new


def test_names_are_imported_from_an_old_name_in_a_new_process():
    code = "from voxrank.finetune.script import script; from voxrank.tracking import log_to_mlflow"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "voxrank.finetune.script has moved to voxrank.integrations.finetune.script" in done.stderr
    assert "voxrank.tracking has moved to voxrank.integrations.mlflow" in done.stderr


def test_other_names_are_not_touched():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'voxrank\.nowhere'"):
        import_module("voxrank.nowhere")
