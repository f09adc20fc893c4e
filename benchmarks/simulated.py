"""A plug-in encoder that costs nothing: features of simulated speech, and virtual seconds of a GPU for the audio.

``simulated:N`` is model number N. The speech of `simulation.recording` is a tone for each class in noise. A frame lasts
a second; it holds the powers of the tones, and a random projection of the samples as noise, of which later models have
more. So the order of the models is known. The seconds that a GPU would take for the audio are counted, and not waited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform
from voxrank.errors import ModelError

RATE = 1000
"""Sample rate in Hz, and number of samples of a frame."""
TONES_HZ = tuple(range(40, 440, 20))
LAYERS = 3
NOISE = 0.15
"""Amount of noise in the features that each model adds to that of the model before it."""
RTF = 0.0026
"""GPU seconds for a second of audio: HuBERT large on an A100, from docs/scaling."""

virtual_s: defaultdict[str, float] = defaultdict(float)
"""Model → GPU seconds that its forward passes would have taken."""


class Simulated(Encoder):
    """An encoder of simulated speech.

    Args:
        number: number of the model.
    """

    def __init__(self, number: int) -> None:
        self.spec = f"simulated:{number}"
        self.sample_rate = RATE
        self.layers = tuple(Layer(i, f"block {i}" if i else "input", len(TONES_HZ), 1.0) for i in range(LAYERS))
        self.parameters, self.pads = 1, True
        self.min_samples, self.window_samples, self.budget_samples = RATE, 60 * RATE, 600 * RATE
        self.device = torch.device("cpu")
        rng = np.random.default_rng(number)
        self._noise = rng.normal(size=(LAYERS, RATE, len(TONES_HZ))).astype(np.float32) / RATE**0.5
        self._noise *= 1 + NOISE * number

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the projections, which distinguish the models in the cache."""
        return {"noise": torch.from_numpy(self._noise)}

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        framed = [window[: len(window) // RATE * RATE].reshape(-1, RATE) for window in windows]
        lengths = tuple(map(len, framed))
        samples = np.concatenate(framed)
        powers = np.log1p(np.abs(np.fft.rfft(samples)[:, list(TONES_HZ)])).astype(np.float32)
        virtual_s[self.spec] += sum(map(len, windows)) / RATE * RTF
        for index, noise in enumerate(self._noise):
            yield LayerFrames(index, torch.from_numpy(powers * (1 + index) / LAYERS + samples @ noise), lengths)


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load a model. The entry point refers to this function.

    Raises:
        ModelError: the name is no number.
    """
    del options
    if not rest.isdecimal():
        raise ModelError(f"expected simulated:N with a number, got simulated:{rest}")
    return Simulated(int(rest))
