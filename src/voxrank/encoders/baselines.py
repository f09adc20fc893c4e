"""Untrained baselines that a pre-trained model should beat: log-mel bands, and MFCC with their slopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from scipy.fft import dct
from transformers.audio_utils import mel_filter_bank

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform, pick_device
from voxrank.errors import ModelError

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
"""25 ms."""
HOP_SAMPLES = 160
"""10 ms."""
FFT_SAMPLES = 512
LOG_FLOOR = 1e-10
"""Power below which a band counts as silent."""
N_MELS = 80
N_CEPSTRA = 13
DELTA_REACH = 2
"""Frames on each side that a slope is fitted to."""


class LogMel(Encoder):
    """Log-mel bands: 25 ms Hann windows that lie wholly inside the utterance, every 10 ms."""

    def __init__(self, options: EncoderOptions, *, n_mels: int = N_MELS) -> None:
        self.device = pick_device(options.device)
        self.sample_rate = SAMPLE_RATE_HZ
        self.layers = (Layer(0, "log-mel", n_mels, SAMPLE_RATE_HZ / HOP_SAMPLES),)
        self.parameters = 0
        self.pads = True  # each utterance is computed by itself
        self.min_samples = WINDOW_SAMPLES
        self.window_samples = max(WINDOW_SAMPLES, round(options.window_s * SAMPLE_RATE_HZ))
        self.budget_samples = round(options.batch_s * SAMPLE_RATE_HZ)
        self._hann = torch.hann_window(WINDOW_SAMPLES, device=self.device)
        filters = mel_filter_bank(
            FFT_SAMPLES // 2 + 1, n_mels, 0.0, SAMPLE_RATE_HZ / 2, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )
        self._filters = torch.from_numpy(filters).float().to(self.device)

    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        frames = [self.features(torch.from_numpy(window).to(self.device)) for window in windows]
        yield LayerFrames(0, torch.cat(frames), tuple(map(len, frames)))

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """One utterance (n,) → log-mel frames (T, n_mels)."""
        spectrum = torch.fft.rfft(samples.unfold(0, WINDOW_SAMPLES, HOP_SAMPLES) * self._hann, n=FFT_SAMPLES)
        return torch.log((spectrum.abs().square() @ self._filters).clamp(min=LOG_FLOOR))


class Mfcc(LogMel):
    """13 mel-frequency cepstral coefficients, their slopes, and the slopes of those: 39 numbers."""

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__(options)
        self.layers = (Layer(0, "mfcc", 3 * N_CEPSTRA, SAMPLE_RATE_HZ / HOP_SAMPLES),)
        basis = dct(torch.eye(N_MELS, dtype=torch.float64).numpy(), norm="ortho")[:, :N_CEPSTRA]
        self._basis = torch.from_numpy(basis).float().to(self.device)

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """One utterance (n,) → frames (T, 39)."""
        cepstra = super().features(samples) @ self._basis
        slopes = delta(cepstra)
        return torch.cat([cepstra, slopes, delta(slopes)], dim=1)


def delta(frames: torch.Tensor) -> torch.Tensor:
    """Slope at each frame, by least squares over the frames within reach; ends are repeated. (T, D) → (T, D)."""
    padded = torch.cat([frames[:1]] * DELTA_REACH + [frames] + [frames[-1:]] * DELTA_REACH)
    steps = torch.arange(-DELTA_REACH, DELTA_REACH + 1, device=frames.device, dtype=frames.dtype)
    return padded.unfold(0, len(steps), 1) @ steps / steps.square().sum()


def load_logmel(rest: str, options: EncoderOptions) -> Encoder:
    """The spec ``logmel``.

    Raises:
        ModelError: something follows the name.
    """
    _refuse_rest("logmel", rest)
    return LogMel(options)


def load_mfcc(rest: str, options: EncoderOptions) -> Encoder:
    """The spec ``mfcc``. Raises as `load_logmel`."""
    _refuse_rest("mfcc", rest)
    return Mfcc(options)


def _refuse_rest(name: str, rest: str) -> None:
    if rest:
        raise ModelError(f"expected the spec {name!r} alone, got {name}:{rest}; {name} takes no argument")
