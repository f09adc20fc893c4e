"""Frame centres are measured from the output, and agree with the architecture of the front end."""

import pytest
import torch

import hf_models as hf
from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames
from voxrank.encoders.registry import load_encoder
from voxrank.encoders.timing import measure_offsets
from voxrank.testing.encoders import FakeEncoder


class Pooled(Encoder):
    """An encoder: energy in windows of `reach` samples from `first` + i · hop; a second layer has half the rate."""

    def __init__(self, hop, reach, first):
        self.spec, self.sample_rate, self.parameters, self.pads = "pooled", 16_000, 0, True
        self.layers = (Layer(0, "input", 1, 16_000 / hop), Layer(1, "half", 1, 8_000 / hop))
        self.window_samples, self.min_samples, self.budget_samples = 10**6, reach, 10**7
        self.device = torch.device("cpu")
        self._hop, self._reach, self._first = hop, reach, first

    def _forward(self, windows):
        padded = [torch.nn.functional.pad(torch.from_numpy(w), (-self._first, 0)) for w in windows]
        frames = [w.unfold(0, self._reach, self._hop).square().sum(1, keepdim=True) for w in padded]
        halves = [f[: len(f) // 2 * 2].reshape(-1, 2).sum(1, keepdim=True) for f in frames]
        for layer, made in enumerate((frames, halves)):
            yield LayerFrames(layer, torch.cat(made), tuple(map(len, made)))


@pytest.mark.parametrize(("hop", "reach", "first"), [(320, 400, 0), (320, 400, -200), (160, 400, 0), (1280, 12_480, 0)])
def test_the_centre_of_the_receptive_field_is_measured(hop, reach, first):
    measured = measure_offsets(Pooled(hop, reach, first))
    centre = (first + reach / 2) / 16_000
    assert measured[0] == pytest.approx(centre, abs=hop / 16_000 / 16)
    assert measured[1] == pytest.approx(centre + hop / 2 / 16_000, abs=hop / 16_000 / 7)


def test_the_window_length_does_not_change_the_centre():
    for window_s in (0.3, 1.0, 60.0):
        assert load_encoder("logmel", EncoderOptions(window_s=window_s)).offsets() == {0: pytest.approx(0.0125)}


def test_centres_are_evenly_spaced_if_a_layer_ignores_the_audio():
    constant = FakeEncoder()
    constant._front = torch.zeros_like(constant._front)
    assert measure_offsets(constant) == {0: 0.005, 1: 0.005, 2: 0.005}


def test_the_offsets_of_the_fake_encoder_equal_the_measured_offsets():
    assert measure_offsets(FakeEncoder()) == FakeEncoder().offsets()


BY_CONSTRUCTION_MS = {
    "wav2vec2-layer": 12.5,  # 400 samples from the start
    "hubert-layer": 12.5,
    "data2vec": 12.5,
    "whisper": 0.0,  # a centred spectrogram, and convolutions padded on both sides
}


@pytest.mark.parametrize("family", BY_CONSTRUCTION_MS)
def test_the_offsets_of_a_family_follow_from_its_front_end(family, tmp_path):
    encoder = load_encoder(hf.save(tmp_path, *hf.build(family)), EncoderOptions(whisper_window="fit"))
    expected = BY_CONSTRUCTION_MS[family] / 1000
    for offsets in (encoder.offsets(), measure_offsets(encoder)):
        assert set(offsets) == {layer.index for layer in encoder.layers}
        assert offsets.values() == pytest.approx([expected] * len(offsets), abs=0.0051)


@pytest.mark.parametrize("spec", ["logmel", "mfcc"])
def test_the_frames_of_baselines_cover_25_ms_from_the_first_sample(spec):
    assert load_encoder(spec).offsets() == {0: pytest.approx(0.0125)}
