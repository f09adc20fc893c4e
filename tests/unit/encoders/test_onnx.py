"""ONNX graphs: for any form of input, their tensors are read as frames."""

import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from voxrank.encoders.mel import MelBank
from voxrank.encoders.onnx import count_weights, layer_names, read_form, residual_stream
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

RATE = 16_000


def noise(n, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) / np.float32(shape[-1] ** 0.5)


def make(nodes, inputs, outputs, initializers, **metadata):
    """Make an ONNX graph; inputs and outputs map names to a shape, or to (element type, shape)."""

    def info(name, value):
        kind, shape = value if isinstance(value, tuple) else (TensorProto.FLOAT, value)
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        [helper.make_node(op, ins.split(), outs.split(), **attributes) for op, ins, outs, attributes in nodes],
        "graph",
        [info(*pair) for pair in inputs.items()],
        [info(*pair) for pair in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    return model


@pytest.fixture
def saved(tmp_path):
    def save(model):
        onnx.save(model, tmp_path / "model.onnx")
        return f"onnx:{tmp_path / 'model.onnx'}"

    return save


KERNEL, MIX = weights(5, 1, 400), weights(7, 5, 1)


def conv(shape, **metadata):
    """Return a graph: (batch, 1, samples) → conv (25 ms every 10) → ReLU → pointwise conv, channels first."""
    nodes = [
        ("Conv", "audio kernel", "first", {"strides": [160]}),
        ("Relu", "first", "rectified", {}),
        ("Conv", "rectified mix", "out", {}),
    ]
    outputs = {"out": [shape[0], 7, None]}
    return make(nodes, {"audio": shape}, outputs, {"kernel": KERNEL, "mix": MIX}, **metadata)


def conv_by_hand(samples):
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
    rectified = np.maximum(frames @ KERNEL[:, 0].T, 0)
    return rectified, rectified @ MIX[:, :, 0].T


def test_a_graph_that_takes_a_channel_axis_is_read(saved, by_utterance, check_encoder):
    encoder = load_encoder(saved(conv(["batch", 1, "samples"])) + "#rectified,out")
    assert [(x.index, x.name, x.dim, x.frame_rate) for x in encoder.layers] == [
        (0, "rectified", 5, 100.0),
        (1, "out", 7, 100.0),
    ]
    assert (encoder.sample_rate, encoder.min_samples, encoder.pads) == (RATE, 400, False)
    assert encoder.parameters == KERNEL.size + MIX.size
    waveforms = [noise(n, n) for n in (300, 1000, 3200, 3200)]
    layers = by_utterance(encoder, waveforms)
    for row, waveform in enumerate(waveforms[1:], start=1):
        for layer, expected in enumerate(conv_by_hand(waveform)):
            np.testing.assert_allclose(layers[layer][row], expected, atol=1e-5)
    check_encoder(encoder, waveforms)


@pytest.mark.parametrize(
    ("shape", "out"),
    [
        (["samples"], [5, None]),
        ([1, "samples"], [1, 5, None]),
        (["batch", "samples"], ["batch", 5, None]),
        (["batch", "samples", 1], ["batch", 5, None]),
    ],
)
def test_graphs_that_take_waveforms_of_any_rank_are_read(saved, by_utterance, shape, out):
    to, back = [1 if shape == ["samples"] else 0, 1, -1], [5, -1] if len(out) == 2 else [0, 5, -1]
    if len(shape) == 3:
        to = [0, 0, -1]
    nodes = [
        (
            "Transpose" if len(shape) == 3 else "Identity",
            "audio",
            "turned",
            {"perm": [0, 2, 1]} if len(shape) == 3 else {},
        ),
        ("Reshape", "turned to", "channels", {}),
        ("Conv", "channels kernel", "first", {"strides": [160]}),
        ("Relu", "first", "rectified", {}),
        ("Reshape", "rectified back", "out", {}),
    ]
    constants = {"to": np.array(to), "back": np.array(back), "kernel": KERNEL}
    encoder = load_encoder(saved(make(nodes, {"audio": shape}, {"out": out}, constants, sample_rate="8000")))
    assert [(x.name, x.dim, x.frame_rate) for x in encoder.layers] == [("out", 5, 50.0)]
    assert encoder.sample_rate == 8000
    waveforms = [noise(1600, seed) for seed in range(3)]
    for got, waveform in zip(by_utterance(encoder, waveforms)[0], waveforms, strict=True):
        np.testing.assert_allclose(got, conv_by_hand(waveform)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "bands"),
    [(["batch", 40, "time"], 40), (["batch", "time", 64], 64), ([1, 130, "time"], 130)],
)
def test_graphs_that_take_features_receive_log_mel(saved, by_utterance, check_encoder, shape, bands):
    model = make([("Mul", "mel two", "out", {})], {"mel": shape}, {"out": shape}, {"two": np.float32(2)})
    encoder = load_encoder(saved(model))
    assert [(x.name, x.dim, x.frame_rate) for x in encoder.layers] == [("out", bands, 100.0)]
    waveforms = [noise(n, n) for n in (1000, 3200, 3200)]
    bank = MelBank(bands, 400, 512 if bands <= 128 else 1024, RATE, torch.device("cpu"))
    for got, waveform in zip(by_utterance(encoder, waveforms)[0], waveforms, strict=True):
        expected = 2 * bank.log(torch.from_numpy(waveform).unfold(0, 400, 160))
        np.testing.assert_allclose(got, expected, atol=1e-4)
    check_encoder(encoder, waveforms)


def test_lengths_and_masks_are_filled_in(saved, by_utterance):
    nodes = [
        ("Cast", "mask", "ones", {"to": TensorProto.FLOAT}),
        ("Mul", "audio ones", "masked", {}),
        ("Cast", "lengths", "counts", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", "counts axis", "column", {}),
        ("Div", "masked column", "scaled", {}),
        ("ReduceSum", "scaled axis", "out", {"keepdims": 1}),
    ]
    inputs = {
        "lengths": (TensorProto.INT32, ["batch"]),
        "audio": ["batch", "samples"],
        "mask": (TensorProto.BOOL, ["batch", "samples"]),
    }
    encoder = load_encoder(saved(make(nodes, inputs, {"out": ["batch", 1]}, {"axis": np.array([1])})))
    waveforms = [noise(2000, 1), noise(2000, 2)]
    assert [(x.dim, x.frame_rate) for x in encoder.layers] == [(1, 0.0)]  # one vector per utterance
    for got, waveform in zip(by_utterance(encoder, waveforms)[0], waveforms, strict=True):
        np.testing.assert_allclose(got, [[waveform.mean()]], atol=1e-7)


def test_a_graph_with_batch_size_one_receives_utterances_one_by_one(saved, by_utterance, check_encoder):
    encoder = load_encoder(saved(conv([1, 1, "samples"])))
    waveforms = [noise(1600, seed) for seed in range(3)]
    check_encoder(encoder, waveforms)
    np.testing.assert_allclose(by_utterance(encoder, waveforms)[0][2], conv_by_hand(waveforms[2])[1], atol=1e-5)


@pytest.mark.parametrize("batch", [1, "batch"])
def test_audio_is_padded_to_a_fixed_length_and_its_frames_are_cut(saved, by_utterance, check_encoder, batch):
    """A fixed input of 4,000 samples gives 23 frames; 1,000 samples keep one frame for every 173.9 samples begun."""
    encoder = load_encoder(saved(conv([batch, 1, 4000])))
    assert (encoder.window_samples, encoder.min_samples, encoder.pads) == (4000, 400, True)
    assert encoder.cost_samples(1000) == 4000
    assert [(x.dim, x.frame_rate) for x in encoder.layers] == [(7, pytest.approx(23 * RATE / 4000))]
    waveforms = [noise(n, n) for n in (1000, 4000, 9000)]
    layers = by_utterance(encoder, waveforms)[0]
    assert [len(frames) for frames in layers] == [6, 23, 3 * 18]
    expected = conv_by_hand(np.pad(waveforms[0], (0, 3000)))[1]
    np.testing.assert_allclose(layers[0], expected[:6], atol=1e-5)
    check_encoder(encoder, waveforms)


def test_features_of_a_fixed_length_set_the_window(saved):
    model = make([("Relu", "mel", "out", {})], {"mel": ["batch", 20, 50]}, {"out": ["batch", 20, 50]}, {})
    encoder = load_encoder(saved(model))
    assert encoder.window_samples == 49 * 160 + 400
    assert [(x.dim, x.frame_rate) for x in encoder.layers] == [(20, pytest.approx(50 * RATE / 8240))]


def fixed(inner):
    """Return a graph of 4,000 samples, folded to a fixed shape in the graph."""
    return make(
        [("Reshape", "audio to", "out", {})], {"audio": [1, 4000]}, {"out": [1, *inner]}, {"to": np.array([1, *inner])}
    )


def test_a_fixed_graph_gives_an_embedding(saved):
    encoder = load_encoder(saved(fixed([4000])))
    assert [(x.dim, x.frame_rate) for x in encoder.layers] == [(4000, 0.0)]


def test_a_fixed_graph_without_a_measurable_time_axis_is_refused(saved):
    with pytest.raises(ModelError, match=r"the time axis of out \(1, 25, 160\) cannot be measured.*free length"):
        load_encoder(saved(fixed([25, 160])))


def transformer(blocks=2):
    """Return a front end, then pre-norm blocks of x + linear(gelu(linear(x))), gelu by its tanh formula, and a head."""
    nodes = [
        ("Conv", "audio kernel", "front", {"strides": [160]}),
        ("Transpose", "front", "x0", {"perm": [0, 2, 1]}),
        ("Add", "x0 bias", "x0b", {}),
    ]
    x = "x0b"
    for i in range(blocks):
        nodes += [
            ("MatMul", f"{x} w", f"up{i}", {}),
            ("Mul", f"up{i} up{i}", f"square{i}", {}),
            ("Add", f"up{i} square{i}", f"inner{i}", {}),  # computed from up, without a residual connection
            ("Tanh", f"inner{i}", f"gate{i}", {}),
            ("Add", f"gate{i} {x}" if i % 2 else f"{x} gate{i}", f"sum{i}", {}),
        ]
        x = f"sum{i}"
    nodes += [("MatMul", f"{x} head", "logits", {}), ("Shape", f"{x}", "size", {})]
    outputs = {"logits": ["batch", None, 3], "size": (TensorProto.INT64, [3])}
    initializers = {"kernel": KERNEL, "bias": weights(5), "w": weights(5, 5), "head": weights(5, 3)}
    return make(nodes, {"audio": ["batch", 1, "samples"]}, outputs, initializers)


def test_residual_sums_are_the_layers(saved, check_encoder):
    assert residual_stream(transformer(3).graph) == ["x0b", "sum0", "sum1", "sum2"]
    encoder = load_encoder(saved(transformer()))
    assert [(x.name, x.dim) for x in encoder.layers] == [("x0b", 5), ("sum0", 5), ("sum1", 5), ("logits", 3)]
    check_encoder(encoder, [noise(n, n) for n in (400, 3200, 3200)])


def test_outputs_are_the_layers_of_a_graph_with_one_residual_sum(saved):
    assert layer_names(transformer(1), "") == ["logits", "size"]
    assert [x.name for x in load_encoder(saved(transformer(1))).layers] == ["logits"]


def test_the_input_of_a_graph_is_not_a_layer():
    nodes = [
        ("MatMul", "audio w", "a", {}),
        ("Add", "audio a", "b", {}),
        ("MatMul", "b w", "c", {}),
        ("Add", "b c", "d", {}),
    ]
    model = make(nodes, {"audio": ["t", 4]}, {"d": ["t", 4]}, {"w": weights(4, 4)})
    assert residual_stream(model.graph) == ["audio", "b", "d"]
    assert layer_names(model, "") == ["b", "d"]


def test_weights_in_initializers_and_constants_are_counted():
    model = conv(["batch", 1, "samples"])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(weights(3, 4)))
    model.graph.node.append(constant)
    model.graph.initializer.append(numpy_helper.from_array(np.arange(9), "whole_numbers"))
    assert count_weights(model.graph) == KERNEL.size + MIX.size + 12


@pytest.mark.parametrize(
    ("dims", "time", "bands"),
    [
        ((None,), 0, 0),
        ((None, 16_000), 1, 0),
        ((1, 1, None), 2, 0),
        ((None, None, 1), 1, 0),
        ((None, 80, None), 2, 80),
        ((1, None, 80), 1, 80),
        ((1, 80, 3000), 2, 80),
        ((1, 998, 128), 1, 128),
    ],
)
def test_time_and_bands_of_an_input_follow_from_its_shape(dims, time, bands):
    form = read_form("x", dims)
    assert (form.time, form.bands) == (time, bands)


@pytest.mark.parametrize("dims", [(), (None, None, None), (None, 3, None), (None, None, 768), (None, 1, 80, None)])
def test_inputs_that_are_not_audio_are_refused(dims):
    with pytest.raises(ModelError, match=r"expected an input of samples \(batch, samples\) or log-mel .*, got x \["):
        read_form("x", dims)


RELU = [("Relu", "x", "out", {})]


@pytest.mark.parametrize(
    ("model", "pattern", "message"),
    [
        (conv(["b", 1, "s"]), "#rect", r"no tensor is named like rect; the nearest names are rectified"),
        (conv([4, 1, "s"]), "", r"expected a free batch axis, or one of size 1, got 4 in audio"),
        (
            conv(["b", 1, "s"], sample_rate="fast"),
            "",
            r"expected the metadata's sample_rate to be a whole number of Hz",
        ),
        (transformer(), "#size", r"expected tensors of floating point, got size; pick others with #PATTERN"),
        (
            make([("Add", "x h", "out", {})], {"x": ["b", "t"], "h": ["b", "t"]}, {"out": ["b", "t"]}, {}),
            "",
            r"expected one input of audio, and lengths or masks, got x, h",
        ),
        (
            make(RELU, {"x": ["b", "t"], "rate": (TensorProto.INT64, [])}, {"out": ["b", "t"]}, {}),
            "",
            r"expected one input of audio, and lengths or masks, got x, rate",
        ),
        (
            make([("MatMul", "x w", "out", {})], {"x": ["b", "t"]}, {"out": ["b", 2]}, {"w": weights(7, 2)}),
            "",
            r"the model fails on 1 × 16000 samples of noise \(RuntimeError: ",
        ),
        (
            make(
                [("NonZero", "x", "at", {}), ("Cast", "at", "out", {"to": 1})], {"x": ["b", "t"]}, {"out": [2, "n"]}, {}
            ),
            "",
            r"out: expected one axis that follows the number of utterances",
        ),
    ],
)
def test_graphs_that_cannot_be_used_are_refused(saved, model, pattern, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(saved(model) + pattern)


def test_files_that_cannot_be_read_are_refused(tmp_path, saved):
    for name in ("nothing.onnx", ""):
        with pytest.raises(ModelError, match=r"cannot read .* \((No such file|Is a directory).*; give the path of an"):
            load_encoder(f"onnx:{name and tmp_path / name}")
    saved(conv(["b", 1, "s"]))
    path = tmp_path / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"not an ONNX graph that can be read \(.*\); export it again"):
        load_encoder(f"onnx:{path}")


def with_external_weights(model, location):
    """Move the weights of a graph to a file beside it, or elsewhere."""
    for tensor in model.graph.initializer:
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="length", value=str(len(tensor.raw_data)))
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
    return model


def test_weights_beside_the_graph_are_read(saved, tmp_path, by_utterance):
    nodes = [("Conv", "audio kernel", "out", {"strides": [160]})]
    model = make(nodes, {"audio": ["b", 1, "s"]}, {"out": ["b", 5, None]}, {"kernel": KERNEL})
    (tmp_path / "weights.bin").write_bytes(KERNEL.tobytes())
    encoder = load_encoder(saved(with_external_weights(model, "weights.bin")))
    frames = np.lib.stride_tricks.sliding_window_view(noise(1600), 400)[::160]
    np.testing.assert_allclose(by_utterance(encoder, [noise(1600)])[0][0], frames @ KERNEL[:, 0].T, atol=1e-5)


def test_weights_outside_the_folder_are_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    folder = tmp_path / "model"
    folder.mkdir()
    for location in ("../secret.bin", str(tmp_path / "secret.bin")):
        (folder / "model.onnx").write_bytes(with_external_weights(conv(["b", 1, "s"]), location).SerializeToString())
        with pytest.raises(ModelError, match="not an ONNX graph that can be read"):
            load_encoder(f"onnx:{folder / 'model.onnx'}")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_an_error_names_the_extra_when_a_package_is_missing(saved, monkeypatch, package):
    spec = saved(conv(["b", 1, "s"]))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=r"run: pip install 'voxrank\[onnx\]'"):
        load_encoder(spec)
