"""A fake encoder for tests without a pre-trained model, and checks that every encoder must pass.

Call `check_encoder` in your tests::

    from voxrank.testing.encoders import check_encoder

    def test_my_encoder():
        check_encoder(lambda: load("", EncoderOptions(device="cpu")))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from numbers import Integral

import numpy as np
import torch

from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform
from voxrank.encoders.padding import LEAK_TOLERANCE
from voxrank.encoders.timing import measure_offsets
from voxrank.errors import reason

Make = Callable[[], Encoder]
Frames = list[list[torch.Tensor]]
"""Frames (frames, dim) by layer, then by waveform."""

HOP_SAMPLES = 160
NORM_TOLERANCE = 1e-3
"""Maximum difference, relative to the largest frame; rounding in float32 is far below."""
FRAMES_OFF = 2.0
"""Maximum difference between a number of frames and the number that the frame rate implies."""


class FakeEncoder(Encoder):
    """An encoder whose features follow from the audio in closed form.

    Frames last 10 ms; each is a fixed random projection of its samples. Deeper layers square and mix the frames.

    An utterance's frames do not depend on the batch, so mixed lengths may share a pass.
    """

    def __init__(self, *, n_layers: int = 3, dim: int = 8, sample_rate: int = 16_000, seed: int = 0) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.spec = "fake"
        self.sample_rate = sample_rate
        rate = sample_rate / HOP_SAMPLES
        self.layers = tuple(Layer(i, "input" if i == 0 else f"block {i}", dim, rate) for i in range(n_layers))
        self.parameters = HOP_SAMPLES * dim + (n_layers - 1) * dim * dim
        self.pads = True
        self.window_samples = 60 * sample_rate
        self.min_samples = HOP_SAMPLES
        self.budget_samples = 60 * sample_rate
        self.device = torch.device("cpu")
        self._front = torch.randn(HOP_SAMPLES, dim, generator=rng) / HOP_SAMPLES**0.5
        self._blocks = [torch.randn(dim, dim, generator=rng) / dim**0.5 for _ in range(n_layers - 1)]

    def offsets(self) -> dict[int, float]:
        """Return the centre of the first frame, which is that of its samples."""
        return {layer.index: HOP_SAMPLES / 2 / self.sample_rate for layer in self.layers}

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the projection and the mixing matrices."""
        return {"front": self._front, **{f"block {i}": block for i, block in enumerate(self._blocks, start=1)}}

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        framed = [torch.from_numpy(_frame(window)) @ self._front for window in windows]
        lengths = tuple(len(frames) for frames in framed)
        frames = torch.cat(framed)
        yield LayerFrames(0, frames, lengths)
        for index, block in enumerate(self._blocks, start=1):
            frames = torch.tanh(frames @ block) + frames**2
            yield LayerFrames(index, frames, lengths)


def _frame(window: Waveform) -> Waveform:
    count = len(window) // HOP_SAMPLES
    framed: Waveform = np.ascontiguousarray(window[: count * HOP_SAMPLES]).reshape(count, HOP_SAMPLES)
    return framed


def check_encoder(make: Make, *, seed: int = 0) -> None:
    """Check an encoder's attributes, shapes, lengths, batches, repetition, and short and silent audio.

    Args:
        make: loads a fresh encoder.
        seed: seed of the noise that the encoder receives.

    Raises:
        AssertionError: a check failed; the message says which.
    """
    encoder = make()
    _check_attributes(encoder)
    noise = _noise(encoder, seed)
    _check_input(encoder, noise)
    alone = [_frames(encoder, f"{len(waveform):,} samples alone", [waveform]) for waveform in noise]
    _check_rate(encoder, noise, alone)
    _check_same("a second time", _frames(encoder, "a second time", noise[:1]), alone[0])
    _check_same("loaded again", _frames(make(), "loaded again", noise[:1]), alone[0])
    _check_batches(encoder, noise, alone)
    _check_short_and_silent(encoder, noise[0])
    _check_metadata(encoder, make())


def _noise(encoder: Encoder, seed: int) -> list[Waveform]:
    """Return three waveforms of different lengths; the last is 2 s longer than the first if a window allows it."""
    rng = np.random.default_rng(seed)
    least = max(encoder.min_samples, min(encoder.sample_rate, encoder.window_samples))
    most = min(least + 2 * encoder.sample_rate, encoder.window_samples)
    lengths = (least, (least + most) // 2 + 7 if most > least + 14 else least, most)
    return [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in lengths]


def _check_attributes(encoder: Encoder) -> None:
    for name in ("sample_rate", "window_samples", "min_samples", "budget_samples"):
        value = getattr(encoder, name, None)
        _require(
            isinstance(value, Integral) and int(value) > 0, f"{name}: expected a whole number above 0, got {value!r}"
        )
    parameters = getattr(encoder, "parameters", None)
    _require(
        isinstance(parameters, Integral) and int(parameters) >= 0,
        f"parameters: expected a whole number, got {parameters!r}",
    )
    _require(
        encoder.min_samples <= encoder.window_samples,
        f"expected min_samples within window_samples, got {encoder.min_samples:,} and {encoder.window_samples:,}",
    )
    _require(isinstance(encoder.pads, bool), f"pads: expected True or False, got {encoder.pads!r}")
    _require(isinstance(encoder.device, torch.device), f"device: expected a torch.device, got {encoder.device!r}")
    _require(len(encoder.layers) > 0, "layers: expected at least one, got none")
    indices = [layer.index for layer in encoder.layers]
    _require(indices == list(range(len(indices))), f"layers: expected indices 0, 1, 2 … in order, got {indices}")
    for layer in encoder.layers:
        _require(bool(layer.name), f"layer {layer.index}: expected a name, got none")
        _require(layer.dim > 0, f"layer {layer.index}: expected frames of at least one number, got {layer.dim}")
        _require(layer.frame_rate > 0, f"layer {layer.index}: expected a frame rate above 0, got {layer.frame_rate}")


def _frames(encoder: Encoder, what: str, waveforms: Sequence[Waveform]) -> Frames:
    """Return all frames, each checked."""
    by_layer: Frames = [[torch.zeros(0, layer.dim) for _ in waveforms] for layer in encoder.layers]
    order = []
    for piece in _encode(encoder, what, waveforms):
        _check_piece(encoder, what, piece, len(waveforms))
        order.append(piece.layer)
        for number, frames in enumerate(piece.frames.cpu().split(list(piece.lengths))):
            by_layer[piece.layer][number] = torch.cat([by_layer[piece.layer][number], frames])
    indices = list(range(len(encoder.layers)))
    passes = max(1, len(order) // len(indices))
    _require(order == indices * passes, f"{what}: expected layers {indices} in order from each pass, got {order}")
    for layer, by_waveform in enumerate(by_layer):
        for number, frames in enumerate(by_waveform):
            _require(len(frames) > 0, f"{what}: expected frames of layer {layer} of waveform {number}, got none")
    return by_layer


def _encode(encoder: Encoder, what: str, waveforms: Sequence[Waveform]) -> list[LayerFrames]:
    try:
        return list(encoder.encode(waveforms))
    except Exception as error:
        raise AssertionError(f"{what}: expected frames, got {reason(error)}") from error


def _check_piece(encoder: Encoder, what: str, piece: LayerFrames, waveforms: int) -> None:
    where = f"{what}, layer {piece.layer}"
    _require(0 <= piece.layer < len(encoder.layers), f"{where}: expected a layer up to {len(encoder.layers) - 1}")
    frames, dim = piece.frames, encoder.layers[piece.layer].dim
    _require(frames.dtype == torch.float32, f"{where}: expected float32, got {frames.dtype}")
    _require(not frames.requires_grad, f"{where}: expected frames without gradient; encode runs in inference mode")
    _require(len(piece.lengths) == waveforms, f"{where}: expected {waveforms} lengths, got {len(piece.lengths)}")
    expected = (sum(piece.lengths), dim)
    _require(
        tuple(frames.shape) == expected, f"{where}: expected frames of shape {expected}, got {tuple(frames.shape)}"
    )
    _require(
        frames.device.type == encoder.device.type,
        f"{where}: expected frames on {encoder.device}, got them on {frames.device}",
    )
    _require(bool(torch.isfinite(frames).all()), f"{where}: expected finite frames, got NaN or infinite ones")


def _check_rate(encoder: Encoder, noise: Sequence[Waveform], alone: Sequence[Frames]) -> None:
    """Check the number of additional frames for longer audio against the frame rate, which cancels effects of edges."""
    more_s = (len(noise[-1]) - len(noise[0])) / encoder.sample_rate
    for layer in encoder.layers:
        got = len(alone[-1][layer.index][0]) - len(alone[0][layer.index][0])
        expected = more_s * layer.frame_rate
        _require(
            abs(got - expected) <= FRAMES_OFF,
            f"layer {layer.index}: at {layer.frame_rate:g} frames a second expected {expected:.1f} more frames "
            f"of {more_s:.2f} s more audio, got {got}",
        )


def _check_batches(encoder: Encoder, noise: Sequence[Waveform], alone: Sequence[Frames]) -> None:
    """Check that a waveform's frames do not depend on the batch, neither through padding nor through their position."""
    orders = {"one batch of several lengths": [0, 1, 2], "the same in another order": [2, 0, 1]}
    for what, order in orders.items():
        together = _frames(encoder, what, [noise[index] for index in order])
        for position, index in enumerate(order):
            frames = [[layer[position]] for layer in together]
            _check_same(f"{what}, against {len(noise[index]):,} samples alone", frames, alone[index])


def _check_short_and_silent(encoder: Encoder, waveform: Waveform) -> None:
    for n in sorted({1, encoder.min_samples - 1, encoder.min_samples, encoder.min_samples + 1} - {0}):
        if n <= encoder.window_samples:
            _frames(encoder, f"{n:,} samples", [np.resize(waveform, n)])
    _frames(encoder, "silence", [np.zeros_like(waveform)])


def _check_input(encoder: Encoder, noise: Sequence[Waveform]) -> None:
    copies = [waveform.copy() for waveform in noise]
    _encode(encoder, "one batch of several lengths", copies)
    for waveform, copy in zip(noise, copies, strict=True):
        _require(np.array_equal(waveform, copy), "expected waveforms to be left as they were, got changed ones")


def _check_metadata(encoder: Encoder, again: Encoder) -> None:
    """Check the information on which the cache, the alignment and fine-tuning rely."""
    weights, settings = encoder.weights(), encoder.settings()
    _require(
        all(isinstance(value, torch.Tensor) for value in weights.values()),
        "weights(): expected name → tensor, got else",
    )
    _require(
        all(isinstance(text, str) for text in (*settings, *settings.values())),
        "settings(): expected text → text, got else",
    )
    _require(
        settings == again.settings() and list(weights) == list(again.weights()),
        "expected weights() and settings() to be the same for the same model, got a difference",
    )
    unknown = set(encoder.blocks()) - {layer.index for layer in encoder.layers}
    _require(not unknown, f"blocks(): expected numbers of layers, got {sorted(unknown)}")
    _check_offsets(encoder)


def _check_offsets(encoder: Encoder) -> None:
    """Check the stated centre of the first frame against a measurement."""
    if type(encoder).offsets is Encoder.offsets:
        return
    stated = encoder.offsets()
    for index, measured in measure_offsets(encoder).items():
        _require(index in stated, f"offsets(): expected one of layer {index}, got none")
        rate = encoder.layers[index].frame_rate
        _require(
            abs(stated[index] - measured) * rate <= FRAMES_OFF,
            f"offsets(): layer {index} hears audio around {measured:.4f} s first, and {stated[index]:.4f} s is said",
        )


def _check_same(what: str, got: Frames, expected: Frames) -> None:
    for layer, (got_layer, expected_layer) in enumerate(zip(got, expected, strict=True)):
        for a, b in zip(got_layer, expected_layer, strict=True):
            _require(len(a) == len(b), f"{what}: expected {len(b)} frames of layer {layer}, got {len(a)}")
            median, norm = _difference(a, b)
            _require(
                median <= LEAK_TOLERANCE and norm <= NORM_TOLERANCE,
                f"{what}: expected the same frames of layer {layer}, got others (they differ by {norm:.1e})",
            )


def _difference(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Return two relative differences: of the median feature, and of the frame that differs most."""
    tiny = torch.finfo(torch.float32).tiny
    by_feature = (a - b).abs().amax(0) / b.abs().amax(0).clamp_min(tiny)
    norm = (a - b).norm(dim=1).amax() / b.norm(dim=1).amax().clamp_min(tiny)
    return float(by_feature.median()), float(norm)


def _require(condition: bool, message: str) -> None:  # noqa: FBT001
    if not condition:
        raise AssertionError(message)
