"""Only the shards that hold an encoder are opened or downloaded."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError

import audio_families as families
from voxrank.encoders.checkpoints import Checkpoint, hub
from voxrank.encoders.registry import load_encoder
from voxrank.encoders.shards import INDEX, shards_of
from voxrank.errors import ModelError

TOWER = [r"^(model\.)?audio_tower\."]


def save_sharded(folder):
    """Save a small Qwen2-Audio in shards of 4 kB; return its model, and the names of its shards."""
    model, extractor = families.build("qwen2_audio")
    model.save_pretrained(folder, max_shard_size="4KB")
    extractor.save_pretrained(folder)
    names = json.loads((folder / INDEX).read_text())["weight_map"]
    return model, {file for key, file in names.items() if "audio_tower" in key}, set(names.values())


def checkpoint(folder, *, offline=True):
    return Checkpoint("name", str(folder), offline=offline, trusted=False)


def test_a_tower_loads_without_the_shards_of_the_text_model(tmp_path):
    model, needed, every = save_sharded(tmp_path)
    assert needed < every
    for file in every - needed:
        (tmp_path / file).unlink()
    encoder = load_encoder(str(tmp_path))
    own = model.get_encoder("audio").state_dict()
    for name, weight in encoder.weights().items():
        torch.testing.assert_close(weight, own[name], rtol=0, atol=0)


def test_only_the_shards_of_the_tower_are_downloaded(tmp_path, monkeypatch):
    _, needed, _ = save_sharded(tmp_path)
    fetched = []

    def download(repository, name, *, local_files_only):
        assert (repository, local_files_only) == ("owner/model", False)
        fetched.append(name)
        return str(tmp_path / name)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with shards_of(Checkpoint("owner/model", "owner/model", offline=False, trusted=False), TOWER) as location:
        view = Path(location)
        assert {file.name for file in view.iterdir()} == {INDEX, *needed}
        names = json.loads((view / INDEX).read_text())["weight_map"]
    assert all("audio_tower" in name for name in names)
    assert set(fetched) == {INDEX, *needed}
    assert not view.exists()


def test_a_hub_model_in_one_file_is_read_as_it_is(monkeypatch):
    def missing(*_, **__):
        raise EntryNotFoundError("no such file")

    monkeypatch.setattr(hub, "hf_hub_download", missing)
    with shards_of(Checkpoint("owner/model", "owner/model", offline=False, trusted=False), TOWER) as location:
        assert location == "owner/model"


BAD = {
    "not JSON": "{",
    "no weight map": "{}",
    "list": "[]",
    "another folder": json.dumps({"weight_map": {"audio_tower.a": "../model.safetensors", "b": "c.safetensors"}}),
    "number": json.dumps({"weight_map": {"audio_tower.a": 3, "b": "c.safetensors"}}),
    "pickle": json.dumps({"weight_map": {"audio_tower.a": "model.bin", "b": "c.safetensors"}}),
    "missing shard": json.dumps({"weight_map": {"audio_tower.a": "a.safetensors", "b": "c.safetensors"}}),
}


@pytest.mark.parametrize("fault", BAD)
def test_an_index_that_cannot_be_used_is_left_to_the_reader_of_the_weights(tmp_path, fault):
    (tmp_path / INDEX).write_text(BAD[fault])
    with shards_of(checkpoint(tmp_path), TOWER) as location:
        assert location == str(tmp_path)


def test_a_file_system_without_links_is_read_as_a_whole(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("links are not supported")

    save_sharded(tmp_path)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with shards_of(checkpoint(tmp_path), TOWER) as location:
        assert location == str(tmp_path)


def test_a_missing_shard_of_the_tower_is_reported(tmp_path):
    _, needed, _ = save_sharded(tmp_path)
    (tmp_path / min(needed)).unlink()
    with pytest.raises(ModelError, match=r"cannot (read|use) its weights"):
        load_encoder(str(tmp_path))
