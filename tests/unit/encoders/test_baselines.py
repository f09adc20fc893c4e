"""Log-mel and MFCC against plain formulas."""

import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter
from transformers.audio_utils import mel_filter_bank

from voxrank.encoders.baselines import delta
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError


def noise(n, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


def frames(encoder, *waveforms):
    (piece,) = encoder.encode(list(waveforms))
    return piece


def plain_logmel(samples):
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    filters = mel_filter_bank(257, 80, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    rows = []
    for start in range(0, len(samples) - 399, 160):
        spectrum = np.fft.rfft(samples[start : start + 400] * hann, n=512)
        rows.append(np.log(np.maximum(np.abs(spectrum) ** 2 @ filters, 1e-10)))
    return np.array(rows)


def test_logmel_equals_its_definition():
    samples = noise(4000)
    np.testing.assert_allclose(frames(load_encoder("logmel"), samples).frames, plain_logmel(samples), atol=1e-4)


def test_mfcc_begins_with_the_cosine_transform_of_log_mel():
    samples = noise(4000)
    logmel = plain_logmel(samples)
    k, m = np.arange(13)[:, None], np.arange(80)[None]
    basis = np.sqrt(2 / 80) * np.cos(np.pi * k * (2 * m + 1) / 160)
    basis[0] /= np.sqrt(2)
    got = frames(load_encoder("mfcc"), samples).frames.numpy()
    assert got.shape == (len(logmel), 39)
    np.testing.assert_allclose(got[:, :13], logmel @ basis.T, atol=1e-3)


def test_delta_of_a_line_is_its_slope():
    line = torch.arange(20.0)[:, None] * torch.tensor([[1.0, -0.5]])
    np.testing.assert_allclose(delta(line)[2:-2], np.tile([1.0, -0.5], (16, 1)), atol=1e-6)


@pytest.mark.parametrize("spec", ["logmel", "mfcc"])
def test_frames_are_the_same_alone_and_in_a_batch(spec):
    encoder = load_encoder(spec)
    waveforms = [noise(n, seed=n) for n in (400, 5000, 16_000)]
    batch = frames(encoder, *waveforms)
    assert batch.lengths == (1, 29, 98)
    for waveform, part in zip(waveforms, torch.split(batch.frames, batch.lengths), strict=True):
        np.testing.assert_allclose(part, frames(encoder, waveform).frames, atol=1e-5)


def test_slopes_equal_a_savitzky_golay_filter():
    values = np.random.default_rng(0).normal(size=(30, 4))
    expected = savgol_filter(values, 5, polyorder=1, deriv=1, axis=0, mode="nearest")
    np.testing.assert_allclose(delta(torch.from_numpy(values)), expected, atol=1e-12)


def test_mfcc_ends_with_slopes_of_slopes():
    got = frames(load_encoder("mfcc"), noise(4000)).frames
    torch.testing.assert_close(got[:, 13:26], delta(got[:, :13]))
    torch.testing.assert_close(got[:, 26:], delta(got[:, 13:26]))


def test_short_audio_is_padded_to_one_window():
    assert frames(load_encoder("logmel"), noise(100)).lengths == (1,)


def test_mfcc_has_no_parameters_and_one_layer():
    encoder = load_encoder("mfcc")
    assert encoder.parameters == 0
    (layer,) = encoder.layers
    assert (layer.name, layer.dim, layer.frame_rate) == ("mfcc", 39, 100.0)


@pytest.mark.parametrize("spec", ["logmel:80", "mfcc:x"])
def test_a_spec_with_arguments_is_refused(spec):
    with pytest.raises(ModelError, match=rf"expected the spec '{spec[:4]}.*' alone, got {spec}"):
        load_encoder(spec)
