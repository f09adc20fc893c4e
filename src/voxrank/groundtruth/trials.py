"""Trials, and a store of their results: a SQLite file that survives a process killed at any moment."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from voxrank.config import Seconds
from voxrank.errors import OptionError, reason

Status = Literal["done", "failed"]

VERSION = 2
"""Version of the training recipe: raise it when training changes, so that results of two recipes are not mixed."""

BUSY_S: Seconds = 60.0
"""Maximum time for which a process waits for another process that writes."""

WAIT_S: Seconds = 0.05

COLUMNS = ["key", "config", "status", "metric", "metrics", "history", "seconds", "finished", "reason"]

_TABLE = """
CREATE TABLE IF NOT EXISTS trials (
    key TEXT PRIMARY KEY, config TEXT NOT NULL, status TEXT NOT NULL, metric REAL, metrics TEXT NOT NULL,
    history TEXT NOT NULL, seconds REAL NOT NULL, finished TEXT NOT NULL, reason TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class Trial:
    """The identity of a trial.

    Attributes:
        model: spec of the model.
        layer: layer that the head reads, or whose block is tuned.
        seed: seed of the training.
        part: "main", or another purpose, such as "rival".
        setting: everything else that the result depends on: data, weights, options.
    """

    model: str
    layer: int
    seed: int
    part: str
    setting: dict[str, Any]

    @property
    def key(self) -> str:
        """Hex digest of all fields and of the version of the recipe."""
        text = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Row:
    """The result of a trial.

    Attributes:
        trial: the trial.
        status: "done" or "failed".
        metric: metric by which trials are compared, on the test part; None if the trial failed.
        metrics: all metrics.
        history: losses and validation metrics by epoch, the epoch that was tested, and the metrics before training.
        seconds: duration.
        reason: reason for a failure, in one line; otherwise empty.
        finished: end time, in ISO 8601.
    """

    trial: Trial
    status: Status
    metric: float | None
    metrics: dict[str, float]
    history: dict[str, Any]
    seconds: Seconds
    reason: str = ""
    finished: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def _enable_write_ahead(connection: sqlite3.Connection) -> None:
    """Let others read while one process writes. SQLite itself does not wait for a lock here."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(WAIT_S)
        else:
            return


class TrialStore:
    """Stores results of trials by key, each completely and synced or not at all; several processes may write at once.

    Args:
        path: path of the file; the file and its folder are created if they do not exist.

    Raises:
        OptionError: the file cannot be opened, or is not a store of trials.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._connected() as connection:
                _enable_write_ahead(connection)
                connection.execute(_TABLE)
                columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(trials)")]
            if columns != COLUMNS:
                raise sqlite3.DatabaseError(f"a table of other columns: {', '.join(columns)}")
        except (OSError, sqlite3.Error) as error:
            raise OptionError(
                f"expected a file of trials that can be written at {self._path}, got: {reason(error)}; "
                "choose another folder"
            ) from error

    def get(self, trial: Trial) -> Row | None:
        """Return the result of a trial; None if it has not ended yet."""
        with self._connected() as connection:
            values = connection.execute(
                "SELECT status, metric, metrics, history, seconds, reason, finished FROM trials WHERE key = ?",
                (trial.key,),
            ).fetchone()
        if values is None:
            return None
        status, metric, metrics, history, seconds, failure, finished = values
        return Row(trial, status, metric, json.loads(metrics), json.loads(history), seconds, failure, finished)

    def put(self, row: Row) -> None:
        """Store a result, in place of an earlier result of the same trial."""
        with self._connected() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.trial.key,
                    json.dumps(asdict(row.trial), sort_keys=True, ensure_ascii=False),
                    row.status,
                    row.metric,
                    json.dumps(row.metrics),
                    json.dumps(row.history),
                    row.seconds,
                    row.finished,
                    row.reason,
                ),
            )

    def __len__(self) -> int:
        with self._connected() as connection:
            return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=BUSY_S)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                yield connection
        finally:
            connection.close()
