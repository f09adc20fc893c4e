"""How a run tells whoever is watching what it is doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voxrank.config import Seconds

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking


class Progress:
    """Told of each step of a run. This one says nothing; subclass it to show or log."""

    def note(self, text: str) -> None:
        """Something the user should know, in one line."""

    def load(self, model: str, position: int, models: int) -> None:
        """A model is being loaded, before anything is encoded: `position` of `models` (from 1)."""

    def align(self, aligner: str, seconds: Seconds) -> None:
        """Transcripts are aligned with this much audio; `advance` and `finish` follow, before any model starts."""

    def start(self, model: str, position: int, models: int, seconds: Seconds) -> None:
        """A model begins: `position` of `models` (from 1), with this much audio to encode."""

    def advance(self, seconds: Seconds) -> None:
        """This much audio was dealt with."""

    def finish(self) -> None:
        """The model's sketches are complete."""

    def ranked(self, so_far: Callable[[], Ranking]) -> None:
        """A model is scored: `so_far` makes the ranking of those that are, until the next model begins."""

    def trial(self, text: str, position: int, trials: int) -> None:
        """A model was fine-tuned: the `position`-th of so many trials."""
