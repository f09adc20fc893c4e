"""Measures time and memory of the alignment of an hour, in a separate process. `alignment.py` calls it.

Run: python benchmarks/long_utterance.py [frames labels]
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from numpy.typing import NDArray

from voxrank._support.memory import peak_rss_mb
from voxrank.targets.ctc import align

SYMBOLS = 41
HOUR = (180_000, 54_000)
"""Number of frames at 50 Hz, and of labels."""
FRAMES_PER_S = 50


def problem(n_frames: int, n_labels: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return random log probabilities and labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, SYMBOLS, n_labels)
    scores = rng.standard_normal((n_frames, SYMBOLS), dtype=np.float32)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores, labels


def main(frames: int, labels: int) -> None:
    align(*problem(100, 20))
    log_probs, symbols = problem(frames, labels)
    before, started = peak_rss_mb(), time.perf_counter()
    align(log_probs, symbols)
    seconds = time.perf_counter() - started
    result = {
        "frames": frames,
        "labels": labels,
        "times_real_time": round(frames / FRAMES_PER_S / seconds),
        "memory_mb": round(peak_rss_mb() - before),
        "process_mb": round(peak_rss_mb()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]) if sys.argv[1:] else HOUR)
