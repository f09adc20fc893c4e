"""Old names of documented modules."""

import subprocess
import sys
from importlib import import_module

import pytest

from voxrank._support.moved import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_module_with_the_new_name_and_warns(old, new, monkeypatch):
    for name in MOVED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {new}; import it from there"):
        module = import_module(old)
    assert module is import_module(new)
    assert module.__spec__.name == new


def test_names_are_imported_from_an_old_name_in_a_new_process():
    code = "from voxrank.finetune.script import script; from voxrank.tracking import log_to_mlflow"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "voxrank.finetune.script has moved" not in done.stderr  # shown to developers alone, as is usual
    warned = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert "voxrank.tracking has moved to voxrank.integrations.mlflow" in warned.stderr


def test_other_names_are_not_touched():
    with pytest.raises(ModuleNotFoundError, match="No module named 'voxrank.nowhere'"):
        import_module("voxrank.nowhere")
