"""Batches of waveforms of similar length, decoded once, from the utterances of each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxrank.data.audio import Waveform
from voxrank.data.shards import Item
from voxrank.data.utterance import Skipped
from voxrank.encoders.base import Encoder
from voxrank.errors import UtteranceError
from voxrank.extraction.shard import decode_or_reason


@dataclass(frozen=True)
class AudioBatch:
    """Utterances that share a training step.

    Attributes:
        ids: ids of the utterances.
        windows: their audio, at the model's rate, padded with silence to one length if the model needs it.
        samples: length of each utterance within its window.
    """

    ids: tuple[str, ...]
    windows: tuple[Waveform, ...]
    samples: tuple[int, ...]


def read_batches(items: Sequence[Item], encoder: Encoder, size: int) -> tuple[list[AudioBatch], list[Skipped]]:
    """Read batches of utterances of similar length, longest first.

    Args:
        items: the utterances.
        encoder: the model that will encode them.
        size: number of utterances in a batch.

    Returns:
        The batches, and the utterances that cannot be decoded or are longer than the model's window, with reasons.
    """
    waveforms: list[tuple[str, Waveform]] = []
    skipped: list[Skipped] = []
    for item in items:
        waveform = _read(item, encoder)
        if isinstance(waveform, str):
            skipped.append(Skipped(item.utterance.id, waveform, encoder.spec))
        else:
            waveforms.append((item.utterance.id, waveform))
    waveforms.sort(key=lambda pair: (-len(pair[1]), pair[0]))
    batches = [_batch(waveforms[start : start + size], encoder) for start in range(0, len(waveforms), size)]
    return batches, skipped


def _read(item: Item, encoder: Encoder) -> Waveform | str:
    """Return an utterance's audio, or the reason why it cannot be used."""
    waveform = decode_or_reason(item, encoder.sample_rate)
    if isinstance(waveform, UtteranceError):
        return str(waveform)
    if len(waveform) > encoder.window_samples:
        longest = encoder.window_samples / encoder.sample_rate
        return f"expected at most {longest:g} s, the model's window, to train on, got {item.seconds:.1f} s"
    return waveform


def _batch(utterances: Sequence[tuple[str, Waveform]], encoder: Encoder) -> AudioBatch:
    max_length = max(encoder.min_samples, *(len(waveform) for _, waveform in utterances))
    padded_length = encoder.min_samples if encoder.pads else max_length
    windows = tuple(np.pad(waveform, (0, max(0, padded_length - len(waveform)))) for _, waveform in utterances)
    return AudioBatch(
        tuple(name for name, _ in utterances), windows, tuple(len(waveform) for _, waveform in utterances)
    )


def unpadded_frames(frames: int, samples: int, window: int) -> int:
    """Return the number of frames that belong to an utterance, out of the frames of its padded window; at least 1."""
    return max(1, min(frames, -(-frames * samples // window)))
