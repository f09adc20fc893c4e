"""Utterances → waveforms: probed by header, decoded by stretch, mixed to mono and resampled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from voxrank.config import Hertz, Seconds
from voxrank.data.levels import Treatment, silence_reason, treatment_of
from voxrank.data.patience import within
from voxrank.data.recording import Recording, Samples, open_recording
from voxrank.data.stream_layout import UNKNOWN_LENGTH
from voxrank.data.utterance import Dataset, Skipped, Utterance
from voxrank.errors import UtteranceError, shortened

Result = TypeVar("Result")
Waveform = NDArray[np.float32]
"""Mono samples, shape (n,), about -1 to 1."""

MIN_UTTERANCE_S: Seconds = 0.025
"""One analysis window: anything shorter holds no frame of speech."""
END_TOLERANCE_S: Seconds = 0.05
"""How far an `end` may lie past the end of the file: manifests round."""
PATIENCE_S: Seconds = 120.0
"""How long one file may take to be opened, or one utterance to be decoded: a disk that does not answer ends no run."""
PROBED_FILES = 64
"""Files that are worth a thread of their own to be probed: threads wait for each other."""
MAX_UTTERANCE_S: Seconds = 6 * 3600
MAX_NUMBERS = 1 << 30
"""Samples of all channels in an utterance, 4 GiB once decoded: a small file can claim, or hold, any number of them."""
RATES: tuple[Hertz, Hertz] = (1_000, 768_000)
"""Sample rates that are believable: a few bytes at one sample a second would last for hours once resampled."""
CUT_TOLERANCE_S: Seconds = 0.01
"""How much less a file may hold than its header says: some writers count the header, or a byte of padding."""


@dataclass(frozen=True)
class AudioInfo:
    """What a header says: rate in Hz, channels, and samples per channel in the whole file."""

    sample_rate: int
    channels: int
    n_samples: int


@dataclass(frozen=True)
class Probed:
    """An utterance whose audio is there.

    Attributes:
        utterance: as the reader made it.
        info: of its file.
        start, stop: the utterance's samples in the file, stop excluded.
    """

    utterance: Utterance
    info: AudioInfo
    start: int
    stop: int

    @property
    def seconds(self) -> Seconds:
        """How long it is."""
        return (self.stop - self.start) / self.info.sample_rate


def probe(utterance: Utterance) -> Probed:
    """Read the header only.

    Raises:
        UtteranceError: no file, not audio, no samples, fewer than its header says, offsets outside the file, a rate
            that no speech has, too short or too long.
    """
    with open_recording(utterance) as recording:
        return _located(utterance, recording)


def probe_all(dataset: Dataset, threads: int) -> tuple[tuple[Probed, ...], tuple[Skipped, ...]]:
    """Probe every utterance, up to `threads` at a time: those that can be read, in order, and others with reasons."""
    with ThreadPoolExecutor(min(threads, 1 + len(dataset) // PROBED_FILES)) as pool:
        results = list(pool.map(_probe_or_skip, dataset.utterances))
    probed = tuple(result for result in results if isinstance(result, Probed))
    return probed, tuple(result for result in results if isinstance(result, Skipped))


@dataclass(frozen=True)
class Sound:
    """The samples of an utterance, as they are in its file.

    Attributes:
        place: the utterance in the file.
        samples: (n, channels).
        subtype: libsndfile's name of their coding.
        treatment: what becomes of them.
    """

    place: Probed
    samples: Samples
    subtype: str
    treatment: Treatment


def decode(utterance: Utterance, sample_rate: Hertz) -> Waveform:
    """Read an utterance's stretch of its file, and nothing else of it.

    Channels are averaged, unless they cancel each other (`voxrank.data.levels`); float samples in the range of integers
    are scaled; other rates are resampled by soxr (HQ).

    Returns:
        (n,) float32, with n = `resampled_length` of the stretch.

    Raises:
        UtteranceError: as `read_sound`.
    """
    sound, mono = read_sound(utterance)
    return _resample(mono, sound.place.info.sample_rate, round(sample_rate))


def read_sound(utterance: Utterance) -> tuple[Sound, Waveform]:
    """Read an utterance's samples, as they are in the file and as one channel.

    Raises:
        UtteranceError: as `probe`; or the file ends early, holds NaN or infinite samples, or is silent there.
    """
    with open_recording(utterance) as recording:
        place = _located(utterance, recording)
        samples = _read(recording, place)
        if not np.isfinite(samples).all():
            raise UtteranceError("the samples hold NaN or infinite values; decode or export the file again")
        treatment = treatment_of(recording, utterance.place, samples)
        subtype = recording.subtype
    mono: Waveform = treatment.apply(samples)
    reason = silence_reason(mono, subtype)
    if reason is not None:
        raise UtteranceError(reason)
    return Sound(place, samples, subtype, treatment), mono


def _read(recording: Recording, place: Probed) -> Samples:
    """(samples, channels) of the stretch."""
    try:
        samples = recording.read(place.start, place.stop - place.start)
    except (MemoryError, ValueError) as error:  # numpy refuses with either
        raise _too_long(place) from error
    if len(samples) < place.stop - place.start:
        raise _cut_short(place.seconds, len(samples) / place.info.sample_rate)
    return samples


def resampled_length(n_samples: int, rate: int, new_rate: int) -> int:
    """Samples after resampling, rounded to the nearest.

    Example:
        >>> resampled_length(11025, 22050, 16000)
        8000
    """
    return (n_samples * new_rate * 2 + rate) // (rate * 2)


def _resample(samples: Waveform, rate: int, new_rate: int) -> Waveform:
    if rate == new_rate:
        return np.ascontiguousarray(samples)
    length = resampled_length(len(samples), rate, new_rate)
    resampled = soxr.resample(samples, rate, new_rate)[:length]  # soxr's own length may differ by a sample
    result: Waveform = np.pad(resampled, (0, length - len(resampled))).astype(np.float32, copy=False)
    return result


def _located(utterance: Utterance, recording: Recording) -> Probed:
    info = AudioInfo(recording.rate, recording.channels, recording.n_samples)
    length = info.n_samples / info.sample_rate
    if info.n_samples == 0:
        raise UtteranceError("the file holds no samples")
    if not RATES[0] <= info.sample_rate <= RATES[1]:
        raise UtteranceError(
            f"expected a sample rate of {RATES[0]:,} to {RATES[1]:,} Hz, got {info.sample_rate:,} Hz as the header "
            "says; write the file again"
        )
    if info.n_samples == UNKNOWN_LENGTH and utterance.end is None:
        raise UtteranceError("expected a header that says how long the file is, got none; write the file again")
    claimed = length * recording.claimed
    if claimed > length + CUT_TOLERANCE_S and (utterance.end or claimed) > length + END_TOLERANCE_S:
        raise _cut_short(claimed, length)
    if utterance.start >= length:
        raise UtteranceError(f"starts at {utterance.start:g} s, past the end of the file ({length:.3f} s)")
    if utterance.end is not None and utterance.end > length + END_TOLERANCE_S:
        raise UtteranceError(f"ends at {utterance.end:g} s, past the end of the file ({length:.3f} s)")
    start = round(utterance.start * info.sample_rate)
    stop = info.n_samples if utterance.end is None else min(round(utterance.end * info.sample_rate), info.n_samples)
    placed = Probed(utterance, info, start, stop)
    if placed.seconds < MIN_UTTERANCE_S:
        raise UtteranceError(f"expected at least {MIN_UTTERANCE_S} s of audio, got {stop - start} samples; too short")
    if placed.seconds > MAX_UTTERANCE_S or (stop - start) * info.channels > MAX_NUMBERS:
        raise _too_long(placed)
    return placed


def _cut_short(expected_s: Seconds, got_s: Seconds) -> UtteranceError:
    return UtteranceError(
        f"expected {expected_s:.3f} s of audio as the header says, got {got_s:.3f} s; file cut short, copy it again"
    )


def _too_long(place: Probed) -> UtteranceError:
    return UtteranceError(
        f"expected audio that fits in memory, at most {MAX_UTTERANCE_S / 3600:.0f} h, got {place.seconds:.0f} s of "
        f"{place.info.channels} channel(s) as the header or the offsets say; cut it with start and end, or write the "
        "file again"
    )


def in_time(function: Callable[[], Result]) -> Result:
    """What a function that reads audio returns, if it does so within `PATIENCE_S`.

    Raises:
        UtteranceError: it does not.
    """
    try:
        return within(PATIENCE_S, function)
    except TimeoutError as error:
        raise UtteranceError(f"expected audio, got {error}; check the disk or the file") from error


def _probe_or_skip(utterance: Utterance) -> Probed | Skipped:
    try:
        return in_time(lambda: probe(utterance))
    except UtteranceError as error:
        return Skipped(utterance.id, shortened(str(error)))
