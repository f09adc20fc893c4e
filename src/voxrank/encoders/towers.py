"""Adapters that give audio towers of other forms the usual call: a padded batch in, hidden states of every layer out.

The towers of Qwen2.5-Omni, Qwen3-Omni and Qwen3-ASR take the audio of a batch packed end to end, in chunks. Codecs such
as EnCodec and DAC are stacks of convolutions that return codes; their encoder is run alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import BaseModelOutput

from voxrank.encoders.blocks import record_blocks
from voxrank.errors import ModelError

POOLED = ("Qwen2_5OmniAudioEncoder",)
"""Packed towers that average pairs of frames before the final normalisation, and are given spectrograms that were
padded to 30 s and cut to the audio."""

PACKED_STRIDES = {"Qwen2_5OmniAudioEncoder": 2, "Qwen3OmniMoeAudioEncoder": 8, "Qwen3ASREncoder": 8}
"""Classes of packed towers → number of spectrogram frames per frame of the blocks."""

MASKED = ("Qwen3ASREncoder",)
"""Packed towers that take a padded batch with a mask, and pack it themselves."""

CODECS = ("EncodecModel", "DacModel")
"""Classes of codecs with a convolutional encoder."""


def as_tower(model: Any) -> Any:
    """Return an adapter around a tower of another form, and any other model as it is.

    Args:
        model: an audio encoder of transformers.

    Raises:
        ModelError: the model is a codec of stereo audio.
    """
    kind = type(model).__name__
    if kind in PACKED_STRIDES:
        return PackedTower(model)
    return CodecTower(model) if kind in CODECS else model


class _Tower(nn.Module):
    """Base class of adapters, with a device, a configuration and the name of the input as in transformers."""

    main_input_name: str

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device


class PackedTower(_Tower):
    """A tower that attends within chunks of the spectrogram, and takes all audio of a batch packed end to end.

    Attributes:
        chunk_steps: length of a chunk in spectrogram frames. A chunk gives ⌈chunk_steps / stride⌉ frames, and the rest
            of the audio, of r spectrogram frames, gives ⌈r / stride⌉.
        cut: whether spectrograms are padded to the fixed window before they are cut to the audio.

    Args:
        tower: the model of transformers.
    """

    main_input_name = "input_features"

    def __init__(self, tower: Any) -> None:
        super().__init__(tower.config)
        kind = type(tower).__name__
        self.tower = tower
        self.chunk_steps: int = 2 * tower.config.n_window
        self._stride = PACKED_STRIDES[kind]
        self._masked = kind in MASKED
        self.cut = self._pooled = kind in POOLED

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> BaseModelOutput:
        """Return the hidden states of every layer, padded with zeros.

        Args:
            input_features: spectrograms (rows, mel bins, steps), padded at the end.
            attention_mask: 1 where there is audio, (rows, steps).

        Raises:
            ModelError: the tower gives another number of frames than its chunks explain.
        """
        steps = attention_mask.sum(-1).tolist()
        counts = [self._get_feat_extract_output_lengths(n) for n in steps]
        run = self._run_masked if self._masked else self._run_packed
        states = record_blocks(list(self.tower.layers), lambda: run(input_features, steps))
        if len(states[0]) != sum(counts):
            raise ModelError(f"the tower gives {len(states[0])} frames, expected {sum(counts)} from its chunks")
        rows = [list(state.split(counts)) for state in states]
        rows[-1] = [self.tower.ln_post(_pooled(row) if self._pooled else row) for row in rows[-1]]
        return BaseModelOutput(hidden_states=tuple(pad_sequence(state, batch_first=True) for state in rows))

    def _get_feat_extract_output_lengths(self, steps: Any) -> int:
        """Return the number of frames for a number of spectrogram frames; the name is that of transformers."""
        whole, rest = divmod(int(steps), self.chunk_steps)
        return whole * -(-self.chunk_steps // self._stride) - (-rest // self._stride)

    def _run_packed(self, features: torch.Tensor, steps: Sequence[int]) -> Any:
        packed = torch.cat([row[:, :n] for row, n in zip(features, steps, strict=True)], dim=1)
        lengths = torch.tensor(steps, device=features.device)
        return self.tower(packed, feature_lens=lengths)

    def _run_masked(self, features: torch.Tensor, steps: Sequence[int]) -> Any:
        missing = -features.shape[-1] % self.chunk_steps
        padded = nn.functional.pad(features, (0, missing))
        places = torch.arange(padded.shape[-1], device=features.device)
        return self.tower(padded, (places < torch.tensor(steps, device=features.device)[:, None]).long())


def _pooled(frames: torch.Tensor) -> torch.Tensor:
    """Return the means of pairs of frames (n, features) → (n // 2, features)."""
    pairs = len(frames) // 2
    return frames[: 2 * pairs].reshape(pairs, 2, -1).mean(1)


class CodecTower(_Tower):
    """The convolutional encoder of a codec, without its quantiser and decoder.

    Layer 0 is the output of the last convolution that shortens the sequence; the other layers are the LSTM, if there is
    one, and the projection to the vectors that the codec quantises.

    Args:
        codec: the model of transformers.

    Raises:
        ModelError: the codec takes stereo audio.
    """

    main_input_name = "input_values"

    def __init__(self, codec: Any) -> None:
        super().__init__(codec.config)
        channels = getattr(codec.config, "audio_channels", 1)
        if channels != 1:
            raise ModelError(
                f"{type(codec).__name__} takes audio of {channels} channels, and recordings are mixed to one; name a "
                "codec of mono audio, such as facebook/encodec_24khz"
            )
        self.encoder = codec.encoder
        self._stages = _stages(codec.encoder)
        self._first = max(place for place, stage in enumerate(self._stages) if _shortens(stage))

    def forward(self, input_values: torch.Tensor) -> BaseModelOutput:
        """Return the hidden states (rows, frames, features) of every layer.

        Args:
            input_values: waveforms (rows, 1, samples).
        """
        hidden, states = input_values, []
        for place, stage in enumerate(self._stages):
            hidden = stage(hidden)
            if place >= self._first and not _is_activation(stage):
                states.append(hidden.transpose(1, 2))
        return BaseModelOutput(hidden_states=tuple(states))


def _stages(encoder: Any) -> list[nn.Module]:
    """Return the modules of a codec's encoder in order."""
    if hasattr(encoder, "layers"):  # EnCodec
        return list(encoder.layers)
    return [encoder.conv1, *encoder.block, encoder.snake1, encoder.conv2]  # DAC


def _shortens(stage: nn.Module) -> bool:
    """Return whether a stage gives fewer frames than it takes."""
    return any(isinstance(part, nn.Conv1d) and part.stride[0] > 1 for part in stage.modules())


def _is_activation(module: Any) -> bool:
    return isinstance(module, nn.ELU) or type(module).__name__ == "Snake1d"
