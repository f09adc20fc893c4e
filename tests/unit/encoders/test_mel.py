"""The mel bank against transformers' spectrogram, which follows librosa."""

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from voxrank.encoders.mel import LOG_FLOOR, MelBank


@pytest.mark.parametrize(("n_mels", "fft_samples"), [(40, 400), (80, 512), (128, 512)])
def test_power_and_logarithm_equal_the_reference(n_mels, fft_samples):
    samples = np.random.default_rng(0).normal(size=4000)
    filters = mel_filter_bank(fft_samples // 2 + 1, n_mels, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    expected = spectrogram(
        samples,
        window_function(400, "hann"),
        frame_length=400,
        hop_length=160,
        fft_length=fft_samples,
        power=2.0,
        center=False,
        mel_filters=filters,
        mel_floor=LOG_FLOOR,
    ).T
    bank = MelBank(n_mels, 400, fft_samples, 16_000, torch.device("cpu"))
    frames = torch.from_numpy(samples).float().unfold(0, 400, 160)
    np.testing.assert_allclose(bank.power(frames), expected, rtol=1e-4)
    np.testing.assert_allclose(bank.log(frames), np.log(expected), atol=1e-4)


def test_silence_gives_the_logarithm_of_the_floor():
    bank = MelBank(20, 200, 256, 8000, torch.device("cpu"))
    assert torch.equal(bank.log(torch.zeros(3, 200)), torch.full((3, 20), LOG_FLOOR).log())
