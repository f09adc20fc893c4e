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
from voxrank.encoders.base import Encoder, Layer, Waveform

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
    burst = rng.normal(0, BURST, round(BURST_S * encoder.sample_rate))
    noise = rng.normal(0, NOISE, n_samples)
    hop = encoder.sample_rate / slowest
    places = [round(n_samples / 2 + number * hop / BURSTS) for number in range(BURSTS)]
    centres = np.array([place + len(burst) / 2 for place in places]) / encoder.sample_rate
    first = {layer.frame_rate: layer for layer in reversed(encoder.layers)}
    frames = _frames(encoder, [_waveform(noise), *(_waveform(noise, burst, place) for place in places)])
    offsets = {rate: _offset(frames[layer.index], layer, centres) for rate, layer in first.items()}
    return {layer.index: offsets[layer.frame_rate] for layer in encoder.layers}


def _waveform(noise: NDArray[np.float64], burst: NDArray[np.float64] | None = None, place: int = 0) -> Waveform:
    samples = noise.copy()
    if burst is not None:
        samples[place : place + len(burst)] += burst
    return samples.astype(np.float32)


def _frames(encoder: Encoder, waveforms: list[Waveform]) -> dict[int, list[NDArray[np.float32]]]:
    """Layer → the frames of each waveform."""
    found: dict[int, list[list[torch.Tensor]]] = {layer.index: [[] for _ in waveforms] for layer in encoder.layers}
    for piece in encoder.encode(waveforms):
        for parts, part in zip(found[piece.layer], piece.frames.split(list(piece.lengths)), strict=True):
            parts.append(part)
    return {layer: [torch.cat(parts).cpu().numpy() for parts in every] for layer, every in found.items()}


def _offset(frames: list[NDArray[np.float32]], layer: Layer, centres: NDArray[np.float64]) -> Seconds:
    """How far the frames that hear a burst are from it, on average, in whole steps."""
    alone, *with_burst = frames
    found = []
    for heard, centre in zip(with_burst, centres, strict=True):
        change = ((heard - alone).astype(np.float64) ** 2).sum(axis=1)
        weights = np.maximum(change - 2 * np.median(change), 0)  # what normalisation changes everywhere is no answer
        if weights.sum() > 0:
            found.append(centre - np.average(np.arange(len(weights)), weights=weights) / layer.frame_rate)
    hop = 1 / layer.frame_rate
    return round(float(np.mean(found)) / hop * STEPS) / STEPS * hop if found else hop / 2
