"""The compiled loops of forced alignment: one step of the search over frames, and the way back along the best path."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxrank._support.compiled import compiled

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@compiled
def advance(
    scores: NDArray[Any],
    labels: Ids,
    penalties: Array,
    gates: Array,
    blank: int,
    blank_scores: Array,
    label_scores: Array,
    choices: NDArray[np.uint8],
) -> None:
    """Advance v by m frames, in place.

    Args:
        scores: (m, C) log probabilities.
        labels: (w,) symbols of a window of labels; a negative number after the last.
        penalties: (w,) penalty for skipping the blank before each label: 0 or −inf.
        gates: (w,) cost of a frame in that blank: 0 or −inf.
        blank: symbol of the blank.
        blank_scores: (w,) v of the blank before each label.
        label_scores: (w,) v of each label.
        choices: (m, w) output, unless it is empty: how each label was reached (stay 0, step 1, skip 2), plus 4 if the
            blank was reached by a step.
    """
    width, keep = len(labels), len(choices) > 0
    symbols = np.empty(width)
    next_blank_scores, next_label_scores = np.empty(width), np.empty(width)
    for t in range(len(scores)):
        blank_score = np.float64(scores[t, blank])
        for i in range(width):
            symbols[i] = scores[t, labels[i]] if labels[i] >= 0 else -np.inf
        for i in range(width):
            previous = label_scores[i - 1] if i > 0 else -np.inf
            stay_score, step_score = label_scores[i], blank_scores[i]
            to_blank = previous > step_score
            next_blank_scores[i] = blank_score + gates[i] + (previous if to_blank else step_score)
            step = step_score > stay_score
            best = step_score if step else stay_score
            skip_score = previous + penalties[i]
            skip = skip_score > best
            next_label_scores[i] = symbols[i] + (skip_score if skip else best)
            if keep:
                choices[t, i] = (2 if skip else (1 if step else 0)) + (4 if to_blank else 0)
        blank_scores[:] = next_blank_scores
        label_scores[:] = next_label_scores


@compiled
def trace(choices: NDArray[np.uint8], low: int, state: int, path: Ids) -> int:
    """Write the states (m,) of frames whose last is in `state`, and return the state before the first.

    Args:
        choices: (m, w) as `advance` writes them.
        low: index of the first label of the window.
        state: state of the last frame: 2 i for the blank before label i, 2 i + 1 for the label.
        path: (m,) output.
    """
    for t in range(len(path) - 1, -1, -1):
        path[t] = state
        choice = int(choices[t, state // 2 - low])
        state -= choice % 4 if state % 2 else choice // 4
    return state
