"""Progress displays: a bar in a terminal, plain lines elsewhere. Both write to standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from voxrank._support.progress import Progress
from voxrank._support.words import in_seconds, percent
from voxrank.config import Seconds
from voxrank.report.terminal import plain

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking

LINE_EVERY_S: Seconds = 15.0
NAME_COLUMNS = 18
ITEMS = "items"
"""Field of a bar that counts items rather than seconds of audio."""


class _Speed(ProgressColumn):
    """Seconds of audio processed per second, or items that are read per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if ITEMS in task.fields:
            return Text("" if speed is None else f"{speed:,.0f} per second", style="cyan")
        return Text("" if speed is None else f"{speed:,.0f}× real time", style="cyan")


class _Audio(ProgressColumn):
    """Seconds of audio completed, and in total, or the number of items."""

    def render(self, task: Task) -> Text:
        if task.fields.get(ITEMS):
            return Text(f"{task.completed:,.0f}" + ("" if task.total is None else f"/{task.total:,.0f}"))
        return Text("" if task.total is None else f"{task.completed:,.0f}/{in_seconds(task.total)}")


class BarProgress(Progress):
    """Shows one bar per model, for a terminal of 80 columns, and a line on reading and loading before the first one."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            _Audio(),
            _Speed(),
            TimeRemainingColumn(),
            console=console,
        )
        self._console = console
        self._loading: TaskID | None = self._bars.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_loading()
        self._bars.stop()

    def note(self, text: str) -> None:
        """Print the text above the bars."""
        self._console.print(plain(text))

    def trial(self, text: str, position: int, trials: int) -> None:
        """Print the text above the bars."""
        self._console.print(Text(f"[{position}/{trials}] ").append_text(plain(text)))

    def scan(self, what: str, total: int | None) -> None:
        """Show what is being read."""
        if self._loading is not None:
            self._bars.reset(self._loading, description=f"reading {what}", total=total, items=True)

    def scanned(self, count: int) -> None:
        """Advance the bar of what is being read."""
        if self._loading is not None:
            self._bars.advance(self._loading, count)

    def load(self, model: str, position: int, models: int) -> None:
        """Show which model is loading."""
        if self._loading is not None:
            label = Text(f"loading {position}/{models} ").append_text(plain(model, width=NAME_COLUMNS))
            self._bars.reset(self._loading, description=label.markup, total=None, items=False)

    def start(self, model: str, position: int, models: int, seconds: Seconds) -> None:
        """Start a bar for a model."""
        self._begin(Text(f"{position}/{models} ").append_text(plain(model, width=NAME_COLUMNS)), seconds)

    def align(self, aligner: str, seconds: Seconds) -> None:
        """Start a bar for an alignment."""
        self._begin(Text("align ").append_text(plain(aligner, width=NAME_COLUMNS)), seconds)

    def _begin(self, label: Text, seconds: Seconds) -> None:
        self._remove_loading()
        self._task, self._total = self._bars.add_task(label.markup, total=seconds), seconds

    def _remove_loading(self) -> None:
        if self._loading is not None:
            self._bars.remove_task(self._loading)
            self._loading = None

    def advance(self, seconds: Seconds) -> None:
        """Advance the bar."""
        self._bars.advance(self._task, seconds)

    def finish(self) -> None:
        """Fill the bar."""
        self._bars.update(self._task, completed=self._total)


class LineProgress(Progress):
    """Prints a line when a model starts and ends, and every `LINE_EVERY_S` seconds between, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def note(self, text: str) -> None:
        """Print the text."""
        self._print(plain(text))

    def trial(self, text: str, position: int, trials: int) -> None:
        """Print the text."""
        self._print(Text(f"[{position}/{trials}] ").append_text(plain(text)))

    def scan(self, what: str, total: int | None) -> None:
        """Print nothing yet, since most data are read in a moment."""
        self._items, self._read, self._printed_at = (what, total), 0, time.monotonic()

    def scanned(self, count: int) -> None:
        """Print how much is read, at most every `LINE_EVERY_S` seconds."""
        self._read += count
        now = time.monotonic()
        if now - self._printed_at >= LINE_EVERY_S:
            self._printed_at = now
            what, total = self._items
            self._print(Text(f"reading {what}: {self._read:,}" + ("" if total is None else f" of {total:,}")))

    def start(self, model: str, position: int, models: int, seconds: Seconds) -> None:
        """Print which model starts."""
        self._begin(Text(f"[{position}/{models}] ").append_text(plain(model)), seconds)

    def align(self, aligner: str, seconds: Seconds) -> None:
        """Print that an alignment starts."""
        self._begin(Text("alignment by ").append_text(plain(aligner)), seconds)

    def _begin(self, label: Text, seconds: Seconds) -> None:
        self._label = label
        self._total, self._done = seconds, 0.0
        self._started_at = self._printed_at = time.monotonic()
        self._print(self._label.copy().append(f": {in_seconds(seconds)} of audio"))

    def advance(self, seconds: Seconds) -> None:
        """Print the progress, at most every `LINE_EVERY_S` seconds."""
        self._done += seconds
        now = time.monotonic()
        if now - self._printed_at >= LINE_EVERY_S:
            self._printed_at = now
            speed = self._done / (now - self._started_at)
            left = (self._total - self._done) / speed
            self._print(
                self._label.copy().append(
                    f": {percent(self._done / self._total, gap='')}, {speed:,.1f} × real time, {in_seconds(left)} left"
                )
            )

    def finish(self) -> None:
        """Print the time that the model or alignment took."""
        elapsed = time.monotonic() - self._started_at
        self._print(
            self._label.copy().append(
                f": done in {in_seconds(elapsed, 1)}, {self._total / max(elapsed, 1e-9):,.1f} × real time"
            )
        )

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


class Together(Progress):
    """Forwards progress events to several listeners.

    Args:
        listeners: the listeners, in order.
    """

    def __init__(self, *listeners: Progress) -> None:
        self._listeners = listeners

    def note(self, text: str) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.note(text)

    def scan(self, what: str, total: int | None) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.scan(what, total)

    def scanned(self, count: int) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.scanned(count)

    def load(self, model: str, position: int, models: int) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.load(model, position, models)

    def align(self, aligner: str, seconds: Seconds) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.align(aligner, seconds)

    def start(self, model: str, position: int, models: int, seconds: Seconds) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.start(model, position, models, seconds)

    def advance(self, seconds: Seconds) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.advance(seconds)

    def finish(self) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.finish()

    def ranked(self, so_far: Callable[[], Ranking]) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.ranked(so_far)

    def trial(self, text: str, position: int, trials: int) -> None:
        """Forward the event."""
        for listener in self._listeners:
            listener.trial(text, position, trials)


def watch(console: Console) -> BarProgress | LineProgress:
    """Return a progress display that suits the console: bars for a terminal, lines otherwise."""
    return BarProgress(console) if console.is_terminal else LineProgress(console)
