"""The flat start on features of one layer: no model that was trained to align (`voxrank.targets.flatstart`).

It is fitted to as much speech as a bounded memory holds; the rest is aligned by the model that came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, OnAudio, Transcript
from voxrank.alignment.frames import Framed, LayerSource
from voxrank.errors import DataError, UtteranceError
from voxrank.targets.ctc import Alignment
from voxrank.targets.flatstart import FrameModel, Spoken, flat_start, quiet_frames
from voxrank.targets.timeline import Timeline


@dataclass(frozen=True)
class Fitted:
    """A flat start in seconds.

    Attributes:
        model: of the frames.
        timelines: of each utterance that was fitted, by its place.
    """

    model: FrameModel
    timelines: dict[int, Timeline | UtteranceError]


class Flat(Aligner):
    """The flat start.

    Args:
        source: whose features are looked at.
    """

    def __init__(self, source: LayerSource) -> None:
        self.record = AlignerRecord("flat", source.encoder.spec, source.index)
        self._source, self.encoder = source, source.encoder

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Fit and align. Arguments and errors as `Aligner.align`."""
        first, rest = self._source.divided(transcripts)
        fitted = self.fit(transcripts, first, names, on_audio)
        aligned = dict(fitted.timelines)
        for place, one in self._source.frames(transcripts, rest, on_audio):
            aligned[place] = _by_model(fitted.model, one, transcripts[place])
        return [aligned[place] for place in range(len(transcripts))]

    def fit(
        self, transcripts: Sequence[Transcript], places: Iterable[int], names: Sequence[str], on_audio: OnAudio
    ) -> Fitted:
        """The flat start on the utterances at these places, in memory. Arguments and errors as `Aligner.align`."""
        framed: dict[int, Framed] = {}
        timelines: dict[int, Timeline | UtteranceError] = {}
        for place, one in self._source.frames(transcripts, places, on_audio):
            if isinstance(one, Framed):
                framed[place] = one
            else:
                timelines[place] = one
        if not framed:
            reason = next(iter(timelines.values()), "there are none")
            raise DataError(f"{self.record.model} could encode none of the utterances for the alignment: {reason}")
        fitted = fit_frames(framed, transcripts, names)
        return Fitted(fitted.model, timelines | fitted.timelines)


def fit_frames(framed: Mapping[int, Framed], transcripts: Sequence[Transcript], names: Sequence[str]) -> Fitted:
    """The flat start on frames of the utterances at these places.

    Raises:
        DataError: none of them has a frame for each unit.
    """
    spoken = [_spoken(one, transcripts[place]) for place, one in framed.items()]
    start = flat_start(spoken, len(names) + 1)
    timelines = {
        place: _timeline(found, one, transcripts[place])
        for (place, one), found in zip(framed.items(), start.alignments, strict=True)
    }
    return Fitted(start.model, timelines)


def _by_model(model: FrameModel, one: Framed | UtteranceError, said: Transcript) -> Timeline | UtteranceError:
    if isinstance(one, UtteranceError):
        return one
    try:
        return _timeline(model.align(_spoken(one, said)), one, said)
    except UtteranceError as error:
        return error


def _timeline(found: Alignment | UtteranceError, one: Framed, said: Transcript) -> Timeline | UtteranceError:
    if isinstance(found, UtteranceError):
        return found
    return Timeline.of_alignment(found, said.labels, one.centres, said.item.seconds)


def _spoken(one: Framed, said: Transcript) -> Spoken:
    return Spoken(one.features, said.labels, said.pauses, quiet_frames(one.samples, len(one.features)))
