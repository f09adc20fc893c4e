"""Every encoder without weights meets the contract for encoders, and the battery finds encoders that do not."""

from dataclasses import replace

import pytest
import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Layer, LayerFrames
from voxrank.encoders.registry import load_encoder
from voxrank.testing.encoders import HOP_SAMPLES, FakeEncoder, check_encoder


@pytest.mark.parametrize("spec", ["logmel", "mfcc"])
def test_the_baselines_pass_the_battery(spec):
    check_encoder(lambda: load_encoder(spec, EncoderOptions(device="cpu")))


def test_the_fake_encoder_passes_the_battery():
    check_encoder(FakeEncoder)


def test_an_encoder_without_mixed_lengths_passes_the_battery():
    def make():
        encoder = FakeEncoder()
        encoder.pads = False
        return encoder

    check_encoder(make)


class Padded(FakeEncoder):
    """An encoder that pads with zeros and normalises over the batch, as careless code does."""

    def _forward(self, windows):
        longest = max(map(len, windows))
        for piece in super()._forward(windows):
            yield replace(piece, frames=piece.frames * (1 + longest / 1e5))


class Shuffled(FakeEncoder):
    """An encoder that yields the frames of waveforms in another order than the waveforms."""

    def _forward(self, windows):
        for piece in super()._forward(windows):
            yield replace(piece, frames=torch.cat(piece.frames.split(list(piece.lengths))[::-1]))


class Random(FakeEncoder):
    def _forward(self, windows):
        for piece in super()._forward(windows):
            yield replace(piece, frames=piece.frames + 0.1 * torch.randn(piece.frames.shape))


class Reseeded(FakeEncoder):
    made = 0

    def __init__(self):
        Reseeded.made += 1
        super().__init__(seed=Reseeded.made)


class Silent(FakeEncoder):
    """An encoder that never yields its last layer."""

    def _forward(self, windows):
        yield from list(super()._forward(windows))[:-1]


class Reversed(FakeEncoder):
    def _forward(self, windows):
        yield from list(super()._forward(windows))[::-1]


class Half(FakeEncoder):
    def _forward(self, windows):
        for piece in super()._forward(windows):
            yield replace(piece, frames=piece.frames.half())


class Narrow(FakeEncoder):
    def _forward(self, windows):
        for piece in super()._forward(windows):
            yield replace(piece, frames=piece.frames[:, :-1])


class Miscounted(FakeEncoder):
    def _forward(self, windows):
        for piece in super()._forward(windows):
            yield replace(piece, lengths=tuple(n - 1 for n in piece.lengths))


class Emptied(FakeEncoder):
    """An encoder with a layer without frames."""

    def _forward(self, windows):
        for piece in super()._forward(windows):
            yield LayerFrames(1, piece.frames[:0], tuple(0 for _ in windows)) if piece.layer == 1 else piece


class Logarithmic(FakeEncoder):
    """An encoder that fails on silence."""

    def _forward(self, windows):
        for piece in super()._forward(windows):
            yield replace(piece, frames=piece.frames.abs().log())


class Greedy(FakeEncoder):
    """An encoder that needs more samples than it declares."""

    def __init__(self):
        super().__init__()
        self.min_samples = HOP_SAMPLES // 2


class Slow(FakeEncoder):
    """An encoder that declares a wrong frame rate."""

    def __init__(self):
        super().__init__()
        self.layers = tuple(replace(layer, frame_rate=50.0) for layer in self.layers)


class Numbered(FakeEncoder):
    def __init__(self):
        super().__init__()
        self.layers = tuple(replace(layer, index=layer.index + 1) for layer in self.layers)


class Bare(FakeEncoder):
    def __init__(self):
        super().__init__()
        self.layers = ()


class Nameless(FakeEncoder):
    def __init__(self):
        super().__init__()
        self.layers = (Layer(0, "", 8, 100.0), *self.layers[1:])


class Fractional(FakeEncoder):
    def __init__(self):
        super().__init__()
        self.sample_rate = 16_000.5


class Overwriting(FakeEncoder):
    def _forward(self, windows):
        made = list(super()._forward(windows))
        for window in windows:
            window *= 0.5
        yield from made


class Changing(FakeEncoder):
    """An encoder whose description changes each time."""

    def settings(self):
        return {"object": str(id(self))}


class Untidy(FakeEncoder):
    def settings(self):
        return {"bands": 40}


class Late(FakeEncoder):
    """An encoder that declares its frames to be centred a second later than they are."""

    def offsets(self):
        return {index: offset + 1 for index, offset in super().offsets().items()}


BROKEN = {
    Padded: "one batch of several lengths, against .* expected the same frames of layer 0",
    Shuffled: "one batch of several lengths, against",
    Random: "a second time: expected the same frames",
    Reseeded: "loaded again: expected the same frames",
    Silent: r"expected layers \[0, 1, 2\] in order from each pass, got \[0, 1\]",
    Reversed: "in order from each pass",
    Half: "expected float32, got torch.float16",
    Narrow: r"layer 0: expected frames of shape \(100, 8\), got \(100, 7\)",
    Miscounted: r"expected frames of shape \(99, 8\), got \(100, 8\)",
    Emptied: "expected frames of layer 1 of waveform 0, got none",
    Logarithmic: "silence, layer 0: expected finite frames",
    Greedy: "1 samples: expected frames of layer 0 of waveform 0, got none",
    Slow: "at 50 frames a second expected 100.0 more frames of 2.00 s more audio, got 200",
    Numbered: r"expected indices 0, 1, 2 … in order, got \[1, 2, 3\]",
    Bare: "layers: expected at least one, got none",
    Nameless: "layer 0: expected a name",
    Fractional: "sample_rate: expected a whole number above 0, got 16000.5",
    Overwriting: "expected waveforms to be left as they were",
    Changing: r"expected weights\(\) and settings\(\) to be the same for the same model",
    Untidy: r"settings\(\): expected text → text",
    Late: r"offsets\(\): layer 0 hears audio around 0.00.. s first, and 1.0050 s is said",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_the_battery_finds_each_kind_of_broken_encoder(broken):
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_encoder(broken)


def test_the_battery_reports_the_error_of_an_encoder():
    class Failing(FakeEncoder):
        def _forward(self, windows):
            raise ZeroDivisionError("by nothing")
            yield

    with pytest.raises(
        AssertionError, match=r"one batch of several lengths: expected frames, got ZeroDivisionError: by nothing"
    ):
        check_encoder(Failing)
