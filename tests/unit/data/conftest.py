"""Fixtures of one corpus in many forms: a form is right if its ranking is that of the manifest."""

import csv
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import pytest
import soundfile

import voxrank
from voxrank._support import threads


@dataclass(frozen=True)
class Clip:
    """A row of the manifest of tones, and its audio."""

    path: Path
    label: str
    speaker: str
    samples: np.ndarray
    rate: int

    @property
    def name(self):
        return self.path.stem


@pytest.fixture
def never(monkeypatch):
    """Yield a call that blocks until the test ends. Its limit is over once it blocks; other calls have no limit."""
    over = threading.Event()

    def block(*_):
        thread: Any = threading.current_thread()
        thread.blocks = True
        over.wait()

    def call(hand, _, function):
        hand.worker.functions.put(function)
        while not getattr(hand.worker, "blocks", False):
            with suppress(Empty):
                return hand.worker.outcomes.get(timeout=0.01)
        raise Empty

    monkeypatch.setattr(threads._WorkerHandle, "call", call)
    yield block
    over.set()


@pytest.fixture
def clips(tones):
    """Return all clips of `tones`, in its order."""
    with tones.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        path = tones.parent / row["path"]
        samples, rate = soundfile.read(path, dtype="float32")
        found.append(Clip(path, row["label"], row["speaker"], samples, rate))
    return found


def scores(ranking):
    return {(one.model, one.layer, name): s.value for one in ranking.layers for name, s in one.scores.items()}


@pytest.fixture
def ranked_as_tones(tones):
    """Return a function that ranks a data set and checks that the result is that of `tones`."""
    expected = voxrank.rank(tones, ["logmel", "mfcc"])

    def check(data, **options):
        found = voxrank.rank(data, ["logmel", "mfcc"], **options)
        assert not found.skipped
        assert found.data.used == 36
        assert [one.model for one in found.models] == [one.model for one in expected.models]
        assert scores(found) == pytest.approx(scores(expected), rel=1e-9)
        return found

    return check
