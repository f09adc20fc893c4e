"""Names of models that are known without loading any, and suggestions for others."""

import subprocess
import sys

import pytest

from voxrank.encoders.groups import GROUPS, group_models
from voxrank.encoders.known import PACK_NAMES, UNTRAINED, model_names, nearest_model
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError
from voxrank_pack import _MODULES


def test_known_pack_names_equal_the_modules_of_the_pack():
    assert set(PACK_NAMES) == set(_MODULES)


def test_names_are_listed_without_importing_torch():
    code = "import sys, voxrank.encoders.known as k; k.model_names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("logmell", "logmel"),
        ("mfc", "mfcc"),
        ("openai/wisper-tiny", "openai/whisper-tiny"),
        ("openai/whispr-tiny.en", "openai/whisper-tiny.en"),
        ("facebok/hubert-base-ls960", "facebook/hubert-base-ls960"),
        ("microsoft/wavlm-bas", "microsoft/wavlm-base"),
        ("whisper-base", "pack:whisper-base"),
        ("openwakewrd", "pack:openwakeword"),
        ("our-own/conformer", None),
        ("openai/whisper-tiny", None),
    ],
)
def test_the_nearest_name_of_a_misspelt_model_is_found(typed, nearest, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert nearest_model(typed) == nearest


def test_local_folders_and_the_hub_cache_are_searched(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "hub" / "models--our--emformer-large").mkdir(parents=True)
    (tmp_path / "my-finetuned-hubert").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "our/emformer-large" in model_names()
    assert nearest_model("our/emformer-larg") == "our/emformer-large"
    assert nearest_model("./my-finetuned-huber") == "./my-finetuned-hubert"
    with pytest.raises(ModelError, match=r"no such directory.*; did you mean \./my-finetuned-hubert\?"):
        load_encoder("./my-finetuned-huber")


def test_names_are_listed_once():
    names = model_names()
    assert len(set(names)) == len(names)
    assert {*UNTRAINED, *GROUPS, *group_models("@base")} <= set(names)
