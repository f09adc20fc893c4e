"""Every family that transformers loads: its own hidden states, valid frames only, and no influence of padding."""

import weakref
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_models as models
from voxrank.config import EncoderOptions
from voxrank.encoders import hidden_states
from voxrank.encoders.base import LayerFrames
from voxrank.encoders.padding import leaks
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

one_thread = models.one_thread


def strided(shortest, hop):
    return lambda samples: (samples - shortest) // hop + 1


WAVEFORM = {
    "module": "", "blocks": "encoder.layers", "norm": None,
    "shortest": 400, "rate": 50.0, "frames": strided(400, 320), "pads": True,
}  # fmt: skip
STABLE = {**WAVEFORM, "norm": "encoder.layer_norm"}
WHISPER = {
    "module": "model.encoder", "blocks": "layers", "norm": "layer_norm",
    "shortest": 320, "rate": 50.0, "frames": lambda n: -(-n // 320), "pads": False,
}  # fmt: skip
PARAKEET = {
    "module": "encoder", "blocks": "layers", "norm": None,
    "shortest": 320, "rate": 12.5, "frames": lambda n: -(-(n // 160) // 8), "pads": True,
}  # fmt: skip
FACTS = {
    "wav2vec2-group": WAVEFORM,
    "wav2vec2-layer": STABLE,
    "hubert-group": WAVEFORM,
    "hubert-layer": STABLE,
    "wavlm-group": WAVEFORM,
    "wavlm-layer": STABLE,
    "data2vec": WAVEFORM,
    "unispeech-sat": WAVEFORM,
    # squeezes pairs of frames; a pair across the end of an utterance is attended to
    "sew": WAVEFORM | {"shortest": 720, "rate": 25.0, "frames": strided(720, 640), "pads": False},
    "conformer-relative": STABLE,
    "conformer-rotary": STABLE,
    "wav2vec2-bert": WAVEFORM | {"shortest": 560, "frames": strided(560, 320)},
    "whisper": WHISPER,
    "whisper-encoder-only": WHISPER | {"module": "encoder"},
    # normalises over time between its convolutions
    "moonshine": {
        "module": "model.encoder", "blocks": "layers", "norm": "layer_norm",
        "shortest": 895, "rate": 125 / 3, "frames": strided(895, 384), "pads": False,
    },
    "parakeet-ctc": PARAKEET,
    "parakeet-rnnt": PARAKEET,
    "parakeet-tdt": PARAKEET,
    "ast": {
        "module": "audio_spectrogram_transformer", "blocks": "layers", "norm": "layernorm",
        "shortest": 400, "rate": 10.0, "frames": lambda n: min(12, -(-((n - 400) // 160 + 1) // 10)), "pads": True,
    },
}  # fmt: skip
FAMILIES = list(FACTS)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a function that returns the directory of a saved family."""
    saved = {}

    def save(family):
        if family not in saved:
            saved[family] = models.save(tmp_path_factory.mktemp(family), *models.build(family))
        return saved[family]

    return save


@pytest.fixture(scope="module")
def load(directory):
    """Return a function that returns the encoder of a family."""
    loaded = {}

    def load_once(family):
        if family not in loaded:
            loaded[family] = load_encoder(directory(family))
        return loaded[family]

    return load_once


def encode(encoder, waveforms):
    """Return the frames (frames, dim) of each waveform: [waveform][layer]."""
    frames = [[[] for _ in encoder.layers] for _ in waveforms]
    for piece in encoder.encode(waveforms):
        parts = piece.frames.split(piece.lengths)
        for utterance, part in zip(frames, parts, strict=True):
            utterance[piece.layer].append(part)
    return [[torch.cat(parts) for parts in utterance] for utterance in frames]


def own_hidden_states(family, waveform):
    """Return the hidden states of one waveform from the family's own code, recorded with hooks."""
    facts = FACTS[family]
    whole, extractor = models.build(family)
    module = attrgetter(facts["module"])(whole) if facts["module"] else whole
    blocks = attrgetter(facts["blocks"])(module)
    states = []
    blocks[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    for block in blocks:
        block.register_forward_hook(lambda _, __, out: states.append(out[0] if isinstance(out, tuple) else out))
    limit = {"max_length": 32_000} if family.startswith("whisper") else {}
    inputs = extractor(waveform, sampling_rate=models.RATE, return_tensors="pt", **limit)
    mask = {"attention_mask": inputs["attention_mask"]} if family.startswith(("parakeet", "wav2vec2-bert")) else {}
    with torch.inference_mode():
        module(inputs[module.main_input_name], **mask)
        states[-1] = attrgetter(facts["norm"])(module)(states[-1]) if facts["norm"] else states[-1]
    if family == "ast":  # two special tokens, then 5 bands of 12 positions
        states = [torch.stack([state[:, 2:][:, t::12].mean(1) for t in range(12)], dim=1) for state in states]
    return [state[0, : facts["frames"](len(waveform))] for state in states], module


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_equal_the_hidden_states_of_the_model(directory, family):
    encoder, facts = load_encoder(directory(family), EncoderOptions(whisper_window="full")), FACTS[family]
    waveform = models.speech_like(9_999)
    expected, module = own_hidden_states(family, waveform)
    (frames,) = encode(encoder, [waveform])
    assert len(frames) == models.BLOCKS + 1
    for mine, theirs in zip(frames, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    assert [(layer.index, layer.name) for layer in encoder.layers] == [
        (0, "input"), (1, "block 1"), (2, "block 2"), (3, "block 3"),
    ]  # fmt: skip
    assert {layer.dim for layer in encoder.layers} == {models.HIDDEN}
    assert [layer.frame_rate for layer in encoder.layers] == pytest.approx([facts["rate"]] * 4, rel=1e-12)
    assert encoder.parameters == sum(p.numel() for p in module.parameters())  # without decoder and head


@pytest.mark.parametrize("family", FAMILIES)
def test_the_number_of_frames_follows_the_formula_of_the_family(load, family):
    encoder, facts = load(family), FACTS[family]
    assert encoder.min_samples == facts["shortest"]
    assert encoder.pads is facts["pads"]
    lengths = [facts["shortest"] + more for more in (0, 1, 159, 320, 641, 3_999)]
    frames = encode(encoder, [models.speech_like(n, seed=n) for n in lengths])
    assert [[len(layer) for layer in layers] for layers in frames] == [[facts["frames"](n)] * 4 for n in lengths]
    assert all(layer.dtype == torch.float32 and layer.isfinite().all() for layers in frames for layer in layers)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=5, deadline=None, derandomize=True, database=None)
@given(lengths=st.lists(st.integers(1, 20_000), min_size=2, max_size=5))
def test_an_utterance_has_the_same_frames_alone_and_in_any_batch(load, family, lengths):
    encoder = load(family)
    waveforms = [models.speech_like(n, seed=i) for i, n in enumerate(lengths)]
    for waveform, together in zip(waveforms, encode(encoder, waveforms), strict=True):
        (alone,) = encode(encoder, [waveform])
        for layer, expected in zip(together, alone, strict=True):
            assert layer.shape == expected.shape
            torch.testing.assert_close(layer, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["wav2vec2-group", "hubert-layer", "data2vec"])
def test_a_front_end_gives_the_same_output_alone_and_in_a_batch(load, family):
    encoder = load(family)
    waveforms = [models.speech_like(n, seed=n) for n in (4_000, 11_111)]
    front = encoder._model.feature_extractor
    encoder._lengths.steps = [4_000, 11_111]
    with torch.inference_mode():
        rows = front(torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waveforms], batch_first=True))
        for row, waveform in zip(rows, waveforms, strict=True):
            alone = front.front(torch.from_numpy(waveform)[None])[0]
            assert torch.equal(row[:, : alone.shape[1]], alone)


@pytest.mark.parametrize("family", ["wav2vec2-group", "hubert-group", "data2vec", "conformer-relative"])
def test_padding_is_not_used_if_it_changes_the_frames(monkeypatch, directory, family):
    monkeypatch.setattr(hidden_states, "keep_padding_out", lambda model, lengths: None)
    encoder = load_encoder(directory(family))
    assert not encoder.pads
    waveforms = [models.speech_like(n, seed=n) for n in (5_000, 3_333)]
    for waveform, together in zip(waveforms, encode(encoder, waveforms), strict=True):
        (alone,) = encode(encoder, [waveform])
        for layer, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(layer, expected, atol=1e-5, rtol=0)


def pieces(frames, lengths):
    return [LayerFrames(0, frames, lengths)]


def test_leaks_finds_a_small_change_beside_large_features():
    rng = torch.Generator().manual_seed(0)
    frames = torch.randn(7, 16, generator=rng)
    frames[:, 3] = 1e4
    alone = [pieces(frames[:4], (4,)), pieces(frames[4:], (3,))]
    assert not leaks(alone, pieces(frames, (4, 3)))
    noise = 1e-6 * torch.randn(7, 16, generator=rng) * frames.abs()
    assert not leaks(alone, pieces(frames + noise, (4, 3)))
    changed = frames.clone()
    changed[3] += 0.01 * torch.randn(16, generator=rng)
    assert leaks(alone, pieces(changed, (4, 3)))
    assert leaks(alone, pieces(frames, (3, 4)))
    assert leaks(alone, pieces(frames * torch.nan, (4, 3)))


def test_each_utterance_is_normalised_over_its_own_length(load):
    encoder = load("wav2vec2-layer")
    quiet, loud = models.speech_like(6_000), models.speech_like(15_000, seed=1)
    (plain, _), (changed, _) = encode(encoder, [quiet, loud]), encode(encoder, [7 * quiet + 0.5, loud])
    for layer, expected in zip(changed, plain, strict=True):
        torch.testing.assert_close(layer, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("family", ["wav2vec2-group", "parakeet-tdt", "whisper"])
def test_loading_and_encoding_print_nothing_and_are_deterministic(directory, capfd, family):
    folder = directory(family)
    capfd.readouterr()  # transformers draws a progress bar while the checkpoint is written
    encoder: Any = load_encoder(folder)
    expected = torch.random.get_rng_state()
    first = encode(encoder, [models.speech_like(8_000)])
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert all(map(torch.equal, first[0], encode(encoder, [models.speech_like(8_000)])[0]))
    assert capfd.readouterr() == ("", "")
    assert not any(p.requires_grad for p in encoder._model.parameters())
    assert not any(module.training for module in encoder._model.modules())


@pytest.mark.parametrize("family", ["whisper", "moonshine", "parakeet-rnnt"])
def test_no_decoder_is_kept(load, family):
    assert not [name for name, _ in load(family)._model.named_parameters() if "decoder" in name or "joint" in name]


@pytest.mark.parametrize("family", ["hubert-layer", "whisper", "ast"])
def test_the_memory_of_a_layer_is_freed_after_it_is_yielded(load, family):
    encoder = load(family)
    stream = encoder.encode([models.speech_like(5_000), models.speech_like(9_000)])
    before = None
    for piece in stream:
        assert before is None or before() is None
        before = weakref.ref(piece.frames)
        del piece


def test_hidden_states_inside_the_model_are_freed_after_use(load):
    encoder, states = load("hubert-layer"), []
    hooks = [
        block.register_forward_hook(lambda _, __, out: states.append(weakref.ref(out)))
        for block in encoder._model.encoder.layers
    ]
    for piece in encoder.encode([models.speech_like(9_000), models.speech_like(5_000)]):
        kept = [state() is not None for state in states]
        assert kept == [block > piece.layer for block in range(1, 3)] + [False]  # the last one is a normalised copy
    for hook in hooks:
        hook.remove()


def test_windows_of_long_audio_are_encoded_independently(directory):
    encoder = load_encoder(directory("wav2vec2-group"), EncoderOptions(window_s=0.5))
    assert encoder.window_samples == 8_000
    waveform = models.speech_like(20_000)
    (whole,) = encode(encoder, [waveform])
    windows = encode(encoder, np.split(waveform, [6_667, 13_334]))
    for layer, parts in enumerate(zip(*windows, strict=True)):
        torch.testing.assert_close(whole[layer], torch.cat(parts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", ["wav2vec2-real-groups", "parakeet-ctc", "whisper", "ast"])
def test_features_in_half_precision_are_close_to_those_in_float32(directory, load, family, dtype):
    half: Any = load_encoder(directory(family), EncoderOptions(dtype=dtype))
    waveforms = [models.speech_like(7_000), models.speech_like(4_000, seed=1)]
    assert half.notes or next(half._model.parameters()).dtype == getattr(torch, dtype)
    for mine, exact in zip(encode(half, waveforms), encode(load(family), waveforms), strict=True):
        for layer, expected in zip(mine, exact, strict=True):
            assert layer.dtype == torch.float32
            assert (layer - expected).norm() < 0.05 * expected.norm()


def test_an_adapter_after_the_last_block_is_left_out(tmp_path, load):
    torch.manual_seed(0)
    model, extractor = models.build("wav2vec2-layer")
    config = tf.Wav2Vec2Config(**model.config.to_dict() | {"add_adapter": True})
    adapted = tf.Wav2Vec2Model(config)
    adapted.load_state_dict(model.state_dict(), strict=False)
    encoder = load_encoder(models.save(tmp_path, adapted, extractor))
    waveform = models.speech_like(5_000)
    for layer, expected in zip(*encode(encoder, [waveform]), *encode(load("wav2vec2-layer"), [waveform]), strict=True):
        assert torch.equal(layer, expected)


def save_as(form, model, place):
    """Save a HuBERT as a torch file, with the names of older torch, in shards, or below a fine-tuned head."""
    if form == "shards":
        model.save_pretrained(place, max_shard_size="40KB")
        assert len(list(place.glob("*.safetensors"))) > 1
        return
    if form == "head":
        whole = tf.HubertForCTC(model.config)
        whole.hubert = model
        whole.save_pretrained(place)
        return
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    names = {name: name for name in model.state_dict()}
    if form == "old names":
        for new, before in old.items():
            names |= {name: name.replace(new, before) for name in names if new in name}
        assert set(names) != set(names.values())
    model.config.save_pretrained(place)
    torch.save({names[name]: weight for name, weight in model.state_dict().items()}, place / "pytorch_model.bin")


@pytest.mark.parametrize("form", ["torch", "old names", "shards", "head"])
def test_weights_in_other_formats_give_the_same_features(tmp_path, load, form):
    model, extractor = models.build("hubert-group")
    extractor.save_pretrained(tmp_path)
    save_as(form, model, tmp_path)
    waveform = models.speech_like(5_000)
    encoder = load_encoder(str(tmp_path))
    assert encoder.parameters == load("hubert-group").parameters
    for layer, expected in zip(*encode(encoder, [waveform]), *encode(load("hubert-group"), [waveform]), strict=True):
        assert torch.equal(layer, expected)


def test_safetensors_are_preferred_to_torch_files(tmp_path, load):
    directory = models.save(tmp_path, *models.build("hubert-group"))
    (tmp_path / "pytorch_model.bin").write_bytes(b"not a torch file")
    assert load_encoder(directory).parameters == load("hubert-group").parameters


def test_code_of_a_model_runs_only_when_the_model_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    model, extractor = models.build("wav2vec2-group")
    place = Path(models.save(tmp_path / "own-code", model, extractor))
    (place / "own_code.py").write_text(
        "from transformers import Wav2Vec2Config, Wav2Vec2Model\n"
        "class OwnConfig(Wav2Vec2Config):\n    model_type = 'own'\n"
        "class OwnModel(Wav2Vec2Model):\n    config_class = OwnConfig\n"
    )
    config = model.config.to_dict() | {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own_code.OwnConfig", "AutoModel": "own_code.OwnModel"},
    }
    (place / "config.json").write_text(tf.Wav2Vec2Config(**config).to_json_string().replace('"wav2vec2"', '"own"'))
    with pytest.raises(ModelError, match=f"runs its own code: .* --trust-remote-code {place}$"):
        load_encoder(str(place))
    with pytest.raises(ModelError, match="runs its own code"):
        load_encoder(str(place), EncoderOptions(trust_remote_code=("another/model",)))
    encoder: Any = load_encoder(str(place), EncoderOptions(trust_remote_code=(str(place),)))
    assert type(encoder._model).__name__ == "OwnModel"
