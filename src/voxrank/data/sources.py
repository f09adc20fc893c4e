"""Audio that is no file of its own: a stretch of an archive, a row of a table, samples in memory, what a library makes.

A source gives a seekable audio file in one of libsndfile's formats, whatever it is made of, so that all that holds of
files (limits, stretches, reasons) holds of it. It is small, compares by what it names, and can be pickled, so that it
travels to the workers of a cluster.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from voxrank.config import Hertz
from voxrank.errors import UtteranceError, reason

Stamp = tuple[int, int, int]
"""Size, time of change and place of what is read: compared within a run, and never between runs."""
UNCHANGING: Stamp = (0, 0, 0)
"""Of what is held in memory."""
MAX_FILE_BYTES = 1 << 33
"""Of an audio file that a row holds, twice what an utterance may hold once decoded."""
CHUNK_BYTES = 1 << 20


class AudioSource(Protocol):
    """Where an utterance's audio is, when it is no file of its own."""

    @property
    def file(self) -> Path | None:
        """A file that must be there for it to be read; None where there is none."""

    def open(self) -> BinaryIO:
        """An audio file, seekable, from its first byte.

        Raises:
            UtteranceError: there is none, and why.
            OSError: it cannot be read.
        """

    def stamp(self) -> Stamp:
        """What tells that it is still what it was. Errors as `open`."""


def stamp_of(source: Path | AudioSource) -> Stamp:
    """What tells one content from a later one: of a file its size, time of change and place.

    Raises:
        OSError, UtteranceError: it cannot be read.
    """
    if not isinstance(source, Path):
        return source.stamp()
    stat = source.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def digest_of_audio(source: Path | AudioSource) -> str:
    """SHA-256 of an audio file's bytes, wherever they are: the same file in an archive has the same digest.

    Raises:
        OSError, UtteranceError: it cannot be read.
    """
    with source.open("rb") if isinstance(source, Path) else source.open() as file:
        digest = hashlib.sha256()
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class FileRegion:
    """An audio file within another file, such as a member of a tar.

    Attributes:
        file: that holds it, absolute.
        offset: of its first byte.
        size: bytes.
    """

    file: Path
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """As `AudioSource`."""
        stat = self.file.stat()
        if not S_ISREG(stat.st_mode):
            raise UtteranceError(f"expected a file at {self.file}, got a folder or a device")
        if self.offset + self.size > stat.st_size:
            raise UtteranceError(
                f"expected {self.size:,} bytes of audio at {self.offset:,} in {self.file.name}, which ends at "
                f"{stat.st_size:,}; file cut short, copy it again"
            )
        return io.BufferedReader(_Region(self.file, self.offset, self.size))

    def stamp(self) -> Stamp:
        """As `AudioSource`."""
        return stamp_of(self.file)


class _Region(io.RawIOBase):
    """Bytes of a file as a file. What cannot be read is missing, which the decoder notices."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._offset + self._at)
        got = self._file.readinto(view[:wanted])
        self._at += got
        return got

    def close(self) -> None:
        self._file.close()
        super().close()


Content = bytes | tuple[NDArray[Any], Hertz] | Path
"""What an object holds: the bytes of an audio file, samples with their rate, or a file."""


def as_file(content: Content) -> BinaryIO:
    """What an object holds, as an audio file.

    Samples become a W64 of floats, or of integers as they are: what is decoded from it is what they were.

    Args:
        content: samples are (n,), or (n, channels) or (channels, n) with fewer channels than samples.

    Raises:
        UtteranceError: they are no samples.
        OSError: the file cannot be read.
    """
    if isinstance(content, Path):
        return content.open("rb")
    if isinstance(content, bytes):
        if not content:
            raise UtteranceError("expected an audio file, got an empty one (0 bytes)")
        return io.BytesIO(content)
    samples, rate = content
    if not 0 < rate < 1 << 31:
        raise UtteranceError(f"expected a sample rate in Hz, got {rate:g}")
    made = io.BytesIO()
    samples = _frames(samples)
    subtype = _SUBTYPES.get(samples.dtype.name, "FLOAT")  # W64 has no chunk that holds the time of day
    soundfile.write(made, samples, round(rate), format="W64", subtype=subtype)
    made.seek(0)
    return made


def _frames(samples: NDArray[Any]) -> NDArray[Any]:
    """(n,) or (n, channels), of a kind that files have."""
    if samples.ndim not in (1, 2) or not (samples.dtype.kind == "f" or samples.dtype.name in _SUBTYPES):
        raise UtteranceError(
            "expected samples as floats, int16 or int32, of shape (n,) or (channels, n), got "
            f"{samples.dtype} of shape {samples.shape}"
        )
    if samples.size == 0:
        raise UtteranceError("the audio holds no samples")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim == 2 and samples.shape[1] > MAX_CHANNELS:
        raise UtteranceError(f"expected at most {MAX_CHANNELS} channels, got samples of shape {samples.shape}")
    return samples.astype(np.float32) if samples.dtype.kind == "f" else samples


_SUBTYPES = {"int16": "PCM_16", "int32": "PCM_32"}
MAX_CHANNELS = 1024
"""As libsndfile."""


@dataclass(frozen=True)
class HeldAudio:
    """Audio that an object in this process holds or makes, such as an item of a PyTorch data set.

    It is asked for anew each time, so that a data set is never in memory as a whole. Pickled, it takes its own audio
    along, and nothing else of the object.

    Attributes:
        holder: tells objects apart.
        index: of the item.
        fetch: gives what the item holds; what it raises is the reason why there is none.
    """

    holder: str
    index: int
    fetch: Callable[[int], Content] = field(compare=False, repr=False)

    @property
    def file(self) -> None:
        """None is known of."""
        return None

    def open(self) -> BinaryIO:
        """As `AudioSource`."""
        try:
            content = self.fetch(self.index)
        except UtteranceError:
            raise
        except Exception as error:
            raise UtteranceError(f"expected audio, the data set raised {reason(error)}") from error
        return as_file(content)

    def stamp(self) -> Stamp:
        """As `AudioSource`: an object is believed not to change within a run."""
        return UNCHANGING

    def __reduce__(self) -> tuple[Any, ...]:
        content: bytes | str
        try:
            with self.open() as file:
                content = file.read(MAX_FILE_BYTES)
        except (UtteranceError, OSError) as error:
            content = str(error)
        return HeldAudio, (self.holder, self.index, Sent(content))


@dataclass(frozen=True)
class Sent:
    """What came along: the bytes of an audio file, or why there are none."""

    content: bytes | str

    def __call__(self, index: int) -> bytes:
        """The bytes, whichever item is asked for. Raises `UtteranceError` where there are none."""
        del index
        if isinstance(self.content, str):
            raise UtteranceError(self.content)
        return self.content


class OneAtATime:
    """Items of an object that need not bear several threads."""

    def __init__(self, get: Callable[[int], Any]) -> None:
        self._get, self._lock = get, Lock()

    def __call__(self, index: int) -> Any:
        """The item."""
        with self._lock:
            return self._get(index)
