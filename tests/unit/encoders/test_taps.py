"""Layouts are found by probing; ONNX graphs and modules are tapped where the pattern says."""

import sys

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from voxrank.config import EncoderOptions
from voxrank.encoders.layout import Layout, find_layout
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError


@given(axis=st.integers(1, 3), sizes=st.tuples(*[st.integers(2, 5)] * 3), growth=st.integers(1, 4))
def test_the_axis_that_grows_is_time(axis, sizes, growth):
    short = (1, *sizes)
    long = tuple(n + growth * (i == axis) for i, n in enumerate(short))
    layout = find_layout("x", short, long)
    assert layout == Layout(axis, int(np.prod(sizes)) // sizes[axis - 1])
    tensor = torch.randn(3, *long[1:])
    frames = layout.frames(tensor)
    assert frames.shape == (3, long[axis], layout.dim)
    moved = tensor.numpy()
    np.testing.assert_array_equal(frames[1, 1], np.take(moved[1], 1, axis=axis - 1).ravel())


def test_a_shape_that_stays_is_one_embedding():
    layout = find_layout("x", (1, 4, 2), (1, 4, 2))
    assert layout == Layout(None, 8)
    assert layout.frames(torch.zeros(5, 4, 2)).shape == (5, 1, 8)


@pytest.mark.parametrize(
    ("short", "long", "message"),
    [
        ((1, 3, 3), (1, 4, 4), "expected one axis of 'x' to grow with the audio, got shapes"),
        ((3, 8), (6, 8), "'x' does not keep the batch as its first axis"),
    ],
)
def test_shapes_without_a_clear_layout(short, long, message):
    with pytest.raises(ModelError, match=message):
        find_layout("x", short, long)


def noise(n, seed=0, batch=None):
    shape = (n,) if batch is None else (batch, n)
    return (0.1 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def layers_of(encoder, waveforms):
    frames = {}
    for piece in encoder.encode(waveforms):
        parts = torch.split(piece.frames, [n for n in piece.lengths if n])
        owners = [i for i, n in enumerate(piece.lengths) if n]
        for owner, part in zip(owners, parts, strict=True):
            frames[piece.layer, owner] = part.numpy()
    return frames


def assert_same_alone_and_together(encoder, waveforms, atol=1e-5):
    together = layers_of(encoder, waveforms)
    for owner, waveform in enumerate(waveforms):
        for (layer, _), frames in layers_of(encoder, [waveform]).items():
            np.testing.assert_allclose(together[layer, owner], frames, atol=atol)


# --- modules -----------------------------------------------------------------------------------------------------

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    sample_rate = 8000
    min_samples = 800

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Conv1d(1, 6, 80, stride=80)
        self.blocks = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        self.rnn = nn.LSTM(6, 5, batch_first=True)
        self.drop = nn.Dropout(0.9)

    def forward(self, x):
        h = self.front(x.unsqueeze(1)).transpose(1, 2)
        for block in self.blocks:
            h = torch.tanh(block(self.drop(h)))
        return self.rnn(h)

def build(): return Net()
def wrong(): return 3
def fails(): raise RuntimeError("no weights")
def shy(): return nn.Identity()
NOT_CALLABLE = 1
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "my_speech_net.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield "my_speech_net"
    sys.modules.pop("my_speech_net", None)


def test_module_blocks_are_the_default_layers(user_module):
    encoder = load_encoder(f"py:{user_module}:build")
    assert [(x.name, x.dim, x.frame_rate) for x in encoder.layers] == [
        ("input", 6, 100.0),
        ("blocks.0", 6, 100.0),
        ("blocks.1", 6, 100.0),
        ("blocks.2", 6, 100.0),
    ]
    assert encoder.sample_rate == 8000
    assert encoder.parameters == 6 * 80 + 6 + 3 * 42 + 4 * 5 * (6 + 5 + 2)
    net = sys.modules[user_module].build().eval()
    x = noise(1600)
    with torch.inference_mode():
        front = net.front(torch.from_numpy(x)[None, None]).transpose(1, 2)
        first = net.blocks[0](front)[0].numpy()
    np.testing.assert_allclose(layers_of(encoder, [x])[0, 0], front[0], atol=1e-6)
    np.testing.assert_allclose(layers_of(encoder, [x])[1, 0], first, atol=1e-6)
    assert_same_alone_and_together(encoder, [noise(n, n) for n in (900, 1600, 1600, 4000)])


def test_module_pattern_and_tuples(user_module):
    encoder = load_encoder(f"py:{user_module}:build#front,rnn")
    assert [(x.name, x.dim) for x in encoder.layers] == [("front", 6), ("rnn", 5)]
    assert not sys.modules[user_module].build().rnn._forward_hooks


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("my_speech_net", "expected py:MODULE:FACTORY, or py:MODULE:FACTORY#PATTERN"),
        ("no_such_module_here:build", "cannot import 'no_such_module_here': ModuleNotFoundError"),
        ("my_speech_net:biuld", r"has no callable 'biuld'; did you mean build\?"),
        ("my_speech_net:NOT_CALLABLE", "has no callable 'NOT_CALLABLE'"),
        ("my_speech_net:wrong", r"expected the factory to return a torch\.nn\.Module, got int"),
        ("my_speech_net:fails", "the factory failed: RuntimeError: no weights"),
        ("my_speech_net:build#blcoks", r"no submodule is named like 'blcoks'; did you mean blocks"),
        ("my_speech_net:shy", "the module has no ModuleList or Sequential to take layers from"),
    ],
)
def test_modules_that_cannot_be_used(user_module, rest, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(f"py:{rest}")


# --- ONNX --------------------------------------------------------------------------------------------------------


def graph(folder, nodes, inputs, outputs, weights, **properties):
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
            [numpy_helper.from_array(w, n) for n, w in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    helper.set_model_props(model, {k: str(v) for k, v in properties.items()})
    path = folder / "m.onnx"
    onnx.save(model, path)
    return path


def conv_graph(folder, batch="batch", time="time", **properties):
    """(batch, 1, time) → conv over 160 samples → relu → conv 1x1: channel first."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(5, 1, 160)).astype(np.float32),
        "w2": rng.normal(size=(7, 5, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], strides=[160]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["out"]),
    ]
    return graph(folder, nodes, [("x", [batch, 1, time])], [("out", [batch, 7, None])], weights, **properties), weights


def expected_conv(samples, weights):
    hops = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    first = hops @ weights["w1"][:, 0].T
    return first, np.maximum(first, 0) @ weights["w2"][:, :, 0].T


def test_onnx_waveform_channel_first(tmp_path):
    path, weights = conv_graph(tmp_path)
    encoder = load_encoder(f"onnx:{path}")
    assert [(x.name, x.dim, x.frame_rate) for x in encoder.layers] == [("c1", 5, 100.0), ("out", 7, 100.0)]
    assert encoder.parameters == 5 * 160 + 35
    x = noise(3200)
    first, last = expected_conv(x, weights)
    got = layers_of(encoder, [x])
    np.testing.assert_allclose(got[0, 0], first, atol=1e-5)
    np.testing.assert_allclose(got[1, 0], last, atol=1e-5)
    assert_same_alone_and_together(encoder, [noise(n, n) for n in (800, 3200, 3200)])


def test_onnx_pattern_names_inner_tensors(tmp_path):
    path, weights = conv_graph(tmp_path, sample_rate=8000)
    encoder = load_encoder(f"onnx:{path}#r*")
    assert encoder.sample_rate == 8000
    assert [(x.name, x.frame_rate) for x in encoder.layers] == [("r1", 50.0)]
    x = noise(1600)
    np.testing.assert_allclose(layers_of(encoder, [x])[0, 0], np.maximum(expected_conv(x, weights)[0], 0), atol=1e-5)


def test_onnx_with_a_batch_of_one(tmp_path):
    path, _ = conv_graph(tmp_path, batch=1)
    assert_same_alone_and_together(load_encoder(f"onnx:{path}"), [noise(1600, s) for s in range(3)])


def test_onnx_with_a_fixed_length_cuts_and_pads(tmp_path):
    path, _ = conv_graph(tmp_path, time=3200)
    encoder = load_encoder(f"onnx:{path}#out")
    assert (encoder.min_samples, encoder.window_samples) == (3200, 3200)
    assert layers_of(encoder, [noise(1000)])[0, 0].size


@pytest.mark.parametrize("bands_first", [True, False])
def test_onnx_mel_input_gets_our_log_mel(tmp_path, bands_first):
    shape = ["batch", 40, "time"] if bands_first else ["batch", "time", 40]
    path = graph(tmp_path, [helper.make_node("Relu", ["mel"], ["out"])], [("mel", shape)], [("out", shape)], {})
    encoder = load_encoder(f"onnx:{path}")
    assert [(x.dim, x.frame_rate) for x in encoder.layers] == [(40, 100.0)]
    x = noise(3200)
    from voxrank.encoders.baselines import LogMel

    mel = LogMel(EncoderOptions(), n_mels=40).features(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(layers_of(encoder, [x])[0, 0], np.maximum(mel, 0), atol=1e-5)


def test_onnx_embedding_is_one_frame(tmp_path):
    nodes = [helper.make_node("ReduceMean", ["x"], ["out"], axes=[1], keepdims=1)]
    path = graph(tmp_path, nodes, [("x", ["batch", "time"])], [("out", ["batch", 1])], {})
    encoder = load_encoder(f"onnx:{path}")
    assert [(x.dim, x.frame_rate) for x in encoder.layers] == [(1, 0.0)]
    x = noise(3200)
    np.testing.assert_allclose(layers_of(encoder, [x])[0, 0], [[x.mean()]], atol=1e-6)


def test_onnx_files_that_cannot_be_used(tmp_path):
    path, _ = conv_graph(tmp_path)
    two_inputs = [helper.make_node("Add", ["x", "h"], ["out"])]
    cases = {
        "missing.onnx": r"cannot read missing\.onnx: No such file or directory",
        f"{path}#zzz": r"no tensor is named like 'zzz'",
    }
    for rest, message in cases.items():
        with pytest.raises(ModelError, match=message):
            load_encoder(f"onnx:{rest}")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="not a valid ONNX graph"):
        load_encoder(f"onnx:{path}")
    path = graph(tmp_path, two_inputs, [("x", ["b", "t"]), ("h", ["b", "t"])], [("out", ["b", "t"])], {})
    with pytest.raises(ModelError, match="expected a graph with one input, got: x, h; export it without states"):
        load_encoder(f"onnx:{path}")
    path = graph(
        tmp_path,
        [helper.make_node("Relu", ["x"], ["out"])],
        [("x", ["b", 3, 224, 224])],
        [("out", ["b", 3, 224, 224])],
        {},
    )
    with pytest.raises(ModelError, match=r"expected an input \(batch, samples\) or log-mel"):
        load_encoder(f"onnx:{path}")


def test_without_onnxruntime(tmp_path, monkeypatch):
    path, _ = conv_graph(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"run: pip install 'voxrank\[onnx\]'"):
        load_encoder(f"onnx:{path}")


def test_the_longest_stack_is_taken_from_a_plain_sequential(tmp_path, monkeypatch):
    (tmp_path / "plain_stack_net.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 4, 400, 160), nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder("py:plain_stack_net:build")
    assert [x.name for x in encoder.layers] == ["input", "0", "1", "2"]
    assert isinstance(sys.modules.pop("plain_stack_net").build(), nn.Module)
