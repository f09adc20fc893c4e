"""Layouts of audio files whose header does not give the location of the audio, or gives it wrongly.

libsndfile reads a file as its header describes it. Programs that write to a pipe cannot go back to the header, and
leave sizes open. When files are appended to each other, the header describes only the first file. A `Layout` describes
such a file as parts that libsndfile reads correctly: stretches of the file, and bytes that replace a wrong size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

import soundfile

from voxrank.data.mpeg import says_its_length, scan
from voxrank.data.pieces import Layout, Part, PiecedStream, chained, mpeg_parts
from voxrank.data.riff import is_doubtful, riff_layout

UNKNOWN_LENGTH = 2**63 - 1
"""Number of samples that libsndfile reports for a FLAC stream without a length in its header."""
COUNTED_SAMPLES = 1 << 18
"""Number of samples, of all channels, that are decoded at once to count them."""
HIDDEN_BYTES = 1 << 20
"""Number of first bytes of an unknown file that are searched for MPEG audio."""

FindLayout = Callable[[BinaryIO, int], Layout | None]
"""A function from a stream and its size in bytes to its layout, or None where the header is reliable."""


def needs_layout(head: bytes, size: int) -> FindLayout | None:
    """Return the function that finds the layout of a file.

    Args:
        head: the first bytes of the file.
        size: all bytes of the file.

    Returns:
        The function, or None where the header is reliable.
    """
    if head[:4] == b"fLaC":
        return flac_layout if _flac_samples(head) == 0 else None
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return riff_layout if is_doubtful(head, size) else None
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return mpeg_layout
    return {b"OggS": ogg_layout, b"caff": caf_layout, b".snd": au_layout}.get(head[:4])


def mpeg_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Return the layout of MPEG audio whose first frame does not give the length, or gives it wrongly."""
    if says_its_length(stream, size):
        return None
    audio = scan(stream, 0, size)
    if audio is None or (audio.info is not None and audio.info.frames == audio.frames):
        return None
    return mpeg_parts(audio)


def hidden_mpeg_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Return the layout of MPEG audio after other data, in a file that libsndfile does not recognise.

    Most such files hold no audio, and some are large. A file is searched only if its first bytes are mostly frames.
    """
    if scan(stream, 0, min(size, HIDDEN_BYTES)) is None:
        return None
    audio = scan(stream, 0, size)
    return None if audio is None else mpeg_parts(audio)


def flac_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Return the layout of a FLAC file whose header leaves the number of samples open. Decoding counts them."""
    stream.seek(0)
    head = stream.read(42)
    with soundfile.SoundFile(PiecedStream(stream, Part(((0, size),))), closefd=False) as file:
        n_samples = _count(file)
    low = (int.from_bytes(head[18:26], "big") >> 36 << 36 | n_samples & (1 << 36) - 1).to_bytes(8, "big")
    return Layout((Part(((0, 18), low, (26, size)), n_samples),))


def _flac_samples(head: bytes) -> int | None:
    """Return the samples per channel in a FLAC header, or None where it is not such a header (RFC 9639, 8.2)."""
    if len(head) < 26 or head[4] & 0x7F:
        return None
    return int.from_bytes(head[18:26], "big") & (1 << 36) - 1


def _count(file: soundfile.SoundFile) -> int:
    """Count the samples per channel by decoding. Each read of soundfile would seek, which fails without a length."""
    file.seekable = lambda: False
    block, n_samples = COUNTED_SAMPLES // file.channels, 0
    while (n_read := len(file.read(block, dtype="int16", always_2d=True))) > 0:
        n_samples += n_read
    return n_samples


def au_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Return the layout of an AU file with a data size of 0. The format uses another number for an unknown size."""
    stream.seek(0)
    head = stream.read(12)
    if len(head) < 12 or head[8:12] != bytes(4) or int.from_bytes(head[4:8], "big") >= size:
        return None
    return Layout((Part(((0, 8), b"\xff" * 4, (12, size))),))


def caf_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Return the layout of a CAF file with an unknown data size (−1). Its data are the last chunk."""
    position = 8
    while position + 12 <= size:
        stream.seek(position)
        name, length = struct.unpack(">4sq", stream.read(12))
        if name == b"data":
            if length > 0:
                return None
            return Layout(
                (Part(((0, position + 4), (size - position - 12).to_bytes(8, "big"), (position + 12, size))),)
            )
        if length < 0:
            return None
        position += 12 + length
    return None


def ogg_layout(stream: BinaryIO, size: int) -> Layout | None:
    """Return the layout of a chained Ogg file: consecutive streams, of which libsndfile reads one.

    Raises:
        UtteranceError: the streams have different rates or channels, or there are too many.
    """
    starts = _ogg_links(stream, size)
    return None if len(starts) < 2 else chained(stream, starts, size, "Ogg streams")


def _ogg_links(stream: BinaryIO, size: int) -> list[int]:
    """Return the positions where streams of a chained file begin.

    A stream begins at a first page (flag 2) that follows other pages (RFC 3533, 6).
    """
    starts: list[int] = []
    position, in_first = 0, False
    while position + 27 <= size:
        stream.seek(position)
        head = stream.read(27 + 255)
        if head[:4] != b"OggS":
            following = _find(stream, b"OggS", position + 1, size)
            if following is None:
                break
            position = following
            continue
        is_first = bool(head[5] & 2)
        if is_first and not in_first:
            starts.append(position)
        in_first = is_first
        position += 27 + head[26] + sum(head[27 : 27 + head[26]])
    return starts


def _find(stream: BinaryIO, mark: bytes, start: int, size: int) -> int | None:
    """Return the next position of a mark, or None."""
    while start < size:
        stream.seek(start)
        chunk = stream.read(1 << 16)
        index = chunk.find(mark)
        if index >= 0:
            return start + index
        if len(chunk) < len(mark):
            return None
        start += len(chunk) - len(mark) + 1
    return None
