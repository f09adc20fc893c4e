"""What a run has come to so far, as a page in a browser asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from voxrank._support.progress import Progress
from voxrank.config import Seconds
from voxrank.report.terminal import plain
from voxrank.results.ranking import Ranking

NOTES = 200
"""Kept at most, the latest."""

DONE = "The run is done; this page is complete, and needs the run no more."

State = Literal["running", "done", "failed"]


@dataclass
class _Bar:
    """One model, or one alignment."""

    name: str
    total: Seconds
    began: Seconds
    done: Seconds = 0.0
    ended: Seconds | None = None

    def told(self, now: Seconds) -> dict[str, Any]:
        took = max((now if self.ended is None else self.ended) - self.began, 1e-9)
        speed = self.done / took
        left = (self.total - self.done) / speed if speed and self.ended is None else 0.0
        return {
            "name": self.name,
            "done_s": round(self.done, 1),
            "total_s": round(self.total, 1),
            "speed": round(speed, 1),
            "left_s": round(left, 1) if speed or self.ended is not None else None,
            "took_s": round(took, 1),
            "ended": self.ended is not None,
        }


class Recorder(Progress):
    """Keeps what it is told. It may be told and asked in different threads.

    Args:
        clock: seconds, of which only differences count.
    """

    def __init__(self, clock: Callable[[], Seconds] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._bars: dict[str, _Bar] = {}
        self._current: _Bar | None = None
        self._notes: list[str] = []
        self._step = "The run begins."
        self._state: State = "running"
        self._ranking: Ranking | None = None
        self._version = 0

    def note(self, text: str) -> None:
        """Keep the line."""
        with self._lock:
            self._notes = [*self._notes, plain(text).plain][-NOTES:]

    def trial(self, text: str, position: int, trials: int) -> None:
        """Keep the line."""
        self.note(f"[{position}/{trials}] {text}")

    def load(self, model: str, position: int, models: int) -> None:
        """Say which model is being loaded."""
        with self._lock:
            self._step = f"Loading model {position} of {models}: {plain(model).plain}."

    def align(self, aligner: str, seconds: Seconds) -> None:
        """Begin a bar."""
        self._begin(f"alignment by {plain(aligner).plain}", "Aligning transcripts.", seconds)

    def start(self, model: str, position: int, models: int, seconds: Seconds) -> None:
        """Begin a bar, or, in a further round of the same model, begin its bar anew."""
        name = plain(model).plain
        self._begin(name, f"Model {position} of {models}: {name}.", seconds)

    def _begin(self, name: str, step: str, seconds: Seconds) -> None:
        with self._lock:
            self._current = self._bars[name] = _Bar(name, seconds, self._clock())
            self._step = step

    def advance(self, seconds: Seconds) -> None:
        """Move the bar."""
        with self._lock:
            if self._current is not None:
                self._current.done += seconds

    def finish(self) -> None:
        """Fill the bar."""
        with self._lock:
            if self._current is not None:
                self._current.done, self._current.ended = self._current.total, self._clock()

    def ranked(self, so_far: Callable[[], Ranking]) -> None:
        """Keep the ranking so far."""
        ranking = so_far()
        with self._lock:
            self._ranking, self._version = ranking, self._version + 1

    def complete(self, ranking: Ranking) -> None:
        """Keep the ranking: the run is done."""
        with self._lock:
            self._ranking, self._version = ranking, self._version + 1
            self._state, self._step = "done", DONE

    def fail(self, reason: str) -> None:
        """The run ended without a ranking."""
        with self._lock:
            self._state, self._step = "failed", plain(reason).plain

    @property
    def ranking(self) -> tuple[int, Ranking | None, bool]:
        """How many rankings there were, the last, and whether it is complete."""
        with self._lock:
            return self._version, self._ranking, self._state == "done"

    def told(self) -> dict[str, Any]:
        """All of it, as JSON can hold it, the ranking left out."""
        now = self._clock()
        with self._lock:
            return {
                "state": self._state,
                "step": self._step,
                "models": [bar.told(now) for bar in self._bars.values()],
                "notes": list(self._notes),
            }
