"""The log-mel features of Granite Speech, whose feature extractor in transformers needs torchaudio.

Source: G. Saon et al., "Granite-speech: open-source speech-aware LLMs with strong English ASR capabilities", arXiv
2505.08699.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from transformers.audio_utils import mel_filter_bank

from voxrank.encoders.base import Waveform
from voxrank.encoders.checkpoints import Checkpoint, reading, tf
from voxrank.encoders.plausible import check_extractor, check_rate
from voxrank.errors import ModelError

KIND = "GraniteSpeechFeatureExtractor"
LOG_FLOOR = 1e-10
"""Power below which a band counts as silent."""
RANGE = 8.0
"""Maximum distance of a value below the loudest, in powers of ten. Lower values are raised to it."""
STACKED = 2
"""Number of consecutive spectra in an input step."""
DEFAULTS = {"sample_rate": 16_000, "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80}
"""Settings of the published models; lengths in samples."""


class GraniteFeatures:
    """Computes Granite Speech's log-mel spectra, two to a step.

    The value of a band with power p is max(log₁₀ p, m − 8) / 4 + 1, where m is the largest log₁₀ p of the audio.

    Attributes:
        sampling_rate: in Hz.
        hop_length: samples from spectrum to spectrum.

    Args:
        settings: values for the names of `DEFAULTS`.
    """

    def __init__(self, settings: dict[str, int]) -> None:
        self._settings = {name: int(settings.get(name, value)) for name, value in DEFAULTS.items()}
        self.sampling_rate, self.hop_length = self._settings["sample_rate"], self._settings["hop_length"]
        size = self._settings["n_fft"]
        filters = mel_filter_bank(
            size // 2 + 1, self._settings["n_mels"], 0.0, self.sampling_rate / 2, self.sampling_rate, mel_scale="htk"
        )
        self._filters = torch.from_numpy(filters).float()
        self._window = torch.hann_window(self._settings["win_length"])

    def __call__(self, window: Waveform, **options: Any) -> dict[str, torch.Tensor]:
        """Return `input_features`, (1, steps, 2 · bands).

        Args:
            window: mono float32 audio.
            options: ignored; other extractors take a sample rate and the kind of tensors.
        """
        del options
        spectrum = torch.stft(
            torch.from_numpy(window), self._settings["n_fft"], self.hop_length, len(self._window), self._window,
            return_complex=True,
        )  # fmt: skip
        power = spectrum.abs().square().transpose(0, 1) @ self._filters
        values = power.clamp_min(LOG_FLOOR).log10()
        values = values.maximum(values.max() - RANGE) / 4 + 1
        steps = len(values) // STACKED
        return {"input_features": values[: steps * STACKED].reshape(1, steps, -1)}

    def to_json_string(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(self._settings, sort_keys=True)


def load_granite_features(checkpoint: Checkpoint) -> GraniteFeatures | None:
    """Return the features of a Granite Speech checkpoint; None if it has none, or names another feature extractor.

    Raises:
        ModelError: the settings are implausible.
    """
    try:
        with reading(checkpoint, "feature extractor"):
            content, _ = tf.FeatureExtractionMixin.get_feature_extractor_dict(
                checkpoint.location, local_files_only=checkpoint.offline
            )
    except ModelError:
        return None  # `load_extractor` reports what is missing
    if content.get("feature_extractor_type") != KIND:
        return None
    with reading(checkpoint, "feature extractor"):
        check_extractor(checkpoint.name, content)
        nested = content.get("melspec_kwargs")
        features = GraniteFeatures(content | (nested if isinstance(nested, dict) else {}))
    check_rate(f"{checkpoint.name}: preprocessor_config.json", features.sampling_rate)
    return features
