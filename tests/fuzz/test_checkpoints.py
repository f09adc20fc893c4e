"""Any files of a model give an encoder, or a one-line reason."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import transformers as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import fairseq_files
import hf_models as models
import nemo_files
from ct2_files import entries_of, file_of
from voxrank.encoders.registry import load_encoder
from voxrank.errors import SketchError, VoxrankError
from voxrank.sketches.moments import Moments
from voxrank.sketches.store import load_sketches, save_sketches

one_thread = models.one_thread
pytestmark = pytest.mark.timeout(60)
FUZZ = settings(
    max_examples=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check_line(message):
    assert len(message.splitlines()) == 1


def load(spec):
    try:
        load_encoder(str(spec))
    except VoxrankError as error:
        check_line(str(error))


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    model, extractor = models.build("hubert-group")
    return Path(models.save(tmp_path_factory.mktemp("whole") / "hubert", model, extractor))


@pytest.fixture
def copied(hubert, tmp_path):
    """Return a function that returns a fresh copy with one file replaced."""

    def copy(name, content):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(hubert, folder)
        (folder / name).write_bytes(content)
        return folder

    return copy


@FUZZ
@given(data=st.data())
def test_safetensors_that_are_nearly_right_are_loaded_or_refused(copied, hubert, mutated, data):
    whole = (hubert / "model.safetensors").read_bytes()
    length = 8 + struct.unpack("<Q", whole[:8])[0]
    header = data.draw(mutated(whole[:length], alphabet=[b'"F32"', b'"shape":[', b"99999999999", b"-1", b"{", b"]"]))
    load(copied("model.safetensors", header + whole[length:]))


SETTINGS = st.sampled_from([0, -1, 1, 2.5, 10**9, 10**12, 10**400, "x", "", None, True, [], [0], {}, {"": 1}, "a/b"])


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@FUZZ
@given(data=st.data())
def test_settings_of_any_value_are_loaded_or_refused(copied, hubert, name, data):
    whole = json.loads((hubert / name).read_text())
    more = [
        "is_encoder_decoder",
        "encoder_config",
        "architectures",
        "attn_implementation",
        "quantization_config",
        "return_dict",
        "auto_map",
        "num_labels",
        "n_fft",
        "_name_or_path",
    ]
    keys = data.draw(st.lists(st.sampled_from([*whole, *more]), min_size=1, max_size=2))
    load(copied(name, json.dumps(whole | {key: data.draw(SETTINGS) for key in keys}).encode()))


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@FUZZ
@given(data=st.data())
def test_settings_that_are_nearly_json_are_loaded_or_refused(copied, hubert, mutated, name, data):
    load(copied(name, data.draw(mutated((hubert / name).read_bytes(), alphabet=[b"{", b"[", b'"', b"1e999", b"\xff"]))))


@pytest.fixture(scope="module")
def model_bin():
    model = tf.WhisperModel(models.whisper_config(max_source_positions=100)).eval()
    return file_of(entries_of(model, "int8"))


@settings(FUZZ, max_examples=80)
@given(data=st.data())
def test_ct2_files_that_are_nearly_right_are_loaded_or_refused(tmp_path, model_bin, mutated, data):
    path = tmp_path / "model.bin"
    names = [b"encoder/num_heads", b"encoder/conv1/weight", b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"]
    path.write_bytes(data.draw(mutated(model_bin, most=3, alphabet=names)))
    load(f"ct2:{tmp_path}")


@pytest.fixture(scope="module", params=[True, False])
def fairseq_pt(request, tmp_path_factory):
    content = fairseq_files.content_of("hubert", fairseq_files.build("hubert"), form="args")
    return Path(
        fairseq_files.save(tmp_path_factory.mktemp("fairseq") / "model.pt", content, zipped=request.param)
    ).read_bytes()


@settings(FUZZ, max_examples=80)
@given(data=st.data())
def test_fairseq_files_that_are_nearly_right_are_loaded_or_refused(tmp_path, fairseq_pt, mutated, data):
    names = [b"cposix\nsystem\n", b"R", b"b", b"c__builtin__\neval\n", b"encoder_layers", b"\x00\x00\xc0\x7f", b"."]
    (tmp_path / "model.pt").write_bytes(data.draw(mutated(fairseq_pt, most=3, alphabet=names)))
    load(str(tmp_path / "model.pt"))


@pytest.mark.parametrize("field", ["encoder_layers", "conv_pos", "conv_feature_layers", "layer_norm_first", "arch"])
@settings(FUZZ, max_examples=20)
@given(data=st.data())
def test_fairseq_settings_of_any_value_are_loaded_or_refused(tmp_path, field, data):
    content = fairseq_files.content_of("hubert", fairseq_files.build("hubert"), form="args")
    setattr(content["args"], field, data.draw(SETTINGS))
    load(fairseq_files.save(tmp_path / "model.pt", content))


@settings(FUZZ, max_examples=40)
@given(data=st.data())
def test_nemo_files_that_are_nearly_right_are_loaded_or_refused(tmp_path, mutated, data):
    path = tmp_path / "model.nemo"
    names = [nemo_files.CONFIG.encode(), nemo_files.WEIGHTS.encode(), b"PK\x01\x02", b"\x80\x02", b"ustar"]
    whole = nemo_files.stored(data.draw(st.sampled_from(["fastconformer_tdt", "conformer_rnnt"]))).read_bytes()
    path.write_bytes(data.draw(mutated(whole, most=3, alphabet=names)))
    load(path)


@pytest.mark.parametrize("section", ["encoder", "preprocessor"])
@settings(FUZZ, max_examples=40)
@given(data=st.data())
def test_nemo_settings_of_any_value_are_loaded_or_refused(tmp_path, section, data):
    config, weights = nemo_files.read("fastconformer_ctc")
    more = ["att_context_size", "att_context_style", "conv_context_size", "conv_norm_type", "global_tokens", "use_bias"]
    more += ["n_window_size", "mag_power", "preemph", "log_zero_guard_value", "exact_pad", "mel_norm", "highfreq"]
    keys = data.draw(st.lists(st.sampled_from([*config[section], *more]), min_size=1, max_size=3))
    values = SETTINGS | st.sampled_from([2, 1000, 0.5, [1, 2], [[1, 1]], [-1, 3], -3, 1e-30, "1e-5", "causal"])
    config[section] |= {key: data.draw(values) for key in keys}
    load(nemo_files.save(tmp_path / "model.nemo", config, weights))


@pytest.fixture(scope="module")
def graph():
    """Return the bytes of an ONNX graph with a convolution, a residual connection and metadata."""
    rng = np.random.default_rng(0)
    weights = {
        "front": rng.normal(size=(4, 1, 320)).astype(np.float32),
        "inner": rng.normal(size=(4, 4, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["audio", "front"], ["a"], strides=[160]),
        helper.make_node("Conv", ["a", "inner"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Transpose", ["c"], ["out"], perm=[0, 2, 1]),
    ]
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "g",
        [value("audio", TensorProto.FLOAT, ["batch", 1, "samples"])],
        [value("out", TensorProto.FLOAT, ["batch", "time", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="sample_rate", value="16000")
    return model.SerializeToString()


@settings(FUZZ, max_examples=80)
@given(data=st.data())
def test_onnx_files_that_are_nearly_right_are_loaded_or_refused(tmp_path, graph, mutated, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data.draw(mutated(graph, most=3, alphabet=[b"Loop", b"Add", b"sample_rate", b"16000"])))
    load(f"onnx:{path}{data.draw(st.sampled_from(['', '#*', '#out']))}")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.graph.initializer[0].dims.append(10**12),
        lambda m: m.graph.initializer[0].ClearField("raw_data"),
        lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"),
        lambda m: m.graph.input[0].type.tensor_type.ClearField("elem_type"),
        lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent(),
        lambda m: setattr(m.metadata_props[0], "value", "9" * 10),
        lambda m: setattr(m.metadata_props[0], "value", "9" * 10_000),
        lambda m: setattr(m.metadata_props[0], "value", "1"),
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 10**15),
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", -5),
        lambda m: m.graph.ClearField("output"),
        lambda m: m.graph.ClearField("node"),
        lambda m: m.opset_import[0].__setattr__("version", 10**6),
    ],
)
def test_onnx_graphs_that_contradict_themselves_are_loaded_or_refused(tmp_path, graph, change):
    model = onnx.load_model_from_string(graph)
    change(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    load(f"onnx:{tmp_path / 'm.onnx'}")


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_sketches_that_are_nearly_right_are_loaded_or_refused(tmp_path, mutated, data):
    path = tmp_path / "s.safetensors"
    sketches = {0: Moments.zeros(3, 2), 4: Moments.zeros(3, 2)}
    save_sketches(path, sketches, dict[int, Moments])
    alphabet = [b'"tensor"', b"null", b"[[[", b'"F64"', b"999999999999", b"NaN", b"1e999", b'\\"']
    path.write_bytes(data.draw(mutated(path.read_bytes(), alphabet=alphabet)))
    try:
        load_sketches(path, dict[int, Moments])
    except SketchError as error:
        check_line(str(error))
