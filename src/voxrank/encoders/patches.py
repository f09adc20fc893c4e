"""The Audio Spectrogram Transformer, whose tokens are patches of a spectrogram of fixed length.

Source: Y. Gong, Y.-A. Chung, J. Glass, "AST: Audio Spectrogram Transformer", arXiv 2104.01778.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform, count_parameters, numbered, pick_dtype
from voxrank.encoders.checkpoints import checkpoint_settings
from voxrank.encoders.padding import pack_layers, without_tf32
from voxrank.encoders.precision import check_probe, lower_precision
from voxrank.errors import ModelError

HOP_MS = 10
FRAME_MS = 25
"""Hop and length, in ms, of the frames that AST's feature extractor computes."""

SPECIAL_TOKENS = 2
"""Number of special tokens, classification and distillation, which precede the patches."""


class SpectrogramTransformer(Encoder):
    """The Audio Spectrogram Transformer; a frame is the mean over all frequencies of the patches at one time position.

    Every window is padded to the model's fixed length (10.24 s), so that windows of any lengths share a batch. Only
    positions whose patch begins within the audio are kept.
    """

    def __init__(self, model: Any, extractor: Any, options: EncoderOptions) -> None:
        config = model.config
        actual, needed = (extractor.max_length, extractor.num_mel_bins), (config.max_length, config.num_mel_bins)
        if actual != needed:
            raise ModelError(
                f"preprocessor_config.json makes spectra of {actual} frames and mel bins, config.json takes {needed}; "
                "use the files of one model"
            )
        self.spec = "audio-spectrogram-transformer"
        self.device = model.device
        self.parameters = count_parameters(model)
        self.sample_rate = extractor.sampling_rate
        self.min_samples = self.sample_rate * FRAME_MS // 1000
        self._hop = self.sample_rate * HOP_MS // 1000
        self._stride = config.time_stride
        self._bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        self._positions = (config.max_length - config.patch_size) // config.time_stride + 1
        self._full_samples: int = config.max_length * self._hop
        self.layers = tuple(
            Layer(i, f"block {i}" if i else "input", config.hidden_size, self.sample_rate / (self._hop * self._stride))
            for i in range(config.num_hidden_layers + 1)
        )
        self.pads = True
        self.window_samples = max(self.min_samples, min(self._full_samples, round(options.window_s * self.sample_rate)))
        self.budget_samples = round(options.batch_s * self.sample_rate)
        self._extractor = extractor
        self._dtype = torch.float32
        self._model = model
        check_probe(self, self.sample_rate)
        self.notes = lower_precision(self, model, pick_dtype(options))

    def cost_samples(self, n_samples: int) -> int:
        """Return the length of the whole window."""
        del n_samples
        return self._full_samples

    def settings(self) -> dict[str, str]:
        """Return the settings of the checkpoint."""
        return checkpoint_settings(self._model.config, self._extractor)

    def network(self) -> torch.nn.Module:
        """Return the encoder."""
        network: torch.nn.Module = self._model
        return network

    def blocks(self) -> dict[int, torch.nn.Module]:
        """Return the model's blocks, which process patches."""
        return numbered(self._model, len(self.layers) - 1)

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        tokens = self._tokens(windows)
        for layer, hidden in enumerate(tokens):
            tokens[layer] = self._mean_over_frequency(hidden)
        return pack_layers(tokens, self._valid(windows))

    def _tokens(self, windows: Sequence[Waveform]) -> list[torch.Tensor]:
        features = self._extractor(list(windows), sampling_rate=self.sample_rate, return_tensors="pt")
        with without_tf32(self.device):
            outputs = self._model(features["input_values"].to(self.device, self._dtype), output_hidden_states=True)
        return [*outputs.hidden_states[:-1], outputs.last_hidden_state]

    def _mean_over_frequency(self, tokens: torch.Tensor) -> torch.Tensor:
        """Average (rows, tokens, dim) to (rows, positions, dim). Tokens are ordered by time within each band."""
        patches = tokens[:, SPECIAL_TOKENS:]
        return patches.reshape(len(tokens), self._bands, self._positions, -1).float().mean(1)

    def _valid(self, windows: Sequence[Waveform]) -> list[int]:
        spectra = [(len(window) - self.min_samples) // self._hop + 1 for window in windows]
        return [min(self._positions, -(-frames // self._stride)) for frames in spectra]
