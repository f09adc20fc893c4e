"""The aligner `flat`: a flat start on the features of one layer (`voxrank.targets.flatstart`).

It needs no model that was trained to align. It is fitted to as much speech as a bounded memory holds. The fitted model
aligns the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, AlignmentContext, OnAudio, Transcript
from voxrank.alignment.frames import Framed, LayerSource, TranscriptTask, by_utterance
from voxrank.config import EncoderOptions
from voxrank.engines.task import Lend
from voxrank.errors import UtteranceError
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

    The engine computes frames, and aligns what was not fitted. The fit is in this process: its data are limited.

    Args:
        source: source of the features.
        context: the engine, and the models.
    """

    def __init__(self, source: LayerSource, context: AlignmentContext) -> None:
        self.record = AlignerRecord("flat", source.spec, source.layer.index)
        self._source, self._context = source, context

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Fit and align. The arguments and errors are those of `Aligner.align`."""
        first, rest = self._source.divided(transcripts)
        framed, aligned = self._source.fitted_frames(transcripts, first, self._context, on_audio)
        fitted = fit_frames(framed, transcripts, names)
        framed.clear()
        others = by_utterance(AlignByModel(self._source, fitted.model), transcripts, rest, self._context, on_audio)
        timelines = {**aligned, **fitted.timelines, **dict(others)}
        return [timelines[index] for index in range(len(transcripts))]


@dataclass(frozen=True)
class AlignByModel(TranscriptTask[Timeline | UtteranceError]):
    """The task to align utterances by a fitted model.

    Attributes:
        source: source of the features.
        model: the fitted model.
    """

    source: LayerSource
    model: FrameModel

    def run(
        self,
        part: Sequence[Transcript],
        lend: Lend,
        options: EncoderOptions,  # noqa: ARG002
    ) -> list[Timeline | UtteranceError]:
        """Return the timeline of each transcript, or the reason why it cannot be aligned."""
        timelines = {
            index: _align_by_model(self.model, frames, part[index]) for index, frames in self.source.frames(part, lend)
        }
        return [timelines[index] for index in range(len(part))]


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
