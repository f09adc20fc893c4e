"""The aligner `flat`: a flat start on the features of one layer (`voxrank.targets.flatstart`).

It needs no model that was trained to align. It is fitted to as much speech as a bounded memory holds. The fitted model
aligns the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, OnAudio, Transcript
from voxrank.alignment.frames import Framed, LayerSource
from voxrank.errors import DataError, UtteranceError
from voxrank.targets.ctc import Alignment
from voxrank.targets.flatstart import FrameModel, Spoken, flat_start
from voxrank.targets.timeline import Timeline


@dataclass(frozen=True)
class Fitted:
    """A fitted flat start, with times in seconds.

    Attributes:
        model: the model of the frames.
        timelines: index of each fitted utterance → its timeline.
    """

    model: FrameModel
    timelines: dict[int, Timeline | UtteranceError]


class Flat(Aligner):
    """The aligner that uses a flat start.

    Args:
        source: source of the features.
    """

    def __init__(self, source: LayerSource) -> None:
        self.record = AlignerRecord("flat", source.encoder.spec, source.index)
        self._source, self.encoder = source, source.encoder

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Fit and align. The arguments and errors are those of `Aligner.align`."""
        first, rest = self._source.divided(transcripts)
        fitted = self.fit(transcripts, first, names, on_audio)
        aligned = dict(fitted.timelines)
        for index, frames in self._source.frames(transcripts, rest, on_audio):
            aligned[index] = _align_by_model(fitted.model, frames, transcripts[index])
        return [aligned[index] for index in range(len(transcripts))]

    def fit(
        self, transcripts: Sequence[Transcript], indices: Iterable[int], names: Sequence[str], on_audio: OnAudio
    ) -> Fitted:
        """Fit the flat start to the utterances at these indices, in memory. See `Aligner.align` for errors."""
        framed: dict[int, Framed] = {}
        timelines: dict[int, Timeline | UtteranceError] = {}
        for index, frames in self._source.frames(transcripts, indices, on_audio):
            if isinstance(frames, Framed):
                framed[index] = frames
            else:
                timelines[index] = frames
        if not framed:
            reason = next(iter(timelines.values()), "there are none")
            raise DataError(f"{self.record.model} could encode none of the utterances for the alignment: {reason}")
        fitted = fit_frames(framed, transcripts, names)
        return Fitted(fitted.model, timelines | fitted.timelines)


def fit_frames(framed: Mapping[int, Framed], transcripts: Sequence[Transcript], names: Sequence[str]) -> Fitted:
    """Fit the flat start to the frames of the utterances at these indices.

    Raises:
        DataError: no utterance has a frame for each unit.
    """
    spoken = [_spoken(frames, transcripts[index]) for index, frames in framed.items()]
    start = flat_start(spoken, len(names) + 1)
    timelines = {
        index: _timeline(alignment, frames, transcripts[index])
        for (index, frames), alignment in zip(framed.items(), start.alignments, strict=True)
    }
    return Fitted(start.model, timelines)


def _align_by_model(
    model: FrameModel, frames: Framed | UtteranceError, transcript: Transcript
) -> Timeline | UtteranceError:
    if isinstance(frames, UtteranceError):
        return frames
    try:
        return _timeline(model.align(_spoken(frames, transcript)), frames, transcript)
    except UtteranceError as error:
        return error


def _timeline(
    alignment: Alignment | UtteranceError, frames: Framed, transcript: Transcript
) -> Timeline | UtteranceError:
    if isinstance(alignment, UtteranceError):
        return alignment
    return Timeline.of_alignment(alignment, transcript.labels, frames.centres, transcript.item.seconds)


def _spoken(frames: Framed, transcript: Transcript) -> Spoken:
    return Spoken(frames.features, transcript.labels, transcript.pauses, frames.quiet)
