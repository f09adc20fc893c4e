"""An open recording, from a file or another source: its rate, its channels, and any stretch of its samples."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from threading import Lock
from typing import Any, BinaryIO, Generic, TypeVar, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from voxrank.config import Seconds
from voxrank.data.pieces import Layout, PiecedStream
from voxrank.data.riff import HEAD_BYTES, OPEN_ENDED_BYTES
from voxrank.data.sources import AudioSource, stamp_of
from voxrank.data.stream_layout import FindLayout, hidden_mpeg_layout, needs_layout
from voxrank.data.utterance import Utterance
from voxrank.errors import UtteranceError

Samples = NDArray[np.float32]
"""Samples of shape (n, channels)."""
Value = TypeVar("Value")

_SIZES = re.compile(r"(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)")
_FRAMES = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
"""Message in libsndfile's log on WAV, AIFF, 8SVX, AU, W64 and RF64 files that were cut short."""
_SPHERE_COUNT = re.compile(rb"^sample_count -i (\d+)$", re.MULTILINE)
"""The number of samples per channel in the header of a NIST SPHERE file."""

LEADS_S: dict[str, Seconds] = {"MPEG_LAYER_III": 1.0, "MPEG_LAYER_II": 1.0, "MPEG_LAYER_I": 1.0, "OPUS": 1.0}
"""Subtype → audio that is decoded and discarded after a seek, since frames depend on earlier frames."""
SEQUENTIAL_SUBTYPES = ("DWVW_12", "DWVW_16", "DWVW_24")
"""Codings where libsndfile reports seeking but does not support it. Such files are decoded from the beginning."""
SKIPPED_SAMPLES = 1 << 20
"""Number of samples, of all channels, that are decoded at once to skip to a stretch in a file without seeking."""
REMEMBERED = 4096
"""Number of files whose layout is cached."""


class Memory(Generic[Value]):
    """A cache of values per file, for the most recent files. An entry becomes invalid when its file changes."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size, self._lock = size, Lock()
        self._values: OrderedDict[tuple[str, Any], Value] = OrderedDict()

    def get(self, source: Path | AudioSource) -> tuple[bool, Value | None]:
        """Return whether a file has an entry, and its value."""
        key = self._key(source)
        with self._lock:
            if key not in self._values:
                return False, None
            self._values.move_to_end(key)
            return True, self._values[key]

    def put(self, source: Path | AudioSource, value: Value) -> None:
        """Store the value of a file."""
        if not isinstance(source, Path) and not is_dataclass(source):
            return  # without a stamp, changes cannot be noticed
        with self._lock:
            self._values[self._key(source)] = value
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    @staticmethod
    def _key(source: Path | AudioSource) -> tuple[str, Any]:
        return repr(source), stamp_of(source)  # a name, since a key with the object would keep it in memory


_LAYOUTS: Memory[Layout | None] = Memory()


class Recording:
    """An open audio file.

    Attributes:
        rate: sample rate in Hz.
        channels: number of channels.
        n_samples: samples per channel that the file holds.
        claimed: ratio of the audio that the header promises to the audio in the file.
    """

    def __init__(
        self, stack: ExitStack, file: soundfile.SoundFile, raw: BinaryIO | FileIO, layout: Layout | None
    ) -> None:
        self._stack, self._first_file, self._raw, self._layout = stack, file, raw, layout
        self.rate, self.channels = file.samplerate, file.channels
        self.claimed = _claimed_ratio(file.extra_info)
        self._lengths = [file.frames]
        if layout is not None:
            self._lengths = [part.n_samples or file.frames for part in layout.parts]
            self.claimed *= layout.claimed
        self.n_samples = sum(self._lengths)
        self._is_used = False

    @cached_property
    def subtype(self) -> str:
        """The coding of samples, as libsndfile names it."""
        return str(self._first_file.subtype)

    @cached_property
    def _seeks(self) -> bool:
        """True if libsndfile can seek in the file."""
        return bool(self._first_file.seekable()) and self.subtype not in SEQUENTIAL_SUBTYPES

    @property
    def seconds(self) -> Seconds:
        """The length of the recording in seconds."""
        seconds: float = self.n_samples / self.rate
        return seconds

    def read(self, start: int, count: int) -> Samples:
        """Decode a stretch of the recording.

        Args:
            start: first sample.
            count: samples per channel.

        Returns:
            Samples (n, channels), with n below `count` where the file ends early or is damaged.
        """
        if len(self._lengths) == 1:
            return self._read_part(0, start, count)
        parts: list[Samples] = []
        for index, length in enumerate(self._lengths):
            if count > 0 and start < length:
                part = self._read_part(index, start, min(count, length - start))
                parts.append(part)
                count -= len(part)
            start = max(0, start - length)
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), dtype=np.float32)

    def _read_part(self, index: int, start: int, count: int) -> Samples:
        file = self._file(index)
        if not self._seeks:
            file.seekable = lambda: False  # otherwise soundfile seeks after each read
            _skip(file, start)
            decoded: Samples = file.read(count, dtype="float32", always_2d=True)
            return decoded
        lead = min(start, round(LEADS_S.get(self.subtype, 0.0) * self.rate))
        if start > lead or self._is_used:
            file.seek(start - lead)
        self._is_used = True
        samples: Samples = file.read(count + lead, dtype="float32", always_2d=True)
        return samples[lead:]

    def _file(self, index: int) -> soundfile.SoundFile:
        """Return an open part, at its beginning where it cannot seek."""
        if index == 0 and (self._seeks or not self._is_used):
            self._is_used = self._is_used or not self._seeks
            return self._first_file
        return self._stack.enter_context(_open_sound_file(self._raw, self._layout, index))


def _skip(file: soundfile.SoundFile, count: int) -> None:
    """Decode samples and discard them."""
    block = max(1, SKIPPED_SAMPLES // file.channels)
    while count > 0:
        n_read = len(file.read(min(block, count), dtype="float32", always_2d=True))
        if not n_read:
            return
        count -= n_read


def _open_sound_file(raw: BinaryIO | FileIO, layout: Layout | None, index: int = 0) -> soundfile.SoundFile:
    """Open a file, or a part of it, with libsndfile."""
    raw.seek(0)
    if layout is not None:
        return soundfile.SoundFile(PiecedStream(raw, layout.parts[index]), closefd=False)
    if isinstance(raw, FileIO) and os.name == "posix":
        return soundfile.SoundFile(raw.fileno(), closefd=False)  # releases the GIL; Windows has other descriptors
    return soundfile.SoundFile(raw, closefd=False)


@contextmanager
def open_recording(utterance: Utterance) -> Iterator[Recording]:
    """Open the audio of an utterance.

    Raises:
        UtteranceError: the file is missing, or is not readable audio.
    """
    try:
        with ExitStack() as stack:
            if utterance.audio is None:
                yield _make_recording(stack, _plain_file(stack, utterance.path), utterance.path)
            else:
                stream = _Stream(stack.enter_context(utterance.audio.open()))
                try:
                    yield _make_recording(stack, cast("BinaryIO", stream), utterance.audio)
                except Exception:
                    stream.refuse()
                    raise
                stream.refuse()
    except FileNotFoundError as error:
        hint = f": {error.filename}" if utterance.audio else "; a relative path starts at the manifest's folder"
        raise UtteranceError(f"no such file{hint}") from None
    except OSError as error:
        raise UtteranceError(f"cannot read the file: {error.strerror or error}") from error
    except soundfile.SoundFileError as error:
        raise UtteranceError(
            f"not audio that libsndfile can read ({_message(error)}); copy the file again, or convert it to WAV or FLAC"
        ) from error


def _plain_file(stack: ExitStack, path: Path) -> FileIO:
    status = path.stat()
    if not S_ISREG(status.st_mode):  # reading a pipe would block
        raise UtteranceError(f"expected an audio file, got a {'folder' if S_ISDIR(status.st_mode) else 'device'}")
    if status.st_size == 0:
        raise UtteranceError("expected an audio file, got an empty one (0 bytes)")
    return stack.enter_context(path.open("rb", buffering=0))


def _make_recording(stack: ExitStack, raw: BinaryIO | FileIO, source: Path | AudioSource) -> Recording:
    head = raw.read(HEAD_BYTES) or b""
    size = raw.seek(0, os.SEEK_END)
    find = needs_layout(head, size)
    layout = None if find is None else _cached_layout(raw, source, size, find)
    raw = _buffered(stack, raw, source, layout)
    try:
        file = stack.enter_context(_open_sound_file(raw, layout))
    except soundfile.SoundFileError:
        if find is not None or (layout := _cached_layout(raw, source, size, hidden_mpeg_layout)) is None:
            raise
        raw = _buffered(stack, raw, source, layout)
        file = stack.enter_context(_open_sound_file(raw, layout))  # MPEG audio after other data
    recording = Recording(stack, file, raw, layout)
    if head[:7] == b"NIST_1A" and (count := _SPHERE_COUNT.search(head)) is not None:
        recording.claimed = max(1.0, int(count[1]) / max(1, file.frames))
    return recording


def _cached_layout(raw: BinaryIO | FileIO, source: Path | AudioSource, size: int, find: FindLayout) -> Layout | None:
    """Return the layout of a file, from the cache if possible."""
    is_cached, layout = _LAYOUTS.get(source)
    if not is_cached:
        with ExitStack() as stack:
            stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else raw
            layout = find(stream, size)
        _LAYOUTS.put(source, layout)
    return layout


def _buffered(
    stack: ExitStack, raw: BinaryIO | FileIO, source: Path | AudioSource, layout: Layout | None
) -> BinaryIO | FileIO:
    """Return a buffered stream where a layout needs many small reads."""
    return raw if layout is None or not isinstance(source, Path) else stack.enter_context(source.open("rb"))


class _Stream:
    """A stream that libsndfile reads. It stores errors, which cannot pass libsndfile, until the call returns."""

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
        """Return 0. The method is never called, since files are opened for reading."""
        return 0

    def refuse(self) -> None:
        """Raise the stored error."""
        if self._error is not None:
            raise self._error


def _message(error: Exception) -> str:
    """Return the message of libsndfile without the name of the stream."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def _claimed_ratio(log: str) -> float:
    """Return the ratio of the audio that the header promises to the audio in the file, from libsndfile's log.

    Example:
        >>> _claimed_ratio("data : 16000 (should be 4000)")
        4.0
    """
    match = _SIZES.search(log)
    if match is not None:
        promised, held = int(match[1]), int(match[2])
    elif (match := _FRAMES.search(log)) is not None:
        held, promised = int(match[1]), int(match[2])
    else:
        return 1.0
    return promised / held if 0 < held < promised < OPEN_ENDED_BYTES else 1.0
