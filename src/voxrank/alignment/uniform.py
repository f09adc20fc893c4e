"""The aligner `uniform`: all units are equally long, from the first sample to the last. It is a baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, OnAudio, Transcript
from voxrank.targets.timeline import Timeline


class Uniform(Aligner):
    """The baseline aligner, which does not read the audio."""

    def __init__(self) -> None:
        self.record = AlignerRecord("uniform")

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:  # noqa: ARG002
        """Cut every utterance into as many equal parts as it has units."""
        return [_uniform_timeline(transcript) for transcript in transcripts]


def _uniform_timeline(transcript: Transcript) -> Timeline:
    bounds = np.linspace(0, transcript.item.seconds, len(transcript.labels) + 1)
    return Timeline(bounds[:-1], bounds[1:], transcript.labels)
