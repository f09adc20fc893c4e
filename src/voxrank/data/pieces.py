"""Parts of a file that libsndfile reads as separate files: stretches, and bytes that replace a wrong size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

import soundfile

from voxrank.data.mpeg import MpegAudio
from voxrank.data.mpeg_headers import Range
from voxrank.errors import UtteranceError

Piece = bytes | Range
"""Bytes that replace some of the file's bytes, or a stretch of the file."""

MAX_LINKS = 1000
"""Maximum number of files that are appended to each other in one file."""
LOST_FRAMES = 2
"""Number of frames that an MP3 may lack compared with its header, since the last frame is often cut off."""


@dataclass(frozen=True)
class Part:
    """A part of a file that libsndfile reads as one audio file.

    Attributes:
        pieces: pieces of the part, in order.
        n_samples: samples per channel; None where libsndfile counts them correctly.
        tail: number of zero bytes at the end, so that libsndfile expects at least as much audio as there is.
    """

    pieces: tuple[Piece, ...]
    n_samples: int | None = None
    tail: int = 0


@dataclass(frozen=True)
class Layout:
    """The location of the audio in a file.

    Attributes:
        parts: parts of the file, read one after another.
        claimed: ratio of the audio that the header promises to the audio in the file.
    """

    parts: tuple[Part, ...]
    claimed: float = 1.0


class PiecedStream:
    """A stream of the pieces of a part, which libsndfile reads as a file.

    Args:
        stream: file with the stretches.
        part: part to read.
    """

    def __init__(self, stream: BinaryIO, part: Part) -> None:
        self._stream, self._pieces = stream, part.pieces
        sizes = [len(piece) if isinstance(piece, bytes) else max(0, piece[1] - piece[0]) for piece in part.pieces]
        self._starts: Sequence[int] = [0, *accumulate(sizes)]
        self._size = self._starts[-1] + part.tail
        self._position = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position, as in a file."""
        self._position = max(0, (0, self._position, self._size)[whence] + offset)
        return self._position

    def tell(self) -> int:
        """Return the position, as in a file."""
        return self._position

    def read(self, size: int) -> bytes:
        """Read bytes, as from a file. Zeros follow the pieces."""
        parts: list[bytes] = []
        remaining = min(size, self._size - self._position)
        while remaining > 0:
            chunk = self._piece(remaining)
            if not chunk:
                break
            parts.append(chunk)
            self._position += len(chunk)
            remaining -= len(chunk)
        return b"".join(parts)

    def _piece(self, size: int) -> bytes:
        """Return up to `size` bytes at the current position."""
        if self._position >= self._starts[-1]:
            return bytes(size)
        index = bisect_right(self._starts, self._position) - 1
        offset, remaining = self._position - self._starts[index], self._starts[index + 1] - self._position
        piece = self._pieces[index]
        if isinstance(piece, bytes):
            return piece[offset : offset + min(size, remaining)]
        self._stream.seek(piece[0] + offset)
        return self._stream.read(min(size, remaining))

    def write(self, _data: bytes) -> int:
        """Return 0. The method is never called, since files are opened for reading."""
        return 0


def mpeg_parts(audio: MpegAudio) -> Layout:
    """Return a layout of the audio frames with a tail, since libsndfile guesses the number of frames from the bytes."""
    promised = 0 if audio.info is None or audio.info.frames is None else audio.info.frames
    claimed = promised / audio.frames if promised > audio.frames + LOST_FRAMES else 1.0
    tail = audio.longest * (audio.frames + 4) - audio.size
    return Layout((Part(tuple(audio.ranges), audio.n_samples, tail),), claimed)


def chained(stream: BinaryIO, starts: Sequence[int], size: int, what: str) -> Layout:
    """Return the layout of files that are appended to each other in one file."""
    if len(starts) > MAX_LINKS:
        raise UtteranceError(f"expected at most {MAX_LINKS:,} {what} in one, got {len(starts):,}")
    parts: list[Part] = []
    kinds: set[tuple[int, int]] = set()
    for start, stop in zip(starts, [*starts[1:], size], strict=True):
        with soundfile.SoundFile(PiecedStream(stream, Part(((start, stop),))), closefd=False) as file:
            parts.append(Part(((start, stop),), file.frames))
            kinds.add((file.samplerate, file.channels))
    if len(kinds) > 1:
        listed = ", ".join(f"{rate:,} Hz with {channels} channel(s)" for rate, channels in sorted(kinds))
        raise UtteranceError(f"expected one sample rate and number of channels, got {what} of {listed}")
    return Layout(tuple(parts))
