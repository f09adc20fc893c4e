"""Weights that are NaN or infinite are refused when a model is loaded, in any tensor."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import hf_models as models
from ct2_files import entries_of, file_of
from voxrank.encoders.finite import check_finite, is_finite
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

one_thread = models.one_thread
REFUSED = "its weights are NaN or infinite in "


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_values_that_are_not_finite_are_found_in_any_precision(dtype, value):
    weights = torch.zeros(3, 5).to(dtype)
    assert is_finite(weights)
    weights[2, 4] = value
    assert not is_finite(weights)
    if not dtype.is_complex:
        assert is_finite(weights, masks=True) is (value == -torch.inf)


def test_a_mask_of_minus_infinity_counts_as_finite():
    assert is_finite(torch.full((3, 3), -torch.inf), masks=True)
    assert not is_finite(torch.tensor([-torch.inf, torch.nan]), masks=True)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(0), torch.arange(4), torch.tensor([True]), torch.zeros(2, device="meta"), torch.tensor([250]).byte()],
)
def test_tensors_without_floating_point_values_are_finite(tensor):
    assert is_finite(tensor)


def test_values_of_float8_are_checked():
    weights = torch.ones(4).to(torch.float8_e4m3fn)
    assert is_finite(weights)
    weights.view(torch.uint8)[1] = 0x7F
    assert not is_finite(weights)


def test_buffers_may_hold_minus_infinity_and_parameters_may_not():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    module.register_buffer("table", torch.arange(3))
    check_finite(module)
    module[1].running_var[0] = torch.inf
    with pytest.raises(ModelError, match=rf"{REFUSED}1\.running_var, so that"):
        check_finite(module)
    with torch.no_grad():
        module[0].weight[0, 0] = -torch.inf
    with pytest.raises(ModelError, match=rf"{REFUSED}0\.weight and in 1 more tensors"):
        check_finite(module)
    check_finite(module, skip=["0.weight", "1.running_var"])


def change(place, change_one):
    """Change one tensor of a saved model, in place."""
    file = place / "model.safetensors"
    weights = load_file(file)
    change_one(weights)
    save_file(weights, file, {"format": "pt"})


def in_block_1(name):
    return (".layers.1." in name or ".layer.1." in name) and "decoder" not in name


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("family", ["hubert-group", "whisper", "ast", "parakeet-ctc", "wav2vec2-bert", "moonshine"])
def test_a_checkpoint_with_a_single_nan_or_infinite_weight_is_refused(tmp_path, family, value):
    place = Path(models.save(tmp_path, *models.build(family)))

    def spoil(weights):
        name = max(filter(in_block_1, weights))
        weights[name].reshape(-1)[-1] = value

    change(place, spoil)
    with pytest.raises(ModelError, match=f"{tmp_path}: {REFUSED}"):
        load_encoder(str(place))


def test_nan_in_a_position_used_only_by_long_audio_is_refused(tmp_path):
    place = Path(models.save(tmp_path, *models.build("whisper")))
    change(place, lambda weights: weights["model.encoder.embed_positions.weight"][-1].fill_(torch.nan))
    with pytest.raises(ModelError, match=rf"{REFUSED}embed_positions\.weight"):
        load_encoder(str(place))


def test_weights_of_the_decoder_need_not_be_finite(tmp_path):
    place = Path(models.save(tmp_path, *models.build("whisper")))
    change(place, lambda weights: weights["model.decoder.embed_positions.weight"].fill_(torch.nan))
    assert len(load_encoder(str(place)).layers) == models.BLOCKS + 1


@pytest.mark.parametrize("family", ["hubert-group", "whisper", "ast"])
def test_finite_weights_that_overflow_are_refused(tmp_path, family):
    place = Path(models.save(tmp_path, *models.build(family)))

    def spoil(weights):
        for name, weight in weights.items():
            if in_block_1(name) and weight.ndim == 2:
                weight.fill_(3e38)

    change(place, spoil)
    with pytest.raises(ModelError, match=r"not finite|NaN or infinite"):
        load_encoder(str(place))


def test_ctranslate2_weights_are_checked(tmp_path):
    model = models.whisper_config(max_source_positions=100)
    import transformers as tf

    whole = tf.WhisperModel(model).eval()
    with torch.no_grad():
        whole.encoder.layers[1].fc2.weight[0, 0] = torch.nan
    (tmp_path / "model.bin").write_bytes(file_of(entries_of(whole, "float32")))
    with pytest.raises(ModelError, match=rf"^ct2:{tmp_path}: {REFUSED}layers\.1\.fc2\.weight"):
        load_encoder(f"ct2:{tmp_path}")


def graph(tmp_path, weight, mask):
    from onnx import TensorProto, helper, numpy_helper, save

    nodes = [
        helper.make_node("Conv", ["audio", "front"], ["a"], strides=[160]),
        helper.make_node("Clip", ["a", "", "most"], ["b"]),
        helper.make_node("Max", ["b", "mask"], ["out"]),
    ]
    value = helper.make_tensor_value_info
    constants = {"front": weight, "mask": mask, "most": np.array(np.inf)}
    made = helper.make_graph(
        nodes,
        "g",
        [value("audio", TensorProto.FLOAT, ["batch", 1, "samples"])],
        [value("out", TensorProto.FLOAT, ["batch", 4, "time"])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, tmp_path / "m.onnx")
    return f"onnx:{tmp_path / 'm.onnx'}"


def test_weights_of_a_graph_must_be_finite_but_masks_may_be_infinite(tmp_path):
    weight, mask = np.random.default_rng(0).normal(size=(4, 1, 320)), np.full((4, 1), -np.inf)
    assert len(load_encoder(graph(tmp_path, weight, mask)).layers) == 1
    for value in (np.nan, np.inf, -np.inf):
        spoilt = weight.copy()
        spoilt[3, 0, 7] = value
        with pytest.raises(ModelError, match=rf"m\.onnx: {REFUSED}front"):
            load_encoder(graph(tmp_path, spoilt, mask))
    with pytest.raises(ModelError, match=f"{REFUSED}mask"):
        load_encoder(graph(tmp_path, weight, np.array([[0], [0], [0], [np.nan]])))


MODULE = """
import torch

class Front(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
        self.last = value

    def forward(self, waveforms):
        frames = waveforms.unfold(1, 320, 160)[..., :4].clone()
        if frames.shape[1] > 150:
            frames[:, 150:] = self.last
        for layer in self.layers:
            frames = layer(frames)
        return frames

def late():
    return Front(float("nan"))

def spoilt():
    module = Front(0.0)
    module.layers[1].bias.data[3] = float("inf")
    return module
"""


def test_a_users_module_is_checked(tmp_path, monkeypatch):
    (tmp_path / "spoilt_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=rf"^py:spoilt_module:spoilt: {REFUSED}layers\.1\.bias"):
        load_encoder("py:spoilt_module:spoilt")
    with pytest.raises(ModelError, match=r"^py:spoilt_module:late: features of 3 s of noise are NaN or infinite at in"):
        load_encoder("py:spoilt_module:late")


def test_integer_weights_are_not_checked(tmp_path):
    place = Path(models.save(tmp_path, *models.build("hubert-group")))
    change(place, lambda weights: weights.update({"scales": torch.tensor([255], dtype=torch.uint8)}))
    assert len(load_encoder(str(place)).layers) == 4
    assert json.loads((place / "config.json").read_text())["model_type"] == "hubert"
