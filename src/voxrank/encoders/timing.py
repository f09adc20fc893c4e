"""When a frame is: the centre of the audio that it hears, measured on the model.

A burst is added to noise at known times, and each layer's frames are compared with those of the noise alone. The frames
that differ lie about the burst; how far their centre of mass is from it, in time, is where frame 0 is centred. Windows
that begin at the first sample (wav2vec 2.0: 25 ms of audio, so 12.5 ms) and windows that are centred on it (Whisper: 0)
are told apart this way without a list of architectures.

Later layers mix frames, by attention or recurrence, but do not move them: layers of one frame rate share the offset of
the first of them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.config import Seconds
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform

BURSTS = 8
"""Times at which a burst is tried, over one hop of the slowest layer."""
BURST_S = 0.004
NOISE, BURST = 0.05, 0.1
"""Standard deviations, of samples from -1 to 1."""
LEAST_S = 1.0
LEAST_FRAMES = 24
STEPS = 8
"""An offset is told in so many parts of a hop: 2.5 ms of 20, so that it does not depend on rounding."""


def measure_offsets(encoder: Encoder) -> dict[int, Seconds]:
    """Layer → seconds from the beginning of a window to the centre of what its first frame hears.

    It takes nine forward passes of a second or so. A layer that does not react to a burst is taken to cut its audio
    into equal parts: half a hop.
    """
    slowest = min(layer.frame_rate for layer in encoder.layers)
    rng = np.random.default_rng(0)
    n_samples = encoder.min_samples + round(encoder.sample_rate * max(LEAST_S, LEAST_FRAMES / slowest))
    n_samples = min(n_samples, encoder.window_samples)  # one window: there are no frames across a seam
    burst = rng.normal(0, BURST, round(BURST_S * encoder.sample_rate))
    noise = rng.normal(0, NOISE, n_samples)
    hop = encoder.sample_rate / slowest
    places = [round(n_samples / 2 + number * hop / BURSTS) for number in range(BURSTS)]
    centres = np.array([place + len(burst) / 2 for place in places]) / encoder.sample_rate
    first = {layer.frame_rate: layer for layer in reversed(encoder.layers)}
    waveforms = [_waveform(noise), *(_waveform(noise, burst, place) for place in places)]
    heard = {layer.index: _Heard(layer, len(waveforms)) for layer in first.values()}
    for piece in encoder.encode(waveforms):
        if piece.layer in heard:
            heard[piece.layer].add(piece)
    offsets = {rate: heard[layer.index].offset(centres) for rate, layer in first.items()}
    return {layer.index: offsets[layer.frame_rate] for layer in encoder.layers}


def _waveform(noise: NDArray[np.float64], burst: NDArray[np.float64] | None = None, place: int = 0) -> Waveform:
    samples = noise.copy()
    if burst is not None:
        samples[place : place + len(burst)] += burst
    return samples.astype(np.float32)


class _Heard:
    """What one layer made of noise alone, and of noise with bursts.

    Args:
        layer: which.
        waveforms: how many there are; the first one is the noise alone.
    """

    def __init__(self, layer: Layer, waveforms: int) -> None:
        self._layer = layer
        self._frames: list[list[torch.Tensor]] = [[] for _ in range(waveforms)]
        self._times: list[NDArray[np.float64]] = []

    def add(self, piece: LayerFrames) -> None:
        """Take in one piece."""
        for parts, part in zip(self._frames, piece.frames.split(list(piece.lengths)), strict=True):
            parts.append(part)
        self._times += [
            window.start + np.arange(window.frames) / self._layer.frame_rate
            for window in piece.windows
            if window.owner == 0
        ]

    def offset(self, centres: NDArray[np.float64]) -> Seconds:
        """How far the frames that hear a burst are from it, on average, in whole steps."""
        alone, *with_burst = (torch.cat(parts).double().cpu().numpy() for parts in self._frames)
        times, found, hop = np.concatenate(self._times), [], 1 / self._layer.frame_rate
        for heard, centre in zip(with_burst, centres, strict=True):
            change = ((heard - alone) ** 2).sum(axis=1)
            weights = np.maximum(
                change - 2 * np.median(change), 0
            )  # what normalisation changes everywhere is no answer
            if weights.sum() > 0:
                found.append(centre - np.average(times, weights=weights))
        return round(float(np.mean(found)) / hop * STEPS) / STEPS * hop if found else hop / 2
