"""Tasks: work on parts of the data, which an engine does in this process or on its workers (`Engine.map`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from voxrank.config import EncoderOptions
from voxrank.data.shards import Item
from voxrank.encoders.base import Encoder

Part = TypeVar("Part")
Result = TypeVar("Result")
Lend = Callable[[str], Encoder]
"""Function that returns the encoder of a spec, which stays loaded."""


class Task(ABC, Generic[Part, Result]):
    """Work on parts of the data. A part has the same result in every process, whatever the other parts are.

    Tasks, parts and results are sent between processes, so that they can be pickled.
    """

    def items(self, part: Part) -> Sequence[Item]:  # noqa: ARG002
        """Return the utterances whose audio the work on a part reads."""
        return ()

    @abstractmethod
    def run(self, part: Part, lend: Lend, options: EncoderOptions) -> Result:
        """Do the work on one part.

        Args:
            part: the part.
            lend: returns an encoder.
            options: options that encoders are loaded with in this process.
        """
