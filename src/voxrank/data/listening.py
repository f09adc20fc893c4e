"""A check of decoded audio: silence, channels that cancel each other, samples out of range, clipping.

All utterances of a small data set are decoded before anything is encoded. In a large data set, a spread sample is
decoded. The sample depends only on the names of the utterances, so that `inspect` and `rank` report the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from voxrank._support.progress import Progress
from voxrank._support.words import percent
from voxrank.config import Seconds
from voxrank.data.audio import Probed, in_time, probe_all, read_sound
from voxrank.data.levels import CLIPPED_SHARE, Treatment, clipped_share
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import NAME_LIMIT, UtteranceError, shortened

LISTENED_S: Seconds = 2 * 3600.0
"""Maximum amount of audio that is decoded for the check, which takes a few seconds."""
DECODED_S: Seconds = 60.0
"""Minimum amount of audio per decoding thread. With less, waiting for each other costs more than threads save."""


@dataclass(frozen=True)
class AudioCheck:
    """The result of checking the audio of a data set.

    Attributes:
        usable: utterances with usable audio, in order.
        skipped: other utterances, with reasons.
        notes: findings about the samples, one line each.
        listened: number of utterances that were decoded.
    """

    usable: tuple[Probed, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    listened: int


@dataclass(frozen=True)
class _SampleCheck:
    """Findings about the samples of an utterance."""

    id: str
    treatment: Treatment
    clipped: bool


def check_audio(dataset: Dataset, threads: int, watcher: Progress | None = None) -> AudioCheck:
    """Check the headers of all audio files, and the samples of all or many utterances.

    Args:
        dataset: the utterances.
        threads: maximum number of threads that read headers, and of decoding threads.
        watcher: receives the progress.
    """
    watcher = watcher or Progress()
    probed, skipped = probe_all(dataset, threads, watcher)
    chosen = spread_sample(probed)
    watcher.scan("samples of utterances", len(chosen))
    results = []
    with ThreadPoolExecutor(min(threads, 1 + int(sum(item.seconds for item in chosen) / DECODED_S))) as pool:
        for result in pool.map(_check_or_skip, chosen):
            results.append(result)
            watcher.scanned(1)
    silent = tuple(item for item in results if isinstance(item, Skipped))
    checks = [item for item in results if isinstance(item, _SampleCheck)]
    silent_ids = {item.utterance for item in silent}
    notes = _notes(checks)
    if len(chosen) < len(probed):
        notes.append(
            f"the samples of {len(chosen):,} of {len(probed):,} utterances were checked, spread over the data; "
            "more may be skipped when they are decoded"
        )
    usable = tuple(item for item in probed if item.utterance.id not in silent_ids) if silent_ids else probed
    return AudioCheck(usable, (*skipped, *silent), tuple(notes), len(chosen))


def spread_sample(probed: Sequence[Probed], limit: Seconds | None = None) -> list[Probed]:
    """Select at least one utterance, and up to `limit` of audio, by a hash of the names.

    Args:
        probed: the utterances.
        limit: total length of the selected audio, in seconds; by default `LISTENED_S`.

    Returns:
        The selected utterances, in order; all of them where there is less audio.
    """
    limit = LISTENED_S if limit is None else limit
    if sum(item.seconds for item in probed) <= limit:
        return list(probed)
    hashes = np.fromiter((zlib.crc32(_id_bytes(item)) for item in probed), np.uint32, len(probed))
    chosen: list[int] = []
    remaining = limit
    for index in map(int, np.argsort(hashes, kind="stable")):
        remaining -= probed[index].seconds
        if remaining < 0 and chosen:
            break
        chosen.append(index)
    return [probed[index] for index in sorted(chosen)]


def _id_bytes(probed: Probed) -> bytes:
    return probed.utterance.id.encode("utf-8", "surrogateescape")


def _check_or_skip(probed: Probed) -> _SampleCheck | Skipped:
    try:
        return in_time(lambda: _check_samples(probed))
    except UtteranceError as error:
        return Skipped(probed.utterance.id, shortened(str(error)))


def _check_samples(probed: Probed) -> _SampleCheck:
    sound, _ = read_sound(probed.utterance)
    share = clipped_share(sound.samples, sound.treatment, sound.subtype)
    return _SampleCheck(probed.utterance.id, sound.treatment, share > CLIPPED_SHARE)


def _notes(checks: Sequence[_SampleCheck]) -> list[str]:
    """Return a line for each finding, with the number of utterances and the first of them."""
    groups: dict[str, list[str]] = {}
    for check in checks:
        if check.treatment.bits is not None:
            groups.setdefault(_scaled_text(check.treatment.bits), []).append(check.id)
        if check.treatment.channel is not None:
            groups.setdefault(CANCELLED_TEXT, []).append(check.id)
        if check.clipped:
            groups.setdefault(CLIPPED_TEXT, []).append(check.id)
    return [
        f"{text}: {len(ids):,} of {len(checks):,} utterances, the first {shortened(ids[0], NAME_LIMIT)}"
        for text, ids in sorted(groups.items())
    ]


def _scaled_text(bits: int) -> str:
    return f"float samples in the range of {bits}-bit integers are scaled, divided by {2 ** (bits - 1):,}"


CANCELLED_TEXT = (
    "channels cancel each other and their average is silent, or nearly so; the first channel with sound is used alone"
)
CLIPPED_TEXT = f"recordings are clipped, with more than {percent(CLIPPED_SHARE)} of their samples at full scale"
