"""Speech encoders that transformers loads, from a hub id or a local directory.

What a family does to time (hop, shortest input, layers of different rates, whether padding leaks) is measured on the
loaded model and not looked up by its name. Whisper and AST, whose input has a fixed length, have modules of their own.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from voxrank.config import EncoderOptions
from voxrank.encoders.base import (
    Encoder,
    Layer,
    LayerFrames,
    Waveform,
    count_parameters,
    numbered,
    pick_device,
    pick_dtype,
)
from voxrank.encoders.checkpoints import (
    Checkpoint,
    checkpoint_settings,
    find_architecture,
    find_checkpoint,
    load_config,
    load_extractor,
    load_weights,
    reading,
)
from voxrank.encoders.padding import TrueLengths, keep_padding_out, leaks, noise, pack_layers, valid, without_tf32
from voxrank.encoders.patches import SpectrogramTransformer
from voxrank.encoders.whisper import Whisper, load_whisper_extractor
from voxrank.errors import ModelError, reason
from voxrank.memory import is_out_of_memory

RATE_SPAN_SAMPLES = 19_200
"""A multiple of every usual hop (160, 320, 384, 640, 1280 … samples), so that counting frames gives rates exactly."""

PROBE_SAMPLES = (0, 1187, 3200)
"""Windows of the padding proof, above the shortest: odd and even numbers of frames, and one much longer."""

COUNTERS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")
"""Methods with which transformers' models say how many frames a number of input steps gives."""

UNFIT = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What models and feature extractors raise on audio that is too short, or that they are not made for."""


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load an audio encoder of transformers.

    Args:
        rest: hub id or local directory.
        options: device, precision, windows, and whose own code may run.

    Raises:
        ModelError: there is no such model, it is no audio encoder, or its files are damaged or incomplete.
        OptionError: the device cannot be used.
    """
    device = pick_device(options.device)
    checkpoint = find_checkpoint(rest, options)
    config = load_config(checkpoint)
    architecture = find_architecture(checkpoint, config)
    if config.model_type == "whisper":
        extractor = load_whisper_extractor(checkpoint, config)
    else:
        extractor = load_extractor(checkpoint)
    model = load_weights(checkpoint, architecture).to(device)
    with reading(checkpoint, "settings"):
        if config.model_type == "whisper":
            return Whisper(model, extractor, options)
        if config.model_type == "audio-spectrogram-transformer":
            return SpectrogramTransformer(model, extractor, options)
        return HiddenStates(checkpoint, model, extractor, options)


class HiddenStates(Encoder):
    """A model that maps a waveform or a spectrogram of any length to hidden states."""

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
        keep_padding_out(model, self._lengths)
        with torch.no_grad(), warnings.catch_warnings():  # what models keep of these passes may be trained through
            warnings.simplefilter("ignore", RuntimeWarning)  # numpy, on audio too short to normalise
            self.min_samples = self._shortest()
            self.layers = self._measure_layers()
            self.pads = self._padding_is_clean()
        self.window_samples = max(self.min_samples, round(options.window_s * self.sample_rate))
        self._dtype = pick_dtype(options)
        model.to(self._dtype)

    def settings(self) -> dict[str, str]:
        """Those of the checkpoint."""
        return checkpoint_settings(self._model.config, self._extractor)

    def network(self) -> torch.nn.Module:
        """The encoder."""
        network: torch.nn.Module = self._model
        return network

    def blocks(self) -> dict[int, torch.nn.Module]:
        """Those of the stack."""
        return self.stack()

    def stack(self) -> dict[int, torch.nn.Module]:
        """The model's longest list of blocks, where it has one for each layer."""
        return numbered(self._model, len(self.layers) - 1)

    @contextmanager
    def running(self, lengths: Sequence[int]) -> Iterator[None]:
        """Convolutions inside the blocks are told where the padding begins."""
        before, self._lengths.frames = self._lengths.frames, list(lengths)
        try:
            with without_tf32(self.device), _without_mask_warning():
                yield
        finally:
            self._lengths.frames = before

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        rows, steps = zip(*(self._extract(window) for window in windows), strict=True)
        frames = [self._count(n) for n in steps]
        self._lengths.steps, self._lengths.frames = list(steps), frames
        values = pad_sequence(list(rows), batch_first=True).to(self.device, self._dtype)
        return pack_layers(self._hidden_states(values, steps), frames)

    def _extract(self, window: Waveform) -> tuple[torch.Tensor, int]:
        """Model input of one window, (steps, …), and how many of the steps are audio. Normalised over this window."""
        made = self._extractor(window, sampling_rate=self.sample_rate, return_tensors="pt")
        wanted = self._model.main_input_name
        if wanted not in made:
            raise ModelError(f"the feature extractor makes {' and '.join(made)}, the model takes {wanted}")
        values, mask = made[wanted][0], made.get("attention_mask")
        return values, len(values) if mask is None else int(mask[0].sum())

    def _count(self, steps: int) -> int:
        """Frames inside the transformer that come of a number of valid input steps."""
        for name in COUNTERS:
            if hasattr(self._model, name):
                return int(getattr(self._model, name)(torch.tensor(steps)))
        return steps

    def _hidden_states(self, values: torch.Tensor, steps: Sequence[int]) -> list[torch.Tensor]:
        """Input of the first block, then the output of every block, the last one normalised if the model does so."""
        outputs = self._outputs(values, steps)
        states = list(outputs.hidden_states or ())
        if not states:
            raise ModelError("the model gives no hidden states")
        if outputs.last_hidden_state.shape == states[-1].shape:
            states[-1] = outputs.last_hidden_state
        return states

    def _outputs(self, values: torch.Tensor, steps: Sequence[int]) -> Any:
        """What the model makes of padded input (B, steps, …), as transformers returns it."""
        longest = values.shape[1]
        mask = valid(steps, longest, self.device).long() if min(steps) < longest else None
        with without_tf32(self.device), _without_mask_warning():
            return self._model(values, attention_mask=mask, output_hidden_states=True)

    def _shortest(self) -> int:
        """The fewest samples, up to a second, from which every layer makes a frame."""
        second = self.sample_rate
        first = bisect_left(range(1, second), 1, key=self._count_or_zero) + 1
        if self._problem(first) is None:
            return first
        problem = self._problem(second)
        if problem is not None:
            raise ModelError(
                f"{self.spec}: {type(self._model).__name__} does not encode a second of noise ({problem}); "
                "name an encoder that maps audio to hidden states"
            )
        step = second // 100
        return next((more for more in range(first + step, second, step) if self._problem(more) is None), second)

    def _count_or_zero(self, samples: int) -> int:
        """Frames of a window as far as the feature extractor tells; 0 where it refuses."""
        try:
            return self._count(self._extract(noise(samples))[1])
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            return 0

    def _problem(self, samples: int) -> str | None:
        """Why a window of this length cannot be encoded; None when it can."""
        try:
            pieces = list(self._forward([noise(samples)]))
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            return reason(error)
        if any(min(piece.lengths) == 0 for piece in pieces):
            return "a layer makes no frame"
        return None if all(piece.frames.isfinite().all() for piece in pieces) else "frames are not finite"

    def _measure_layers(self) -> tuple[Layer, ...]:
        short = self._forward([noise(self.min_samples)])
        long = self._forward([noise(self.min_samples + RATE_SPAN_SAMPLES)])
        return tuple(
            Layer(
                index=many.layer,
                name=f"block {many.layer}" if many.layer else "input",
                dim=many.frames.shape[1],
                frame_rate=(many.lengths[0] - few.lengths[0]) * self.sample_rate / RATE_SPAN_SAMPLES,
            )
            for few, many in zip(short, long, strict=True)
        )

    def _padding_is_clean(self) -> bool:
        """Encode windows of several lengths alone and in one padded batch, and compare."""
        windows = [noise(self.min_samples + more) for more in PROBE_SAMPLES]
        try:
            together = list(self._forward(windows))
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            return False
        return not leaks([list(self._forward([window])) for window in windows], together)


@contextmanager
def _without_mask_warning() -> Iterator[None]:
    """Keep to itself what torch says of WavLM's masks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        yield
