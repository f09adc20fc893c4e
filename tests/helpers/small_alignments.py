"""All small problems of forced alignment, each with its best paths by enumeration.

Symbol 0 is the blank, and targets have at most two other symbols. Log probabilities are −1, −2 and −∞, whose sums are
exact. Therefore paths tie exactly, and an optimum can be compared without a tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray

Path = tuple[int, ...]

FINITE = (-1.0, -2.0)
WITH_IMPOSSIBLE = (-1.0, -2.0, -np.inf)


@dataclass(frozen=True)
class Problems:
    """All log probabilities of some frames for one target, with the best path of each.

    Attributes:
        target: the labels.
        log_probs: (N, T, C) log probabilities.
        paths: (P, T) symbols of every path that collapses to the target, in the order of preference among equals.
        best: (N,) log probability of the best path; −∞ where no path has a probability above 0.
        chosen: (N,) index in `paths` of the preferred best path.
        tied: (N,) whether several paths are best.
    """

    target: Path
    log_probs: NDArray[np.float64]
    paths: NDArray[np.int64]
    best: NDArray[np.float64]
    chosen: NDArray[np.int64]
    tied: NDArray[np.bool_]


def collapsed(symbols: Path) -> Path:
    """Return the labels of a path: repeats are merged, then blanks are removed."""
    return tuple(symbol for symbol, _ in groupby(symbols) if symbol)


def targets(longest: int) -> list[Path]:
    """Return all targets of up to `longest` labels of two symbols. The first label is 1: names do not matter."""
    return [
        labels
        for length in range(longest + 1)
        for labels in product((1, 2), repeat=length)
        if not labels or labels[0] == 1
    ]


def all_paths(n_frames: int, target: Path) -> list[Path]:
    """Return every path that collapses to the target, the preferred one among equals first.

    Of two paths, one that ends in the last label is preferred. Then the frames are compared from the last to the first,
    and the path that is further in the target at the first difference is preferred.
    """
    paths = [path for path in product(range(3), repeat=n_frames) if collapsed(path) == target]

    def preference(path: Path) -> tuple[bool, list[int]]:
        return path[-1] == 0, [-state for state in reversed(states(path))]

    return sorted(paths, key=preference)


def states(path: Path) -> list[int]:
    """Return how far a path is at each frame: 2 n in the blank after n labels, 2 n − 1 in label n."""
    return [2 * len(collapsed(path[: t + 1])) - (path[t] != 0) for t in range(len(path))]


def all_problems(n_frames: int, target: Path, values: tuple[float, ...]) -> Problems:
    """Return all problems of so many frames whose log probabilities are of these values."""
    n_symbols = max((0, *target)) + 1
    grid = np.array(list(product(values, repeat=n_frames * n_symbols))).reshape(-1, n_frames, n_symbols)
    found = all_paths(n_frames, target)
    paths = np.array(found, dtype=np.int64).reshape(len(found), n_frames)
    sums = np.full((len(grid), max(len(found), 1)), -np.inf)
    for column, path in enumerate(found):
        sums[:, column] = grid[:, np.arange(n_frames), path].sum(axis=1)
    best = sums.max(axis=1)
    tied = ((sums == best[:, None]).sum(axis=1) > 1) & (best > -np.inf)
    return Problems(target, grid, paths, best, sums.argmax(axis=1), tied)


def families(frames_finite: int, frames_impossible: int, longest: int = 3) -> Iterator[Problems]:
    """Yield the problems of each target and number of frames.

    Args:
        frames_finite: maximum number of frames of problems whose log probabilities are −1 and −2.
        frames_impossible: maximum number of frames of problems where some are −∞ too.
        longest: maximum number of labels.
    """
    for values, most in ((FINITE, frames_finite), (WITH_IMPOSSIBLE, frames_impossible)):
        for n_frames in range(1, most + 1):
            for target in targets(longest):
                yield all_problems(n_frames, target, values)
