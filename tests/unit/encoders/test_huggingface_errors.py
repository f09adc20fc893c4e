"""Errors for a model that cannot be loaded: one line that says what is wrong and what to do."""

import json
import os
import pickle
import re
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers as tf
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import save_file

import hf_models as models
from voxrank.config import EncoderOptions
from voxrank.encoders import checkpoints
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError, OptionError

one_thread = models.one_thread


@pytest.fixture(autouse=True)
def _one_line(monkeypatch):
    """Check that every error of this module is one line."""
    init = ModelError.__init__

    def checked(self, message):
        assert "\n" not in message
        init(self, message)

    monkeypatch.setattr(ModelError, "__init__", checked)


@pytest.fixture
def hubert(tmp_path):
    """Return a directory to damage, and the model saved in it."""
    model, extractor = models.build("hubert-group")
    return Path(models.save(tmp_path / "hubert", model, extractor)), model


@pytest.fixture
def hub(monkeypatch):
    """Replace the hub's answer to its one request."""

    def answers(answer):
        def model_info(name, timeout):
            assert timeout <= 10
            raise answer

        monkeypatch.setattr(huggingface_hub, "model_info", model_info)

    return answers


def not_found():
    error = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
    Exception.__init__(error, "404")
    return error


def test_an_unreachable_hub_is_reported_with_the_missing_directory(hub, monkeypatch, tmp_path):
    hub(ConnectionError("name or service not known\nRetrying"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: None)
    with pytest.raises(ModelError, match=r"^some/model: there is no such directory, and the hub cannot be reached "):
        load_encoder("some/model")


def test_a_cached_model_loads_without_network(hub, monkeypatch, hubert):
    directory, model = hubert
    hub(ConnectionError("no route"))
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda name, file: str(directory / file) if name == "hubert" else None,
    )
    monkeypatch.chdir(directory.parent.parent)
    loads = []

    def from_cache(kind):
        original = kind.from_pretrained.__func__

        def from_pretrained(cls, place, *args, **options):
            loads.append((place, options["local_files_only"]))
            return original(cls, str(directory), *args, **options)

        return classmethod(from_pretrained)

    def files_from_cache(original):
        return classmethod(lambda cls, place, **options: original(cls, str(directory), **options))

    for kind in (tf.AutoConfig, tf.AutoFeatureExtractor, tf.HubertModel):
        monkeypatch.setattr(kind, "from_pretrained", from_cache(kind))
    for kind, name in (
        (tf.PretrainedConfig, "get_config_dict"),
        (tf.FeatureExtractionMixin, "get_feature_extractor_dict"),
    ):
        monkeypatch.setattr(kind, name, files_from_cache(getattr(kind, name).__func__))
    assert load_encoder("hubert").parameters == sum(p.numel() for p in model.parameters())
    assert loads == [("hubert", True)] * 3


def test_a_name_unknown_to_the_hub_is_refused(hub):
    hub(not_found())
    with pytest.raises(ModelError, match=r"^some/model: the hub has no such model, or it is private .*check the name"):
        load_encoder("some/model")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("./nowhere", "there is no such directory; check the path"),
        ("a/b/c", "there is no such directory; check the path"),
        ("not a name!", "is neither a directory nor a hub id"),
    ],
)
def test_a_name_that_is_neither_path_nor_hub_id_is_refused(spec, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(spec)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json; give the directory of a model saved by transformers"):
        load_encoder(str(tmp_path))


def test_a_file_instead_of_a_directory_is_refused(hubert):
    with pytest.raises(ModelError, match="is a file; give the directory"):
        load_encoder(str(hubert[0] / "model.safetensors"))


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:50], lambda data: data[: len(data) // 2], lambda data: b"\xff" * len(data)],
    ids=["empty", "header", "half", "noise"],
)
def test_damaged_safetensors_are_refused(hubert, damage):
    weights = hubert[0] / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(ModelError, match=r"cannot read its weights .*get the model again"):
        load_encoder(str(hubert[0]))


def test_a_directory_without_weights_is_refused(hubert):
    (hubert[0] / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot read its weights .*no file named model\.safetensors"):
        load_encoder(str(hubert[0]))


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["truncated", "pickle", "zip"])
def test_torch_files_are_never_unpickled(hubert, tmp_path, form):
    directory, model = hubert
    (directory / "model.safetensors").unlink()
    weights, executed = directory / "pytorch_model.bin", tmp_path / "executed"
    if form == "truncated":
        torch.save(model.state_dict(), weights)
        weights.write_bytes(weights.read_bytes()[:1000])
    elif form == "pickle":
        weights.write_bytes(pickle.dumps({"weight": _Trap(executed)}))
    else:
        torch.save({"weight": _Trap(executed)}, weights)
    with pytest.raises(ModelError, match="cannot read its weights"):
        load_encoder(str(directory))
    assert not executed.exists()


def test_weights_without_part_of_the_encoder_are_refused(hubert):
    directory, model = hubert
    kept = {name: w.contiguous() for name, w in model.state_dict().items() if ".layers.1." not in name}
    save_file(kept, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"its weights lack 16 of the encoder's tensors \(encoder\.layers\.1\."):
        load_encoder(str(directory))


def test_weights_of_another_shape_are_refused(hubert):
    directory, model = hubert
    state = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    state["feature_projection.projection.bias"] = torch.zeros(7)
    save_file(state, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"have another shape than config\.json says for 1 of the encoder's tensors"):
        load_encoder(str(directory))


def test_a_checkpoint_without_its_decoder_or_head_is_complete(tmp_path):
    model, extractor = models.build("whisper")
    model.model.encoder.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    assert load_encoder(str(tmp_path)).parameters == sum(p.numel() for p in model.model.encoder.parameters())


def test_a_model_without_a_feature_extractor_is_refused(hubert):
    (hubert[0] / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json.*copy it from the model"):
        load_encoder(str(hubert[0]))


@pytest.mark.parametrize(
    ("file", "part"), [("config.json", "config.json"), ("preprocessor_config.json", "feature ext")]
)
def test_a_configuration_that_is_not_json_is_refused(hubert, file, part, monkeypatch):
    (hubert[0] / file).write_text("{oops")
    monkeypatch.chdir(hubert[0].parent)  # transformers repeats the path, and long messages are cut
    with pytest.raises(ModelError, match=rf"cannot read its {part}.*not a valid JSON"):
        load_encoder("./hubert")


def test_a_family_unknown_to_transformers_is_refused(hubert):
    (hubert[0] / "config.json").write_text('{"model_type": "nonsense"}')
    unknown = rf"names the architecture 'nonsense', .* the installed transformers {re.escape(tf.__version__)}; install"
    with pytest.raises(ModelError, match=unknown):
        load_encoder(str(hubert[0]))


def test_an_error_suggests_the_name_of_a_misspelt_family(hubert):
    change_config(hubert[0], model_type="hubertt")
    with pytest.raises(ModelError, match=r"architecture 'hubertt'.*did you mean hubert\?"):
        load_encoder(str(hubert[0]))


def change_config(place, **settings):
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | settings))


@pytest.mark.parametrize("settings", [{"return_dict": False}, {"torchscript": True}])
@pytest.mark.parametrize("family", ["hubert-group", "whisper"])
def test_the_output_format_in_the_configuration_is_ignored(tmp_path, family, settings):
    place = Path(models.save(tmp_path, *models.build(family)))
    expected = [piece.frames for piece in load_encoder(str(place)).encode([models.speech_like(9_000)])]
    change_config(place, **settings)
    for piece, frames in zip(load_encoder(str(place)).encode([models.speech_like(9_000)]), expected, strict=True):
        assert torch.equal(piece.frames, frames)


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq"])
def test_an_error_names_the_package_that_quantised_weights_need(hubert, monkeypatch, method):
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: None)
    change_config(hubert[0], quantization_config={"quant_method": method})
    package = checkpoints.QUANTISERS[method]
    with pytest.raises(ModelError, match=f"quantised with {method}, which needs the package {package}: run pip"):
        load_encoder(str(hubert[0]))


@pytest.mark.parametrize("whole", [True, False])
def test_a_folder_of_adapters_is_refused(hubert, whole):
    place, _ = hubert
    (place / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "some/model"}')
    if not whole:
        (place / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds LORA adapters \(PEFT\) of some/model, not a model; merge them"):
        load_encoder(str(place))


@pytest.mark.parametrize("content", ["{oops", "[]", '{"peft_type": 3}', "[" * 100_000])
def test_adapters_with_an_unreadable_configuration_are_refused(hubert, content):
    (hubert[0] / "adapter_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"holds adapters \(PEFT\) of another model, not a model"):
        load_encoder(str(hubert[0]))


@pytest.mark.parametrize("named", [["HubertForNothing"], ["BertModel"], ["WhisperForConditionalGeneration"], [], None])
def test_a_class_that_does_not_fit_the_configuration_is_ignored(hubert, named):
    change_config(hubert[0], architectures=named)
    assert len(load_encoder(str(hubert[0])).layers) == 4


ADVICE = {
    ImportError("TimmWrapper requires the timm library but it was not found"): "needs the package timm: run pip",
    ImportError("Using `bitsandbytes` requires it: `pip install -U bitsandbytes>=0.46.1`"): "package bitsandbytes: run",
    ModuleNotFoundError("No module named 'a.b'", name="a.b"): "needs the package a: run pip install a",
    ImportError("FlashAttention2 has been toggled on, but"): "needs the package flash-attn",
    OSError("You are trying to access a gated repo."): "accept its terms on its page of the hub",
    OSError("no file named model.safetensors"): "the file is missing or damaged: get the model again",
    ValueError("layers must be even"): f"transformers {tf.__version__} cannot build what config.json describes",
}


@pytest.mark.parametrize("error", ADVICE, ids=str)
def test_an_error_advises_a_new_download_only_for_unreadable_files(error):
    checkpoint = checkpoints.Checkpoint("name", "place", offline=True, trusted=False)
    with (
        pytest.raises(ModelError, match=f"^name: cannot (read|use) its architecture .*; .*{ADVICE[error]}") as raised,
        checkpoints.reading(checkpoint, "architecture"),
    ):
        raise error
    blamed = isinstance(error, OSError) and "gated" not in str(error)
    assert ("get the model again" in str(raised.value)) is blamed


def test_a_text_model_is_refused(tmp_path):
    config = tf.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=30
    )
    tf.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="BertModel takes input_ids, not audio; name a speech encoder"):
        load_encoder(str(tmp_path))


def test_an_audio_model_without_hidden_states_is_refused(tmp_path):
    config = tf.UnivNetConfig(model_hidden_channels=4, num_mel_bins=8, kernel_predictor_hidden_channels=4)
    tf.UnivNetModel(config).save_pretrained(tmp_path)
    tf.UnivNetFeatureExtractor(num_mel_bins=8).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"UnivNetModel does not encode a second of noise .*name an encoder"):
        load_encoder(str(tmp_path))


def test_a_feature_extractor_of_another_family_is_refused(hubert):
    tf.SeamlessM4TFeatureExtractor().save_pretrained(hubert[0])
    with pytest.raises(ModelError, match="makes input_features and attention_mask, the model takes"):
        load_encoder(str(hubert[0]))


@pytest.mark.parametrize("family", ["whisper", "ast"])
def test_a_feature_extractor_of_another_model_is_refused(tmp_path, family):
    model, _ = models.build(family)
    other = {"whisper": tf.WhisperFeatureExtractor(128), "ast": tf.ASTFeatureExtractor(max_length=100, num_mel_bins=64)}
    directory = models.save(tmp_path, model, other[family])
    with pytest.raises(ModelError, match="use the files of one model"):
        load_encoder(directory)


def test_a_processor_that_is_not_for_audio_is_refused(hubert):
    (hubert[0] / "preprocessor_config.json").write_text('{"feature_extractor_type": "FeatureExtractionMixin"}')
    with pytest.raises(ModelError, match="a FeatureExtractionMixin prepares no audio"):
        load_encoder(str(hubert[0]))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_cannot_be_used_is_refused(hubert, device):
    with pytest.raises(OptionError, match=device):
        load_encoder(str(hubert[0]), EncoderOptions(device=device))
