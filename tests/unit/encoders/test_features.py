"""The axis of time is the one that grows with the audio, for any order, names and padding of an extractor."""

import numpy as np
import pytest
import torch
import transformers as tf

from voxrank.encoders.features import FeatureReader
from voxrank.errors import ModelError

RATE, HOP, BANDS = 16_000, 160, 24


class Extractor:
    """An extractor of mean levels of 10 ms, repeated in several bands.

    Args:
        axes: order of the axes; "1" is an axis of length 1.
        window: steps to which all audio is padded and cut; 0 for none.
        most: steps beyond which audio is cut off; 0 for none.
        chunk: steps of the inputs into which audio is cut; 0 for one input.
        mask: name of the mask, and a function from steps to steps of the mask.
    """

    sampling_rate = RATE

    def __init__(self, axes="tb", window=0, most=0, chunk=0, mask=None, name="input_features"):
        self.axes, self.window, self.most, self.chunk, self.mask, self.name = axes, window, most, chunk, mask, name

    def __call__(self, raw_speech, sampling_rate=None, return_tensors=None, padding="max_length"):
        assert sampling_rate == RATE
        steps = len(raw_speech) // HOP
        levels = torch.from_numpy(np.asarray(raw_speech)[: steps * HOP]).reshape(steps, HOP).mean(1)
        levels = levels[: self.window or self.most or steps]
        if self.window and padding == "max_length":
            levels = torch.nn.functional.pad(levels, (0, self.window - len(levels)))
        values = levels[:, None].expand(-1, BANDS)
        order = ["tb".index(axis) for axis in self.axes if axis != "1"]
        values = values.permute(order)
        for place, axis in enumerate(self.axes):
            values = values.unsqueeze(place) if axis == "1" else values
        made = {self.name: values[None]}
        if self.chunk and len(levels) > self.chunk:
            made[self.name] = torch.zeros(2, self.chunk, BANDS)
        if self.mask:
            name, count = self.mask
            made[name] = torch.ones(1, count(len(levels)))
        return made


def audio(seconds=1.0):
    return np.ones(round(seconds * RATE), np.float32)


@pytest.mark.parametrize(("axes", "time"), [("tb", 0), ("bt", 1), ("1tb", 1), ("1bt", 2), ("t1b", 0)])
def test_the_axis_that_grows_with_the_audio_is_time(axes, time):
    reader = FeatureReader(Extractor(axes), "input_features")
    assert (reader.time, reader.padded, reader.window_steps) == (time, False, None)
    for seconds in (0.5, 1, 1.28, 2.56, 12):
        values, steps = reader(audio(seconds))
        assert len(values) == steps == round(seconds * 100)
        assert values.numel() == steps * BANDS


@pytest.mark.parametrize("axes", ["tb", "bt"])
def test_steps_of_a_fixed_window_are_counted_for_the_audio_alone(axes):
    reader = FeatureReader(Extractor(axes, window=3_000), "input_features")
    assert (reader.padded, reader.window_steps, reader.window_samples) == (True, 3_000, 480_000)
    for seconds in (0.01, 1, 3, 12, 30):
        values, steps = reader(audio(seconds))
        assert len(values) == 3_000
        assert steps == round(seconds * 100)
        assert values[:steps].all()
        assert not values[steps:].any()
    reader.padded = False
    assert [len(reader(audio(seconds))[0]) for seconds in (1, 3)] == [100, 300]


def test_a_window_of_a_second_is_measured():
    reader = FeatureReader(Extractor(window=100), "input_features")
    assert (reader.window_steps, reader.window_samples) == (100, RATE)


def test_a_mask_counts_steps_if_it_has_a_value_for_each_step():
    def every_step(steps):
        return steps

    assert FeatureReader(Extractor(mask=("attention_mask", every_step)), "input_features")(audio())[1] == 100
    short = Extractor(mask=("input_features_mask", lambda steps: steps // 5))
    assert FeatureReader(short, "input_features")(audio())[1] == 100


@pytest.mark.parametrize(("limits", "longest"), [({"most": 3_000}, 30), ({"chunk": 2_000}, 20), ({}, 60)])
def test_the_longest_audio_follows_from_the_limits_of_the_extractor(limits, longest):
    reader = FeatureReader(Extractor(**limits), "input_features")
    assert reader.longest(60 * RATE) == longest * RATE
    assert reader.longest(10 * RATE) == 10 * RATE


def test_the_longest_audio_is_measured_once_per_configuration(monkeypatch):
    read = []
    measure = FeatureReader._measure_longest
    monkeypatch.setattr(FeatureReader, "_measure_longest", lambda *args: read.append(args) or measure(*args))

    def longest(seconds, **settings):
        reader = FeatureReader(tf.Wav2Vec2FeatureExtractor(**settings), "input_values")
        assert reader.longest(seconds * RATE) == seconds * RATE
        return len(read)

    assert [longest(37), longest(37), longest(38), longest(38, do_normalize=False), longest(37)] == [1, 1, 2, 3, 3]


def test_steps_beyond_a_multiple_are_cut_off():
    reader = FeatureReader(Extractor(), "input_features")
    reader.multiple = 8
    values, steps = reader(audio())
    assert len(values) == steps == 96


def test_a_model_input_with_a_nonstandard_name_takes_any_input():
    assert FeatureReader(Extractor(name="audio_input_features"), "hidden_states")(audio())[1] == 100
    with pytest.raises(ModelError, match="the feature extractor makes audio_input_features, the model takes input_val"):
        FeatureReader(Extractor(name="audio_input_features"), "input_values")


class Square(Extractor):
    def __call__(self, *args, **options):
        made = super().__call__(*args, **options)["input_features"]
        return {"input_features": made.expand(1, -1, -1)[..., :1].expand(-1, -1, made.shape[1])}


class Constant(Extractor):
    def __call__(self, *args, **options):
        return {"input_features": torch.zeros(1, 4, 80)}


class Failing(Extractor):
    def __call__(self, *args, **options):
        raise ValueError("no audio")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Square, r"expected one axis of the model's input to grow with the audio, got shapes \(100, 100\)"),
        (Constant, r"Constant returns an input of shape \(4, 80\) for 1 s and for 3 s of audio"),
        (Failing, r"Failing does not take 1 s of noise \(ValueError: no audio\)"),
    ],
)  # fmt: skip
def test_an_input_without_a_clear_axis_of_time_is_refused(kind, message):
    with pytest.raises(ModelError, match=message):
        FeatureReader(kind(), "input_features")
