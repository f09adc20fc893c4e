"""MPEG audio (MP3 and layers I and II): frames are counted by their headers, where a file does not say how many it has.

Only encoders that can go back to the beginning of a file write how long it is (a Xing or Info frame). Without one,
decoders guess the length from the first frames, which is wrong wherever the bit rate varies.

Source: ISO/IEC 11172-3 and 13818-3 (frame headers), https://id3.org/id3v2.4.0-structure (tags),
http://gabriel.mp3-tech.org/mp3infotag.html (Xing and Info frames)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import BinaryIO

from voxrank.config import Hertz
from voxrank.errors import UtteranceError

Range = tuple[int, int]
"""First byte and end of a stretch of a file."""

_V1_BITRATES_KBPS = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
"""Layer → bit rates of MPEG-1 by index; index 0 is free format."""
_V2_BITRATES_KBPS = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""The same for MPEG-2 and MPEG-2.5."""
_RATES_HZ = (44_100, 48_000, 32_000)
_HALVINGS = {3: 0, 2: 1, 0: 2}
"""Version bits of MPEG-1, 2 and 2.5 → how often its sample rates are halved."""
FRAME_LIMIT_BYTES = 8192
"""No frame is longer, free format included."""
_HEAD_BYTES = 64
"""Bytes of a frame that are looked at: its header, and the mark of a frame that holds no audio."""
_LOCK_FRAMES = 3
"""Frames that follow each other where audio begins, so that two chance bytes are not taken for a header."""
_CHUNK_BYTES = 1 << 16
_MIN_SHARE = 0.5
"""Minimum share of a file's bytes that are frames. With less, it is another kind of file."""


@dataclass(frozen=True)
class FrameHeader:
    """The four bytes that begin a frame.

    Attributes:
        version: 1, or 2 for MPEG-2 and MPEG-2.5.
        layer: 1, 2 or 3.
        rate: sample rate.
        channels: 1 or 2.
        size: bytes of the frame; 0 in free format, where the header does not say.
        padding: bytes of padding.
    """

    version: int
    layer: int
    rate: Hertz
    channels: int
    size: int
    padding: int

    @property
    def kind(self) -> tuple[int, int, Hertz, int]:
        """What all frames of a file share."""
        return self.version, self.layer, self.rate, self.channels

    @property
    def n_samples(self) -> int:
        """Samples per channel in the frame."""
        if self.layer == 1:
            return 384
        return 576 if self.layer == 3 and self.version == 2 else 1152


@lru_cache(maxsize=1 << 12)
def parse_header(word: bytes) -> FrameHeader | None:
    """Parse the first four bytes of a frame. Returns None where they begin no frame.

    Example:
        >>> parse_header(bytes.fromhex("fffb9064")).size
        417
    """
    bits = int.from_bytes(word, "big")
    version_bits, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    bitrate, rate_index = bits >> 12 & 15, bits >> 10 & 3
    if len(word) < 4 or bits >> 21 != 0x7FF or version_bits == 1 or layer == 4 or bitrate == 15 or rate_index == 3:
        return None
    version = 1 if version_bits == 3 else 2
    rate = _RATES_HZ[rate_index] >> _HALVINGS[version_bits]
    padding = (bits >> 9 & 1) * (4 if layer == 1 else 1)
    kbps = (_V1_BITRATES_KBPS if version == 1 else _V2_BITRATES_KBPS)[layer][bitrate]
    header = FrameHeader(version, layer, rate, 1 if bits >> 6 & 3 == 3 else 2, 0, padding)
    if kbps == 0:
        return header
    slot = 4 if layer == 1 else 1
    return replace(header, size=header.n_samples // 8 // slot * kbps * 1000 // rate * slot + padding)


@dataclass(frozen=True)
class InfoFrame:
    """What a Xing or Info frame says; None for what it does not say.

    Attributes:
        frames: frames of audio in the file.
        size: bytes of the file, from this frame to the last one.
    """

    frames: int | None
    size: int | None


def parse_info(head: bytes, header: FrameHeader) -> InfoFrame | None:
    """Parse a frame that describes the file and holds no audio. Returns None for a frame of audio.

    Args:
        head: the frame's first bytes.
        header: the frame's header.
    """
    if header.layer != 3:
        return None
    mono, old = header.channels == 1, header.version == 2
    side = {(False, False): 32, (True, False): 17, (False, True): 17, (True, True): 9}[mono, old]
    if head[36:40] == b"VBRI":
        return InfoFrame(int.from_bytes(head[50:54], "big") or None, int.from_bytes(head[46:50], "big") or None)
    for place in (4 + side, 6 + side):  # with a checksum behind the header it is two bytes on
        if head[place : place + 4] in (b"Xing", b"Info"):
            flags = int.from_bytes(head[place + 4 : place + 8], "big")
            numbers = [int.from_bytes(head[place + 8 + i : place + 12 + i], "big") for i in (0, 4)]
            frames = numbers.pop(0) if flags & 1 else None
            return InfoFrame(frames or None, (numbers[0] or None) if flags & 2 else None)
    return None


@dataclass
class MpegAudio:
    """The frames of a file.

    Attributes:
        first: header of the first frame of audio.
        info: what the file says of itself at its beginning; None where it says nothing.
        ranges: where frames of audio are, in order; neighbours are joined.
        frames: how many there are.
        longest: bytes of the longest one.
    """

    first: FrameHeader
    info: InfoFrame | None = None
    ranges: list[Range] = field(default_factory=list)
    frames: int = 0
    longest: int = 0

    @property
    def n_samples(self) -> int:
        """Samples per channel of all frames."""
        return self.frames * self.first.n_samples

    @property
    def size(self) -> int:
        """Bytes of all frames."""
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
    """Tell whether the first frame gives the length of the file, and nothing lies behind the bytes that it counts.

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
    """Find all frames of a file, or of a stretch of it.

    Args:
        stream: the file.
        start: first byte of the stretch.
        end: its end.

    Returns:
        The frames; None where the stretch is mostly something else.

    Raises:
        UtteranceError: parts of the stretch have different rates or channels.
        OSError: it cannot be read.
    """
    scanner = _Scanner(stream, end)
    audio = scanner.run(start)
    if audio is None or not audio.frames or audio.size < _MIN_SHARE * (end - start - scanner.tag_bytes):
        return None
    return audio


class _Scanner:
    """Walks from frame to frame."""

    def __init__(self, stream: BinaryIO, end: int) -> None:
        self._stream, self._end = stream, end
        self._free_size: int | None = None
        self.tag_bytes = 0

    def run(self, place: int) -> MpegAudio | None:
        audio: MpegAudio | None = None
        info: InfoFrame | None = None
        while place + 4 <= self._end:
            head = _peek(self._stream, place, _HEAD_BYTES)
            header = self._header(head, place)
            if header is None or (audio is None and info is None and not self._locks(place)):
                place = self._next(head, place)
                continue
            if audio is not None and header.kind != audio.first.kind:
                place = self._other(place, header, audio)
                continue
            if place + header.size > self._end:
                break
            found = parse_info(head, header)
            if found is None:
                audio = audio or MpegAudio(header, info)
                audio.add(place, header.size)
            elif audio is None:
                info = info or found
            place += header.size
        return audio

    def _header(self, head: bytes, place: int) -> FrameHeader | None:
        """The header of the frame that begins at a place, with its size."""
        header = parse_header(head[:4])
        if header is None or header.size:
            return header
        if self._free_size is None:
            self._free_size = self._measured(head[:4], header, place)
        return replace(header, size=self._free_size + header.padding) if self._free_size else None

    def _measured(self, word: bytes, header: FrameHeader, place: int) -> int | None:
        """The size of frames in free format without padding: the distance to the next frame."""
        following = _peek(self._stream, place + 4, min(FRAME_LIMIT_BYTES, max(0, self._end - place - 4)))
        at = following.find(word[:2])
        while at >= 0:
            other = parse_header(following[at : at + 4])
            if other is not None and other.kind == header.kind and not other.size:
                return at + 4 - header.padding
            at = following.find(word[:2], at + 1)
        return None

    def _locks(self, place: int) -> bool:
        """Whether several frames of one kind follow each other here, or all up to the end do."""
        kind = None
        for _ in range(_LOCK_FRAMES):
            header = self._header(_peek(self._stream, place, 4), place)
            if header is None or (kind is not None and header.kind != kind):
                return False
            kind = header.kind
            place += header.size
            if place + 4 > self._end:
                return place <= self._end
        return True

    def _other(self, place: int, header: FrameHeader, audio: MpegAudio) -> int:
        """Where to go on behind a header of another kind: it is chance, unless frames of that kind follow."""
        if self._locks(place) and place + _LOCK_FRAMES * header.size < self._end:
            before = f"{audio.first.rate:,} Hz and {audio.first.channels} channel(s)"
            raise UtteranceError(
                f"expected one sample rate and number of channels, got an MP3 that changes from {before} to "
                f"{header.rate:,} Hz and {header.channels}; convert it to WAV"
            )
        return place + 1

    def _next(self, head: bytes, place: int) -> int:
        """Where to go on from a place where there is no frame: behind a tag, or where frames follow each other."""
        tag = _tag_bytes(head)
        if tag:
            self.tag_bytes += min(tag, self._end - place)
            return place + tag
        return next((at for at in _syncs(self._stream, place + 1, self._end) if self._locks(at)), self._end)


def _syncs(stream: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Places where a frame or a tag may begin."""
    while start < end:
        chunk = _peek(stream, start, min(_CHUNK_BYTES, end - start) + 3)
        at = chunk.find(b"\xff")
        while 0 <= at < _CHUNK_BYTES:
            if parse_header(chunk[at : at + 4]) is not None:
                yield start + at
            at = chunk.find(b"\xff", at + 1)
        start += _CHUNK_BYTES


def _peek(stream: BinaryIO, place: int, size: int) -> bytes:
    stream.seek(place)
    return stream.read(size)


def _tag_bytes(head: bytes) -> int:
    """The size of a tag that begins here; 0 where none does."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return size + (20 if head[5] & 0x10 else 10)
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        return int.from_bytes(head[12:16], "little") + 32
    return 128 if head[:3] == b"TAG" else 0


def _first_frame(stream: BinaryIO, end: int) -> int:
    """Where the first frame begins, behind tags."""
    place = 0
    while place < end and (tag := _tag_bytes(_peek(stream, place, _HEAD_BYTES))):
        place += tag
    return place


def _without_tags(stream: BinaryIO, end: int) -> int:
    """Where the tags at the end of a file begin."""
    if end >= 128 and _peek(stream, end - 128, 3) == b"TAG":
        end -= 128
    footer = _peek(stream, max(0, end - 32), 32)
    if footer[:8] == b"APETAGEX":
        with_header = int.from_bytes(footer[20:24], "little") >> 31
        end -= int.from_bytes(footer[12:16], "little") + 32 * with_header
    return max(0, end)
