"""An encoder whose features follow from the audio in closed form, for tests that need no pre-trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform

HOP_SAMPLES = 160


class FakeEncoder(Encoder):
    """Frames of 10 ms, each a fixed random projection of the samples in it; deeper layers square and mix them.

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
        """A frame is centred on the samples that it is made of."""
        return {layer.index: HOP_SAMPLES / 2 / self.sample_rate for layer in self.layers}

    def weights(self) -> dict[str, torch.Tensor]:
        """Projection and mixing matrices."""
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
