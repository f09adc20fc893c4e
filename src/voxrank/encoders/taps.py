"""An encoder for any model that returns named inner tensors, whose layouts are measured by probing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache

import numpy as np
import torch

from voxrank.config import EncoderOptions, Hertz
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform
from voxrank.encoders.finite import is_finite
from voxrank.encoders.layout import BASE_ROWS, SPAN_SAMPLES, WIDER_ROWS, Layout, Shape, find_clock, find_layout
from voxrank.encoders.padding import leaks, noise
from voxrank.errors import ModelError, reason

Tapped = Callable[[torch.Tensor], dict[str, torch.Tensor]]
"""A model that maps waveforms (rows, samples) in float32 to layer name → tensor, in order of layer."""

SHORTEST_S = 0.025
"""Minimum length of an utterance, in seconds."""

LEAK_PROBE_SAMPLES = (0, 533, 1187, 6400)
"""Lengths of the windows of the padding probe, beyond the shortest."""


@dataclass(frozen=True)
class Intake:
    """The audio that a model takes.

    Attributes:
        sample_rate: in Hz.
        min_samples: length of the shortest window; None to measure it.
        fixed_samples: the only length that the model takes, or None.
        pads: whether the model claims that zeros after a window do not change the frames of that window.
        one_at_a_time: whether its batch holds a single window.
    """

    sample_rate: int = 16_000
    min_samples: int | None = None
    fixed_samples: int | None = None
    pads: bool = False
    one_at_a_time: bool = False


@dataclass(frozen=True)
class Tap:
    """The reader of one layer: its layout, its frame rate, and samples → frames (None: keep all frames)."""

    name: str
    layout: Layout
    frame_rate: Hertz
    count: Callable[[int], int] | None

    def counts(self, lengths: Sequence[int], total: int) -> tuple[int, ...]:
        """Return the number of frames of each window, given that the layer has `total` frames."""
        return tuple(total if self.count is None else min(total, self.count(length)) for length in lengths)


class TapEncoder(Encoder):
    """Stacks windows of equal length, and returns every named tensor as frames.

    Windows of different lengths share a pass if the model takes padding (`Intake.pads`), which is checked. They also
    share a pass if the model takes one length only: each is padded to it, and the frames of every hop begun are kept.

    Args:
        model: the model to run.
        intake: the audio that the model takes.
        options: windows and budget.
        device: device of the model's input.
        parameters: number of weights.
        probed: the model to probe for layouts, if `model` takes one length only; None if there is none.

    Raises:
        ModelError: the model fails on noise, a tensor has no clear layout, or padding leaks although `pads` is set.
    """

    def __init__(
        self,
        model: Tapped,
        intake: Intake,
        options: EncoderOptions,
        *,
        device: torch.device,
        parameters: int,
        probed: Tapped | None = None,
    ) -> None:
        self.device, self.parameters, self.sample_rate = device, parameters, intake.sample_rate
        self._model, self._intake = model, intake
        self.budget_samples = round(options.batch_s * self.sample_rate)
        with torch.inference_mode():
            self._taps = self._fixed_taps(probed) if intake.fixed_samples else self._measured_taps()
        self.pads = intake.pads or intake.fixed_samples is not None
        longest = intake.fixed_samples or round(options.window_s * self.sample_rate)
        self.window_samples = max(self.min_samples, min(longest, round(options.window_s * self.sample_rate)))
        self.layers = tuple(Layer(i, tap.name, tap.layout.dim, tap.frame_rate) for i, tap in enumerate(self._taps))
        if intake.pads:
            self._check_padding()
        self._check_features()

    def settings(self) -> dict[str, str]:
        """Return the settings of the model."""
        return dict(getattr(self._model, "settings", {}))

    def network(self) -> torch.nn.Module | None:
        """Return the user's module, if there is one."""
        return getattr(self._model, "module", None)

    def blocks(self) -> dict[int, torch.nn.Module]:
        """Return the submodules whose outputs are layers, if they have weights and run once."""
        submodules: dict[str, torch.nn.Module] = getattr(self._model, "submodules", {})
        blocks = {i: submodules[layer.name] for i, layer in enumerate(self.layers) if layer.name in submodules}
        return {i: block for i, block in blocks.items() if any(True for _ in block.parameters())}

    def cost_samples(self, n_samples: int) -> int:
        """Return the fixed length, if there is one."""
        return self._intake.fixed_samples or super().cost_samples(n_samples)

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        lengths = [len(window) for window in windows]
        outputs = self._run(windows)
        for layer, tap in enumerate(self._taps):
            frames = torch.cat([tap.layout.frames(output.pop(tap.name)) for output in outputs])
            counts = tap.counts(lengths, frames.shape[1])
            packed = torch.cat([row[:count] for row, count in zip(frames, counts, strict=True)])
            yield LayerFrames(layer, packed.to(self.device), counts)

    def _run(self, windows: Sequence[Waveform]) -> list[dict[str, torch.Tensor]]:
        """Run the windows, padded with zeros to one length, together or one at a time."""
        longest = self._intake.fixed_samples or max(map(len, windows))
        rows = torch.from_numpy(np.stack([np.pad(window, (0, longest - len(window))) for window in windows]))
        parts = rows.split(1 if self._intake.one_at_a_time else len(rows))
        return [self._model(part.to(self.device)) for part in parts]

    def _measured_taps(self) -> tuple[Tap, ...]:
        """Measure the layout, the hop and the shortest window with probes of several lengths and batch sizes."""
        probe = _Probe(self._model, self.device)
        shortest = self._intake.min_samples or _shortest(probe, self.sample_rate)
        self.min_samples = shortest
        return tuple(self._measure(name, layout, probe) for name, layout in self._layouts(probe, shortest).items())

    def _layouts(self, probe: _Probe, samples: int) -> dict[str, Layout]:
        alone = self._intake.one_at_a_time
        rows = 1 if alone else BASE_ROWS
        base, longer = probe.shapes(rows, samples), probe.shapes(rows, samples + SPAN_SAMPLES)
        wider = {} if alone else probe.shapes(WIDER_ROWS, samples)
        if not base or base.keys() != longer.keys():
            raise ModelError(f"expected the same layers for any length, got {list(base)} and {list(longer)}")
        return {name: find_layout(name, shape, longer[name], wider.get(name)) for name, shape in base.items()}

    def _measure(self, name: str, layout: Layout, probe: _Probe) -> Tap:
        if layout.time is None:
            return Tap(name, layout, 0.0, None)

        def count(samples: int) -> int:
            return layout.count(probe.shapes(1, samples)[name])

        clock = find_clock(count, self.min_samples)
        if clock is not None:
            return Tap(name, layout, self.sample_rate / clock.hop, clock.count if self._intake.pads else None)
        if self._intake.pads:
            raise ModelError(f"{name} has no constant hop, which `pads` needs; leave `pads` off the module")
        more = count(self.min_samples + SPAN_SAMPLES) - count(self.min_samples)
        return Tap(name, layout, more * self.sample_rate / SPAN_SAMPLES, None)

    def _fixed_taps(self, probed: Tapped | None) -> tuple[Tap, ...]:
        """Measure layouts on a model that takes other lengths, and frame counts on the model itself."""
        fixed = self._intake.fixed_samples or 0
        self.min_samples = min(fixed, round(SHORTEST_S * self.sample_rate))
        shapes = _Probe(self._model, self.device).shapes(1, fixed)
        if probed is None:
            layouts = {name: _embedding(name, shape, fixed) for name, shape in shapes.items()}
        else:
            layouts = self._layouts(_Probe(probed, self.device), fixed)
        return tuple(self._fixed_tap(name, layout, layout.count(shapes[name])) for name, layout in layouts.items())

    def _fixed_tap(self, name: str, layout: Layout, count: int) -> Tap:
        fixed = self._intake.fixed_samples or 0
        if layout.time is None:
            return Tap(name, layout, 0.0, None)
        return Tap(name, layout, count * self.sample_rate / fixed, lambda samples: -(-samples * count // fixed))

    @torch.inference_mode()
    def _check_features(self) -> None:
        """Refuse NaN or infinite features of noise, for one second and for three, as some models overflow later."""
        for seconds in (1, 3):
            samples = min(seconds * self.sample_rate, self.window_samples)
            for tap, piece in zip(self._taps, self._forward([noise(max(samples, self.min_samples))]), strict=True):
                if not is_finite(piece.frames):
                    raise ModelError(
                        f"features of {seconds} s of noise are NaN or infinite at {tap.name}; give a model whose "
                        "weights are finite, or pick other layers with #PATTERN"
                    )

    @torch.inference_mode()
    def _check_padding(self) -> None:
        windows = [noise(self.min_samples + more) for more in LEAK_PROBE_SAMPLES]
        alone = [list(self._forward([window])) for window in windows]
        if leaks(alone, list(self._forward(windows))):
            raise ModelError(
                "`pads` is set, yet frames change when zeros follow the audio; leave `pads` off the module"
            )


class _Probe:
    """A cache of the shapes of the tensors that a model gives for noise."""

    def __init__(self, model: Tapped, device: torch.device) -> None:
        self._model = model
        self._device = device
        self.shapes = cache(self._shapes)

    def _shapes(self, rows: int, samples: int) -> dict[str, Shape]:
        waveforms = torch.from_numpy(np.stack([noise(samples)] * rows)).to(self._device)
        try:
            outputs = self._model(waveforms)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the model fails on {rows} × {samples} samples of noise ({reason(error)})") from error
        return {name: tuple(tensor.shape) for name, tensor in outputs.items()}

    def fits(self, samples: int) -> bool:
        """Return whether the model takes a window of this length and gives no empty tensor."""
        try:
            return all(0 not in shape for shape in self.shapes(1, samples).values())
        except ModelError:
            return False


def _shortest(probe: _Probe, sample_rate: int) -> int:
    """Return the fewest samples, from 25 ms to a second, for which every layer gives a frame."""
    least = round(SHORTEST_S * sample_rate)
    if not probe.fits(sample_rate):
        empty = [name for name, shape in probe.shapes(1, sample_rate).items() if 0 in shape]
        raise ModelError(f"expected frames from a second of noise, got none from {', '.join(empty)}")
    return least + bisect_left(range(least, sample_rate), True, key=probe.fits)  # noqa: FBT003


def _embedding(name: str, shape: Shape, samples: int) -> Layout:
    """Return the layout of a tensor (1, dim) of a model that takes one length only, so that no axis can be measured."""
    if len(shape) != 2 or shape[0] != 1:
        raise ModelError(
            f"the time axis of {name} {shape} cannot be measured, because the model takes exactly {samples} samples; "
            "export it with a free length"
        )
    return Layout(0, None, shape[1])


def matches(name: str, pattern: str) -> bool:
    """Return whether a name matches a pattern with the wildcards `*`, `?` and `[…]`; commas separate alternatives.

    Example:
        >>> matches("encoder.layers.3", "frontend, encoder.layers.?")
        True
    """
    return any(fnmatchcase(name, part.strip()) for part in pattern.split(","))


def nearest(pattern: str, names: Iterable[str]) -> str:
    """Return a sentence with a few of the names, the most similar to the pattern first."""
    return f"the nearest names are {', '.join(get_close_matches(pattern, list(names), n=5, cutoff=0.0)) or 'none'}"
