"""Untrained baselines that a pre-trained model should surpass: log-mel bands, and MFCC with their slopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from scipy.fft import dct

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Waveform
from voxrank.encoders.framewise import SAMPLE_RATE_HZ, FramewiseEncoder, Packed
from voxrank.encoders.mel import MelBank
from voxrank.errors import ModelError

WINDOW_SAMPLES = 400
"""25 ms."""
HOP_SAMPLES = 160
"""10 ms."""
FFT_SAMPLES = 512
N_MELS = 80
N_CEPSTRA = 13
DELTA_REACH = 2
"""Number of frames on each side that a slope is fitted to."""


class LogMel(FramewiseEncoder):
    """An encoder that gives 80 log-mel bands, in windows of 25 ms every 10 ms, all wholly within the utterance."""

    def __init__(self, options: EncoderOptions, name: str = "log-mel", dim: int = N_MELS) -> None:
        super().__init__(options, [(name, dim, HOP_SAMPLES)], WINDOW_SAMPLES)
        self._bank = MelBank(N_MELS, WINDOW_SAMPLES, FFT_SAMPLES, SAMPLE_RATE_HZ, self.device)

    def _compute(self, windows: Sequence[Waveform]) -> Iterator[Packed]:
        frames, lengths = self._cut(windows, WINDOW_SAMPLES, HOP_SAMPLES)
        yield self._bank.log(frames), lengths


class Mfcc(LogMel):
    """An encoder that gives 13 mel-frequency cepstral coefficients, their slopes and second slopes: 39 features."""

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__(options, "mfcc", 3 * N_CEPSTRA)
        basis = dct(torch.eye(N_MELS, dtype=torch.float64).numpy(), norm="ortho")[:, :N_CEPSTRA]
        self._basis = torch.from_numpy(basis).float().to(self.device)

    def _compute(self, windows: Sequence[Waveform]) -> Iterator[Packed]:
        for bands, lengths in super()._compute(windows):
            yield torch.cat([with_slopes(cepstra) for cepstra in (bands @ self._basis).split(lengths)]), lengths


def with_slopes(frames: torch.Tensor) -> torch.Tensor:
    """Append to each frame of an utterance its slope and second slope: (T, D) → (T, 3 D)."""
    slopes = delta(frames)
    return torch.cat([frames, slopes, delta(slopes)], dim=1)


def delta(frames: torch.Tensor) -> torch.Tensor:
    """Return the slope at each frame, by least squares with repeated end frames: (T, D) → (T, D)."""
    padded = torch.cat([frames[:1]] * DELTA_REACH + [frames] + [frames[-1:]] * DELTA_REACH)
    steps = torch.arange(-DELTA_REACH, DELTA_REACH + 1, device=frames.device, dtype=frames.dtype)
    return padded.unfold(0, len(steps), 1) @ steps / steps.square().sum()


def load_logmel(rest: str, options: EncoderOptions) -> Encoder:
    """Load the spec ``logmel``.

    Raises:
        ModelError: text follows the name.
    """
    _refuse_rest("logmel", rest)
    return LogMel(options)


def load_mfcc(rest: str, options: EncoderOptions) -> Encoder:
    """Load the spec ``mfcc``; raises the same errors as `load_logmel`."""
    _refuse_rest("mfcc", rest)
    return Mfcc(options)


def _refuse_rest(name: str, rest: str) -> None:
    if rest:
        raise ModelError(f"expected the spec {name!r} alone, got {name}:{rest}; {name} takes no argument")
