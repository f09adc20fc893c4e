"""A decoder of utterances: reads headers, decodes stretches of files, mixes them to mono and resamples them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from voxrank._support.progress import Progress
from voxrank._support.threads import prefetch, within
from voxrank._support.words import in_hours
from voxrank.config import Hertz, Seconds
from voxrank.data.levels import Treatment, silence_reason, treatment_of
from voxrank.data.recording import Recording, Samples, open_recording
from voxrank.data.riff import PLAIN_BYTES, plain_wav
from voxrank.data.stream_layout import UNKNOWN_LENGTH
from voxrank.data.utterance import Dataset, Skipped, Utterance
from voxrank.errors import UtteranceError, shortened

Result = TypeVar("Result")
Waveform = NDArray[np.float32]
"""Mono samples, shape (n,), with values from about −1 to 1."""

MIN_UTTERANCE_S: Seconds = 0.025
"""Minimum length of an utterance, which is one analysis window. Shorter audio holds no frame of speech."""
END_TOLERANCE_S: Seconds = 0.05
"""Maximum distance of an `end` past the end of the file, since manifests round times."""
TIMEOUT_S: Seconds = 120.0
"""Timeout for opening a file or decoding an utterance, so that a disk that does not respond cannot block a run."""
PROBED_FILES = 64
"""Number of files that a thread probes before it returns them, since a hand-over costs as much as a header."""
MAX_UTTERANCE_S: Seconds = 6 * 3600
MAX_NUMBERS = 1 << 30
"""Maximum number of samples of all channels in an utterance: 4 GiB once decoded. Small files can claim any number."""
RATES: tuple[Hertz, Hertz] = (1_000, 768_000)
"""Range of valid sample rates. At one sample per second, a few bytes would become hours of audio."""
CUT_TOLERANCE_S: Seconds = 0.01
"""Audio that may be missing compared with the header, since some writers count the header or a byte of padding."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The content of a header: rate in Hz, channels, and samples per channel in the whole file."""

    sample_rate: int
    channels: int
    n_samples: int


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file, which all utterances of the file share.

    Attributes:
        info: rate, channels and length.
        claimed: ratio of the audio that the header promises to the audio in the file.
    """

    info: AudioInfo
    claimed: float

    @classmethod
    def of(cls, recording: Recording) -> Header:
        """Return the header of an open recording."""
        return cls(_audio_info(recording.rate, recording.channels, recording.n_samples), recording.claimed)


@lru_cache(maxsize=4096)
def _audio_info(sample_rate: int, channels: int, n_samples: int) -> AudioInfo:
    """Return the content of a header, one object for equal headers."""
    return AudioInfo(sample_rate, channels, n_samples)


@dataclass(frozen=True, slots=True)
class Probed:
    """An utterance whose audio exists.

    Attributes:
        utterance: the utterance.
        info: header of its file.
        start, stop: range of the utterance's samples in the file, without `stop`.
    """

    utterance: Utterance
    info: AudioInfo
    start: int
    stop: int

    @property
    def seconds(self) -> Seconds:
        """The length of the utterance in seconds."""
        return (self.stop - self.start) / self.info.sample_rate


def probe(utterance: Utterance) -> Probed:
    """Read the header of an utterance's file.

    Raises:
        UtteranceError: the file is missing, is not audio, or has fewer samples than its header says; the offsets lie
            outside it; the sample rate is invalid; or the utterance is too short or too long.
    """
    return _locate(utterance, read_header(utterance))


def read_header(utterance: Utterance) -> Header:
    """Read the header of an utterance's file.

    Raises:
        UtteranceError: the file is missing, or is not audio.
    """
    header = None if utterance.audio is not None else _plain_header(utterance.path)
    if header is not None:
        return header
    with open_recording(utterance) as recording:
        return Header.of(recording)


def _plain_header(path: Path) -> Header | None:
    """Return the header of a WAV file in its most common form; None for other files, and where it cannot be read.

    Opening a file with libsndfile takes many times as long, which counts for millions of files.
    """
    with suppress(OSError):
        status = path.stat()
        if S_ISREG(status.st_mode):  # reading a pipe would block
            with path.open("rb", buffering=0) as file:
                found = plain_wav(file.read(PLAIN_BYTES), status.st_size)
            return None if found is None else Header(_audio_info(*found), 1.0)
    return None


def probe_all(
    dataset: Dataset, threads: int, watcher: Progress | None = None
) -> tuple[tuple[Probed, ...], tuple[Skipped, ...]]:
    """Probe all utterances. The header of a file with several utterances is read once.

    Args:
        dataset: the utterances.
        threads: maximum number of threads that read headers.
        watcher: receives the number of utterances whose headers were read.

    Returns:
        The usable utterances in order, and the others with reasons.
    """
    utterances, watcher = dataset.utterances, watcher or Progress()
    order, bounds = files_of(utterances)
    watcher.scan("headers of audio files", len(bounds))
    results: list[Probed | Skipped | None] = [None] * len(utterances)

    def headers(begin: int) -> list[Header | UtteranceError]:
        return _headers_in_time([utterances[order[first]] for first, _ in bounds[begin : begin + PROBED_FILES]])

    begins = range(0, len(bounds), PROBED_FILES)
    for begin, found in prefetch(begins, headers, threads=min(threads, max(1, len(begins))), ahead=threads):
        for (first, stop), header in zip(bounds[begin : begin + PROBED_FILES], found, strict=True):
            for index in order[first:stop].tolist():
                results[index] = _located_or_skipped(utterances[index], header)
        watcher.scanned(len(found))
    probed = tuple(result for result in results if isinstance(result, Probed))
    return probed, tuple(result for result in results if isinstance(result, Skipped))


def files_of(utterances: Sequence[Utterance]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group utterances that share the object of their location, as readers give those of one file.

    Args:
        utterances: the utterances.

    Returns:
        Indices of the utterances, (U,), those of one file together; and begin and end of each file among them, (F, 2),
        in the order in which files first occur.
    """
    keys = np.fromiter((id(u.path if u.audio is None else u.audio) for u in utterances), np.int64, len(utterances))
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.diff(keys[order], prepend=-1))
    ends = np.append(begins[1:], len(keys))
    bounds = np.stack([begins, ends], axis=1) if len(keys) else np.zeros((0, 2), dtype=np.int64)
    return order, bounds[np.argsort(order[begins])]


def _headers_in_time(firsts: Sequence[Utterance]) -> list[Header | UtteranceError]:
    """Read the headers of several files, with the timeout for each one that does not answer.

    A file that holds up the files before it is read again alone, so that it waits for two timeouts at most.

    Args:
        firsts: an utterance of each file.

    Returns:
        The header of each file, or the reason why it cannot be read.
    """
    headers: list[Header | UtteranceError] = []
    while len(headers) < len(firsts):
        arrived: list[Header | UtteranceError] = []
        try:
            within(TIMEOUT_S, partial(_read_into, arrived, firsts[len(headers) :]))
        except TimeoutError as error:
            headers += list(arrived)  # a file that answers late may still be added to it
            if not arrived and len(headers) < len(firsts):
                headers.append(_no_answer(error))
        else:
            headers += arrived
    return headers


def _read_into(headers: list[Header | UtteranceError], firsts: Sequence[Utterance]) -> None:
    """Append the header of each file, or the reason why it cannot be read."""
    for utterance in firsts:
        try:
            headers.append(read_header(utterance))
        except UtteranceError as error:
            headers.append(error)


def _located_or_skipped(utterance: Utterance, header: Header | UtteranceError) -> Probed | Skipped:
    if not isinstance(header, UtteranceError):
        try:
            return _locate(utterance, header)
        except UtteranceError as error:
            header = error
    return Skipped(utterance.id, shortened(str(header)))


@dataclass(frozen=True)
class Sound:
    """The unchanged samples of an utterance.

    Attributes:
        probed: range of the utterance in its file.
        samples: (n, channels).
        subtype: libsndfile's name for the coding.
        treatment: scale and mix of the samples.
    """

    probed: Probed
    samples: Samples
    subtype: str
    treatment: Treatment


def decode(utterance: Utterance, sample_rate: Hertz) -> Waveform:
    """Decode an utterance. Only its stretch of the file is read.

    Channels are averaged, unless they cancel each other (`voxrank.data.levels`). Float samples in the range of integers
    are scaled. Other sample rates are resampled by soxr (HQ).

    Returns:
        (n,) float32, with n = `resampled_length` of the stretch.

    Raises:
        UtteranceError: as `read_sound`.
    """
    sound, mono = read_sound(utterance)
    return _resample(mono, sound.probed.info.sample_rate, round(sample_rate))


def read_sound(utterance: Utterance) -> tuple[Sound, Waveform]:
    """Read an utterance's samples, both unchanged and mixed to one channel.

    Raises:
        UtteranceError: as `probe`; or the file ends early, holds NaN or infinite samples, or is silent there.
    """
    with open_recording(utterance) as recording:
        probed = _locate(utterance, Header.of(recording))
        samples = _read_samples(recording, probed)
        if not np.isfinite(samples).all():
            raise UtteranceError("the samples hold NaN or infinite values; decode or export the file again")
        treatment = treatment_of(recording, utterance.location, samples)
        subtype = recording.subtype
    mono: Waveform = treatment.apply(samples)
    reason = silence_reason(mono, subtype)
    if reason is not None:
        raise UtteranceError(reason)
    return Sound(probed, samples, subtype, treatment), mono


def _read_samples(recording: Recording, probed: Probed) -> Samples:
    """Return the samples of a stretch, shape (n, channels)."""
    try:
        samples = recording.read(probed.start, probed.stop - probed.start)
    except (MemoryError, ValueError) as error:  # numpy raises either of them
        raise _too_long_error(probed) from error
    if len(samples) < probed.stop - probed.start:
        raise _cut_short_error(probed.seconds, len(samples) / probed.info.sample_rate)
    return samples


def resampled_length(n_samples: int, rate: int, new_rate: int) -> int:
    """Return the number of samples after resampling, rounded to the nearest integer.

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


def _locate(utterance: Utterance, header: Header) -> Probed:
    """Return the range of an utterance in its file. Errors as `probe`."""
    info = header.info
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
    claimed = length * header.claimed
    if claimed > length + CUT_TOLERANCE_S and (utterance.end or claimed) > length + END_TOLERANCE_S:
        raise _cut_short_error(claimed, length)
    if utterance.start >= length:
        raise UtteranceError(f"starts at {utterance.start:g} s, past the end of the file ({length:.3f} s)")
    if utterance.end is not None and utterance.end > length + END_TOLERANCE_S:
        raise UtteranceError(f"ends at {utterance.end:g} s, past the end of the file ({length:.3f} s)")
    start = round(utterance.start * info.sample_rate)
    stop = info.n_samples if utterance.end is None else min(round(utterance.end * info.sample_rate), info.n_samples)
    probed = Probed(utterance, info, start, stop)
    if probed.seconds < MIN_UTTERANCE_S:
        raise UtteranceError(f"expected at least {MIN_UTTERANCE_S} s of audio, got {stop - start} samples; too short")
    if probed.seconds > MAX_UTTERANCE_S or (stop - start) * info.channels > MAX_NUMBERS:
        raise _too_long_error(probed)
    return probed


def _cut_short_error(expected_s: Seconds, got_s: Seconds) -> UtteranceError:
    return UtteranceError(
        f"expected {expected_s:.3f} s of audio as the header says, got {got_s:.3f} s; file cut short, copy it again"
    )


def _too_long_error(probed: Probed) -> UtteranceError:
    return UtteranceError(
        f"expected audio that fits in memory, at most {in_hours(MAX_UTTERANCE_S)}, got {probed.seconds:.0f} s of "
        f"{probed.info.channels} channel(s) as the header or the offsets say; cut it with start and end, or write the "
        "file again"
    )


def in_time(function: Callable[[], Result]) -> Result:
    """Return the result of a function that reads audio, with the timeout `TIMEOUT_S`.

    Raises:
        UtteranceError: the function takes longer.
    """
    try:
        return within(TIMEOUT_S, function)
    except TimeoutError as error:
        raise _no_answer(error) from error


def _no_answer(error: TimeoutError) -> UtteranceError:
    return UtteranceError(f"expected audio, got {error}; check the disk or the file")
