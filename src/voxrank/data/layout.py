"""Where the audio of a file is, for files whose header does not say it, or says it wrongly.

libsndfile reads a file as its header describes it. Programs that write to a pipe cannot go back to the header, and
leave sizes open; files that were appended to each other describe only the first part. A `Layout` describes such a file
as parts that libsndfile reads rightly: stretches of the file, and bytes that replace a wrong size.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, Literal

import soundfile

from voxrank.data.mpeg import MpegAudio, Range, says_its_length, scan
from voxrank.errors import UtteranceError

Piece = bytes | Range
"""Bytes that stand in for some of the file's, or a stretch of the file."""

HEAD_BYTES = 4096
"""Bytes of a file that show whether its header can be trusted."""
OPEN_ENDED_BYTES = 0x7FFF_0000
"""Sizes from here on stand in headers that were written to a pipe, before the length was known."""
UNKNOWN_LENGTH = 2**63 - 1
"""Number of samples that libsndfile gives for a FLAC stream whose header leaves the length open."""
COUNTED_SAMPLES = 1 << 18
"""Samples of all channels that are decoded at once to count them."""
MAX_LINKS = 1000
"""Maximum number of files that follow each other in one."""
LOST_FRAMES = 2
"""Frames that an MP3 may lack of what its header says: the last one is often cut off."""
APPENDED_WAV = re.compile(b"RIFF.{4}WAVE", re.DOTALL)
"""What a WAV file begins with."""
WAV_TAGS = {0x50: "MPEG", 0x55: "MPEG"}
"""Format tags of a WAV file that holds MPEG audio."""


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


FindLayout = Callable[[BinaryIO, int], Layout | None]
"""Looks for the layout of a stream of so many bytes; None where its header can be trusted."""


def needs_layout(head: bytes, size: int) -> FindLayout | None:
    """Choose the function that looks for the layout of a file.

    Args:
        head: the first bytes of the file.
        size: all bytes of the file.

    Returns:
        The function; None where the header can be trusted.
    """
    if head[:4] == b"fLaC":
        return flac_layout if _flac_samples(head) == 0 else None
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return riff_layout if _is_doubtful_riff(head, size) else None
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return mpeg_layout
    return {b"OggS": ogg_layout, b"caff": caf_layout, b".snd": au_layout}.get(head[:4])


def mpeg_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Lay out MPEG audio whose first frame does not say how long it is, or says it wrongly."""
    if says_its_length(stream, size):
        return None
    audio = scan(stream, 0, size)
    if audio is None or (audio.info is not None and audio.info.frames == audio.frames):
        return None
    return _mpeg_parts(audio)


def hidden_mpeg_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Lay out MPEG audio behind something else, in a file that libsndfile does not know."""
    audio = scan(stream, 0, size)
    return None if audio is None else _mpeg_parts(audio)


def _mpeg_parts(audio: MpegAudio) -> Layout:
    """Lay out the frames of audio alone, with a tail: libsndfile guesses from the bytes how many frames there are."""
    promised = 0 if audio.info is None or audio.info.frames is None else audio.info.frames
    claimed = promised / audio.frames if promised > audio.frames + LOST_FRAMES else 1.0
    tail = audio.longest * (audio.frames + 4) - audio.size
    return Layout((Part(tuple(audio.ranges), audio.n_samples, tail),), claimed)


def flac_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Lay out a FLAC file whose header leaves the number of samples open: they are decoded to count them."""
    stream.seek(0)
    head = stream.read(42)
    with soundfile.SoundFile(PiecedStream(stream, Part(((0, size),))), closefd=False) as file:
        n_samples = _count(file)
    low = (int.from_bytes(head[18:26], "big") >> 36 << 36 | n_samples & (1 << 36) - 1).to_bytes(8, "big")
    return Layout((Part(((0, 18), low, (26, size)), n_samples),))


def _flac_samples(head: bytes) -> int | None:
    """Samples per channel that the header gives; None where it is no such header (RFC 9639, 8.2)."""
    if len(head) < 26 or head[4] & 0x7F:
        return None
    return int.from_bytes(head[18:26], "big") & (1 << 36) - 1


def _count(file: soundfile.SoundFile) -> int:
    """Samples per channel, by decoding. soundfile would seek behind every read, which fails without a length."""
    file.seekable = lambda: False
    block, n_samples = COUNTED_SAMPLES // file.channels, 0
    while (got := len(file.read(block, dtype="int16", always_2d=True))) > 0:
        n_samples += got
    return n_samples


def riff_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Lay out a WAV or RF64 file whose size of data is 0 or unknown, or which holds MPEG audio."""
    stream.seek(0)
    chunks = _riff_chunks(stream.read(HEAD_BYTES))
    if chunks is None or chunks.data_at > size:
        return None
    starts = _appended_wavs(stream, size)
    if len(starts) > 1:
        return _chained(stream, starts, size, "WAV files")
    left = size - chunks.data_at
    if chunks.tag in WAV_TAGS:
        stop = chunks.data_at + min(left, chunks.data_size or left)
        audio = scan(stream, chunks.data_at, stop)
        return None if audio is None else _mpeg_parts(audio)
    if not chunks.is_open(left) or (chunks.data_size == 0 and _are_chunks(stream, chunks, size)):
        return None
    stop = size - _trailing_bytes(stream, chunks.data_at, size)
    held = min(stop - chunks.data_at, (1 << 8 * chunks.field) - 1).to_bytes(chunks.field, chunks.order)
    at = chunks.size_at
    return Layout((Part(((0, at), held, (at + chunks.field, stop))),))


@dataclass(frozen=True)
class _Chunks:
    """What the header of a WAV file says of its data.

    Attributes:
        tag: of the format.
        data_at: first byte of the data.
        data_size: bytes of data that the header gives.
        size_at: where the header gives it.
        field: bytes of that number: 4, or 8 in RF64.
        order: of its bytes.
    """

    tag: int
    data_at: int
    data_size: int
    size_at: int
    field: int
    order: Literal["big", "little"]

    def is_open(self, left: int) -> bool:
        """Whether the size is one that was left open, with this many bytes of data in the file."""
        limit = OPEN_ENDED_BYTES if self.field == 4 else 1 << 62
        return left > 0 and (self.data_size == 0 or (self.data_size >= limit and self.data_size > left))


def _riff_chunks(head: bytes) -> _Chunks | None:
    """Walk the chunks in the first bytes of a file up to its data. Returns None where these are not among them."""
    order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
    place, tag, long_at = 12, 0, None
    while place + 8 <= len(head):
        name, length = head[place : place + 4], int.from_bytes(head[place + 4 : place + 8], order)
        if name == b"data":
            if long_at is not None:
                long = int.from_bytes(head[long_at : long_at + 8], order)
                return _Chunks(tag, place + 8, long, long_at, 8, order)
            return _Chunks(tag, place + 8, length, place + 4, 4, order)
        if name == b"fmt ":
            tag = int.from_bytes(head[place + 8 : place + 10], order)
        elif name == b"ds64":
            long_at = place + 16
        place += 8 + length + length % 2
    return None


def _is_doubtful_riff(head: bytes, size: int) -> bool:
    chunks = _riff_chunks(head)
    if chunks is None:
        return False
    return chunks.tag in WAV_TAGS or chunks.is_open(1) or 0 < _riff_end(head) < size - 12


def _riff_end(head: bytes) -> int:
    """Where a WAV file ends, by its header; 0 where that was left open."""
    length = int.from_bytes(head[4:8], "big" if head[:4] == b"RIFX" else "little")
    return 8 + length if 0 < length < OPEN_ENDED_BYTES else 0


def _appended_wavs(stream: BinaryIO, size: int) -> list[int]:
    """Where each of several WAV files begins that were appended to each other."""
    starts: list[int] = []
    place: int | None = 0
    while place is not None:
        starts.append(place)
        stream.seek(place)
        end = _riff_end(stream.read(8))
        stream.seek(place + max(0, end - 1))  # with or without a byte of padding
        found = APPENDED_WAV.search(stream.read(14)) if end else None
        place = place + end - 1 + found.start() if found and len(starts) <= MAX_LINKS else None
    return [start for start in starts if start < size]


def _are_chunks(stream: BinaryIO, chunks: _Chunks, size: int) -> bool:
    """Whether other chunks fill the file behind empty data: then it is empty."""
    place = chunks.data_at
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(8)
        if not head[:4].isascii() or not head[:4].decode().isprintable():
            return False
        length = int.from_bytes(head[4:], chunks.order)
        place += 8 + length + length % 2
    return size <= place <= size + 1


def _trailing_bytes(stream: BinaryIO, start: int, size: int) -> int:
    """The size of a chunk of text that a writer put behind data of unknown size."""
    first = max(start, size - HEAD_BYTES)
    stream.seek(first)
    tail = stream.read(HEAD_BYTES)
    at = tail.rfind(b"LIST")
    if at < 0 or len(tail) - at < 12 or tail[at + 8 : at + 12] not in (b"INFO", b"adtl"):
        return 0
    length = int.from_bytes(tail[at + 4 : at + 8], "little")
    return len(tail) - at if 0 <= len(tail) - at - 8 - length <= 1 else 0


def au_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Lay out an AU file with a size of data of 0: the format has another number for an unknown size."""
    stream.seek(0)
    head = stream.read(12)
    if len(head) < 12 or head[8:12] != bytes(4) or int.from_bytes(head[4:8], "big") >= size:
        return None
    return Layout((Part(((0, 8), b"\xff" * 4, (12, size))),))


def caf_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Lay out a CAF file whose size of data is unknown (−1), which then is the last chunk."""
    place = 8
    while place + 12 <= size:
        stream.seek(place)
        name, length = struct.unpack(">4sq", stream.read(12))
        if name == b"data":
            if length > 0:
                return None
            return Layout((Part(((0, place + 4), (size - place - 12).to_bytes(8, "big"), (place + 12, size))),))
        if length < 0:
            return None
        place += 12 + length
    return None


def ogg_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Lay out a chained Ogg file: streams that follow each other, of which libsndfile reads one.

    Raises:
        UtteranceError: the streams have different rates or channels, or there are too many.
    """
    starts = _ogg_links(stream, size)
    return None if len(starts) < 2 else _chained(stream, starts, size, "Ogg streams")


def _chained(stream: BinaryIO, starts: Sequence[int], size: int, what: str) -> Layout:
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


def _ogg_links(stream: BinaryIO, size: int) -> list[int]:
    """Where each stream of a chained file begins: at a first page (flag 2) that follows other pages (RFC 3533, 6)."""
    starts: list[int] = []
    place, in_first = 0, False
    while place + 27 <= size:
        stream.seek(place)
        head = stream.read(27 + 255)
        if head[:4] != b"OggS":
            found = _find(stream, b"OggS", place + 1, size)
            if found is None:
                break
            place = found
            continue
        is_first = bool(head[5] & 2)
        if is_first and not in_first:
            starts.append(place)
        in_first = is_first
        place += 27 + head[26] + sum(head[27 : 27 + head[26]])
    return starts


def _find(stream: BinaryIO, mark: bytes, start: int, size: int) -> int | None:
    """The next place of a mark."""
    while start < size:
        stream.seek(start)
        chunk = stream.read(1 << 16)
        at = chunk.find(mark)
        if at >= 0:
            return start + at
        if len(chunk) < len(mark):
            return None
        start += len(chunk) - len(mark) + 1
    return None


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
