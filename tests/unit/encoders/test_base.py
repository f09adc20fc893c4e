"""Guarantees of the base class for every encoder."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxrank.encoders.base import cut, pick_device
from voxrank.encoders.registry import load_encoder, register_scheme, schemes, split_spec
from voxrank.errors import ModelError, OptionError
from voxrank.testing.encoders import FakeEncoder


@given(n=st.integers(1, 500), window=st.integers(1, 100))
def test_windows_are_equally_long_and_as_few_as_possible(n, window):
    waveform = np.arange(n, dtype=np.float32)
    parts = cut(waveform, window)
    np.testing.assert_array_equal(np.concatenate(parts), waveform)
    assert all(0 < len(part) <= window for part in parts)
    assert len(parts) <= -(-n // window)
    assert len({len(part) for part in parts[:-1]}) <= 1


class Recording(FakeEncoder):
    """An encoder that keeps the input of its forward passes."""

    def __init__(self, *, pads):
        super().__init__()
        self.pads = pads
        self.passes = []

    def _forward(self, windows):
        self.passes.append([len(window) for window in windows])
        yield from super()._forward(windows)


def waveforms(*lengths):
    return [np.ones(n, dtype=np.float32) for n in lengths]


def test_equal_lengths_share_a_pass_where_padding_would_leak():
    encoder = Recording(pads=False)
    pieces = [p for p in encoder.encode(waveforms(320, 320, 480, 320)) if p.layer == 0]
    assert encoder.passes == [[480], [320, 320, 320]]
    assert [p.lengths for p in pieces] == [(0, 0, 3, 0), (2, 2, 0, 2)]


def test_lengths_that_the_model_pads_to_one_share_a_pass():
    encoder = Recording(pads=False)
    encoder.padded_samples = lambda n: -(-n // 400) * 400
    list(encoder.encode(waveforms(320, 480, 400)))
    assert encoder.passes == [[480], [320, 400]]


@given(lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=6))
def test_windows_of_an_utterance_stay_in_order_among_others(lengths):
    encoder = Recording(pads=False)
    encoder.window_samples = 480
    starts = {owner: [] for owner in range(len(lengths))}
    for piece in encoder.encode(waveforms(*lengths)):
        for window in piece.windows if piece.layer == 0 else ():
            starts[window.owner].append(window.start)
    assert all(found == sorted(found) for found in starts.values())


def test_mixed_lengths_share_a_pass_where_padding_is_safe():
    encoder = Recording(pads=True)
    list(encoder.encode(waveforms(320, 480)))
    assert encoder.passes == [[320, 480]]


def test_budget_counts_padded_samples():
    encoder = Recording(pads=True)
    encoder.budget_samples = 1000
    list(encoder.encode(waveforms(160, 160, 480, 480, 1600)))
    assert encoder.passes == [[160, 160], [480, 480], [1600]]


def test_long_audio_is_cut_into_windows_and_all_frames_are_kept():
    encoder = Recording(pads=True)
    encoder.window_samples, encoder.budget_samples = 480, 960
    pieces = [p for p in encoder.encode(waveforms(1600, 320)) if p.layer == 0]
    assert encoder.passes == [[400, 400], [400, 400], [320]]
    assert [p.lengths for p in pieces] == [(4, 0), (4, 0), (0, 2)]


def test_short_audio_is_padded_with_zeros():
    encoder = Recording(pads=True)
    list(encoder.encode(waveforms(10)))
    assert encoder.passes == [[160]]


def test_a_spec_is_split_into_scheme_and_name():
    assert split_spec("logmel") == ("logmel", "")
    assert split_spec("ct2:some/dir") == ("ct2", "some/dir")
    assert split_spec("./local:odd/dir") == ("hf", "./local:odd/dir")
    assert split_spec("org/model") == ("hf", "org/model")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "a model spec is empty; give a hub id"),
        ("onx:model.onnx", r"unknown model scheme 'onx' in 'onx:model\.onnx'; did you mean onnx\?"),
    ],
)
def test_an_unknown_or_empty_spec_is_refused(spec, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(spec)


def test_a_scheme_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="the scheme 'logmel' is registered already"):
        register_scheme("logmel", lambda rest, options: FakeEncoder())
    assert "ct2" in schemes()


def test_auto_device_is_what_torch_reports():
    assert pick_device("auto").type in {"cpu", "cuda", "mps", "xpu"}
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["warp", "cuda:99", "meta:x"])
def test_a_missing_device_is_refused(name):
    with pytest.raises(OptionError, match=f"the device '{name}' cannot be used here; take auto, cpu"):
        pick_device(name)
