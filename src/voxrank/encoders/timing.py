"""The measurement of frame times: the centre of the audio that a frame covers.

A burst is added to noise at known times, and each layer's frames are compared with those of the noise alone. The frames
that differ lie around the burst. The distance in time from their centre of mass to the burst gives the centre of
frame 0. This distinguishes windows that begin at the first sample (wav2vec 2.0: 25 ms of audio, so 12.5 ms) from
windows that are centred on it (Whisper: 0), without a list of architectures.

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
"""Number of burst times, spread over one hop of the slowest layer."""
BURST_S = 0.004
NOISE, BURST = 0.05, 0.1
"""Standard deviations of samples in the range from -1 to 1."""
LEAST_S = 1.0
LEAST_FRAMES = 24
STEPS = 8
"""Resolution of an offset, in parts of a hop: 2.5 ms for a hop of 20 ms, so that rounding does not matter."""


def measure_offsets(encoder: Encoder) -> dict[int, Seconds]:
    """Measure layer → seconds from the start of a window to the centre of the audio that its first frame covers.

    It takes nine forward passes of about a second. A layer that does not react to a burst is assumed to cut its audio
    into equal parts: its offset is half a hop.
    """
    slowest = min(layer.frame_rate for layer in encoder.layers)
    rng = np.random.default_rng(0)
    n_samples = encoder.min_samples + round(encoder.sample_rate * max(LEAST_S, LEAST_FRAMES / slowest))
    n_samples = min(n_samples, encoder.window_samples)  # a single window has no frames across a boundary
    burst = rng.normal(0, BURST, round(BURST_S * encoder.sample_rate))
    noise = rng.normal(0, NOISE, n_samples)
    hop = encoder.sample_rate / slowest
    positions = [round(n_samples / 2 + number * hop / BURSTS) for number in range(BURSTS)]
    centres = np.array([position + len(burst) / 2 for position in positions]) / encoder.sample_rate
    first = {layer.frame_rate: layer for layer in reversed(encoder.layers)}
    waveforms = [_waveform(noise), *(_waveform(noise, burst, position) for position in positions)]
    responses = {layer.index: _BurstResponse(layer, len(waveforms)) for layer in first.values()}
    for piece in encoder.encode(waveforms):
        if piece.layer in responses:
            responses[piece.layer].add(piece)
    offsets = {rate: responses[layer.index].offset(centres) for rate, layer in first.items()}
    return {layer.index: offsets[layer.frame_rate] for layer in encoder.layers}


def _waveform(noise: NDArray[np.float64], burst: NDArray[np.float64] | None = None, position: int = 0) -> Waveform:
    samples = noise.copy()
    if burst is not None:
        samples[position : position + len(burst)] += burst
    return samples.astype(np.float32)


class _BurstResponse:
    """The frames of one layer for noise alone, and for noise with bursts.

    Args:
        layer: the layer.
        waveforms: number of waveforms; the first is the noise alone.
    """

    def __init__(self, layer: Layer, waveforms: int) -> None:
        self._layer = layer
        self._frames: list[list[torch.Tensor]] = [[] for _ in range(waveforms)]
        self._times: list[NDArray[np.float64]] = []

    def add(self, piece: LayerFrames) -> None:
        """Add the frames of one piece."""
        for parts, part in zip(self._frames, piece.frames.split(list(piece.lengths)), strict=True):
            parts.append(part)
        self._times += [
            window.start + np.arange(window.frames) / self._layer.frame_rate
            for window in piece.windows
            if window.owner == 0
        ]

    def offset(self, centres: NDArray[np.float64]) -> Seconds:
        """Return the mean distance from a burst to the frames that change, rounded to whole steps."""
        alone, *with_burst = (torch.cat(parts).double().cpu().numpy() for parts in self._frames)
        times, offsets, hop = np.concatenate(self._times), [], 1 / self._layer.frame_rate
        for frames, centre in zip(with_burst, centres, strict=True):
            change = ((frames - alone) ** 2).sum(axis=1)
            weights = np.maximum(change - 2 * np.median(change), 0)  # normalisation changes all frames a little
            if weights.sum() > 0:
                offsets.append(centre - np.average(times, weights=weights))
        return round(float(np.mean(offsets)) / hop * STEPS) / STEPS * hop if offsets else hop / 2
