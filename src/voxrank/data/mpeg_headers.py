"""Parsers of MPEG audio headers: frames, the frame that describes a file, and tags.

Source: ISO/IEC 11172-3 and 13818-3 (frame headers), https://id3.org/id3v2.4.0-structure (tags),
http://gabriel.mp3-tech.org/mp3infotag.html (Xing and Info frames)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from voxrank.config import Hertz

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
"""Layer → bit rates of MPEG-2 and MPEG-2.5 by index."""
_RATES_HZ = (44_100, 48_000, 32_000)
_HALVINGS = {3: 0, 2: 1, 0: 2}
"""Version bits of MPEG-1, 2 and 2.5 → number of times that the sample rates are halved."""


@dataclass(frozen=True)
class FrameHeader:
    """The header of a frame, which has four bytes.

    Attributes:
        version: 1, or 2 for MPEG-2 and MPEG-2.5.
        layer: 1, 2 or 3.
        rate: sample rate in Hz.
        channels: 1 or 2.
        size: bytes of the frame; 0 in free format, where the header does not give it.
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
        """The properties that all frames of a file share."""
        return self.version, self.layer, self.rate, self.channels

    @property
    def n_samples(self) -> int:
        """The samples per channel in the frame."""
        if self.layer == 1:
            return 384
        return 576 if self.layer == 3 and self.version == 2 else 1152


@lru_cache(maxsize=1 << 12)
def parse_header(word: bytes) -> FrameHeader | None:
    """Parse the first four bytes of a frame. Return None where they are not a frame header.

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
    """The content of a Xing or Info frame; None for values that it does not give.

    Attributes:
        frames: number of audio frames in the file.
        size: bytes of the file from this frame to the last frame.
    """

    frames: int | None
    size: int | None


def parse_info(head: bytes, header: FrameHeader) -> InfoFrame | None:
    """Parse a frame that describes the file and holds no audio. Return None for a frame of audio.

    Args:
        head: the frame's first bytes.
        header: the frame's header.
    """
    if header.layer != 3:
        return None
    is_mono, is_version_2 = header.channels == 1, header.version == 2
    side = {(False, False): 32, (True, False): 17, (False, True): 17, (True, True): 9}[is_mono, is_version_2]
    if head[36:40] == b"VBRI":
        return InfoFrame(int.from_bytes(head[50:54], "big") or None, int.from_bytes(head[46:50], "big") or None)
    for offset in (4 + side, 6 + side):  # a checksum after the header shifts it by two bytes
        if head[offset : offset + 4] in (b"Xing", b"Info"):
            flags = int.from_bytes(head[offset + 4 : offset + 8], "big")
            numbers = [int.from_bytes(head[offset + 8 + i : offset + 12 + i], "big") for i in (0, 4)]
            frames = numbers.pop(0) if flags & 1 else None
            return InfoFrame(frames or None, (numbers[0] or None) if flags & 2 else None)
    return None


def tag_bytes(head: bytes) -> int:
    """Return the size of a tag that begins with these bytes, or 0 where there is no tag."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return size + (20 if head[5] & 0x10 else 10)
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        return int.from_bytes(head[12:16], "little") + 32
    return 128 if head[:3] == b"TAG" else 0
