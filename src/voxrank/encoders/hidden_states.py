"""Encoders of transformers that map audio of any length, or of a fixed window, to hidden states.

How a model treats time is measured on the loaded model, not looked up by the name of its family: the time axis, the
hop, the shortest input, layers of different rates, and whether padding leaks. A model whose frames do not follow the
length of its audio is refused.
"""

from __future__ import annotations

import inspect
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any, NoReturn

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from voxrank._support.memory import is_out_of_memory
from voxrank.config import EncoderOptions, Hertz
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform, count_parameters, numbered, pick_dtype
from voxrank.encoders.blocks import find_blocks, join_chunks, record_blocks
from voxrank.encoders.checkpoints import Checkpoint, checkpoint_settings
from voxrank.encoders.features import PROBES_S, UNFIT, FeatureReader
from voxrank.encoders.padding import TrueLengths, keep_padding_out, leaks, noise, pack_layers, valid, without_tf32
from voxrank.encoders.precision import lower_precision
from voxrank.errors import ModelError, reason

RATE_SPAN_SAMPLES = 38_400
"""A multiple of every usual hop (160, 320, 384, 512, 1280 … samples), so that counting frames gives exact rates."""

PROBE_SAMPLES = (0, 1187, 3200)
"""Lengths of the windows of the padding check, beyond the shortest: odd and even numbers of frames, one much longer."""

MAX_RATE: Hertz = 1_000.0
"""Maximum frame rate: no speech encoder has more frames per second in its blocks."""

RATE_SLACK = 0.1
"""Tolerated relative deviation of the number of frames from frame rate times length, besides a few frames."""
SLACK_FRAMES = 3

COUNTERS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")
"""Methods of transformers models that return the number of frames for a number of input steps."""

ODD_SAMPLES = (1, 1187)
"""Samples beyond a second that a model is tried with, because some take only multiples of a number of steps."""

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 80, 128, 160, 256, 320, 512, 640, 1024, 1280, 1920)
"""The multiples that are tried, in steps."""

PROBE_STEPS = 16_000
"""Number of steps that a counting method is tried with."""

MASKS = ("attention_mask", "input_features_mask", "padding_mask", "audio_mel_mask", "mask")
"""Argument names under which models take the mask of their input."""

INVERTED_MASKS = ("audio_mel_mask",)
"""Names of masks that are true where there is no audio."""


class HiddenStates(Encoder):
    """A model that maps a waveform or a spectrogram to hidden states.

    Some feature extractors pad all audio to a window of fixed length. The model then gets the whole window, as in
    training, and only the frames of the audio are kept, with ``whisper_window="auto"`` too. With "fit" it gets the
    audio alone, if it accepts that.

    Args:
        checkpoint: the model.
        model: the encoder with its weights, in float32.
        extractor: the feature extractor.
        options: precision and windows.

    Raises:
        ModelError: the model does not encode noise, or its frames do not follow the length of the audio.
    """

    def __init__(self, checkpoint: Checkpoint, model: Any, extractor: Any, options: EncoderOptions) -> None:
        self.spec = checkpoint.name
        self.device = model.device
        self.parameters = count_parameters(model)
        self.sample_rate = extractor.sampling_rate
        self.budget_samples = round(options.batch_s * self.sample_rate)
        self._model = model
        self._extractor = extractor
        self._dtype = torch.float32
        self._lengths = TrueLengths()
        self._input, self._mask = _input_names(model)
        self._counter = _find_counter(model)
        self._extra_arguments = {"output_hidden_states": True} if _takes_argument(model, "output_hidden_states") else {}
        self._chunk_steps: int | None = getattr(model, "chunk_steps", None)  # see `towers.PackedTower`
        self._blocks: list[nn.Module] = []
        self._probes: dict[tuple[Any, ...], list[LayerFrames] | str] = {}
        keep_padding_out(model, self._lengths)
        with torch.no_grad(), warnings.catch_warnings():  # models keep tensors of these passes, which may be trained
            warnings.simplefilter("ignore", RuntimeWarning)  # from numpy, for audio too short to normalise
            self._reader = self._find_reader()
            self._reader.cut = getattr(model, "cut", False)
            self._adapt(fit=options.whisper_window == "fit")
            self.min_samples = self._shortest()
            self.window_samples = self._longest(options)
            self.layers = self._measure_layers()
            self._check_layers()
            self.pads = self._padding_is_clean()
            self._probes.clear()
            self.notes = lower_precision(self, model, pick_dtype(options))

    def settings(self) -> dict[str, str]:
        """Return the settings of the checkpoint, and how the model is fed: its window, and a mask for all audio."""
        feeding = {"window": str(self._reader.window_samples)} if self._reader.padded else {}
        if self._mask[1]:
            feeding["mask"] = self._mask[0]
        return checkpoint_settings(self._model.config, self._extractor) | feeding

    def network(self) -> nn.Module:
        """Return the encoder."""
        network: nn.Module = self._model
        return network

    def blocks(self) -> dict[int, nn.Module]:
        """Return the model's longest list of blocks, if it has one block for each layer."""
        return numbered(self._model, len(self.layers) - 1)

    def stack(self) -> dict[int, nn.Module]:
        """Return the blocks, unless they take packed audio with its chunks, and so cannot run alone."""
        return {} if self._chunk_steps else self.blocks()

    def cost_samples(self, n_samples: int) -> int:
        """Return the length of the whole window if all audio is padded to it."""
        fixed = self._reader.window_samples if self._reader.padded else None
        return fixed or super().cost_samples(n_samples)

    @contextmanager
    def running(self, lengths: Sequence[int]) -> Iterator[None]:
        """Pass the valid lengths to convolutions inside the blocks, so that they know where the padding begins."""
        before, self._lengths.frames = self._lengths.frames, list(lengths)
        try:
            with without_tf32(self.device), _without_mask_warning():
                yield
        finally:
            self._lengths.frames = before

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        rows, steps = zip(*(self._reader(window) for window in windows), strict=True)
        total = max(map(len, rows))
        frames = [total] * len(steps) if self._reader.padded else [self._count(n) for n in steps]
        self._lengths.steps, self._lengths.frames = list(steps), frames
        values = pad_sequence(list(rows), batch_first=True).movedim(1, self._reader.time + 1)
        states = self._hidden_states(values.to(self.device, self._dtype), steps)
        if any(state.ndim != 3 for state in states):
            raise ModelError(f"its hidden states have shape {tuple(states[0].shape)}, expected (batch, time, features)")
        return pack_layers(states, partial(self._frames, steps, total))

    def _frames(self, steps: Sequence[int], total: int, count: int) -> list[int]:
        """Return the number of valid frames of each row, if a layer has `count` frames for `total` input steps."""
        if self._reader.padded:
            return [-(-n * count // total) for n in steps]
        pooled = max(1, round(self._count(total) / max(1, count)))  # frames of the blocks per frame of this layer
        return [count if n == total else min(self._count(n) // pooled, count) for n in steps]

    def _count(self, steps: int) -> int:
        """Return the number of frames inside the transformer for a number of valid input steps."""
        return steps if self._counter is None else int(self._counter(torch.tensor(steps)))

    def _hidden_states(self, values: torch.Tensor, steps: Sequence[int]) -> list[torch.Tensor]:
        """Return the input of the first block, then every block's output; the last is normalised as in the model."""
        if self._blocks:
            ends: list[Any] = []
            states = record_blocks(self._blocks, lambda: ends.append(self._outputs(values, steps)))
            return join_chunks(states, ends[0], len(steps))
        outputs = self._outputs(values, steps)
        states = list(getattr(outputs, "hidden_states", None) or ())
        if not states:
            self._blocks = find_blocks(self._model)
            return self._hidden_states(values, steps)
        last = getattr(outputs, "last_hidden_state", None)
        if last is not None and last.shape == states[-1].shape:
            states[-1] = last
        return states

    def _outputs(self, values: torch.Tensor, steps: Sequence[int]) -> Any:
        """Return the model's output for padded input (B, …), as transformers returns it."""
        longest = values.shape[self._reader.time + 1]
        named: dict[str, Any] = {self._input: values}
        mask_name, always = self._mask
        if mask_name and (always or min(steps) < longest):
            mask = valid(steps, longest, self.device)
            named[mask_name] = ~mask if mask_name in INVERTED_MASKS else mask.long()
        with without_tf32(self.device), _without_mask_warning():
            return self._model(**named, **self._extra_arguments)

    def _adapt(self, *, fit: bool) -> None:
        """Find how the model takes noise: padded to its window or alone, and when it needs a mask."""
        first: str | None = None
        for padded, mask in self._feeding_modes(fit=fit):
            self._reader.padded, self._mask = padded, mask
            problem = self._problem(self.sample_rate) or self._problem_of_lengths()
            if problem is None:
                self._keep_mask()
                return
            first = first or problem
        self._refuse(f"does not encode a second of noise ({first}); name an encoder that maps audio to hidden states")

    def _keep_mask(self) -> None:
        """Pass the mask for all audio, if the extractor returns one and a mask without padding changes the frames.

        Some models attend within a sliding window only if they get a mask.
        """
        name, always = self._mask
        if not name or always or not self._reader.gives_mask:
            return
        without = self._layers_of(self.sample_rate)
        self._mask = name, True
        with_mask = self._probe(self.sample_rate)
        if isinstance(with_mask, str) or not leaks([without], with_mask):
            self._mask = name, False

    def _feeding_modes(self, *, fit: bool) -> list[tuple[bool, tuple[str, bool]]]:
        """Return the ways to feed the model, the best first: whether the window is filled, and which mask is used."""
        (name, needed), padded = self._mask, self._reader.padded
        if self._chunk_steps:
            return [(False, (name, needed))]
        masks = [(name, needed), *([] if needed or not name else [(name, True), ("", False)])]
        return list(product(dict.fromkeys([padded and not fit, padded]), masks))

    def _problem_of_lengths(self) -> str | None:
        """Return why audio of some lengths cannot be encoded, or None; sets the multiple of steps to use."""
        fixed = self._reader.window_samples if self._reader.padded else None
        lengths = [fixed] if fixed else [self.sample_rate + more for more in ODD_SAMPLES]
        first: str | None = None
        for self._reader.multiple in MULTIPLES[: 1 if fixed else None]:
            problem = next((text for n in lengths if (text := self._problem(n)) is not None), None)
            if problem is None:
                return None
            first = first or problem
        self._reader.multiple = 1
        return first

    def _find_reader(self) -> FeatureReader:
        try:
            return FeatureReader(self._extractor, self._input)
        except ModelError as error:
            raise ModelError(f"{self.spec}: {type(self._model).__name__} cannot be fed: {error}") from error

    def _refuse(self, why: str) -> NoReturn:
        raise ModelError(f"{self.spec}: {type(self._model).__name__} {why}")

    def _shortest(self) -> int:
        """Return the fewest samples, up to a second, for which every layer gives a frame."""
        second = self.sample_rate
        if self._reader.padded:
            return max(1, second // int(MAX_RATE))
        first = bisect_left(range(1, second), 1, key=self._count_or_zero) + 1
        if self._problem(first) is None:
            return self._after_padding(first)
        step = second // 100
        lengths = range(first + step, second, step)
        return next((more for more in lengths if self._problem(more) is None), second)

    def _after_padding(self, first: int) -> int:
        """Return the longest audio that the extractor pads to the steps of the shortest; `first` if it pads none."""
        steps, second = self._steps_or_zero(first), self.sample_rate
        last = bisect_left(range(1, second), steps + 1, key=self._steps_or_zero)
        hop = bisect_left(range(1, second), steps + 2, key=self._steps_or_zero) - last
        return last if last - first > 2 * hop else first

    def _longest(self, options: EncoderOptions) -> int:
        """Return the longest window: that of the options, but no more than the feature extractor takes as a whole."""
        return max(self.min_samples, self._reader.longest(round(options.window_s * self.sample_rate)))

    def _count_or_zero(self, samples: int) -> int:
        """Return the number of frames of a window, or 0 if the feature extractor refuses the window."""
        steps = self._steps_or_zero(samples)
        return self._count(steps) if steps else 0

    def _steps_or_zero(self, samples: int) -> int:
        """Return the number of steps of a window, or 0 if the feature extractor refuses the window."""
        try:
            return self._reader(noise(samples))[1]
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            return 0

    def _problem(self, samples: int) -> str | None:
        """Return why noise of this length cannot be encoded, or None if it can."""
        pieces = self._probe(samples)
        return pieces if isinstance(pieces, str) else None

    def _probe(self, samples: int) -> list[LayerFrames] | str:
        """Return the layers of noise of this length, or why it cannot be encoded; cached for each way of feeding."""
        way = (samples, self._reader.padded, self._reader.multiple, self._mask)
        if way not in self._probes:
            self._probes[way] = self._pieces(samples)
        return self._probes[way]

    def _layers_of(self, samples: int) -> list[LayerFrames]:
        """Return the layers of noise of this length; raises the model's exception if the noise cannot be encoded."""
        pieces = self._probe(samples)
        return list(self._forward([noise(samples)])) if isinstance(pieces, str) else pieces

    def _pieces(self, samples: int) -> list[LayerFrames] | str:
        try:
            pieces = list(self._forward([noise(samples)]))
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            return str(error) if isinstance(error, ModelError) else reason(error)
        if any(min(piece.lengths) == 0 for piece in pieces):
            return "a layer makes no frame"
        return pieces if all(piece.frames.isfinite().all() for piece in pieces) else "frames are not finite"

    def _measure_layers(self) -> tuple[Layer, ...]:
        fixed = self._reader.window_samples if self._reader.padded else None
        if fixed is not None:
            many = self._layers_of(fixed)
            few, span = [0] * len(many), fixed
        else:
            few, span = [piece.lengths[0] for piece in self._layers_of(self.min_samples)], self._rate_span()
            many = self._layers_of(self.min_samples + span)
        return tuple(
            Layer(
                index=piece.layer,
                name=f"block {piece.layer}" if piece.layer else "input",
                dim=piece.frames.shape[1],
                frame_rate=(piece.lengths[0] - before) * self.sample_rate / span,
            )
            for before, piece in zip(few, many, strict=True)
        )

    def _rate_span(self) -> int:
        """Return the samples over which frames are counted: whole chunks, if the model cuts its input into chunks."""
        chunk = (self._chunk_steps or 0) * getattr(self._extractor, "hop_length", 0)
        return -(-RATE_SPAN_SAMPLES // chunk) * chunk if chunk else RATE_SPAN_SAMPLES

    def _check_layers(self) -> None:
        """Refuse frames that do not follow the audio: their rate must be plausible and hold for two lengths."""
        for layer in self.layers:
            if not 0 < layer.frame_rate <= MAX_RATE:
                self._refuse(
                    f"gives {layer.frame_rate:g} frames a second at layer {layer.index}, expected more than 0 and at "
                    f"most {MAX_RATE:,.0f}; name an encoder whose frames follow the audio"
                )
        fixed = self._reader.window_samples if self._reader.padded else None
        for seconds in PROBES_S:
            samples = round(seconds * self.sample_rate)
            self._check_count(samples if fixed is None else min(samples, fixed))

    def _check_count(self, samples: int) -> None:
        seconds = samples / self.sample_rate
        pieces = self._probe(samples)
        if isinstance(pieces, str):
            self._refuse(f"does not encode {seconds:g} s of noise ({pieces}); name another encoder")
        for layer, piece in zip(self.layers, pieces, strict=True):
            (frames,), dim, expected = piece.lengths, piece.frames.shape[1], layer.frame_rate * seconds
            if dim != layer.dim or abs(frames - expected) > SLACK_FRAMES + RATE_SLACK * expected:
                self._refuse(
                    f"gives {frames} frames of {dim} numbers at layer {layer.index} for {seconds:g} s of noise, "
                    f"expected about {expected:.0f} of {layer.dim}; name an encoder whose frames follow the audio"
                )

    def _padding_is_clean(self) -> bool:
        """Return whether windows of several lengths give the same frames alone and in one padded batch."""
        lengths = [min(self.min_samples + more, self.window_samples) for more in PROBE_SAMPLES]
        try:
            together = list(self._forward([noise(samples) for samples in lengths]))
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            return False
        return not leaks([self._layers_of(samples) for samples in lengths], together)


def _input_names(model: Any) -> tuple[str, tuple[str, bool]]:
    """Return the argument names for audio and its mask ("" if there is none), and whether the mask is required."""
    parameters = inspect.signature(model.forward).parameters
    input_name = model.main_input_name if model.main_input_name in parameters else next(iter(parameters))
    mask = next((name for name in MASKS if name in parameters), "")
    return input_name, (mask, bool(mask) and parameters[mask].default is inspect.Parameter.empty)


def _takes_argument(model: Any, name: str) -> bool:
    """Return whether a model takes an argument of this name."""
    parameters = inspect.signature(model.forward).parameters
    return name in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _find_counter(model: Any) -> Callable[[torch.Tensor], Any] | None:
    """Return the model's method that counts frames, or None if it has none or the method counts something else."""
    for name in COUNTERS:
        counter: Callable[[torch.Tensor], Any] | None = getattr(model, name, None)
        if counter is None:
            continue
        try:
            int(counter(torch.tensor(PROBE_STEPS)))
        except UNFIT:
            continue
        return counter
    return None


@contextmanager
def _without_mask_warning() -> Iterator[None]:
    """Suppress torch's warning about the masks of WavLM."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        yield
