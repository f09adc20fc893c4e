"""Levels of an audio file, and the treatment they imply: the scale of its samples and the mix of its channels.

The treatment holds for a whole file, never for a stretch of it. All utterances of a recording are read in the same way,
and each utterance is the same for every model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxrank.config import Hertz, Seconds
from voxrank.data.recording import Memory, Recording, Samples
from voxrank.data.sources import AudioSource
from voxrank.errors import UtteranceError

Mono = NDArray[np.float32]

FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")
"""Codings whose samples may lie outside −1 to 1."""
LOUDEST_FLOAT = 8.0
"""Highest peak of float samples that stay unscaled (18 dB above full scale). Higher peaks mean integers as floats."""
INTEGER_BITS = (16, 24, 32)
"""Bits of the integers that occur in float files. The smallest range that holds the peak applies."""
HEADROOM = 1.5
"""Factor by which samples may exceed such a range after resampling or mixing."""
CANCELLED = 0.25
"""Minimum ratio of the level of the mean to the level that the mean of unrelated channels would have."""
FAINT_CHANNEL = 0.1
"""Minimum level of a channel that may replace the mean, relative to the loudest channel."""
STEP = 1 / 32_768
"""Step size of 16-bit samples."""
SILENT_STEPS = {"GSM610": 8, "NMS_ADPCM_16": 16, "NMS_ADPCM_24": 16, "NMS_ADPCM_32": 16, "ULAW": 8, "ALAW": 8}
"""Subtype → half the range of digital silence, in steps; 1 for all other subtypes."""
FULL_SCALE = {"PCM_U8": 127 / 128, "PCM_S8": 127 / 128, "DPCM_8": 0.992, "ULAW": 0.980, "ALAW": 0.984}
"""Subtype → level of its largest samples; 0.9999 for all other subtypes."""
CLIPPED_SHARE = 0.01
"""Minimum share of samples at full scale in a clipped recording."""
BLOCK_SAMPLES = 1 << 18
"""Number of samples, of all channels, that are measured at once."""
WHOLE_S: Seconds = 3600.0
"""Maximum length of a file that is measured as a whole. For longer files, stretches are measured."""
STRETCHES, STRETCH_S = 360, 10.0
"""Number of evenly spread stretches, and the length of each in seconds."""


@dataclass(frozen=True)
class Levels:
    """Measured levels of a file.

    Attributes:
        peak: largest absolute value.
        integers: whether all values are whole numbers.
        powers: mean square of each channel.
        mixed: mean square of the mean of all channels.
    """

    peak: float
    integers: bool
    powers: tuple[float, ...]
    mixed: float


@dataclass(frozen=True)
class Treatment:
    """The scale of a file's samples and the mix of its channels.

    Attributes:
        bits: bits of integer samples, which are divided by 2^(bits − 1); None where samples are from −1 to 1.
        channel: channel that is used; None for the mean of all channels.
    """

    bits: int | None = None
    channel: int | None = None

    def apply(self, samples: Samples) -> Mono:
        """Scale samples of shape (n, channels) and mix them to one channel of shape (n,)."""
        if samples.shape[1] == 1:
            mono = samples[:, 0]
        else:
            mono = samples.mean(axis=1) if self.channel is None else samples[:, self.channel]
        return mono if self.bits is None else mono * np.float32(self.scale)

    @property
    def scale(self) -> float:
        """The factor that samples are multiplied by."""
        return 1.0 if self.bits is None else 2.0 ** (1 - self.bits)


_TREATMENTS: Memory[Treatment] = Memory()


def treatment_of(recording: Recording, source: Path | AudioSource, samples: Samples) -> Treatment:
    """Determine the treatment of a file's samples.

    Args:
        recording: the file.
        source: location of the file.
        samples: a stretch of the file, or the whole file, (n, channels).

    Raises:
        UtteranceError: the samples exceed every range of audio samples.
    """
    if recording.channels == 1 and recording.subtype not in FLOAT_SUBTYPES:
        return Treatment()
    is_cached, cached = _TREATMENTS.get(source)
    if is_cached and cached is not None:
        return cached

    def read(start: int, count: int) -> Samples:
        is_whole = len(samples) == recording.n_samples
        return samples[start : start + count] if is_whole else recording.read(start, count)

    blocks = read_blocks(read, recording.n_samples, recording.rate, recording.channels)
    treatment = decide(measure(blocks), recording.subtype)
    _TREATMENTS.put(source, treatment)
    return treatment


def decide(levels: Levels, subtype: str) -> Treatment:
    """Return the treatment of samples with these levels. Errors as `treatment_of`."""
    return Treatment(_bits(levels) if subtype in FLOAT_SUBTYPES else None, _channel(levels))


def _bits(levels: Levels) -> int | None:
    if levels.peak <= 1 or (levels.peak <= LOUDEST_FLOAT and not levels.integers):
        return None
    for bits in INTEGER_BITS:
        if levels.peak <= HEADROOM * 2 ** (bits - 1):
            return bits
    raise UtteranceError(
        f"expected float samples from −1 to 1, or integers of up to 32 bits, got a peak of {levels.peak:.3g}; "
        "write the file again"
    )


def _channel(levels: Levels) -> int | None:
    """Return the first channel that is not faint, where channels cancel each other in the mean; None elsewhere."""
    unrelated = sum(levels.powers) / len(levels.powers) ** 2
    if len(levels.powers) == 1 or levels.mixed >= CANCELLED**2 * unrelated:
        return None
    least = FAINT_CHANNEL**2 * max(levels.powers)
    return next(number for number, power in enumerate(levels.powers) if power >= least)


def measure(blocks: Iterable[Samples]) -> Levels:
    """Measure blocks of samples of shape (n, channels). Values that are not finite are ignored."""
    peak, integers, count = 0.0, True, 0
    powers: NDArray[np.float64] | float = 0.0
    mixed = 0.0
    for block in blocks:
        values = block if np.isfinite(block).all() else np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        if not len(values):
            continue
        peak = max(peak, float(np.abs(values).max()))
        integers = integers and bool((values == np.rint(values)).all())
        with np.errstate(over="ignore"):
            powers = powers + np.square(values, dtype=np.float64).sum(axis=0)
            mixed += float(np.square(values.mean(axis=1, dtype=np.float64)).sum())
        count += len(values)
    means = np.atleast_1d(np.asarray(powers)) / max(1, count)
    return Levels(peak, integers, tuple(means.tolist()), mixed / max(1, count))


def read_blocks(read: Callable[[int, int], Samples], n_samples: int, rate: Hertz, channels: int) -> Iterator[Samples]:
    """Read a file block by block, or evenly spread stretches of a long file.

    Args:
        read: takes a start and a count, and returns samples (n, channels); fewer at the end of the file.
        n_samples: samples of the file per channel.
        rate: sample rate of the file.
        channels: number of channels of the file.
    """
    step = max(1, BLOCK_SAMPLES // channels)
    for start, stop in _stretches(n_samples, rate):
        for position in range(start, stop, step):
            count = min(step, stop - position)
            block = read(position, count)
            yield block
            if len(block) < count:
                return


def _stretches(n_samples: int, rate: Hertz) -> list[tuple[int, int]]:
    if n_samples <= WHOLE_S * rate:
        return [(0, n_samples)]
    length = round(STRETCH_S * rate)
    starts = np.linspace(0, n_samples - length, STRETCHES).astype(np.int64).tolist()
    return [(start, start + length) for start in starts]


def silence_reason(mono: Mono, subtype: str) -> str | None:
    """Return the reason why an utterance counts as silent, or None where it does not.

    A constant counts as silence. So do samples that differ by one step of 16 bits, since that is dither.
    """
    highest, lowest = float(mono.max()), float(mono.min())
    if (highest - lowest) / 2 > STEP * SILENT_STEPS.get(subtype, 1) * 1.001:
        return None
    peak = max(abs(highest), abs(lowest))
    level = f"{20 * np.log10(peak):.0f} dB of full scale" if peak else "digital silence"
    return f"expected speech, got a silent recording (peak {peak:.2g}, {level}); check the recording and its offsets"


def clipped_share(samples: Samples, treatment: Treatment, subtype: str) -> float:
    """Return the share of samples at full scale, in the channel with most of them."""
    full = FULL_SCALE.get(subtype, 0.9999) / treatment.scale
    return float((np.abs(samples) >= full).mean(axis=0).max())
