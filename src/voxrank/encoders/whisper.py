"""The encoder of Whisper, whose input is always the log-mel spectrogram of a window of fixed length.

Source: A. Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", arXiv 2212.04356.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from voxrank.config import EncoderOptions, Seconds
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform, count_parameters, numbered, pick_dtype
from voxrank.encoders.checkpoints import Checkpoint, checkpoint_settings, load_extractor, tf
from voxrank.encoders.padding import pack_layers, without_tf32
from voxrank.encoders.precision import check_probe, lower_precision
from voxrank.encoders.whisper_window import AUTO, Positions, SilenceWeights, WindowRule, cut_positions
from voxrank.errors import ModelError

CONV_STRIDE = 2
"""Number of spectrogram frames per encoder frame."""

SILENCE = -1.5
"""Whisper's log-mel of digital silence: (log10(1e-10) + 4) / 4."""

DYNAMIC_RANGE = 2.0
"""Maximum distance of a log-mel value below the loudest: 8 powers of ten over 4. Lower values are raised to it."""


class Whisper(Encoder):
    """The encoder of a Whisper model.

    ``whisper_window`` says what a window holds after its audio. With "auto" it is 30 s of silence as in training, of
    which only some positions are computed (`voxrank.encoders.whisper_window`); with "full" the whole 30 s; with "fit"
    nothing. It depends on the length of the audio alone, and windows with the same positions share a batch. A frame is
    kept for every 20 ms of audio begun.

    Attributes:
        rule: the rule that gives a window its positions.
    """

    rule: WindowRule

    def __init__(self, model: Any, extractor: Any, options: EncoderOptions) -> None:
        self.spec = "whisper"
        self.device = model.device
        self.parameters = count_parameters(model)
        self.sample_rate = extractor.sampling_rate
        self.min_samples = extractor.hop_length * CONV_STRIDE
        self.layers = _layers(model.config, self.sample_rate / self.min_samples)
        self._positions = model.config.max_source_positions
        self._full_samples = self._positions * self.min_samples
        self.window_samples = max(self.min_samples, min(self._full_samples, round(options.window_s * self.sample_rate)))
        self.budget_samples = round(options.batch_s * self.sample_rate)
        self._extractor = extractor
        self._dtype = torch.float32
        self._model = model
        self._weights = SilenceWeights(model.layers)
        rules = {"auto": AUTO, "full": WindowRule(margin=self._positions), "fit": WindowRule()}
        self.pads, self.rule = False, WindowRule()  # the probe takes a second, not the whole window
        check_probe(self, self.sample_rate)
        self.pads, self.rule = options.whisper_window == "full", rules[options.whisper_window]
        self.notes = lower_precision(self, model, pick_dtype(options))

    def cost_samples(self, n_samples: int) -> int:
        """Return the length of the positions that are computed for a window."""
        return self.padded_samples(n_samples)

    def padded_samples(self, n_samples: int) -> int:
        """Return the length of the positions that are computed for a window, which no other positions share."""
        return len(self._positions_for(n_samples).rows) * self.min_samples

    def offsets(self) -> dict[int, Seconds]:
        """Return 0 for every layer: spectrogram and convolutions are centred on the first sample of a hop."""
        return {layer.index: 0.0 for layer in self.layers}

    def settings(self) -> dict[str, str]:
        """Return the settings of the checkpoint, and the rule of its windows if it is that of "auto"."""
        rule = {"silence": self.rule.describe()} if self.rule.spans else {}
        return checkpoint_settings(self._model.config, self._extractor) | rule

    def network(self) -> nn.Module:
        """Return the encoder."""
        network: nn.Module = self._model
        return network

    def blocks(self) -> dict[int, nn.Module]:
        """Return the blocks of the stack."""
        return self.stack()

    def stack(self) -> dict[int, nn.Module]:
        """Return the encoder's blocks; the final norm after the last block is not included."""
        return numbered(self._model, len(self.layers) - 1)

    def _positions_for(self, n_samples: int) -> Positions:
        return self.rule.positions(-(-n_samples // self.min_samples), self._positions)

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        frames = [-(-len(window) // self.min_samples) for window in windows]
        chosen = self._positions_for(max(map(len, windows)))
        mels = torch.stack([log_mel(self._extractor, window, self._positions * CONV_STRIDE) for window in windows])
        mels = mels[:, :, : len(chosen.rows) * CONV_STRIDE].to(self.device, self._dtype)
        silence = self._weights.counting(chosen.counts, self.device)
        with cut_positions(self._model, chosen.rows), silence, without_tf32(self.device):
            outputs = self._model(mels, output_hidden_states=True)
        return pack_layers(list(outputs.hidden_states), frames)


def _layers(config: Any, frame_rate: float) -> tuple[Layer, ...]:
    names = ["input", *(f"block {i}" for i in range(1, config.encoder_layers + 1))]
    return tuple(Layer(i, name, config.d_model, frame_rate) for i, name in enumerate(names))


def log_mel(extractor: Any, window: Waveform, n_frames: int) -> torch.Tensor:
    """Return Whisper's log-mel spectrogram of a window padded with silence, (mel bins, n_frames).

    The result equals the extractor's on the padded window, without computing the silence. Beyond the last frame that
    overlaps the audio, every value is the floor that the loudest value sets.

    Args:
        extractor: a `WhisperFeatureExtractor`.
        window: at most n_frames · hop samples.
        n_frames: number of frames of the padded window.
    """
    hop = extractor.hop_length
    reaching = -(-(len(window) + extractor.n_fft // 2) // hop)
    computed = min(n_frames, reaching + extractor.n_fft // hop)  # the kept frames do not overlap the end of the padding
    features = extractor(
        window, sampling_rate=extractor.sampling_rate, max_length=computed * hop, truncation=False, return_tensors="pt"
    )
    mel: torch.Tensor = features["input_features"][0]
    if computed == n_frames:
        return mel
    floor = max(SILENCE, mel.max().item() - DYNAMIC_RANGE)
    return nn.functional.pad(mel[:, :reaching], (0, n_frames - reaching), value=floor)


def load_whisper_extractor(checkpoint: Checkpoint, config: Any) -> Any:
    """Return the checkpoint's feature extractor; if it has none, the standard extractor for its number of mel bands.

    Raises:
        ModelError: the extractor's spectrograms do not fit the model.
    """
    extractor = load_extractor(checkpoint, default=tf.WhisperFeatureExtractor(feature_size=config.num_mel_bins))
    if extractor.feature_size != config.num_mel_bins:
        raise ModelError(
            f"{checkpoint.name}: preprocessor_config.json makes {extractor.feature_size} mel bins and config.json "
            f"takes {config.num_mel_bins}; use the files of one model"
        )
    return extractor
