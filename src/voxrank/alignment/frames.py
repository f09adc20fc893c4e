"""The frames of layers, utterance by utterance, with the time of each frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank._support.threads import prefetch
from voxrank.alignment.base import OnAudio, Transcript
from voxrank.config import Seconds
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform
from voxrank.errors import UtteranceError
from voxrank.extraction.shard import BATCHES_AHEAD, decode_or_reason, plan_batches, retried
from voxrank.sketches.sample import utterance_key
from voxrank.targets.flatstart import quiet_frames

LONG_S = 10.0
"""Maximum length of an utterance that counts as short, in seconds. Short utterances are fitted first."""
ENOUGH_S = 120.0
"""Amount of short utterances, in seconds, from which long utterances are not fitted."""
FIT_BYTES = 64 << 20
"""Maximum size of features to fit: 11 minutes of 512 features at 50 Hz. Peak memory is up to three times as much."""


@dataclass(frozen=True)
class Framed:
    """The frames of an utterance in one layer.

    Attributes:
        features: (T, D) float32.
        centres: (T,) centre of each frame, in seconds from the beginning of the utterance.
        quiet: (T,) whether each frame lies in a quiet part of the audio.
    """

    features: NDArray[Any]
    centres: NDArray[np.float64]
    quiet: NDArray[np.bool_]


@dataclass(frozen=True)
class LayerSource:
    """A source of frames: one layer of a model.

    Attributes:
        encoder: the model.
        index: index of the layer.
        threads: number of threads that decode audio ahead.
    """

    encoder: Encoder
    index: int
    threads: int

    @property
    def layer(self) -> Layer:
        """The layer that gives the frames."""
        return self.encoder.layers[self.index]

    def frames(
        self, transcripts: Sequence[Transcript], indices: Iterable[int], on_audio: OnAudio
    ) -> Iterator[tuple[int, Framed | UtteranceError]]:
        """Encode the utterances at these indices, and yield the frames of the layer, as `frames_of_layers` does."""
        for index, frames in frames_of_layers(self.encoder, [self.layer], self.threads, transcripts, indices):
            yield index, frames if isinstance(frames, UtteranceError) else frames[self.index]
            on_audio(transcripts[index].item.seconds)

    def divided(self, transcripts: Sequence[Transcript]) -> tuple[list[int], list[int]]:
        """Return the indices of the utterances to fit, as many as `FIT_BYTES` hold, and of the others."""
        return divided(transcripts, FIT_BYTES / (4 * self.layer.dim * self.layer.frame_rate))


def divided(transcripts: Sequence[Transcript], seconds: Seconds) -> tuple[list[int], list[int]]:
    """Return the indices of a draw of at least one utterance, of about so many seconds in all, and of the others.

    The draw depends on the names of the utterances. Short utterances come first, because the first guess of the times
    of units is poor in long utterances.
    """
    keys = [int(utterance_key(transcript.item.utterance.id)) for transcript in transcripts]
    order = sorted(range(len(transcripts)), key=lambda index: (transcripts[index].item.seconds > LONG_S, keys[index]))
    first: list[int] = []
    total_s = 0.0
    for index in order:
        length = transcripts[index].item.seconds
        enough = total_s >= ENOUGH_S and length > LONG_S
        if first and (total_s + length > seconds or enough):
            break
        first.append(index)
        total_s += length
    return first, order[len(first) :]


def frames_of_layers(
    encoder: Encoder, layers: Sequence[Layer], threads: int, transcripts: Sequence[Transcript], indices: Iterable[int]
) -> Iterator[tuple[int, dict[int, Framed] | UtteranceError]]:
    """Encode utterances, the longest first.

    Args:
        encoder: the model.
        layers: layers whose frames to return.
        threads: number of threads that decode audio ahead.
        transcripts: transcripts of the data.
        indices: indices of the utterances.

    Yields:
        Each index with the frames of its utterance by layer, or the error that prevented them.

    Raises:
        RunError: memory ran out on a single window.
    """
    order = sorted(indices, key=lambda index: (-transcripts[index].item.seconds, transcripts[index].item.row))
    ready = prefetch(
        plan_batches([transcripts[index].item for index in order], encoder),
        lambda batch: [decode_or_reason(item, encoder.sample_rate) for item in batch],
        threads=threads,
        ahead=BATCHES_AHEAD,
    )
    offsets, remaining = encoder.offsets(), iter(order)
    with closing(ready):
        for _, decoded in ready:
            waveforms: dict[int, Waveform] = {}
            for waveform, index in zip(decoded, remaining, strict=False):  # decoded first, to lose no index
                if isinstance(waveform, UtteranceError):
                    yield index, waveform
                else:
                    waveforms[index] = waveform
            pieces = _encode_batch(encoder, list(waveforms.values()), layers)
            for owner, (index, waveform) in enumerate(waveforms.items()):
                try:
                    frames = {
                        layer.index: _utterance_frames(
                            layer, pieces[layer.index], owner, waveform, offsets[layer.index]
                        )
                        for layer in layers
                    }
                except UtteranceError as error:
                    yield index, UtteranceError(f"{encoder.spec}: {error}")
                else:
                    yield index, frames


def _encode_batch(encoder: Encoder, waveforms: list[Waveform], layers: Sequence[Layer]) -> dict[int, list[LayerFrames]]:
    """Encode a batch, and return layer → its pieces."""
    indices = {layer.index for layer in layers}
    pieces = retried(encoder, lambda: [piece for piece in encoder.encode(waveforms) if piece.layer in indices])
    return {layer: [piece for piece in pieces if piece.layer == layer] for layer in indices}


def _utterance_frames(
    layer: Layer, pieces: Sequence[LayerFrames], owner: int, waveform: Waveform, offset: Seconds
) -> Framed:
    """Return the frames of an utterance in one layer.

    Raises:
        UtteranceError: there are no frames, or some are not finite.
    """
    features = torch.cat([piece.frames[_owner_slice(piece, owner)] for piece in pieces]).float().cpu().numpy()
    if not len(features) or not np.isfinite(features).all():
        what = "NaN or infinite features" if len(features) else "no frames"
        raise UtteranceError(f"layer {layer.index} ({layer.name}) gave {what} for this audio")
    centres = [
        window.start + offset + np.arange(window.frames) / layer.frame_rate
        for piece in pieces
        for window in piece.windows
        if window.owner == owner
    ]
    return Framed(features, np.concatenate(centres), quiet_frames(waveform, len(features)))


def _owner_slice(piece: LayerFrames, owner: int) -> slice:
    """Return the slice of a piece that holds the frames of an utterance."""
    start = sum(piece.lengths[:owner])
    return slice(start, start + piece.lengths[owner])
