"""A recorder of progress, for a page in a browser that polls it."""

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
"""Maximum number of notes kept; the oldest are dropped first."""

DONE = "The run is done; this page is complete, and works without it."

State = Literal["running", "done", "failed"]


@dataclass
class _Bar:
    """The progress of one model or one alignment."""

    name: str
    total: Seconds
    started_at: Seconds
    done: Seconds = 0.0
    ended_at: Seconds | None = None

    def snapshot(self, now: Seconds) -> dict[str, Any]:
        took = max((now if self.ended_at is None else self.ended_at) - self.started_at, 1e-9)
        speed = self.done / took
        left = (self.total - self.done) / speed if speed and self.ended_at is None else 0.0
        return {
            "name": self.name,
            "done_s": round(self.done, 1),
            "total_s": round(self.total, 1),
            "speed": round(speed, 1),
            "left_s": round(left, 1) if speed or self.ended_at is not None else None,
            "took_s": round(took, 1),
            "ended": self.ended_at is not None,
        }


class Recorder(Progress):
    """Records progress events. Events and reads may come from different threads.

    Args:
        clock: clock in seconds, of which only differences are used.
    """

    def __init__(self, clock: Callable[[], Seconds] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._bars: dict[str, _Bar] = {}
        self._current: _Bar | None = None
        self._notes: list[str] = []
        self._step = "The run begins."
        self._read, self._scan = 0, ("", "")
        self._state: State = "running"
        self._ranking: Ranking | None = None
        self._version = 0

    def note(self, text: str) -> None:
        """Record the text as a note."""
        with self._lock:
            self._notes = [*self._notes, plain(text).plain][-NOTES:]

    def trial(self, text: str, position: int, trials: int) -> None:
        """Record the text as a note."""
        self.note(f"[{position}/{trials}] {text}")

    def scan(self, what: str, total: int | None) -> None:
        """Record what is being read."""
        with self._lock:
            self._read, self._scan = 0, (what, "" if total is None else f" of {total:,}")
            self._step = f"Reading {what}."

    def scanned(self, count: int) -> None:
        """Record how much is read."""
        with self._lock:
            self._read += count
            what, of_total = self._scan
            self._step = f"Reading {what}: {self._read:,}{of_total}."

    def load(self, model: str, position: int, models: int) -> None:
        """Record which model is loading."""
        with self._lock:
            self._step = f"Loading model {position} of {models}: {plain(model).plain}."

    def align(self, aligner: str, seconds: Seconds) -> None:
        """Start a bar for an alignment."""
        self._begin(f"alignment by {plain(aligner).plain}", "Aligning transcripts.", seconds)

    def start(self, model: str, position: int, models: int, seconds: Seconds) -> None:
        """Start a bar for a model; a further round of the same model restarts its bar."""
        name = plain(model).plain
        self._begin(name, f"Model {position} of {models}: {name}.", seconds)

    def _begin(self, name: str, step: str, seconds: Seconds) -> None:
        with self._lock:
            self._current = self._bars[name] = _Bar(name, seconds, self._clock())
            self._step = step

    def advance(self, seconds: Seconds) -> None:
        """Advance the bar."""
        with self._lock:
            if self._current is not None:
                self._current.done += seconds

    def finish(self) -> None:
        """Complete the bar."""
        with self._lock:
            if self._current is not None:
                self._current.done, self._current.ended_at = self._current.total, self._clock()

    def ranked(self, so_far: Callable[[], Ranking]) -> None:
        """Record an intermediate ranking."""
        ranking = so_far()
        with self._lock:
            self._ranking, self._version = ranking, self._version + 1

    def complete(self, ranking: Ranking) -> None:
        """Record the final ranking, and mark the run as done."""
        with self._lock:
            self._ranking, self._version = ranking, self._version + 1
            self._state, self._step = "done", DONE

    def fail(self, reason: str) -> None:
        """Record that the run ended without a ranking."""
        with self._lock:
            self._state, self._step = "failed", plain(reason).plain

    @property
    def ranking(self) -> tuple[int, Ranking | None, bool]:
        """Number of rankings recorded, the latest ranking, and whether it is final."""
        with self._lock:
            return self._version, self._ranking, self._state == "done"

    def snapshot(self) -> dict[str, Any]:
        """Return the recorded progress as plain values for JSON, without the ranking."""
        now = self._clock()
        with self._lock:
            return {
                "state": self._state,
                "step": self._step,
                "models": [bar.snapshot(now) for bar in self._bars.values()],
                "notes": list(self._notes),
            }
