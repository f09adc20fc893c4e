"""The filter bank meets voxrank's contract for encoders, and its bands respond to the right tones."""

import numpy as np
import pytest
import torch

from voxrank.config import EncoderOptions
from voxrank.errors import ModelError
from voxrank.testing.encoders import check_encoder
from voxrank_example.bank import SAMPLE_RATE_HZ, load


@pytest.mark.parametrize("rest", ["bank", "bank@24"])
def test_battery(rest):
    check_encoder(lambda: load(rest, EncoderOptions(device="cpu")))


def test_a_tone_is_in_its_band():
    encoder = load("bank@40", EncoderOptions(device="cpu"))
    tone = np.sin(2 * np.pi * 2000 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32)
    powers, average, change = (piece.frames for piece in encoder.encode([tone]))
    centres_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, 42)[1:-1]
    assert abs(centres_hz[powers.mean(0).argmax()] - 2000) < 200
    torch.testing.assert_close(average, powers, atol=0.1, rtol=0)
    assert change.abs().max() < 0.1


@pytest.mark.parametrize("rest", ["", "bnak", "bank@x", "bank@0", "bank@999"])
def test_what_it_refuses(rest):
    with pytest.raises(ModelError, match=f"expected example:bank, or example:bank@N .*got example:{rest}"):
        load(rest, EncoderOptions(device="cpu"))
