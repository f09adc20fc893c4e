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

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank.errors import OptionError, UtteranceError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

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
        OptionError: wrong shapes, symbols outside the C, log probabilities that are NaN or +inf, or the extra `align`
            is not installed.
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
    from voxrank.targets.viterbi import advance, trace  # numba is slow to import, and an extra

    n_frames, n_labels = len(scores), len(sequence)
    labels = np.append(sequence, NO_LABEL)
    penalties = np.append(np.where(skips, 0.0, -np.inf), -np.inf)
    blank_scores, label_scores = np.full(n_labels + 1, -np.inf), np.full(n_labels + 1, -np.inf)
    blank_scores[0] = 0.0  # the state before the first frame: a stay and a step lead to the first two states
    starts = range(0, n_frames, stretch)
    checkpoints = [(blank_scores.copy(), label_scores.copy())]
    for begin in starts[:-1]:
        advance(
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
        advance(part, labels[window], penalties[window], gates[window], blank, *ends, choices)
        if state < 0:
            state, best = _best_end(*ends, n_labels)
        state = int(trace(choices, low, state, path[begin : begin + stretch]))
    return path, best


def _best_end(blank_scores: Array, label_scores: Array, n_labels: int) -> tuple[int, float]:
    """Return the state of the better end, the last label or the last blank, and its log probability."""
    if n_labels and label_scores[-2] >= blank_scores[-1]:
        return 2 * n_labels - 1, float(label_scores[-2])
    return 2 * n_labels, float(blank_scores[-1])
