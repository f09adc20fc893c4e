"""The mel spectrogram of NVIDIA NeMo's models, with the window and the filter bank that are stored in the checkpoint.

Source: NeMo's `AudioToMelSpectrogramPreprocessor`. Dither is random noise of training, and is left out.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

from voxrank.config import Hertz
from voxrank.encoders.base import Waveform
from voxrank.encoders.finite import is_finite
from voxrank.encoders.nemo_settings import Section
from voxrank.encoders.plausible import MAX_MEL_BINS, MAX_STEPS
from voxrank.errors import ModelError

STORED = "preprocessor.featurizer."
"""Beginning of the names of the stored window (`window`) and filter bank (`fb`)."""

RATES_HZ = (1_000, 96_000)
MAX_FRAME_RATE: Hertz = 1_000.0
MAX_OVERLAP = 16
"""Maximum length of a transform, in hops: it bounds the memory that features take."""

DEVIATION_FLOOR = 1e-5
"""Added to standard deviations, so that silence can be normalised."""

GUARDS = {"tiny": torch.finfo(torch.float32).tiny, "eps": torch.finfo(torch.float32).eps}
"""Named values that keep the logarithm finite."""

WINDOWS = {
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
    "blackman": torch.blackman_window,
    "bartlett": torch.bartlett_window,
}


@dataclass(frozen=True)
class MelSettings:
    """The settings of NeMo's mel spectrogram.

    Attributes:
        sample_rate: in Hz.
        window_samples: length of a frame.
        hop_samples: distance between frames.
        fft_samples: length that a frame is padded to with zeros.
        bands: number of mel bands.
        preemphasis: coefficient of the filter x[t] - c x[t-1]; None for no filter.
        power: exponent of the magnitudes.
        log: whether logarithms are taken.
        guard: "add" or "clamp": what keeps the logarithm finite.
        guard_value: value that is added, or the smallest value.
        normalize: "per_feature" (each band), "all_features" (all bands together), "fixed" or "".
        exact_pad: whether the padding of the audio makes the first frame begin before it by less than half a frame.
    """

    sample_rate: int
    window_samples: int
    hop_samples: int
    fft_samples: int
    bands: int
    preemphasis: float | None
    power: float
    log: bool
    guard: str
    guard_value: float
    normalize: str
    exact_pad: bool


class MelFeatures:
    """A feature extractor with the calling convention of transformers.

    Attributes:
        sampling_rate: in Hz.
        bands: number of features in a frame.

    Args:
        settings: what to compute.
        filters: filter bank (bands, frequencies).
        window: window (samples); None for a rectangular window.
        fixed: means and standard deviations of the bands, for the normalisation "fixed".
    """

    def __init__(
        self,
        settings: MelSettings,
        filters: torch.Tensor,
        window: torch.Tensor | None,
        fixed: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        self.sampling_rate, self.bands = settings.sample_rate, settings.bands
        self._settings, self._filters, self._window, self._fixed = settings, filters, window, fixed

    def __call__(self, raw_speech: Waveform, sampling_rate: int | None = None) -> dict[str, torch.Tensor]:
        """Compute the features of one waveform.

        Args:
            raw_speech: mono float32.
            sampling_rate: its sample rate in Hz, if known.

        Returns:
            "input_features": float32 (1, frames, bands).

        Raises:
            ValueError: the sample rate is another one, or the audio is shorter than a frame's hop.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(f"expected audio at {self.sampling_rate} Hz, got {sampling_rate} Hz")
        samples = torch.as_tensor(np.asarray(raw_speech), dtype=torch.float32)
        frames = self._count(len(samples))
        if frames < 1:
            raise ValueError(f"expected audio of a frame or more, got {len(samples)} samples")
        return {"input_features": self._normalize(self._spectrogram(samples)[:, :frames]).T[None]}

    def to_json_string(self) -> str:
        """Return the settings, and a digest of the tensors, as JSON."""
        tensors = [self._filters, self._window, *(self._fixed or ())]
        digest = hashlib.sha256()
        for tensor in tensors:
            digest.update(b"" if tensor is None else tensor.numpy().tobytes())
        return json.dumps(asdict(self._settings) | {"tensors": digest.hexdigest()}, sort_keys=True)

    def _count(self, samples: int) -> int:
        """Return the number of frames that NeMo counts as audio; its transform makes one more."""
        s = self._settings
        padding = (s.fft_samples - s.hop_samples) // 2 * 2 if s.exact_pad else s.fft_samples // 2 * 2
        return (samples + padding - s.fft_samples) // s.hop_samples

    def _spectrogram(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the mel spectrogram (bands, frames) of a waveform."""
        s = self._settings
        length = len(samples)
        if s.exact_pad:
            samples = torch.nn.functional.pad(samples, 2 * ((s.fft_samples - s.hop_samples) // 2,))
        if s.preemphasis is not None:
            samples = torch.cat([samples[:1], samples[1:] - s.preemphasis * samples[:-1]])
            samples[length:] = 0.0  # NeMo counts the padding before the audio, too
        spectrum = torch.stft(
            samples,
            s.fft_samples,
            hop_length=s.hop_samples,
            win_length=s.window_samples,
            window=self._window,
            center=not s.exact_pad,
            pad_mode="constant",
            return_complex=True,
        )
        bands = self._filters @ torch.view_as_real(spectrum).pow(2).sum(-1).sqrt().pow(s.power)
        if not s.log:
            return bands
        return (bands + s.guard_value if s.guard == "add" else bands.clamp_min(s.guard_value)).log()

    def _normalize(self, features: torch.Tensor) -> torch.Tensor:
        match self._settings.normalize:
            case "per_feature":
                return _standardize(features, features.mean(1, keepdim=True))
            case "all_features":
                return _standardize(features.reshape(1, -1), features.mean()).reshape(features.shape)
            case "fixed" if self._fixed is not None:
                mean, deviation = self._fixed
                return (features - mean[:, None]) / deviation[:, None]
        return features


def read_features(section: Section, stored: Mapping[str, torch.Tensor]) -> MelFeatures:
    """Build the feature extractor of a checkpoint.

    Args:
        section: the settings of its preprocessor.
        stored: its tensors by name.

    Raises:
        ModelError: a setting or a stored tensor is invalid, or the features are no mel spectrogram.
    """
    settings = read_settings(section)
    bins = settings.fft_samples // 2 + 1
    filters = stored.get(f"{STORED}fb")
    filters = _default_filters(section, settings) if filters is None else filters.float().squeeze(0).contiguous()
    if filters.shape != (settings.bands, bins):
        raise ModelError(
            f"its stored filter bank has shape {tuple(filters.shape)}, expected {(settings.bands, bins)}; "
            "get the model again"
        )
    window = stored.get(f"{STORED}window")
    window = _default_window(section, settings) if window is None else window.float().contiguous()
    if window is not None and window.shape != (settings.window_samples,):
        raise ModelError(
            f"its stored window has shape {tuple(window.shape)}, expected ({settings.window_samples},); get the model "
            "again"
        )
    if not all(is_finite(tensor) for tensor in (filters, window) if tensor is not None):
        raise ModelError("its stored window or filter bank is NaN or infinite; get the model again")
    return MelFeatures(settings, filters, window, _fixed(section, settings.bands))


def read_settings(section: Section) -> MelSettings:
    """Read the settings of the mel spectrogram.

    Raises:
        ModelError: a setting is invalid, or is not supported.
    """
    section.expect_class(
        ("AudioToMelSpectrogramPreprocessor",), "name a model whose preprocessor makes a mel spectrogram"
    )
    rate = section.whole("sample_rate", 16_000, *RATES_HZ)
    window = _samples(section, "window_size", 0.02, rate)
    fft = section.whole("n_fft", 2 ** math.ceil(math.log2(window)), 1, MAX_STEPS)
    hop = _samples(section, "window_stride", 0.01, rate)
    if not window <= fft <= MAX_OVERLAP * hop or hop * MAX_FRAME_RATE < rate:
        raise ModelError(
            f"model_config.yaml says a window of {window}, a hop of {hop} and n_fft = {fft} samples, which do not fit "
            "together; get the model again"
        )
    if section.whole("frame_splicing", 1, 1, MAX_STEPS) != 1:
        raise ModelError("it stacks frames of its spectrogram (frame_splicing), which is not supported; name another")
    return MelSettings(
        sample_rate=rate,
        window_samples=window,
        hop_samples=hop,
        fft_samples=fft,
        bands=section.whole("features", 64, 1, MAX_MEL_BINS),
        preemphasis=section.number("preemph", 0.97) if section.get("preemph", 0.97) is not None else None,
        power=section.number("mag_power", 2.0),
        log=section.flag("log", default=True),
        guard=section.choice("log_zero_guard_type", "add", ("add", "clamp")),
        guard_value=_guard(section),
        normalize=_normalization(section),
        exact_pad=section.flag("exact_pad", default=False),
    )


def _standardize(values: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Return rows of mean 0 and deviation 1; a row of one value becomes 0."""
    deviation = ((values - mean).square().sum(1, keepdim=True) / max(values.shape[1] - 1, 1)).sqrt()
    return (values - mean) / (deviation + DEVIATION_FLOOR)


def _samples(section: Section, name: str, default_s: float, rate: int) -> int:
    """Return a length in samples, which is stored in samples (`n_` and the name) or in seconds."""
    if section.get(f"n_{name}") is not None:
        return section.whole(f"n_{name}", 1, 1, MAX_STEPS)
    samples = int(section.number(name, default_s) * rate)
    if not 1 <= samples <= MAX_STEPS:
        raise ModelError(f"model_config.yaml says {name} = {section.number(name, default_s):g} s; get the model again")
    return samples


def _guard(section: Section) -> float:
    value = section.get("log_zero_guard_value", 2**-24)
    return (
        GUARDS[value] if isinstance(value, str) and value in GUARDS else section.number("log_zero_guard_value", 2**-24)
    )


def _normalization(section: Section) -> str:
    value = section.get("normalize", "per_feature")
    if isinstance(value, dict):
        return "fixed"
    return value if value in ("per_feature", "all_features") else ""  # as in NeMo, any other text means none


def _fixed(section: Section, bands: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    value = section.get("normalize")
    if not isinstance(value, dict):
        return None
    pair = [value.get("fixed_mean"), value.get("fixed_std")]
    if not all(
        isinstance(row, list) and len(row) == bands and all(type(x) in (int, float) for x in row) for row in pair
    ):
        raise ModelError(
            f"model_config.yaml says no {bands} fixed means and deviations (normalize); get the model again"
        )
    mean, deviation = (torch.tensor(row, dtype=torch.float32) for row in pair)
    return mean, deviation


def _default_filters(section: Section, settings: MelSettings) -> torch.Tensor:
    """Return the filter bank for a checkpoint that stores none."""
    rate = settings.sample_rate
    norm = section.get("mel_norm", "slaney")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of bands that lie between two frequencies, as in NeMo
        bank = mel_filter_bank(
            settings.fft_samples // 2 + 1,
            settings.bands,
            section.number("lowfreq", 0.0),
            section.number("highfreq", rate / 2) or rate / 2,
            rate,
            norm="slaney" if norm == "slaney" else None,
            mel_scale="slaney",
        )
    return torch.from_numpy(np.ascontiguousarray(bank.T)).float()


def _default_window(section: Section, settings: MelSettings) -> torch.Tensor | None:
    """Return the window for a checkpoint that stores none."""
    name = section.get("window", "hann")
    make = WINDOWS.get(name) if isinstance(name, str) else None
    return make(settings.window_samples, periodic=False) if make is not None else None
