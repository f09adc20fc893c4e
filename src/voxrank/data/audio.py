"""Audio files → waveforms: probed by header, decoded by stretch, mixed to mono and resampled."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from voxrank.config import Hertz, Seconds
from voxrank.data.patience import within
from voxrank.data.sources import AudioSource
from voxrank.data.utterance import Dataset, Skipped, Utterance
from voxrank.errors import UtteranceError, shortened

_SIZES = re.compile(r"(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)")
_FRAMES = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
"""What libsndfile writes into its log of WAV, AIFF, 8SVX, AU, W64 and RF64 files that were cut short."""

Result = TypeVar("Result")
Waveform = NDArray[np.float32]
"""Mono samples, shape (n,), about -1 to 1."""

MIN_UTTERANCE_S: Seconds = 0.025
"""One analysis window: anything shorter holds no frame of speech."""
END_TOLERANCE_S: Seconds = 0.05
"""How far an `end` may lie past the end of the file: manifests round."""
MP3_LEAD_S: Seconds = 1.0
"""MP3 frames borrow bits from those before them: after a seek, this much is decoded and thrown away."""
PATIENCE_S: Seconds = 120.0
"""How long one file may take to be opened, or one utterance to be decoded: a disk that does not answer ends no run."""
UNKNOWN_LENGTH = 2**63 - 1
"""What libsndfile says of a FLAC stream whose header leaves the length open."""
MAX_UTTERANCE_S: Seconds = 6 * 3600
MAX_NUMBERS = 1 << 30
"""Samples of all channels in an utterance, 4 GiB once decoded: a small file can claim, or hold, any number of them."""
RATES: tuple[Hertz, Hertz] = (1_000, 768_000)
"""Sample rates that are believable: a few bytes at one sample a second would last for hours once resampled."""
CUT_TOLERANCE_S: Seconds = 0.01
"""How much less a file may hold than its header says: some writers count the header, or a byte of padding."""
OPEN_ENDED_BYTES = 0x7FFF_0000
"""Sizes from here on stand in headers that were written to a pipe, before the length was known."""


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
    with _opened(utterance) as file:
        return _located(utterance, file)


def probe_all(dataset: Dataset, threads: int) -> tuple[tuple[Probed, ...], tuple[Skipped, ...]]:
    """Probe every utterance, `threads` at a time: those that can be read, in order, and the others with reasons."""
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(_probe_or_skip, dataset.utterances))
    probed = tuple(result for result in results if isinstance(result, Probed))
    return probed, tuple(result for result in results if isinstance(result, Skipped))


def decode(utterance: Utterance, sample_rate: Hertz) -> Waveform:
    """Read an utterance's stretch of its file, and nothing else of it.

    Channels are averaged; other rates are resampled by soxr (HQ).

    Returns:
        (n,) float32, with n = `resampled_length` of the stretch.

    Raises:
        UtteranceError: as `probe`; or the file ends early, or holds NaN or infinite samples.
    """
    with _opened(utterance) as file:
        place = _located(utterance, file)
        samples = _read(file, place)
    if not np.isfinite(samples).all():
        raise UtteranceError("the samples hold NaN or infinite values; decode or export the file again")
    mono: Waveform = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return _resample(mono, place.info.sample_rate, round(sample_rate))


def _read(file: soundfile.SoundFile, place: Probed) -> NDArray[np.float32]:
    """(samples, channels) of the stretch."""
    lead = min(place.start, round(MP3_LEAD_S * file.samplerate)) if file.format == "MP3" else 0
    if place.start > lead:  # else it is there, and a file that was cut short is said to be one
        file.seek(place.start - lead)
    try:
        samples: NDArray[np.float32] = file.read(place.stop - place.start + lead, dtype="float32", always_2d=True)
    except (MemoryError, ValueError) as error:  # numpy refuses with either
        raise _too_long(place) from error
    if len(samples) - lead < place.stop - place.start:
        raise _cut_short(place.seconds, max(0, len(samples) - lead) / file.samplerate)
    return samples[lead:]


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


@contextmanager
def _opened(utterance: Utterance) -> Iterator[soundfile.SoundFile]:
    """The open file; every way of not being readable audio becomes an `UtteranceError`."""
    try:
        with _plain_file(utterance.path) if utterance.audio is None else _from_source(utterance.audio) as file:
            yield file
    except FileNotFoundError as error:
        hint = f": {error.filename}" if utterance.audio else "; a relative path starts at the manifest's folder"
        raise UtteranceError(f"no such file{hint}") from None
    except OSError as error:
        raise UtteranceError(f"cannot read the file: {error.strerror or error}") from error
    except soundfile.SoundFileError as error:
        raise UtteranceError(
            f"not audio that libsndfile can read ({_plain(error)}); copy the file again, or convert it to WAV or FLAC"
        ) from error


@contextmanager
def _plain_file(path: Path) -> Iterator[soundfile.SoundFile]:
    about = path.stat()
    if not S_ISREG(about.st_mode):  # a pipe would be waited for
        raise UtteranceError(f"expected an audio file, got a {'folder' if S_ISDIR(about.st_mode) else 'device'}")
    if about.st_size == 0:
        raise UtteranceError("expected an audio file, got an empty one (0 bytes)")
    with path.open("rb", buffering=0) as raw, soundfile.SoundFile(_source(raw), closefd=False) as file:
        yield file


@contextmanager
def _from_source(source: AudioSource) -> Iterator[soundfile.SoundFile]:
    with source.open() as stream:
        heard = _Stream(stream)
        try:
            with soundfile.SoundFile(heard, closefd=False) as file:
                yield file
        except Exception:
            heard.refuse()
            raise
        heard.refuse()


class _Stream:
    """What libsndfile calls to read a stream: an error cannot pass through it, and is kept until it returns."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._error: OSError | None = None
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            self._error = self._error or error
            return b""

    def write(self, _data: bytes) -> int:
        """Never called: files are opened to be read."""
        return 0

    def refuse(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error


def _source(raw: FileIO) -> int | FileIO:
    """A file descriptor, which libsndfile reads without the GIL; but Windows has them one for each C runtime."""
    return raw.fileno() if os.name == "posix" else raw


def _plain(error: Exception) -> str:
    """Libsndfile's own words, without the name of the stream it was given."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def _located(utterance: Utterance, file: soundfile.SoundFile) -> Probed:
    info = AudioInfo(file.samplerate, file.channels, file.frames)
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
    claimed = length * _claimed(file.extra_info)
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


def _claimed(log: str) -> float:
    """How many times more audio the header says there is than the file holds, as libsndfile notes in its log.

    Example:
        >>> _claimed("data : 16000 (should be 4000)")
        4.0
    """
    found = _SIZES.search(log)
    if found is not None:
        said, held = int(found[1]), int(found[2])
    elif (found := _FRAMES.search(log)) is not None:
        held, said = int(found[1]), int(found[2])
    else:
        return 1.0
    return said / held if 0 < held < said < OPEN_ENDED_BYTES else 1.0


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
