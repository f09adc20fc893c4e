"""Layouts of WAV and RF64 files with open sizes, with MPEG audio, or appended to each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO, Literal

from voxrank.data.mpeg import scan
from voxrank.data.pieces import MAX_LINKS, Layout, Part, chained, mpeg_parts

HEAD_BYTES = 4096
"""Number of first bytes of a file that show whether its header is reliable."""
OPEN_ENDED_BYTES = 0x7FFF_0000
"""Minimum size in a header that was written to a pipe, before the length was known."""
APPENDED_WAV = re.compile(b"RIFF.{4}WAVE", re.DOTALL)
"""The first bytes of a WAV file."""
_PLAIN = Struct("<4sI4s4sIHHIIHH4sI")
PLAIN_BYTES = _PLAIN.size
"""Size of the header of a WAV file without other chunks."""
PLAIN_CHANNELS, PLAIN_RATE = 8, 768_000
"""Maximum number of channels, and rate in Hz, of a WAV file whose header is read without libsndfile."""
WAV_TAGS = {0x50: "MPEG", 0x55: "MPEG"}
"""Format tags of a WAV file that holds MPEG audio."""


def riff_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Return the layout of a WAV or RF64 file with a data size of 0 or unknown, or with MPEG audio."""
    stream.seek(0)
    chunks = _riff_chunks(stream.read(HEAD_BYTES))
    if chunks is None or chunks.data_at > size:
        return None
    starts = _appended_wavs(stream, size)
    if len(starts) > 1:
        return chained(stream, starts, size, "WAV files")
    remaining = size - chunks.data_at
    if chunks.tag in WAV_TAGS:
        stop = chunks.data_at + min(remaining, chunks.data_size or remaining)
        audio = scan(stream, chunks.data_at, stop)
        return None if audio is None else mpeg_parts(audio)
    if not chunks.is_open(remaining) or (chunks.data_size == 0 and _are_chunks(stream, chunks, size)):
        return None
    stop = size - _trailing_bytes(stream, chunks.data_at, size)
    size_bytes = min(stop - chunks.data_at, (1 << 8 * chunks.field) - 1).to_bytes(chunks.field, chunks.order)
    offset = chunks.size_at
    return Layout((Part(((0, offset), size_bytes, (offset + chunks.field, stop))),))


@dataclass(frozen=True)
class _Chunks:
    """The description of the data in the header of a WAV file.

    Attributes:
        tag: tag of the format.
        data_at: first byte of the data.
        data_size: bytes of data according to the header.
        size_at: position of that number in the header.
        field: bytes of that number: 4, or 8 in RF64.
        order: byte order of that number.
    """

    tag: int
    data_at: int
    data_size: int
    size_at: int
    field: int
    order: Literal["big", "little"]

    def is_open(self, remaining: int) -> bool:
        """Return whether the size was left open, given the bytes of data in the file."""
        limit = OPEN_ENDED_BYTES if self.field == 4 else 1 << 62
        return remaining > 0 and (self.data_size == 0 or (self.data_size >= limit and self.data_size > remaining))


def _riff_chunks(head: bytes) -> _Chunks | None:
    """Read the chunks in the first bytes of a file up to its data. Return None where the data are not among them."""
    order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
    position, tag, long_at = 12, 0, None
    while position + 8 <= len(head):
        name, length = head[position : position + 4], int.from_bytes(head[position + 4 : position + 8], order)
        if name == b"data":
            if long_at is not None:
                long = int.from_bytes(head[long_at : long_at + 8], order)
                return _Chunks(tag, position + 8, long, long_at, 8, order)
            return _Chunks(tag, position + 8, length, position + 4, 4, order)
        if name == b"fmt ":
            tag = int.from_bytes(head[position + 8 : position + 10], order)
        elif name == b"ds64":
            long_at = position + 16
        position += 8 + length + length % 2
    return None


def plain_wav(head: bytes, size: int) -> tuple[int, int, int] | None:
    """Return rate, channels and samples per channel of a WAV file in its most common form.

    Such a file has 16-bit samples right after a header of `PLAIN_BYTES`, and nothing else.

    Args:
        head: the first bytes of the file, at least `PLAIN_BYTES`.
        size: all bytes of the file.

    Returns:
        The three numbers, or None where the file has another form, or its header another size than the file.
    """
    if len(head) < PLAIN_BYTES:
        return None
    riff, length, wave, fmt, form, tag, channels, rate, speed, frame, bits, data, data_bytes = _PLAIN.unpack_from(head)
    is_pcm = (riff, wave, fmt, form, tag, bits, data) == (b"RIFF", b"WAVE", b"fmt ", 16, 1, 16, b"data")
    is_whole = length == size - 8 and 0 < data_bytes == size - PLAIN_BYTES
    if not (is_pcm and is_whole and 1 <= channels <= PLAIN_CHANNELS and 1 <= rate <= PLAIN_RATE):
        return None
    if frame != 2 * channels or speed != rate * frame or data_bytes % frame:
        return None
    return rate, channels, data_bytes // frame


def is_doubtful(head: bytes, size: int) -> bool:
    """Return whether the header of a WAV file may be wrong.

    Args:
        head: the first bytes of the file.
        size: all bytes of the file.
    """
    chunks = _riff_chunks(head)
    if chunks is None:
        return False
    return chunks.tag in WAV_TAGS or chunks.is_open(1) or 0 < _riff_end(head) < size - 12


def _riff_end(head: bytes) -> int:
    """Return the end of a WAV file according to its header, or 0 where it was left open."""
    length = int.from_bytes(head[4:8], "big" if head[:4] == b"RIFX" else "little")
    return 8 + length if 0 < length < OPEN_ENDED_BYTES else 0


def _appended_wavs(stream: BinaryIO, size: int) -> list[int]:
    """Return the positions where WAV files begin that were appended to each other."""
    starts: list[int] = []
    position: int | None = 0
    while position is not None:
        starts.append(position)
        stream.seek(position)
        end = _riff_end(stream.read(8))
        stream.seek(position + max(0, end - 1))  # with or without a byte of padding
        match = APPENDED_WAV.search(stream.read(14)) if end else None
        position = position + end - 1 + match.start() if match and len(starts) <= MAX_LINKS else None
    return [start for start in starts if start < size]


def _are_chunks(stream: BinaryIO, chunks: _Chunks, size: int) -> bool:
    """Return whether other chunks fill the file after empty data, so that the file has no audio."""
    position = chunks.data_at
    while position + 8 <= size:
        stream.seek(position)
        head = stream.read(8)
        if not head[:4].isascii() or not head[:4].decode().isprintable():
            return False
        length = int.from_bytes(head[4:], chunks.order)
        position += 8 + length + length % 2
    return size <= position <= size + 1


def _trailing_bytes(stream: BinaryIO, start: int, size: int) -> int:
    """Return the size of a text chunk that a writer put after data of unknown size."""
    first = max(start, size - HEAD_BYTES)
    stream.seek(first)
    tail = stream.read(HEAD_BYTES)
    offset = tail.rfind(b"LIST")
    if offset < 0 or len(tail) - offset < 12 or tail[offset + 8 : offset + 12] not in (b"INFO", b"adtl"):
        return 0
    length = int.from_bytes(tail[offset + 4 : offset + 8], "little")
    return len(tail) - offset if 0 <= len(tail) - offset - 8 - length <= 1 else 0
