"""What every aligner is: transcripts in, a timeline for each out, and a record of what made them."""

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
"""Called with the seconds of audio that were just dealt with."""
Aligned = list[Timeline | UtteranceError]
"""Of each transcript: when its units are heard, by their numbers; or why that cannot be told."""


@dataclass(frozen=True)
class Transcript:
    """An utterance and what is said in it.

    Attributes:
        item: the utterance.
        labels: (L,) numbers of its units in order, from 1.
        pauses: (L + 1,) whether there may be silence before each, and behind the last.
    """

    item: Item
    labels: NDArray[np.int64]
    pauses: NDArray[np.bool_]


@dataclass(frozen=True)
class AlignerRecord:
    """What made an alignment.

    Attributes:
        aligner: "flat", "ctc", "head", "uniform"; "segments" where the data say the times themselves.
        model: whose features or posteriors it used; None where it used none.
        layer: of that model, where it is one.
        trained: whether the model, or a part on top of it, was trained on transcripts to tell units apart.
    """

    aligner: str
    model: str | None = None
    layer: int | None = None
    trained: bool = False

    def __str__(self) -> str:
        where = "" if self.layer is None else f", layer {self.layer}"
        return self.aligner if self.model is None else f"{self.aligner} on {self.model}{where}"


class Aligner(ABC):
    """Says when units are heard.

    Attributes:
        record: what it is.
        encoder: the model that it listens with, where there is one.
        notes: what the user should know when it has aligned, a line each.
    """

    record: AlignerRecord
    encoder: Encoder | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Align utterances with what is said in them.

        Args:
            transcripts: all of the data.
            names: of the units; number n is `names[n − 1]`.
            on_audio: told of progress.

        Raises:
            DataError: none can be aligned.
        """
