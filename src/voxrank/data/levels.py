"""How loud a file is, and what follows for all of it: a scale for its samples, and how its channels become one.

The decision is made for a file, never for a stretch of it, so that all utterances of a recording are read alike, and
each is the same for every model.
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
"""Highest peak of float samples that are taken as they are (18 dB above full scale). Beyond are integers as floats."""
INTEGER_BITS = (16, 24, 32)
"""Ranges of integers that are found in float files; the smallest one that holds the peak is taken."""
HEADROOM = 1.5
"""How far beyond such a range samples may reach, once they were resampled or mixed."""
CANCELLED = 0.25
"""Smallest ratio of the mean's level to the level that the mean of unrelated channels would have."""
FAINT_CHANNEL = 0.1
"""Level of a channel, relative to the loudest one, below which it does not stand for all."""
STEP = 1 / 32_768
"""One step of 16-bit samples."""
SILENT_STEPS = {"GSM610": 8, "NMS_ADPCM_16": 16, "NMS_ADPCM_24": 16, "NMS_ADPCM_32": 16, "ULAW": 8, "ALAW": 8}
"""Subtype → half the range, in steps, that digital silence has in it; 1 in all others."""
FULL_SCALE = {"PCM_U8": 127 / 128, "PCM_S8": 127 / 128, "DPCM_8": 0.992, "ULAW": 0.980, "ALAW": 0.984}
"""Subtype → the level of its largest samples; 0.9999 in all others."""
CLIPPED_SHARE = 0.01
"""Share of samples at full scale from which on a recording is said to be clipped."""
BLOCK_SAMPLES = 1 << 18
"""Samples of all channels that are measured at once."""
WHOLE_S: Seconds = 3600.0
"""Longest file that is measured as a whole; of a longer one, stretches are."""
STRETCHES, STRETCH_S = 360, 10.0
"""How many stretches, evenly spread, and how long each is."""


@dataclass(frozen=True)
class Levels:
    """What is measured of a file.

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
    """What becomes of the samples of a file.

    Attributes:
        bits: of the integers that the samples are, to be divided by 2^(bits − 1); None where they are −1 to 1.
        channel: the one that is taken; None for the mean of all.
    """

    bits: int | None = None
    channel: int | None = None

    def apply(self, samples: Samples) -> Mono:
        """Scale samples (n, channels) and make one channel of them, (n,)."""
        if samples.shape[1] == 1:
            mono = samples[:, 0]
        else:
            mono = samples.mean(axis=1) if self.channel is None else samples[:, self.channel]
        return mono if self.bits is None else mono * np.float32(self.scale)

    @property
    def scale(self) -> float:
        """What samples are multiplied by."""
        return 1.0 if self.bits is None else 2.0 ** (1 - self.bits)


_TREATMENTS: Memory[Treatment] = Memory()


def treatment_of(recording: Recording, place: Path | AudioSource, samples: Samples) -> Treatment:
    """Decide what becomes of the samples of a file.

    Args:
        recording: the file.
        place: where it is.
        samples: a stretch of it, or all of it, (n, channels).

    Raises:
        UtteranceError: the samples are too large for any range of numbers that audio is in.
    """
    if recording.channels == 1 and recording.subtype not in FLOAT_SUBTYPES:
        return Treatment()
    known, kept = _TREATMENTS.get(place)
    if known and kept is not None:
        return kept

    def read(start: int, count: int) -> Samples:
        is_whole = len(samples) == recording.n_samples
        return samples[start : start + count] if is_whole else recording.read(start, count)

    blocks = read_blocks(read, recording.n_samples, recording.rate, recording.channels)
    found = decide(measure(blocks), recording.subtype)
    _TREATMENTS.put(place, found)
    return found


def decide(levels: Levels, subtype: str) -> Treatment:
    """What becomes of samples with these levels. Errors as `treatment_of`."""
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
    """The first channel that is not faint, where the mean of all is much weaker than it should be."""
    unrelated = sum(levels.powers) / len(levels.powers) ** 2
    if len(levels.powers) == 1 or levels.mixed >= CANCELLED**2 * unrelated:
        return None
    least = FAINT_CHANNEL**2 * max(levels.powers)
    return next(number for number, power in enumerate(levels.powers) if power >= least)


def measure(blocks: Iterable[Samples]) -> Levels:
    """Measure blocks of samples (n, channels); values that are not finite are left out."""
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
    """Read all of a file block by block, or evenly spread stretches of a long one.

    Args:
        read: gives the samples (n, channels) from a start on, so many or fewer at the end.
        n_samples: of the file, per channel.
        rate: of the file.
        channels: of the file.
    """
    step = max(1, BLOCK_SAMPLES // channels)
    for start, stop in _stretches(n_samples, rate):
        for place in range(start, stop, step):
            count = min(step, stop - place)
            block = read(place, count)
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
    """Why an utterance is silent; None where it is not.

    A constant counts as silence, as do samples that differ by one step of 16 bits: that is dither, not sound.
    """
    highest, lowest = float(mono.max()), float(mono.min())
    if (highest - lowest) / 2 > STEP * SILENT_STEPS.get(subtype, 1) * 1.001:
        return None
    peak = max(abs(highest), abs(lowest))
    level = f"{20 * np.log10(peak):.0f} dB of full scale" if peak else "digital silence"
    return f"expected speech, got a silent recording (peak {peak:.2g}, {level}); check the recording and its offsets"


def clipped_share(samples: Samples, treatment: Treatment, subtype: str) -> float:
    """Share of samples at full scale, in the channel with most of them."""
    full = FULL_SCALE.get(subtype, 0.9999) / treatment.scale
    return float((np.abs(samples) >= full).mean(axis=0).max())
