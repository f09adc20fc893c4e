"""A small filter bank without learned weights: ``example:bank``, or ``example:bank@24`` for 24 bands.

Layer 0 contains the logarithms of band powers, every 10 ms. Layer 1 contains their average over five frames, and layer
2 their change over five frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform, pick_device
from voxrank.errors import ModelError

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES = 400, 160
"""Window of 25 ms, every 10 ms."""
FLOOR = 1e-8
"""Minimum power of a band, so that its logarithm is finite in silence."""
REACH = 2
"""Number of frames on each side from which layers 1 and 2 are computed."""


class FilterBank(Encoder):
    """An encoder of log band powers, their average and their change.

    Args:
        n_bands: number of bands from 0 Hz to half the sample rate, of equal width.
        options: device, and the amount of audio in a window and in a pass.
    """

    def __init__(self, n_bands: int, options: EncoderOptions) -> None:
        self.sample_rate = SAMPLE_RATE_HZ
        names = ("log powers", "average", "change")
        self.layers = tuple(Layer(i, name, n_bands, SAMPLE_RATE_HZ / HOP_SAMPLES) for i, name in enumerate(names))
        self.parameters = 0  # no learned weights
        self.pads = True  # every window is computed from its own samples alone
        self.min_samples = WINDOW_SAMPLES
        self.window_samples = round(options.window_s * SAMPLE_RATE_HZ)
        self.budget_samples = round(options.batch_s * SAMPLE_RATE_HZ)
        self.device = pick_device(options.device)
        self._hann = torch.hann_window(WINDOW_SAMPLES, device=self.device)
        self._bands = _triangles(n_bands, WINDOW_SAMPLES // 2 + 1).to(self.device)

    def settings(self) -> dict[str, str]:
        """Return the settings that determine the frames; without weights, the cache distinguishes encoders by these."""
        return {"bands": str(self.layers[0].dim)}

    def offsets(self) -> dict[int, float]:
        """Return the centre of each layer's first frame; layers 1 and 2 are centred on the middle of five frames."""
        return {layer.index: WINDOW_SAMPLES / 2 / SAMPLE_RATE_HZ for layer in self.layers}

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        made = [self._layers(window) for window in windows]
        for layer in self.layers:
            own = [layers[layer.index] for layers in made]
            yield LayerFrames(layer.index, torch.cat(own), tuple(len(frames) for frames in own))

    def _layers(self, window: Waveform) -> tuple[torch.Tensor, ...]:
        """Return the frames (frames, bands) of each layer."""
        cut = torch.from_numpy(np.ascontiguousarray(window)).to(self.device).unfold(0, WINDOW_SAMPLES, HOP_SAMPLES)
        power = torch.fft.rfft(cut * self._hann).abs().square()
        bands = (power @ self._bands).clamp_min(FLOOR).log()
        around = torch.cat([bands[:1]] * REACH + [bands] + [bands[-1:]] * REACH).unfold(0, 2 * REACH + 1, 1)
        return bands, around.mean(dim=2), around[:, :, -1] - around[:, :, 0]


def _triangles(n_bands: int, n_bins: int) -> torch.Tensor:
    """Return overlapping triangles, evenly spaced, (n_bins, n_bands)."""
    centres = torch.linspace(0, n_bins - 1, n_bands + 2)
    distance = (torch.arange(n_bins)[:, None] - centres[None, 1:-1]).abs()
    return (1 - distance / (centres[1] - centres[0])).clamp_min(0)


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load the encoder with the name after ``example:``. The entry point refers to this function.

    Raises:
        ModelError: the name is not the bank, or its number of bands is not valid.
    """
    name, _, bands = rest.partition("@")
    if name != "bank" or not (bands or "40").isdigit() or not 1 <= int(bands or 40) <= 200:
        raise ModelError(f"expected example:bank, or example:bank@N with 1 to 200 bands, got example:{rest}")
    return FilterBank(int(bands or 40), options)
