"""The interface of aligners. They take transcripts, and give a timeline for each transcript and a record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxrank.config import Seconds
from voxrank.data.shards import Item
from voxrank.encoders.base import Encoder
from voxrank.errors import UtteranceError
from voxrank.targets.timeline import Timeline

OnAudio = Callable[[Seconds], None]
"""Callback that receives the seconds of audio that were just processed."""
Aligned = list[Timeline | UtteranceError]
"""Timeline of each transcript, by the numbers of its units, or the reason why it cannot be aligned."""


@dataclass(frozen=True)
class Transcript:
    """An utterance with the units of its transcript.

    Attributes:
        item: the utterance.
        labels: (L,) numbers of its units in order, from 1.
        pauses: (L + 1,) whether silence is allowed before each unit, and after the last unit.
    """

    item: Item
    labels: NDArray[np.int64]
    pauses: NDArray[np.bool_]


@dataclass(frozen=True)
class AlignerRecord:
    """A record of the origin of an alignment.

    Attributes:
        aligner: "flat", "ctc", "head", "uniform"; "segments" where the data hold the times.
        model: spec of the model whose features or posteriors were used; None without a model.
        layer: layer of the model, where a single layer was used.
        trained: whether the model, or a head on top of it, was trained on transcripts to recognise units.
    """

    aligner: str
    model: str | None = None
    layer: int | None = None
    trained: bool = False

    def __str__(self) -> str:
        where = "" if self.layer is None else f", layer {self.layer}"
        return self.aligner if self.model is None else f"{self.aligner} on {self.model}{where}"


class Aligner(ABC):
    """An aligner, which finds the times of units in the audio.

    Attributes:
        record: the record of the alignments that it makes.
        encoder: the model that it uses; None without a model.
        notes: notes for the user after the alignment, one line each.
    """

    record: AlignerRecord
    encoder: Encoder | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Align utterances with their transcripts.

        Args:
            transcripts: all transcripts of the data.
            names: names of the units; number n is `names[n − 1]`.
            on_audio: receives the progress.

        Raises:
            DataError: no utterance can be aligned.
        """
