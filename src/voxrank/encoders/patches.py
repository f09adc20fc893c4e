"""Transformers over a spectrogram of fixed length, whose tokens are patches: AST and the audio tower of CLAP.

Sources: Y. Gong, Y.-A. Chung, J. Glass, "AST: Audio Spectrogram Transformer", arXiv 2104.01778; K. Chen et al.,
"HTS-AT", arXiv 2202.00874; Y. Wu et al., "Large-Scale Contrastive Language-Audio Pretraining", arXiv 2211.06687.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform, count_parameters, numbered, pick_dtype
from voxrank.encoders.checkpoints import checkpoint_settings
from voxrank.encoders.padding import noise, pack_layers, without_tf32
from voxrank.encoders.precision import check_probe, lower_precision
from voxrank.errors import ModelError

HOP_MS = 10
FRAME_MS = 25
"""Hop and length, in ms, of the frames that AST's feature extractor computes."""

SPECIAL_TOKENS = 2
"""Number of special tokens, classification and distillation, which precede the patches."""


class PatchEncoder(Encoder):
    """An encoder of patches; a frame is the mean over all frequencies of the patches at one time position.

    Every window is padded to the model's fixed length, so that windows of any lengths share a batch. Only positions
    whose patch begins within the audio are kept.

    Args:
        model: the model of transformers.
        extractor: its feature extractor.
        options: precision and windows.
    """

    def __init__(self, model: Any, extractor: Any, options: EncoderOptions) -> None:
        self.spec = model.config.model_type
        self.device = model.device
        self.parameters = count_parameters(model)
        self.sample_rate = extractor.sampling_rate
        self._extractor = extractor
        self._dtype = torch.float32
        self._model = model
        self._full_samples = self._measure()
        self.pads = True
        self.window_samples = max(self.min_samples, min(self._full_samples, round(options.window_s * self.sample_rate)))
        self.budget_samples = round(options.batch_s * self.sample_rate)
        check_probe(self, self.sample_rate)
        self.notes = lower_precision(self, model, pick_dtype(options))

    @abstractmethod
    def _measure(self) -> int:
        """Set `layers` and `min_samples`; return the length of the whole window in samples."""

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


class SpectrogramTransformer(PatchEncoder):
    """The Audio Spectrogram Transformer, of windows of 10.24 s."""

    def _measure(self) -> int:
        config, extractor = self._model.config, self._extractor
        actual, needed = (extractor.max_length, extractor.num_mel_bins), (config.max_length, config.num_mel_bins)
        if actual != needed:
            raise ModelError(
                f"preprocessor_config.json makes spectra of {actual} frames and mel bins, config.json takes {needed}; "
                "use the files of one model"
            )
        self.min_samples = self.sample_rate * FRAME_MS // 1000
        self._hop = self.sample_rate * HOP_MS // 1000
        self._stride = config.time_stride
        self._bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        self._positions = (config.max_length - config.patch_size) // config.time_stride + 1
        self.layers = tuple(
            Layer(i, f"block {i}" if i else "input", config.hidden_size, self.sample_rate / (self._hop * self._stride))
            for i in range(config.num_hidden_layers + 1)
        )
        whole: int = config.max_length * self._hop
        return whole

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


class Clap(PatchEncoder):
    """The audio tower of CLAP (HTS-AT), of windows of 10 s: layer 0 is the patches, the others its stages.

    The feature extractor fills the window with copies of the audio; the frames of the first copy are kept. Each stage
    but the last two halves the number of positions.
    """

    def _measure(self) -> int:
        config, whole = self._model.config, int(self._extractor.max_length_s * self.sample_rate)
        if config.num_mel_bins != self._extractor.feature_size:
            raise ModelError(
                f"preprocessor_config.json makes {self._extractor.feature_size} mel bins, config.json takes "
                f"{config.num_mel_bins}; use the files of one model"
            )
        self._chunks = config.spec_size // config.num_mel_bins
        self._full_samples = whole
        self.min_samples = self._extractor.hop_length
        with torch.no_grad():
            states = self._states([noise(self.min_samples)])
        self.layers = tuple(
            Layer(i, f"stage {i}" if i else "patches", state.shape[2], state.shape[1] * self.sample_rate / whole)
            for i, state in enumerate(states)
        )
        return whole

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        whole = self._full_samples
        return pack_layers(
            self._states(windows), lambda count: [-(-len(window) * count // whole) for window in windows]
        )

    def _states(self, windows: Sequence[Waveform]) -> list[torch.Tensor]:
        """Return the frames (rows, positions, features) of every layer."""
        features = self._extractor(list(windows), sampling_rate=self.sample_rate, return_tensors="pt")
        spectra = features["input_features"].to(self.device, self._dtype)
        cut = torch.zeros(len(windows), 1, dtype=torch.bool, device=self.device)  # no audio is longer than the window
        with without_tf32(self.device):
            states = self._model(spectra, is_longer=cut, output_hidden_states=True).hidden_states
        return [self._unfolded(state) for state in states]

    def _unfolded(self, state: torch.Tensor) -> torch.Tensor:
        """Average (rows, features, height, width) to (rows, positions, features).

        The model lays consecutive chunks of the spectrogram below each other, so that it becomes a square.
        """
        rows, features, height, width = state.shape
        by_chunk = state.float().reshape(rows, features, self._chunks, height // self._chunks, width)
        return by_chunk.mean(3).flatten(2).transpose(1, 2)
