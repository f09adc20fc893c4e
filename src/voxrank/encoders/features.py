"""The reader of a model's feature extractor: audio in, the input of the model out, with time as the first axis.

Extractors differ in the order of the axes and in the names of their outputs. Some pad all audio to a window of fixed
length. This is measured: the time axis is the axis that grows with the audio.
"""

from __future__ import annotations

import inspect
from bisect import bisect_left
from typing import Any

import torch

from voxrank._support.memory import is_out_of_memory
from voxrank.config import Seconds
from voxrank.encoders.base import Waveform
from voxrank.encoders.checkpoints import AUDIO_INPUTS
from voxrank.encoders.padding import noise
from voxrank.errors import ModelError, reason

PROBES_S: tuple[Seconds, Seconds] = (1.0, 3.0)
"""Lengths of the audio that shows which axis is time."""

SHORT_PROBES_S: tuple[Seconds, Seconds] = (0.5, 0.75)
"""Lengths of that audio for a fixed window, because extractors cut off audio beyond the window."""

HOP_SLACK = 0.1
"""Tolerated relative deviation of the hop that an extractor states from the measured hop."""

STEPS_SLACK = 0.02
"""Share of the steps that may be missing at the end of long audio, besides a few steps of rounding."""
SLACK_STEPS = 2

MASKS = ("attention_mask", "input_features_mask", "padding_mask", "feature_attention_mask")
"""Output names of the mask with which extractors mark the steps of audio."""

UNPADDED = ({"padding": False}, {"padding": "longest"}, {"padding": "longest", "n_window": 0}, {"padding": True})
"""Arguments that switch off an extractor's padding to a fixed window, and to whole chunks (`n_window`)."""

UNFIT = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)
"""Exceptions of models and feature extractors for audio that is too short or unsuitable."""

_LONGEST: dict[tuple[Any, ...], int] = {}
"""Results of `FeatureReader.longest`, which reads long audio; a process may load a model several times."""


class FeatureReader:
    """Calls a feature extractor, and arranges what it returns.

    Attributes:
        sample_rate: in Hz.
        time: the time axis in the input of one window, without the batch axis.
        window_steps: length in steps of the fixed window that all audio is padded to; None if there is none.
        window_samples: length of that window in samples; None if there is none.
        padded: True to pad to the fixed window, False to give the audio alone.
        cut: True to cut the input to the audio after padding; for models that are given it in this way.
        gives_mask: whether the extractor returns a mask.
        multiple: number of steps of which the model takes multiples; the remainder at the end is cut off.

    Args:
        extractor: the feature extractor.
        input_name: name of the model's input.

    Raises:
        ModelError: the extractor returns no such input, or no axis of it grows with the audio.
    """

    def __init__(self, extractor: Any, input_name: str) -> None:
        self.sample_rate: int = extractor.sampling_rate
        self._extractor, self._input = extractor, input_name
        self._unpadded: dict[str, Any] = {}
        self._accepted = _accepted_arguments(extractor)
        self.padded = False
        self.cut = False
        self.gives_mask = False
        self.multiple = 1
        self.time = 0
        self.window_steps: int | None = None
        self.window_samples: int | None = None
        self._measure()

    def __call__(self, window: Waveform) -> tuple[torch.Tensor, int]:
        """Return the input of one window, (steps, …), and the number of steps that are audio.

        Values are normalised over this window alone.

        Args:
            window: mono float32 at `sample_rate`.
        """
        values, mask = self._extract(window, **({} if self.padded or self.cut else self._unpadded))
        values = values.movedim(self.time, 0)
        if (self.padded or self.cut) and self.window_steps and self.window_samples:
            steps = min(self.window_steps, -(-len(window) * self.window_steps // self.window_samples))
            return (values[:steps] if self.cut else values), steps
        steps = _valid_steps(mask, len(values))
        if self.multiple > 1:
            steps -= steps % self.multiple
            values = values[:steps]
        return values, steps

    def longest(self, limit: int) -> int:
        """Return the longest audio, in samples, that the extractor reads completely, up to a limit.

        Some extractors cut off audio beyond a maximum, or split long audio into several inputs.

        Args:
            limit: maximum, in samples.
        """
        if self.window_samples is not None:
            return min(limit, self.window_samples)
        known = _settings(self._extractor)
        if known is None:
            return self._measure_longest(limit)
        key = (*known, self._input, limit)
        if key not in _LONGEST:
            _LONGEST[key] = self._measure_longest(limit)
        return _LONGEST[key]

    def _measure_longest(self, limit: int) -> int:
        tenth = self.sample_rate // 10
        first = round(PROBES_S[1] * self.sample_rate)
        if limit <= first or self._is_whole(limit):
            return limit
        lengths = range(first, limit, tenth)
        cut = bisect_left(lengths, True, key=lambda samples: not self._is_whole(samples))  # noqa: FBT003
        return lengths[max(0, cut - 1)]

    def _is_whole(self, samples: int) -> bool:
        """Return whether the last half second of audio of this length gives the usual number of steps."""
        half = self.sample_rate // 2
        try:
            usual = self._steps(3 * half) - self._steps(2 * half)
            last = self._steps(samples) - self._steps(samples - half)
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            return False
        return last >= usual * (1 - STEPS_SLACK) - SLACK_STEPS

    def _steps(self, samples: int) -> int:
        return int(self._extract(noise(samples), **self._unpadded)[0].shape[self.time])

    def _measure(self) -> None:
        short, long = (self._shape(seconds) for seconds in PROBES_S)
        axes = _growing_axes(short, long)
        if axes:
            self.time = axes[0]
        else:
            self._measure_window(short)

    def _measure_window(self, full: tuple[int, ...]) -> None:
        """Find the time axis of an extractor that pads to a fixed length, by calling it without padding."""
        for arguments in UNPADDED:
            try:
                short, long = (self._shape(seconds, **arguments) for seconds in SHORT_PROBES_S)
            except ModelError:
                continue
            axes = _growing_axes(short, long)
            if axes:
                break
        else:
            raise ModelError(
                f"{type(self._extractor).__name__} returns an input of shape {full} for {PROBES_S[0]:g} s and for "
                f"{PROBES_S[1]:g} s of audio, so that the time axis cannot be determined; name another encoder"
            )
        self.time, self.padded, self._unpadded = axes[0], True, dict(arguments)
        measured = (SHORT_PROBES_S[1] - SHORT_PROBES_S[0]) * self.sample_rate / (long[self.time] - short[self.time])
        stated = getattr(self._extractor, "hop_length", None)
        hop = stated if isinstance(stated, int) and abs(stated - measured) <= HOP_SLACK * measured else measured
        self.window_steps = full[self.time]
        self.window_samples = round(full[self.time] * hop)

    def _shape(self, seconds: Seconds, **arguments: Any) -> tuple[int, ...]:
        window = noise(round(seconds * self.sample_rate))
        try:
            values, mask = self._extract(window, **arguments)
        except UNFIT as error:
            if is_out_of_memory(error) or isinstance(error, ModelError):
                raise
            name = type(self._extractor).__name__
            raise ModelError(
                f"{name} does not take {seconds:g} s of noise ({reason(error)}); name another encoder"
            ) from error
        self.gives_mask = mask is not None
        return tuple(values.shape)

    def _extract(self, window: Waveform, **arguments: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return input and mask of one window, without the batch axis."""
        options = {"sampling_rate": self.sample_rate, "return_tensors": "pt", **arguments}
        accepted = self._accepted
        outputs = self._extractor(
            window, **{key: value for key, value in options.items() if accepted is None or key in accepted}
        )
        name = self._input_name(outputs)
        if len(outputs[name]) != 1:
            raise ModelError(
                f"the feature extractor cuts {len(window) / self.sample_rate:g} s of audio into several inputs"
            )
        mask = next((outputs[mask_name] for mask_name in MASKS if mask_name in outputs), None)
        return torch.as_tensor(outputs[name])[0], None if mask is None else torch.as_tensor(mask)[0]

    def _input_name(self, outputs: Any) -> str:
        if self._input in outputs:
            return str(self._input)
        floats = [str(name) for name, value in outputs.items() if torch.is_tensor(value) and value.is_floating_point()]
        names = [name for name in floats if name not in MASKS]
        if self._input not in AUDIO_INPUTS and len(names) == 1:  # the model has another name for its input
            return names[0]
        raise ModelError(f"the feature extractor makes {' and '.join(outputs)}, the model takes {self._input}")


def _settings(extractor: Any) -> tuple[type, str] | None:
    """Return the class and settings of an extractor of transformers; None if its code comes with the model."""
    kind = type(extractor)
    return (kind, extractor.to_json_string()) if kind.__module__.startswith("transformers.models.") else None


def _accepted_arguments(extractor: Any) -> set[str] | None:
    """Return the names of an extractor's arguments, or None if it takes any."""
    parameters = inspect.signature(type(extractor).__call__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def _growing_axes(short: tuple[int, ...], long: tuple[int, ...]) -> list[int]:
    """Return the axes that are longer for longer audio.

    Raises:
        ModelError: several axes change, an axis shrinks, or the number of axes changes.
    """
    if len(short) == len(long):
        axes = [axis for axis, size in enumerate(short) if long[axis] != size]
        if len(axes) < 2 and all(long[axis] > short[axis] for axis in axes):
            return axes
    raise ModelError(
        f"expected one axis of the model's input to grow with the audio, got shapes {short} and {long}; "
        "name another encoder"
    )


def _valid_steps(mask: torch.Tensor | None, steps: int) -> int:
    """Return the number of steps that a mask marks as audio; all steps if its length is not that of the input."""
    if mask is None or not mask.ndim or mask.shape[-1] != steps:
        return steps
    return int(mask.reshape(-1, steps)[0].sum())
