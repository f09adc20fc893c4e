"""Whisper: its spectrogram without computing silence, its full window, and the window cut to the audio."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hf_models as models
from voxrank.cache.keys import model_key
from voxrank.config import EncoderOptions
from voxrank.encoders.registry import load_encoder
from voxrank.encoders.whisper import DYNAMIC_RANGE, SILENCE, log_mel
from voxrank.encoders.whisper_window import WindowRule

one_thread = models.one_thread

FULL_SAMPLES = 480_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return Whisper's 30-s window around a tiny random model, saved with encoder and decoder."""
    torch.manual_seed(0)
    model = tf.WhisperForConditionalGeneration(models.whisper_config()).eval()
    return models.save(tmp_path_factory.mktemp("whisper"), model, tf.WhisperFeatureExtractor()), model.model.encoder


@pytest.fixture(scope="module")
def full(tiny):
    return load_encoder(tiny[0], EncoderOptions(whisper_window="full"))


@pytest.fixture(scope="module")
def auto(tiny):
    return load_encoder(tiny[0])


@pytest.fixture(scope="module")
def fit(tiny):
    return load_encoder(tiny[0], EncoderOptions(whisper_window="fit"))


def test_constants_are_those_of_the_extractor():
    assert math.isclose(SILENCE, (math.log10(1e-10) + 4) / 4)
    silence = tf.WhisperFeatureExtractor()(np.zeros(1600, np.float32), sampling_rate=16_000)["input_features"]
    assert np.all(silence == SILENCE)
    click = np.zeros(1600, np.float32)
    click[800] = 1.0
    loud = tf.WhisperFeatureExtractor()(click, sampling_rate=16_000)["input_features"]
    assert math.isclose(loud.max() - loud.min(), DYNAMIC_RANGE, rel_tol=1e-6)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(samples=st.integers(1, FULL_SAMPLES), level=st.sampled_from([0.0, 1e-6, 1e-3, 1.0]))
@example(samples=1, level=1.0)
@example(samples=320, level=1.0)
@example(samples=FULL_SAMPLES - 401, level=1.0)
@example(samples=FULL_SAMPLES, level=1.0)
def test_log_mel_equals_the_extractor_on_the_padded_window(samples, level):
    extractor = tf.WhisperFeatureExtractor()
    window = level * models.speech_like(samples, seed=samples)
    expected = extractor(window, sampling_rate=16_000, return_tensors="pt")["input_features"][0]
    torch.testing.assert_close(log_mel(extractor, window, 3000), expected, atol=1e-5, rtol=0)


def test_the_full_window_gives_the_frames_of_the_model_on_30_s(tiny, full):
    assert (full.pads, full.window_samples, full.min_samples) == (True, FULL_SAMPLES, 320)
    assert {full.cost_samples(n) for n in (1, 16_000, FULL_SAMPLES)} == {FULL_SAMPLES}
    lengths = [1, 320, 321, 50_000]
    waveforms = [models.speech_like(n, seed=n) for n in lengths]
    inputs = tf.WhisperFeatureExtractor()(waveforms, sampling_rate=16_000, return_tensors="pt")["input_features"]
    with torch.inference_mode():
        expected = tiny[1](inputs, output_hidden_states=True).hidden_states
    frames = [1, 1, 2, 157]
    encoded = {piece.layer: (piece.frames, piece.lengths) for piece in _whole_batch(full, waveforms)}
    assert list(encoded) == [0, 1, 2, 3]
    for layer, states in enumerate(expected):
        assert encoded[layer][1] == tuple(frames)
        kept = torch.cat([state[:count] for state, count in zip(states, frames, strict=True)])
        torch.testing.assert_close(encoded[layer][0], kept, atol=1e-5, rtol=1e-5)


def _whole_batch(encoder, waveforms):
    encoder.budget_samples = FULL_SAMPLES * len(waveforms)
    return encoder.encode(waveforms)


@pytest.mark.parametrize("samples", [320, 16_000, 16_001, 40_000])
def test_fit_equals_a_model_built_for_the_shorter_window(tiny, fit, samples):
    positions = -(-samples // 320)
    check_as_shorter_model(fit, tiny[1], samples, positions)


def check_as_shorter_model(encoder, model, samples, positions):
    """Compare with a model that has a shorter position table and takes a spectrogram cut to the same length."""
    reference = type(model)(models.whisper_config(max_source_positions=positions)).eval()
    state = model.state_dict()
    state["embed_positions.weight"] = state["embed_positions.weight"][:positions]
    reference.load_state_dict(state)
    window = models.speech_like(samples)
    mel = tf.WhisperFeatureExtractor()(window, sampling_rate=16_000, return_tensors="pt")["input_features"]
    with torch.inference_mode():
        expected = reference(mel[..., : 2 * positions], output_hidden_states=True).hidden_states
    frames = -(-samples // 320)
    for piece, states in zip(encoder.encode([window]), expected, strict=True):
        assert piece.lengths == (frames,)
        torch.testing.assert_close(piece.frames, states[0, :frames], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("samples", "positions"), [(320, 75), (8_000, 75), (8_320, 100), (464_000, 1500)])
def test_a_margin_is_computed_as_in_a_model_built_for_that_window(tiny, samples, positions):
    encoder: Any = load_encoder(tiny[0], EncoderOptions(whisper_window="fit"))
    encoder.rule = WindowRule(margin=50, step=25)
    assert encoder.cost_samples(samples) == positions * 320
    check_as_shorter_model(encoder, tiny[1], samples, positions)


def test_windows_of_different_kinds_have_different_keys(tiny, full, fit, auto):
    kinds = {"full": full, "fit": fit, "auto": auto}
    keys = {model_key(encoder, EncoderOptions(whisper_window=kind)) for kind, encoder in kinds.items()}
    assert len(keys) == 3
    other: Any = load_encoder(tiny[0])
    other.rule = WindowRule(margin=50, step=25, spans=True)
    assert model_key(other, EncoderOptions()) not in keys


def test_fit_shares_a_pass_among_equal_lengths_only(fit):
    assert not fit.pads
    assert fit.cost_samples(16_000) == 16_000
    equal = [models.speech_like(8_000, seed=i) for i in range(3)]
    assert [piece.lengths for piece in fit.encode(equal)] == [(25, 25, 25)] * 4
    mixed = [models.speech_like(n) for n in (8_000, 4_000)]
    assert [piece.lengths for piece in fit.encode(mixed)] == [(25, 0)] * 4 + [(0, 13)] * 4


def test_fit_equals_full_on_a_full_window(full, fit):
    window = models.speech_like(FULL_SAMPLES)
    for cut, whole in zip(fit.encode([window]), full.encode([window]), strict=True):
        torch.testing.assert_close(cut.frames, whole.frames, atol=1e-5, rtol=1e-5)


def test_an_error_in_a_forward_pass_leaves_the_model_unchanged(fit):
    def fail(*_):
        raise RuntimeError("stop")

    hook = fit._model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="stop"):
        list(fit.encode([models.speech_like(3_200)]))
    hook.remove()
    assert [piece.lengths for piece in fit.encode([models.speech_like(6_400)])] == [(20,)] * 4


@pytest.mark.parametrize("kind", ["fit", "auto"])
@pytest.mark.parametrize(("samples", "frames"), [(FULL_SAMPLES + 1, 751 + 750), (2 * FULL_SAMPLES, 2 * 1500)])
def test_audio_longer_than_the_window_is_cut(request, kind, samples, frames):
    encoder = request.getfixturevalue(kind)
    counts = [0] * len(encoder.layers)
    for piece in encoder.encode([models.speech_like(samples)]):
        counts[piece.layer] += sum(piece.lengths)
    assert counts == [frames] * 4


def test_a_shorter_window_may_be_set(tiny):
    encoder = load_encoder(tiny[0], EncoderOptions(window_s=2.0, whisper_window="full"))
    assert (encoder.window_samples, encoder.cost_samples(100)) == (32_000, FULL_SAMPLES)


def test_a_missing_extractor_is_replaced_by_one_with_the_same_mel_bins(tmp_path):
    torch.manual_seed(0)
    config = models.whisper_config(max_source_positions=50, num_mel_bins=128)
    encoder: Any = load_encoder(models.save(tmp_path, tf.WhisperModel(config), None))
    assert encoder._extractor.feature_size == 128
    assert [piece.lengths for piece in encoder.encode([models.speech_like(1_000)])] == [(4,)] * 4


def test_dither_is_switched_off(tmp_path):
    torch.manual_seed(0)
    model = tf.WhisperModel(models.whisper_config(max_source_positions=50))
    encoder = load_encoder(models.save(tmp_path, model, tf.WhisperFeatureExtractor(dither=0.01)))
    first, second = (list(encoder.encode([models.speech_like(9_000)])) for _ in range(2))
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(first, second, strict=True))
