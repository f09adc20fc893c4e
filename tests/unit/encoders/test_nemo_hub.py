"""NeMo checkpoints of the hub: the .nemo file is found, downloaded once, and taken from the cache without a network."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest

import hf_models as models
import nemo_files as files
from voxrank.config import EncoderOptions
from voxrank.encoders.checkpoints import find_checkpoint, load_config
from voxrank.encoders.nemo_hub import choose_nemo
from voxrank.encoders.registry import load_encoder, split_spec
from voxrank.errors import ModelError

one_thread = models.one_thread

NAME = "nvidia/stt_en_fastconformer_ctc_large"
FILE = "stt_en_fastconformer_ctc_large.nemo"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Use an empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def fill(cache, *names):
    """Put files of a repository into the cache, as a download does."""
    folder = cache / f"models--{NAME.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    for name in names:
        shutil.copy(files.stored("fastconformer_ctc"), folder / "snapshots" / COMMIT / name)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Let the hub have a repository with these files; return the names of the files that are downloaded."""
    downloads = []

    def serve(*names):
        def model_info(name, timeout):
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in names])

        def hf_hub_download(name, file, local_files_only):
            assert not local_files_only
            downloads.append((name, file))
            return str(shutil.copy(files.stored("fastconformer_ctc"), tmp_path / file))

        monkeypatch.setattr(huggingface_hub, "model_info", model_info)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
        return downloads

    return serve


@pytest.fixture
def unreachable(monkeypatch):
    def model_info(name, timeout):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)


@pytest.mark.parametrize("more", [(), ("config.json",), ("model.safetensors",), ("old/other.nemo",)])
def test_only_the_nemo_file_of_a_repository_is_downloaded(hub, cache, more):
    downloads = hub("README.md", FILE, *more)
    encoder = load_encoder(NAME, EncoderOptions(device="cpu"))
    assert downloads == [(NAME, FILE)]
    assert encoder.spec == NAME
    assert len(encoder.layers) == 4


def test_a_repository_in_the_format_of_transformers_is_left_to_it(hub, cache, monkeypatch):
    downloads = hub("config.json", "model.safetensors", FILE)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"^nvidia/.*: cannot read its config\.json"):
        load_encoder(NAME, EncoderOptions(device="cpu"))
    assert not downloads


def test_several_nemo_files_of_other_names_are_listed(hub, cache):
    hub("b.nemo", "a.nemo")
    with pytest.raises(
        ModelError, match=rf"^{NAME} has several \.nemo files \(a\.nemo, b\.nemo\); download one and give"
    ):
        load_encoder(NAME, EncoderOptions(device="cpu"))


def test_a_failed_download_is_reported(hub, cache, monkeypatch):
    hub(FILE)

    def hf_hub_download(name, file, local_files_only):
        raise ConnectionError("broken pipe")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    with pytest.raises(ModelError, match=rf"^{NAME}: cannot read its file {FILE} \(ConnectionError: broken pipe\)"):
        load_encoder(NAME, EncoderOptions(device="cpu"))


def test_a_cached_file_loads_without_a_network(unreachable, cache):
    fill(cache, FILE, "README.md")
    assert len(load_encoder(NAME, EncoderOptions(device="cpu")).layers) == 4


def test_an_empty_cache_without_a_network_is_reported(unreachable, cache):
    with pytest.raises(ModelError, match=rf"^{NAME}: there is no such directory, and the hub cannot be reached "):
        load_encoder(NAME, EncoderOptions(device="cpu"))


def test_a_cached_repository_without_a_model_is_reported(unreachable, cache):
    fill(cache, "README.md")
    with pytest.raises(ModelError, match=r"the hub cannot be reached \(ConnectionError: no route\)"):
        load_encoder(NAME, EncoderOptions(device="cpu"))


def test_a_directory_may_hold_a_nemo_file(tmp_path):
    shutil.copy(files.stored("conformer_rnnt"), tmp_path / "model.nemo")
    assert len(load_encoder(str(tmp_path), EncoderOptions(device="cpu")).layers) == 4


def test_a_nemo_file_gives_no_vocabulary_or_script(tmp_path):
    shutil.copy(files.stored("conformer_rnnt"), tmp_path / "model.nemo")
    checkpoint = find_checkpoint(str(tmp_path), EncoderOptions())
    with pytest.raises(
        ModelError, match=r"is a checkpoint of NVIDIA NeMo, .*; name a model in the format of transformers"
    ):
        load_config(checkpoint)


def test_a_directory_without_any_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([], None),
        (["config.json", "model.safetensors", "m.nemo"], None),
        (["config.json", "pytorch_model.bin", "m.nemo"], None),
        (["config.json", "other.nemo"], "other.nemo"),
        (["a.nemo", "m.nemo", "z.nemo"], "m.nemo"),
    ],
)
def test_the_file_with_the_name_of_the_model_is_chosen(names, chosen):
    assert choose_nemo("owner/m", names) == chosen


@pytest.mark.parametrize("spec", ["x.nemo", "./a/b.nemo", "nemo:x.nemo", "nemo:a"])
def test_specs_of_files_have_the_scheme_nemo(spec):
    assert split_spec(spec) == ("nemo", spec.removeprefix("nemo:"))
