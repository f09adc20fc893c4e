"""Forced alignment: assigns frames to the labels of a known sequence, by exact Viterbi search in log space.

A sequence y of L labels has 2L + 1 states, blank y₁ blank y₂ … y_L blank. A frame stays in its state, steps to the
next, or skips a blank. It may not skip a blank between two equal labels: CTC needs that blank to tell them apart. Where
blanks stand for silence, they may be restricted to pauses. With log p_t(c) the log probability of symbol c at frame t,
the best path to state s at frame t has

    v_t(s) = log p_t(symbol of s) + max(v_{t−1}(s), v_{t−1}(s − 1), v_{t−1}(s − 2) where it may skip),

and the alignment is the path to the better of the last two states: the optimum over all paths, in double precision.
Ties are resolved in the order stay, step, skip, and for an end in the last label. So the same input gives the same
alignment on any machine.

Memory: each choice takes one byte per frame and label, and all are stored while they are few. Otherwise v is stored at
checkpoints every few thousand frames. From the last checkpoint to the first, the frames up to the next checkpoint are
then searched again with their choices. In m frames a path moves by at most m labels, so that these frames take m²
bytes, however long the utterance is.

Sources: Graves et al., "Connectionist Temporal Classification", ICML 2006; Viterbi, IEEE Trans. Inf. Theory 13, 1967;
Grice, Hughey and Speck, CABIOS 13, 1997 (checkpoints).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError, UtteranceError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

BLANK = -1
"""Value in an alignment of frames that belong to no label."""
CHOICE_BYTES = 1 << 26
"""Maximum memory of the choices of one utterance, in bytes."""
STRETCH = 4096
"""Number of frames between two checkpoints, if all choices would take more memory."""
NO_LABEL = -1
NO_CHOICES = np.empty((0, 0), dtype=np.uint8)


@dataclass(frozen=True)
class Alignment:
    """The best path through the frames.

    Attributes:
        tokens: (T,) index in the sequence of the label that each frame belongs to, or `BLANK`.
        spans: (L, 2) first frame of each label, and the frame after its last.
        scores: (L,) mean log probability of each label over its frames.
        log_probability: log probability of the whole path.
    """

    tokens: Ids
    spans: Ids
    scores: Array
    log_probability: float

    def symbols(self, labels: ArrayLike, blank: int) -> Ids:
        """Return the symbol of every frame (T,), with `blank` for frames that belong to no label."""
        sequence = np.append(np.asarray(labels, dtype=np.int64), blank)
        return sequence[self.tokens]


def align(
    log_probs: ArrayLike,
    labels: ArrayLike,
    *,
    blank: int = 0,
    repeats_need_blank: bool = True,
    pauses: ArrayLike | None = None,
) -> Alignment:
    """Align a sequence of labels with frames.

    Args:
        log_probs: (T, C) log probability of every symbol at every frame, or any score that is additive over frames;
            −inf for an impossible symbol.
        labels: (L,) symbols, none of them the blank. Without labels, all frames are blank.
        blank: the symbol between labels.
        repeats_need_blank: whether two equal labels in turn need a blank frame between them, as in CTC.
        pauses: (L + 1,) whether frames may be blank before each label, and after the last; None: everywhere.

    Raises:
        OptionError: wrong shapes, symbols outside the C, or log probabilities that are NaN or +inf.
        UtteranceError: no path exists, because there are more labels (and blanks between equal labels) than frames, or
            a symbol is impossible.
    """
    scores, sequence = _check_inputs(log_probs, labels, blank)
    n_frames, n_labels = len(scores), len(sequence)
    skips = np.ones(n_labels, dtype=np.bool_)
    if repeats_need_blank:
        skips[1:] = sequence[1:] != sequence[:-1]
    n_required = n_labels + int(np.count_nonzero(~skips))
    if n_frames < max(n_required, 1):
        raise UtteranceError(f"its {n_labels} labels need at least {max(n_required, 1)} frames, and it has {n_frames}")
    stretch = n_frames if n_frames * (n_labels + 1) <= CHOICE_BYTES else STRETCH
    path, best = _search(scores, sequence, skips, _gates(pauses, n_labels), blank, stretch)
    if best == -np.inf:
        raise UtteranceError("no path through its frames has a probability above 0")
    tokens = np.where(path % 2 == 1, path // 2, BLANK)
    return _make_alignment(tokens, scores, sequence, best)


def uniform(n_frames: int, n_labels: int) -> Ids:
    """Return the label index of each frame (T,) if all labels are equally long: the baseline of every aligner."""
    if n_frames < n_labels or not n_labels:
        raise UtteranceError(f"its {n_labels} labels need at least {max(n_labels, 1)} frames, and it has {n_frames}")
    return np.arange(n_frames) * n_labels // n_frames


def _check_inputs(log_probs: ArrayLike, labels: ArrayLike, blank: int) -> tuple[NDArray[Any], Ids]:
    scores = np.asarray(log_probs)
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise OptionError(f"expected log probabilities of shape (frames, symbols), got {scores.shape}")
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise OptionError("expected log probabilities, got NaN or infinite ones")
    sequence = np.asarray(labels)
    if sequence.ndim != 1 or (len(sequence) and not np.issubdtype(sequence.dtype, np.integer)):
        raise OptionError(f"expected labels as (L,) numbers of symbols, got {sequence.dtype} of shape {sequence.shape}")
    count = scores.shape[1]
    if not 0 <= blank < count:
        raise OptionError(f"expected a blank among the {count} symbols, got {blank}")
    invalid = sequence[(sequence < 0) | (sequence >= count) | (sequence == blank)]
    if len(invalid):
        raise OptionError(f"expected labels among the {count} symbols other than the blank {blank}, got {invalid[0]}")
    return np.ascontiguousarray(scores), sequence.astype(np.int64)


def _gates(pauses: ArrayLike | None, n_labels: int) -> Array:
    """Return the cost (L + 1,) of a blank frame before each label and after the last: 0, or −inf."""
    allowed = np.ones(n_labels + 1, dtype=np.bool_) if pauses is None else np.asarray(pauses, dtype=np.bool_)
    if allowed.shape != (n_labels + 1,):
        raise OptionError(f"expected pauses for {n_labels + 1} places, got shape {allowed.shape}")
    return np.where(allowed, 0.0, -np.inf)


def _make_alignment(tokens: Ids, scores: NDArray[Any], sequence: Ids, best: float) -> Alignment:
    """Build an alignment from the label of each frame."""
    spoken = np.flatnonzero(tokens != BLANK)
    indices = tokens[spoken]
    counts = np.bincount(indices, minlength=len(sequence))
    first = np.searchsorted(indices, np.arange(len(sequence)))
    starts = spoken[first]
    sums = np.bincount(indices, scores[spoken, sequence[indices]], minlength=len(sequence))
    return Alignment(tokens, np.column_stack([starts, starts + counts]), sums / counts, best)


def _search(
    scores: NDArray[Any], sequence: Ids, skips: NDArray[np.bool_], gates: Array, blank: int, stretch: int
) -> tuple[Ids, float]:
    """Return the state of every frame (T,), and the log probability of the path."""
    n_frames, n_labels = len(scores), len(sequence)
    labels = np.append(sequence, NO_LABEL)
    penalties = np.append(np.where(skips, 0.0, -np.inf), -np.inf)
    blank_scores, label_scores = np.full(n_labels + 1, -np.inf), np.full(n_labels + 1, -np.inf)
    blank_scores[0] = 0.0  # the state before the first frame: a stay and a step lead to the first two states
    starts = range(0, n_frames, stretch)
    checkpoints = [(blank_scores.copy(), label_scores.copy())]
    for begin in starts[:-1]:
        _advance(
            scores[begin : begin + stretch], labels, penalties, gates, blank, blank_scores, label_scores, NO_CHOICES
        )
        checkpoints.append((blank_scores.copy(), label_scores.copy()))
    path, state, best = np.empty(n_frames, dtype=np.int64), -1, -np.inf
    for begin, (blank_scores, label_scores) in zip(reversed(starts), reversed(checkpoints), strict=True):
        part = scores[begin : begin + stretch]
        last = n_labels if state < 0 else state // 2
        low = max(0, last - len(part) - 1)  # the path may end in the label before the last blank
        window = slice(low, last + 1)
        choices = np.empty((len(part), last + 1 - low), dtype=np.uint8)
        ends = blank_scores[window].copy(), label_scores[window].copy()
        _advance(part, labels[window], penalties[window], gates[window], blank, *ends, choices)
        if state < 0:
            state, best = _best_end(*ends, n_labels)
        state = int(_trace(choices, low, state, path[begin : begin + stretch]))
    return path, best


def _best_end(blank_scores: Array, label_scores: Array, n_labels: int) -> tuple[int, float]:
    """Return the state of the better end, the last label or the last blank, and its log probability."""
    if n_labels and label_scores[-2] >= blank_scores[-1]:
        return 2 * n_labels - 1, float(label_scores[-2])
    return 2 * n_labels, float(blank_scores[-1])


def compiled(function: Function) -> Function:
    """Compile a function with numba, and cache it on disk if there is a folder for it."""
    try:
        return cast("Function", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder for the cache
        return cast("Function", numba.njit(nogil=True)(function))


@compiled
def _advance(
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
        labels: (w,) symbols of a window of labels; `NO_LABEL` after the last.
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
def _trace(choices: NDArray[np.uint8], low: int, state: int, path: Ids) -> int:
    """Write the states (m,) of frames whose last is in `state`, and return the state before the first.

    Args:
        choices: (m, w) as `_advance` writes them.
        low: index of the first label of the window.
        state: state of the last frame: 2 i for the blank before label i, 2 i + 1 for the label.
        path: (m,) output.
    """
    for t in range(len(path) - 1, -1, -1):
        path[t] = state
        choice = int(choices[t, state // 2 - low])
        state -= choice % 4 if state % 2 else choice // 4
    return state
