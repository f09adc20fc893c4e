"""Sources of audio that is not a separate file: part of an archive, a row of a table, samples in memory.

A source opens as a seekable audio file in one of libsndfile's formats, so that limits, stretches and reasons for skips
are those of files. A source is small, compares by value and can be pickled, so that it can be sent to the workers of a
cluster.
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
"""Size, modification time and place of a content. Stamps are compared within a run, never between runs."""
UNCHANGING: Stamp = (0, 0, 0)
"""Stamp of content in memory."""
MAX_FILE_BYTES = 1 << 33
"""Maximum size of an audio file in a row: twice the maximum size of a decoded utterance."""
CHUNK_BYTES = 1 << 20


class AudioSource(Protocol):
    """A source of an utterance's audio that is not a separate file."""

    @property
    def file(self) -> Path | None:
        """The file that the audio is read from; None where there is none."""

    def open(self) -> BinaryIO:
        """Open the audio as a seekable audio file, at its first byte.

        Raises:
            UtteranceError: there is no audio; the message gives the reason.
            OSError: the audio cannot be read.
        """

    def stamp(self) -> Stamp:
        """Return the stamp of the content, which changes when the content changes. Errors as `open`."""


def stamp_of(source: Path | AudioSource) -> Stamp:
    """Return the stamp of a source, or the size, modification time and place of a file.

    Raises:
        OSError, UtteranceError: the source cannot be read.
    """
    if not isinstance(source, Path):
        return source.stamp()
    stat = source.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def digest_of_audio(source: Path | AudioSource) -> str:
    """Return the SHA-256 of an audio file's bytes. A file has the same digest inside an archive.

    Raises:
        OSError, UtteranceError: the source cannot be read.
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
        file: absolute path of the outer file.
        offset: offset of the first byte.
        size: size in bytes.
    """

    file: Path
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """Open the audio as `AudioSource.open` does."""
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
        """Return the stamp as `AudioSource.stamp` does."""
        return stamp_of(self.file)


class _Region(io.RawIOBase):
    """A region of a file as a file. Bytes that cannot be read are missing, which the decoder notices."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._offset, self._size, self._position = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        self._file.seek(self._offset + self._position)
        n_read = self._file.readinto(view[:count])
        self._position += n_read
        return n_read

    def close(self) -> None:
        self._file.close()
        super().close()


Content = bytes | tuple[NDArray[Any], Hertz] | Path
"""The audio in an object: the bytes of an audio file, samples with their rate in Hz, or the path of a file."""


def as_file(content: Content) -> BinaryIO:
    """Return the audio in an object as an open audio file.

    Samples become a W64 file of floats, or of unchanged integers. Decoding it gives the same samples.

    Args:
        content: the audio. Samples are (n,), or (n, channels) or (channels, n) with fewer channels than samples.

    Raises:
        UtteranceError: the content does not hold samples.
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
    buffer = io.BytesIO()
    samples = _frames(samples)
    subtype = _SUBTYPES.get(samples.dtype.name, "FLOAT")  # unlike WAV, W64 has no chunk with the time of day
    soundfile.write(buffer, samples, round(rate), format="W64", subtype=subtype)
    buffer.seek(0)
    return buffer


def _frames(samples: NDArray[Any]) -> NDArray[Any]:
    """Return samples as (n,) or (n, channels), in a type that audio files support."""
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
"""Maximum number of channels, as in libsndfile."""


@dataclass(frozen=True)
class HeldAudio:
    """Audio that an object in this process holds or computes, such as an item of a PyTorch data set.

    The audio is fetched again for each use, so that a data set is never in memory as a whole. A pickle includes the
    audio of this item, and nothing else of the object.

    Attributes:
        holder: identifier of the object.
        index: index of the item.
        fetch: returns the audio of an item, or raises the reason why there is none.
    """

    holder: str
    index: int
    fetch: Callable[[int], Content] = field(compare=False, repr=False)

    @property
    def file(self) -> None:
        """No file: the files behind an object are unknown."""
        return None

    def open(self) -> BinaryIO:
        """Open the audio as `AudioSource.open` does."""
        try:
            content = self.fetch(self.index)
        except UtteranceError:
            raise
        except Exception as error:
            raise UtteranceError(f"expected audio, the data set raised {reason(error)}") from error
        return as_file(content)

    def stamp(self) -> Stamp:
        """Return a constant stamp, since an object is assumed not to change within a run."""
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
    """The audio in a pickle: the bytes of an audio file, or the reason why there are none."""

    content: bytes | str

    def __call__(self, index: int) -> bytes:
        """Return the bytes, whatever the index. Raises `UtteranceError` where there are none."""
        del index
        if isinstance(self.content, str):
            raise UtteranceError(self.content)
        return self.content


class OneAtATime:
    """A thread-safe getter of items from an object that may not be thread-safe."""

    def __init__(self, get: Callable[[int], Any]) -> None:
        self._get, self._lock = get, Lock()

    def __call__(self, index: int) -> Any:
        """Return an item, one thread at a time."""
        with self._lock:
            return self._get(index)
