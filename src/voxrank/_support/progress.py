"""Progress events of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voxrank.config import Seconds

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking


class Progress:
    """A listener that receives the progress of a run. It ignores all events; subclasses show or log them."""

    def note(self, text: str) -> None:
        """Receive a note for the user, in one line."""

    def scan(self, what: str, total: int | None) -> None:
        """Report that many items are being read, such as rows: `what` they are, and their number, where it is known."""

    def scanned(self, count: int) -> None:
        """Report that so many items more were read."""

    def load(self, model: str, position: int, models: int) -> None:
        """Report that a model is being loaded, before encoding: `position` of `models` (from 1)."""

    def align(self, aligner: str, seconds: Seconds) -> None:
        """Report that alignment of `seconds` of audio starts, before any model. `advance` and `finish` follow."""

    def start(self, model: str, position: int, models: int, seconds: Seconds) -> None:
        """Report that a model starts: `position` of `models` (from 1), with `seconds` of audio to encode."""

    def advance(self, seconds: Seconds) -> None:
        """Report that `seconds` of audio were processed."""

    def finish(self) -> None:
        """Report that the sketches of the model are complete."""

    def ranked(self, so_far: Callable[[], Ranking]) -> None:
        """Report that a model is scored. `so_far` returns the ranking so far, until the next model starts."""

    def trial(self, text: str, position: int, trials: int) -> None:
        """Report that a model was fine-tuned: trial `position` of `trials`."""
