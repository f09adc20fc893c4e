"""The interface of aligners. They take transcripts, and give a timeline for each transcript and a record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.config import EncoderOptions, Seconds
from voxrank.data.shards import Item
from voxrank.encoders.base import Layer
from voxrank.engines.base import Engine
from voxrank.engines.task import Lend
from voxrank.errors import UtteranceError
from voxrank.targets.timeline import Timeline

OnAudio = Callable[[Seconds], None]
"""Callback that receives the seconds of audio that were just processed."""
Aligned = list[Timeline | UtteranceError]
"""Timeline of each transcript, by the numbers of its units, or the reason why it cannot be aligned."""


@dataclass(frozen=True, slots=True)
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

    def to_encode(self) -> Transcript:
        """Return the transcript as other processes receive it (`Item.to_encode`)."""
        return replace(self, item=self.item.to_encode())


@dataclass(frozen=True)
class AlignmentContext:
    """The models that aligners may use, and the engine that does their work.

    Attributes:
        layers: spec of each candidate → its layers.
        lend: returns the encoder of a candidate, loaded in this process if needed.
        encoding: options that encoders are loaded with.
        engine: does the work.
        threads: number of threads that decode audio ahead.
    """

    layers: Mapping[str, Sequence[Layer]]
    lend: Lend
    encoding: EncoderOptions
    engine: Engine
    threads: int


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
        notes: notes for the user after the alignment, one line each.
    """

    record: AlignerRecord
    notes: tuple[str, ...] = ()

    def weights(self) -> Mapping[str, torch.Tensor]:
        """Return the weights of the model that it uses; none without a model."""
        return {}

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
