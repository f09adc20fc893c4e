"""A scanner of MPEG audio (MP3 and layers I and II), which counts frames where a file does not give its length.

Encoders that can go back to the beginning of a file write its length there (a Xing or Info frame). Without such a
frame, decoders guess the length from the first frames, which is wrong when the bit rate varies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from voxrank.data.mpeg_headers import FrameHeader, InfoFrame, Range, parse_header, parse_info, tag_bytes
from voxrank.errors import UtteranceError

FRAME_LIMIT_BYTES = 8192
"""Maximum size of a frame, including free format."""
_HEAD_BYTES = 64
"""Bytes of a frame that are read: its header, and the mark of a frame without audio."""
_LOCK_FRAMES = 3
"""Number of consecutive frames that mark the beginning of audio, so that two random bytes do not count as a header."""
_CHUNK_BYTES = 1 << 16
_MIN_SHARE = 0.5
"""Minimum share of a file's bytes that are frames. A file with less is not MPEG audio."""


@dataclass
class MpegAudio:
    """The frames of a file.

    Attributes:
        first: header of the first frame of audio.
        info: content of the Xing or Info frame; None where there is none.
        ranges: ranges of bytes with frames of audio, in order; adjacent ranges are joined.
        frames: number of frames.
        longest: bytes of the longest frame.
    """

    first: FrameHeader
    info: InfoFrame | None = None
    ranges: list[Range] = field(default_factory=list)
    frames: int = 0
    longest: int = 0

    @property
    def n_samples(self) -> int:
        """The samples per channel of all frames."""
        return self.frames * self.first.n_samples

    @property
    def size(self) -> int:
        """The bytes of all frames."""
        return sum(stop - start for start, stop in self.ranges)

    def add(self, start: int, size: int) -> None:
        """Add a frame of audio."""
        if self.ranges and self.ranges[-1][1] == start:
            self.ranges[-1] = (self.ranges[-1][0], start + size)
        else:
            self.ranges.append((start, start + size))
        self.frames += 1
        self.longest = max(self.longest, size)


def says_its_length(stream: BinaryIO, end: int) -> bool:
    """Return whether the first frame gives the length of the file, and no bytes follow those that it counts.

    Args:
        stream: the file.
        end: its size in bytes.
    """
    start = _first_frame(stream, end)
    head = _peek(stream, start, _HEAD_BYTES)
    header = parse_header(head[:4])
    info = parse_info(head, header) if header else None
    if info is None or info.frames is None or info.size is None:
        return False
    return start + info.size == _without_tags(stream, end)


def scan(stream: BinaryIO, start: int, end: int) -> MpegAudio | None:
    """Find all frames of a file or of a stretch of it.

    Args:
        stream: the file.
        start: first byte of the stretch.
        end: end of the stretch.

    Returns:
        The frames; None where most of the stretch is not MPEG audio.

    Raises:
        UtteranceError: parts of the stretch have different rates or channels.
        OSError: the file cannot be read.
    """
    scanner = _Scanner(stream, end)
    audio = scanner.run(start)
    if audio is None or not audio.frames or audio.size < _MIN_SHARE * (end - start - scanner.tag_bytes):
        return None
    return audio


class _Scanner:
    """A scanner that moves from frame to frame."""

    def __init__(self, stream: BinaryIO, end: int) -> None:
        self._stream, self._end = stream, end
        self._free_size: int | None = None
        self.tag_bytes = 0

    def run(self, position: int) -> MpegAudio | None:
        audio: MpegAudio | None = None
        info: InfoFrame | None = None
        while position + 4 <= self._end:
            head = _peek(self._stream, position, _HEAD_BYTES)
            header = self._header(head, position)
            if header is None or (audio is None and info is None and not self._locks(position)):
                position = self._next_position(head, position)
                continue
            if audio is not None and header.kind != audio.first.kind:
                position = self._skip_or_refuse(position, header, audio)
                continue
            if position + header.size > self._end:
                break
            parsed = parse_info(head, header)
            if parsed is None:
                audio = audio or MpegAudio(header, info)
                audio.add(position, header.size)
            elif audio is None:
                info = info or parsed
            position += header.size
        return audio

    def _header(self, head: bytes, position: int) -> FrameHeader | None:
        """Return the header of the frame at a position, with its size."""
        header = parse_header(head[:4])
        if header is None or header.size:
            return header
        if self._free_size is None:
            self._free_size = self._measure_free_size(head[:4], header, position)
        return replace(header, size=self._free_size + header.padding) if self._free_size else None

    def _measure_free_size(self, word: bytes, header: FrameHeader, position: int) -> int | None:
        """Return the size of a free-format frame without padding, which is the distance to the next frame."""
        following = _peek(self._stream, position + 4, min(FRAME_LIMIT_BYTES, max(0, self._end - position - 4)))
        index = following.find(word[:2])
        while index >= 0:
            other = parse_header(following[index : index + 4])
            if other is not None and other.kind == header.kind and not other.size:
                return index + 4 - header.padding
            index = following.find(word[:2], index + 1)
        return None

    def _locks(self, position: int) -> bool:
        """Return whether several frames of one kind follow each other from a position, or all frames up to the end."""
        kind = None
        for _ in range(_LOCK_FRAMES):
            header = self._header(_peek(self._stream, position, 4), position)
            if header is None or (kind is not None and header.kind != kind):
                return False
            kind = header.kind
            position += header.size
            if position + 4 > self._end:
                return position <= self._end
        return True

    def _skip_or_refuse(self, position: int, header: FrameHeader, audio: MpegAudio) -> int:
        """Return where to continue after a header of another kind, which is random unless such frames follow."""
        if self._locks(position) and position + _LOCK_FRAMES * header.size < self._end:
            before = f"{audio.first.rate:,} Hz and {audio.first.channels} channel(s)"
            raise UtteranceError(
                f"expected one sample rate and number of channels, got an MP3 that changes from {before} to "
                f"{header.rate:,} Hz and {header.channels}; convert it to WAV"
            )
        return position + 1

    def _next_position(self, head: bytes, position: int) -> int:
        """Return where to continue from a position without a frame: after a tag, or at the next sequence of frames."""
        tag = tag_bytes(head)
        if tag:
            self.tag_bytes += min(tag, self._end - position)
            return position + tag
        return next((start for start in _syncs(self._stream, position + 1, self._end) if self._locks(start)), self._end)


def _syncs(stream: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Yield the positions where a frame or a tag may begin."""
    while start < end:
        chunk = _peek(stream, start, min(_CHUNK_BYTES, end - start) + 3)
        index = chunk.find(b"\xff")
        while 0 <= index < _CHUNK_BYTES:
            if parse_header(chunk[index : index + 4]) is not None:
                yield start + index
            index = chunk.find(b"\xff", index + 1)
        start += _CHUNK_BYTES


def _peek(stream: BinaryIO, position: int, size: int) -> bytes:
    stream.seek(position)
    return stream.read(size)


def _first_frame(stream: BinaryIO, end: int) -> int:
    """Return the position of the first frame, after the tags."""
    position = 0
    while position < end and (tag := tag_bytes(_peek(stream, position, _HEAD_BYTES))):
        position += tag
    return position


def _without_tags(stream: BinaryIO, end: int) -> int:
    """Return the position where the tags at the end of a file begin."""
    if end >= 128 and _peek(stream, end - 128, 3) == b"TAG":
        end -= 128
    footer = _peek(stream, max(0, end - 32), 32)
    if footer[:8] == b"APETAGEX":
        with_header = int.from_bytes(footer[20:24], "little") >> 31
        end -= int.from_bytes(footer[12:16], "little") + 32 * with_header
    return max(0, end)
