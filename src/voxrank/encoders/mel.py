"""The mel spectrum of frames, shared by the baselines, GE2E and ONNX graphs that take features."""

from __future__ import annotations

import torch
from transformers.audio_utils import mel_filter_bank

from voxrank.config import Hertz

LOG_FLOOR = 1e-10
"""Power below which a band counts as silent."""


class MelBank:
    """Computes the power of Hann-windowed frames in bands on Slaney's mel scale, each band of unit area.

    Args:
        n_mels: number of bands, from 0 Hz to half the sample rate.
        window_samples: length of a frame.
        fft_samples: length that a frame is padded to with zeros; determines the frequency resolution of the bands.
        sample_rate: in Hz.
        device: device of the computation.
    """

    def __init__(
        self, n_mels: int, window_samples: int, fft_samples: int, sample_rate: Hertz, device: torch.device
    ) -> None:
        self.n_mels = n_mels
        self._fft_samples = fft_samples
        self._window = torch.hann_window(window_samples, device=device)
        filters = mel_filter_bank(
            fft_samples // 2 + 1, n_mels, 0.0, sample_rate / 2, int(sample_rate), norm="slaney", mel_scale="slaney"
        )
        self._filters = torch.from_numpy(filters).float().to(device)

    def power(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames (T, window_samples) to band powers (T, n_mels)."""
        spectrum = torch.view_as_real(torch.fft.rfft(frames * self._window, n=self._fft_samples))
        return spectrum.square().sum(-1) @ self._filters

    def log(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames (T, window_samples) to the natural logarithms of their band powers (T, n_mels)."""
        return self.power(frames).clamp_min(LOG_FLOOR).log()
