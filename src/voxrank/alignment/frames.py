"""The frames of layers, utterance by utterance, with the time of each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank._support.threads import prefetch
from voxrank.alignment.base import AlignmentContext, OnAudio, Transcript
from voxrank.config import EncoderOptions, Seconds
from voxrank.data.shards import Item
from voxrank.encoders.base import Encoder, Layer, LayerFrames, Waveform
from voxrank.engines.task import Lend, Result, Task
from voxrank.errors import DataError, UtteranceError
from voxrank.extraction.shard import BATCHES_AHEAD, decode_or_reason, plan_batches, retried
from voxrank.sketches.sample import utterance_key
from voxrank.targets.flatstart import quiet_frames

LONG_S = 10.0
"""Maximum length of an utterance that counts as short, in seconds. Short utterances are fitted first."""
ENOUGH_S = 120.0
"""Amount of short utterances, in seconds, from which long utterances are not fitted."""
PART_S = 120.0
"""Amount of audio of a part of the data, which one process aligns, in seconds."""
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
    """A source of frames: one layer of a model, which is loaded where the frames are computed.

    Attributes:
        spec: spec of the model.
        layer: the layer.
        threads: number of threads that decode audio ahead.
    """

    spec: str
    layer: Layer
    threads: int

    def frames(self, transcripts: Sequence[Transcript], lend: Lend) -> Iterator[tuple[int, Framed | UtteranceError]]:
        """Encode utterances, and yield the frames of the layer, as `frames_of_layers` does."""
        for index, frames in frames_of_layers(lend(self.spec), [self.layer], self.threads, transcripts):
            yield index, frames if isinstance(frames, UtteranceError) else frames[self.layer.index]

    def divided(self, transcripts: Sequence[Transcript]) -> tuple[list[int], list[int]]:
        """Return the indices of the utterances to fit, as many as `FIT_BYTES` hold, and of the others."""
        return divided(transcripts, FIT_BYTES / (4 * self.layer.dim * self.layer.frame_rate))

    def fitted_frames(
        self, transcripts: Sequence[Transcript], indices: Sequence[int], context: AlignmentContext, on_audio: OnAudio
    ) -> tuple[dict[int, Framed], dict[int, UtteranceError]]:
        """Return the frames of the utterances to fit, by their indices, and the reasons why others have none.

        Raises:
            DataError: no utterance could be encoded.
        """
        framed: dict[int, Framed] = {}
        errors: dict[int, UtteranceError] = {}
        for index, frames in by_utterance(Frames(self), transcripts, indices, context, on_audio):
            if isinstance(frames, Framed):
                framed[index] = frames
            else:
                errors[index] = frames
        if not framed:
            reason = next(iter(errors.values()), "there are none")
            raise DataError(f"{self.spec} could encode none of the utterances for the alignment: {reason}")
        return framed, errors


class TranscriptTask(Task[Sequence[Transcript], list[Result]]):
    """A task whose parts are transcripts, with one result for each of them."""

    def items(self, part: Sequence[Transcript]) -> Sequence[Item]:
        """Return the utterances of the transcripts."""
        return [transcript.item for transcript in part]


@dataclass(frozen=True)
class Frames(TranscriptTask[Framed | UtteranceError]):
    """The task to compute the frames of utterances."""

    source: LayerSource

    def run(
        self,
        part: Sequence[Transcript],
        lend: Lend,
        options: EncoderOptions,  # noqa: ARG002
    ) -> list[Framed | UtteranceError]:
        """Return the frames of each utterance, or the reason why it has none."""
        frames = dict(self.source.frames(part, lend))
        return [frames[index] for index in range(len(part))]


def by_utterance(
    task: TranscriptTask[Result],
    transcripts: Sequence[Transcript],
    indices: Sequence[int],
    context: AlignmentContext,
    on_audio: OnAudio,
) -> Iterator[tuple[int, Result]]:
    """Do a task for the utterances at these indices, in parts of similar lengths.

    Args:
        task: the task.
        transcripts: all transcripts of the data.
        indices: indices of the utterances.
        context: the engine, and the models.
        on_audio: receives the progress.

    Yields:
        Each index with the result of its utterance, the longest first.
    """
    parts = parts_of(transcripts, indices)
    sent = ([transcripts[index].to_encode() for index in part] for part in parts)
    for part, results in zip(parts, context.engine.map(task, sent, context.lend), strict=True):
        yield from zip(part, results, strict=True)
        on_audio(sum(transcripts[index].item.seconds for index in part))


def parts_of(transcripts: Sequence[Transcript], indices: Sequence[int]) -> list[list[int]]:
    """Divide utterances, the longest first, into parts of about `PART_S`."""
    parts: list[list[int]] = []
    load = PART_S
    for index in sorted(indices, key=_longest_first(transcripts)):
        if load >= PART_S:
            parts.append([])
            load = 0.0
        parts[-1].append(index)
        load += transcripts[index].item.seconds
    return parts


def _longest_first(transcripts: Sequence[Transcript]) -> Callable[[int], tuple[float, int]]:
    """Return the key by which indices of transcripts are sorted."""
    return lambda index: (-transcripts[index].item.seconds, transcripts[index].item.row)


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
    encoder: Encoder, layers: Sequence[Layer], threads: int, transcripts: Sequence[Transcript]
) -> Iterator[tuple[int, dict[int, Framed] | UtteranceError]]:
    """Encode utterances, the longest first.

    Args:
        encoder: the model.
        layers: layers whose frames to return.
        threads: number of threads that decode audio ahead.
        transcripts: transcripts of the utterances.

    Yields:
        The index of each transcript with the frames of its utterance by layer, or the error that prevented them.

    Raises:
        RunError: memory ran out on a single window.
    """
    order = sorted(range(len(transcripts)), key=_longest_first(transcripts))
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
