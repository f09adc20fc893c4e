"""Parts of a file that libsndfile reads as files: stretches of it, and bytes that replace a wrong size."""

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
"""Bytes that stand in for some of the file's, or a stretch of the file."""

MAX_LINKS = 1000
"""Maximum number of files that follow each other in one."""
LOST_FRAMES = 2
"""Frames that an MP3 may lack of what its header says: the last one is often cut off."""


@dataclass(frozen=True)
class Part:
    """What libsndfile reads as one audio file.

    Attributes:
        pieces: what it is made of, in order.
        n_samples: samples per channel; None where libsndfile counts them rightly.
        tail: bytes of zeros at its end, so that libsndfile expects no less audio than there is.
    """

    pieces: tuple[Piece, ...]
    n_samples: int | None = None
    tail: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the audio of a file is.

    Attributes:
        parts: read one after another.
        claimed: how many times more audio the header promises than the file holds.
    """

    parts: tuple[Part, ...]
    claimed: float = 1.0


class PiecedStream:
    """The pieces of a part, as libsndfile reads a file.

    Args:
        stream: the file that pieces are stretches of.
        part: the pieces.
    """

    def __init__(self, stream: BinaryIO, part: Part) -> None:
        self._stream, self._pieces = stream, part.pieces
        sizes = [len(p) if isinstance(p, bytes) else max(0, p[1] - p[0]) for p in part.pieces]
        self._starts: Sequence[int] = [0, *accumulate(sizes)]
        self._size = self._starts[-1] + part.tail
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file."""
        self._at = max(0, (0, self._at, self._size)[whence] + offset)
        return self._at

    def tell(self) -> int:
        """As a file."""
        return self._at

    def read(self, size: int) -> bytes:
        """As a file; behind the pieces are zeros."""
        parts: list[bytes] = []
        left = min(size, self._size - self._at)
        while left > 0:
            got = self._piece(left)
            if not got:
                break
            parts.append(got)
            self._at += len(got)
            left -= len(got)
        return b"".join(parts)

    def _piece(self, size: int) -> bytes:
        """Some of the bytes at the present place."""
        if self._at >= self._starts[-1]:
            return bytes(size)
        index = bisect_right(self._starts, self._at) - 1
        inside, left = self._at - self._starts[index], self._starts[index + 1] - self._at
        piece = self._pieces[index]
        if isinstance(piece, bytes):
            return piece[inside : inside + min(size, left)]
        self._stream.seek(piece[0] + inside)
        return self._stream.read(min(size, left))

    def write(self, _data: bytes) -> int:
        """Never called: files are opened to be read."""
        return 0


def mpeg_parts(audio: MpegAudio) -> Layout:
    """Lay out the frames of audio alone, with a tail: libsndfile guesses from the bytes how many frames there are."""
    promised = 0 if audio.info is None or audio.info.frames is None else audio.info.frames
    claimed = promised / audio.frames if promised > audio.frames + LOST_FRAMES else 1.0
    tail = audio.longest * (audio.frames + 4) - audio.size
    return Layout((Part(tuple(audio.ranges), audio.n_samples, tail),), claimed)


def chained(stream: BinaryIO, starts: Sequence[int], size: int, what: str) -> Layout:
    """Lay out files that follow each other in one."""
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
