"""The frames of one layer, utterance by utterance, with the time of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.aligners.base import OnAudio, Transcript
from voxrank.config import Seconds
from voxrank.data.prefetch import prefetch
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform
from voxrank.errors import UtteranceError
from voxrank.extraction import BATCHES_AHEAD, decode_or_reason, plan_batches, retried
from voxrank.shards import Item
from voxrank.sketches.sample import utterance_key

FIT_BYTES = 128 << 20
"""Features that are fitted at most, 22 minutes of 512 numbers at 50 Hz; up to four times as much is held on the way."""


@dataclass(frozen=True)
class Framed:
    """An utterance's frames of one layer.

    Attributes:
        features: (T, D) float32.
        centres: (T,) seconds from the beginning of the utterance.
        samples: its audio.
    """

    features: NDArray[Any]
    centres: NDArray[np.float64]
    samples: Waveform


@dataclass(frozen=True)
class LayerSource:
    """Where frames come from.

    Attributes:
        encoder: the model.
        index: of one of its layers.
        threads: decoders that run ahead.
    """

    encoder: Encoder
    index: int
    threads: int

    @property
    def layer(self) -> Layer:
        """What the frames are of."""
        return self.encoder.layers[self.index]

    def frames(
        self, transcripts: Sequence[Transcript], places: Iterable[int], on_audio: OnAudio
    ) -> Iterator[tuple[int, Framed | UtteranceError]]:
        """Encode the utterances at these places, the longest first.

        Yields:
            Each place with its utterance's frames, or why they cannot be had.

        Raises:
            RunError: memory ran out on a single window.
        """
        order = sorted(places, key=lambda place: (-transcripts[place].item.seconds, transcripts[place].item.row))
        for place, one in _encoded(self, [(place, transcripts[place].item) for place in order]):
            yield place, one
            on_audio(transcripts[place].item.seconds)

    def divided(self, transcripts: Sequence[Transcript], seconds: Seconds | None = None) -> tuple[list[int], list[int]]:
        """Places of utterances that a model of the frames is fitted to, and of the others.

        They are drawn by their names, at least one; so many seconds of them, or as many as `FIT_BYTES` hold.
        """
        left = seconds or FIT_BYTES / (4 * self.layer.dim * self.layer.frame_rate)
        keys = [int(utterance_key(transcript.item.utterance.id)) for transcript in transcripts]
        order = sorted(range(len(transcripts)), key=keys.__getitem__)
        first: list[int] = []
        for place in order:
            left -= transcripts[place].item.seconds
            if first and left < 0:
                break
            first.append(place)
        return first, order[len(first) :]


def _encoded(source: LayerSource, items: list[tuple[int, Item]]) -> Iterator[tuple[int, Framed | UtteranceError]]:
    encoder = source.encoder
    offset = encoder.offsets()[source.index]
    ready = prefetch(
        plan_batches([item for _, item in items], encoder),
        lambda batch: [decode_or_reason(item, encoder.sample_rate) for item in batch],
        threads=source.threads,
        ahead=BATCHES_AHEAD,
    )
    place = iter([place for place, _ in items])
    with closing(ready):
        for _, decoded in ready:
            heard: list[tuple[int, Waveform]] = []
            for waveform, position in zip(decoded, place, strict=False):  # in this order: the places go on
                if isinstance(waveform, UtteranceError):
                    yield position, waveform
                else:
                    heard.append((position, waveform))
            yield from _framed(encoder, heard, source.layer, offset)


def _framed(
    encoder: Encoder, heard: list[tuple[int, Waveform]], layer: Layer, offset: Seconds
) -> Iterator[tuple[int, Framed | UtteranceError]]:
    waveforms = [waveform for _, waveform in heard]
    pieces = retried(encoder, lambda: [piece for piece in encoder.encode(waveforms) if piece.layer == layer.index])
    for owner, (position, waveform) in enumerate(heard):
        features = torch.cat([piece.frames[_own(piece, owner)] for piece in pieces]).float().cpu().numpy()
        if not len(features) or not np.isfinite(features).all():
            what = "NaN or infinite features" if len(features) else "no frames"
            yield position, UtteranceError(f"layer {layer.index} of {encoder.spec} gave {what} for this audio")
            continue
        centres = [
            window.start + offset + np.arange(window.frames) / layer.frame_rate
            for piece in pieces
            for window in piece.windows
            if window.owner == owner
        ]
        yield position, Framed(features, np.concatenate(centres), waveform)


def _own(piece: LayerFrames, owner: int) -> slice:
    """Where an utterance's frames lie in a piece."""
    start = sum(piece.lengths[:owner])
    return slice(start, start + piece.lengths[owner])
