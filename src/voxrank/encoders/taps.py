"""Encoders whose layers are tapped: outputs of named places inside a graph or a module, laid out by probing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform
from voxrank.encoders.layout import Layout, find_layout
from voxrank.errors import ModelError

Taps = Mapping[str, torch.Tensor]
"""Layer name → its output, batch first, in order of layer."""
Runner = Callable[[torch.Tensor], Taps]
"""Waveforms (batch, samples) float32 → the outputs of every layer."""

PROBE_S = (1.0, 3.0)
"""Lengths of audio by which time axes and frame rates are found."""


def matches(name: str, patterns: str) -> bool:
    """Whether a name is like one of the patterns: `*`, `?`, commas between patterns.

    Example:
        >>> matches("encoder.layers.3", "frontend,encoder.layers.*")
        True
    """
    return any(fnmatchcase(name, pattern.strip()) for pattern in patterns.split(","))


class TapEncoder(Encoder):
    """Runs equal lengths together, so that nothing is padded.

    Args:
        run: waveforms → outputs.
        options: windows and budget.
        device: where `run` takes its input.
        sample_rate: in Hz.
        parameters: number of weights.
        min_samples: the shortest audio that `run` takes.
        one_at_a_time: `run` takes a batch of one only.
        fixed_samples: `run` takes exactly this many samples; shorter audio is padded with zeros, longer is cut.
        hop_samples: between frames, where it is known; else it is measured on the probe, to 3 digits.

    Raises:
        ModelError: an output has no clear time axis.
    """

    def __init__(
        self,
        run: Runner,
        options: EncoderOptions,
        *,
        device: torch.device,
        sample_rate: int,
        parameters: int,
        min_samples: int = 400,
        one_at_a_time: bool = False,
        fixed_samples: int | None = None,
        hop_samples: int | None = None,
    ) -> None:
        self._run = run
        self.device, self.sample_rate, self.parameters = device, sample_rate, parameters
        self.pads = False
        self.min_samples = fixed_samples or min_samples
        self.window_samples = fixed_samples or max(min_samples, round(options.window_s * sample_rate))
        self.budget_samples = 1 if one_at_a_time else round(options.batch_s * sample_rate)
        self._known_rate = None if hop_samples is None else sample_rate / hop_samples
        self._layouts, self.layers = self._probe()

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        outputs = list(self._run(torch.from_numpy(np.stack(windows)).to(self.device)).values())
        for layer, layout in zip(self.layers, self._layouts, strict=True):
            frames = layout.frames(outputs[layer.index])
            outputs[layer.index] = frames.new_empty(0)  # let go of what has been handed on
            yield LayerFrames(layer.index, frames.flatten(end_dim=1), (frames.shape[1],) * len(windows))

    @torch.inference_mode()
    def _probe(self) -> tuple[list[Layout], tuple[Layer, ...]]:
        lengths = [min(max(round(s * self.sample_rate), self.min_samples), self.window_samples) for s in PROBE_S]
        if lengths[0] == lengths[1]:
            return self._probe_fixed(lengths[0])
        short, long = ({k: v.shape for k, v in self._probe_run(n).items()} for n in lengths)
        layouts = [find_layout(name, tuple(short[name]), tuple(long[name])) for name in short]
        seconds = (lengths[1] - lengths[0]) / self.sample_rate
        layers = []
        for index, (name, layout) in enumerate(zip(short, layouts, strict=True)):
            axis = layout.time_axis
            rate = 0.0 if axis is None else round((long[name][axis] - short[name][axis]) / seconds, 3)
            layers.append(Layer(index, name, layout.dim, self._known_rate if rate and self._known_rate else rate))
        return layouts, tuple(layers)

    def _probe_fixed(self, length: int) -> tuple[list[Layout], tuple[Layer, ...]]:
        """One length only: outputs (batch, time, dim) are frames, others one embedding."""
        shapes = {name: tuple(output.shape) for name, output in self._probe_run(length).items()}
        layouts = [
            Layout(1 if len(s) == 3 else None, s[-1] if len(s) == 3 else int(np.prod(s[1:]))) for s in shapes.values()
        ]
        seconds = length / self.sample_rate
        rates = [
            shape[1] / seconds if layout.time_axis else 0.0
            for shape, layout in zip(shapes.values(), layouts, strict=True)
        ]
        layers = [
            Layer(i, name, lay.dim, round(r, 3))
            for i, (name, lay, r) in enumerate(zip(shapes, layouts, rates, strict=True))
        ]
        return layouts, tuple(layers)

    def _probe_run(self, length: int) -> Taps:
        noise = 0.1 * torch.randn(1, length, generator=torch.Generator().manual_seed(0))
        outputs = self._run(noise.to(self.device))
        if not outputs:
            raise ModelError("the model gave no outputs to use as layers")
        return outputs
