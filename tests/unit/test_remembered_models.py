"""A model whose sketches are all cached is not loaded, unless its files, the options or the versions are others."""

import os
import shutil
import sys
import textwrap
from importlib import import_module
from types import SimpleNamespace

import huggingface_hub
import pytest

import voxrank
import voxrank.cache.models as memory_module
import voxrank.encoders.pool
from hf_models import build, save
from voxrank.cache.models import FOLDER, identity_of
from voxrank.cache.store import Cache
from voxrank.config import CacheOptions, EncoderOptions
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

OPTIONS = EncoderOptions(device="cpu")


@pytest.fixture
def loaded(monkeypatch):
    """Return a list to which every model that is loaded is added."""
    names = []

    def load(spec, options):
        names.append(spec)
        return load_encoder(spec, options)

    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", load)
    return names


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "hubert"
    save(folder, *build("hubert-group"))
    return folder


@pytest.fixture
def model(hubert, tmp_path):
    """Return the folder of a model of its own."""
    return shutil.copytree(hubert, tmp_path / "hubert")


def rank(data, models, kept, **options):
    return voxrank.rank(data, [str(model) for model in models], cache=kept, encoder=OPTIONS, **options)


def assert_same(found, expected):
    assert [(layer.model, layer.layer) for layer in found.layers] == [
        (layer.model, layer.layer) for layer in expected.layers
    ]
    for layer, other in zip(found.layers, expected.layers, strict=True):
        values = {name: score.value for name, score in layer.scores.items()}
        assert values == pytest.approx({name: score.value for name, score in other.scores.items()}, rel=1e-6)


def test_a_second_run_loads_no_model(tones, kept, loaded, model):
    models = [str(model), "logmel", "mfcc"]
    first = rank(tones, models, kept)
    assert loaded == models
    loaded.clear()
    second = rank(tones, models, kept)
    assert loaded == []
    assert_same(second, first)
    assert [each.parameters for each in second.models] == [each.parameters for each in first.models]


def test_new_audio_loads_the_models_once_and_is_encoded(tones, kept, loaded, model):
    data = voxrank.read_dataset(tones, split="all")
    most = voxrank.Dataset(data.source, data.task, data.target, data.utterances[:-2])
    rank(most, [model], kept)
    loaded.clear()
    found = rank(data, [model], kept)
    assert loaded == [str(model)]
    assert_same(found, voxrank.rank(data, [str(model)], encoder=OPTIONS))


def test_a_model_too_large_to_be_kept_is_loaded_once_for_new_audio(tones, kept, loaded, monkeypatch):
    monkeypatch.setattr(voxrank.encoders.pool, "KEPT_PARAMETERS", -1)
    data = voxrank.read_dataset(tones, split="all")
    most = voxrank.Dataset(data.source, data.task, data.target, data.utterances[:-2])
    rank(most, ["logmel"], kept)
    assert loaded == ["logmel"] * 2  # as a check at the beginning, and to encode
    loaded.clear()
    rank(data, ["logmel"], kept)
    assert loaded == ["logmel"]


def rewritten(path):
    """Write a file anew with the same content, as a download does."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: rewritten(folder / "model.safetensors"),
        lambda folder: os.utime(folder / "config.json", ns=(1, 1)),
        lambda folder: (folder / "more.json").write_text("{}"),
    ],
    ids=["weights", "time", "file"],
)
def test_a_model_with_other_files_is_loaded(tones, kept, loaded, model, change):
    rank(tones, [model], kept)
    loaded.clear()
    change(model)
    rank(tones, [model], kept)
    assert loaded == [str(model)]


def test_other_options_and_other_versions_are_loaded(model, monkeypatch):
    known = identity_of(str(model), OPTIONS)
    others = [
        identity_of(str(model), EncoderOptions(device="cpu", dtype="bfloat16")),
        identity_of(str(model), EncoderOptions(device="cpu", window_s=5.0)),
    ]
    monkeypatch.setattr(memory_module, "versions", lambda: {"transformers": "another"})
    others.append(identity_of(str(model), OPTIONS))
    assert len({known, *others}) == 4
    assert None not in {known, *others}


def test_models_whose_files_are_not_known_are_loaded_in_every_run(tones, kept, fakes, monkeypatch):
    for spec in ("fake-a", "py:module:make", "onnx:model.onnx", "owner/never-downloaded", "unknown:x", ""):
        assert identity_of(spec, OPTIONS) is None
    assert identity_of("logmel", EncoderOptions(device="cpu", trust_remote_code=("logmel",))) is None
    rank(tones, ["fake-a"], kept)
    assert not (Cache(kept).folder / FOLDER).exists()


def test_a_folder_of_many_files_is_no_model(tmp_path, monkeypatch):
    monkeypatch.setattr("voxrank.encoders.identity.MOST_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}").touch()
    assert identity_of(f"ct2:{tmp_path}", OPTIONS) is None
    (tmp_path / "0").unlink()
    assert identity_of(f"ct2:{tmp_path}", OPTIONS) is not None


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', '{"schema": 0}'])
def test_a_damaged_memory_is_not_read(tones, kept, loaded, text):
    rank(tones, ["logmel"], kept)
    (path,) = (Cache(kept).folder / FOLDER).iterdir()
    path.write_text(text)
    loaded.clear()
    rank(tones, ["logmel"], kept)
    assert loaded == ["logmel"]


def test_a_model_that_changes_during_a_run_ends_it(tones, kept, model, monkeypatch):
    data = voxrank.read_dataset(tones, split="all")
    most = voxrank.Dataset(data.source, data.task, data.target, data.utterances[:-2])
    rank(most, [model], kept)

    def load(spec, options):
        rewritten(model / "model.safetensors")
        return load_encoder(spec, options)

    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", load)
    with pytest.raises(ModelError, match="hubert has changed during the run; run it again"):
        rank(data, [model], kept)


def test_models_are_forgotten_with_the_last_sketch(tones, kept, loaded):
    rank(tones, ["logmel"], kept)
    folder = Cache(kept).folder / FOLDER
    Cache(kept).prune()
    assert folder.exists()
    Cache(CacheOptions(kept.folder, 0.0)).prune()
    assert not folder.exists()
    loaded.clear()
    rank(tones, ["logmel"], kept)
    assert loaded == ["logmel"]


def test_the_models_used_least_recently_are_forgotten(tones, kept, monkeypatch):
    monkeypatch.setattr(memory_module, "MOST", 1)
    rank(tones, ["logmel"], kept)
    (first,) = (Cache(kept).folder / FOLDER).iterdir()
    os.utime(first, (1, 1))
    rank(tones, ["mfcc"], kept)
    Cache(kept).prune()
    assert len([*(Cache(kept).folder / FOLDER).iterdir()]) == 1
    assert not first.exists()


def test_a_downloaded_model_is_that_of_the_version_that_the_hub_has(monkeypatch, tmp_path):
    folders = {None: tmp_path / "main", "new": tmp_path / "new"}
    for folder in folders.values():
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    def cached(name, file, revision=None):
        return str(folders[revision] / file) if revision in folders else None

    answers = {"sha": "new"}

    def ask(name, timeout):
        if answers["sha"] is None:
            raise ConnectionError("no route")
        return SimpleNamespace(sha=answers["sha"])

    identities = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    for sha in ("new", None, "newest"):
        answers["sha"] = sha
        monkeypatch.setattr(huggingface_hub, "model_info", lambda name, timeout, sha=sha: ask(name, timeout))
        identities.append(identity_of("owner/model", OPTIONS))
    assert identities[2] is None  # not downloaded yet
    assert len(set(identities)) == 3


def test_a_plug_in_may_name_its_files(monkeypatch, tmp_path):
    package = tmp_path / "plugged_files"
    package.mkdir()
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"1")
    (package / "__init__.py").write_text(
        textwrap.dedent(f"""
            def load(rest, options): ...
            load.files = lambda rest: [{str(weights)!r}] if rest == "small" else None
            """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugged_files = import_module("plugged_files")
    plugin = SimpleNamespace(load=lambda: plugged_files.load)
    monkeypatch.setattr("voxrank.encoders.registry.find_plugin", lambda kind, name: plugin)
    monkeypatch.setattr("voxrank.encoders.identity.find_plugin", lambda kind, name: plugin)
    assert identity_of("mine:large", OPTIONS) is None
    first = identity_of("mine:small", OPTIONS)
    weights.write_bytes(b"2")
    second = identity_of("mine:small", OPTIONS)
    (package / "more.py").touch()
    assert len({None, first, second, identity_of("mine:small", OPTIONS)}) == 4
    del plugged_files.load.files
    assert identity_of("mine:small", OPTIONS) is None
    monkeypatch.delitem(sys.modules, "plugged_files")
