"""Alignment without an aligner: begin with labels of equal length, then fit frames to labels and align again, in turn.

Every symbol's frames are taken to be normal about a mean of their own, with one covariance for all. In the basis in
which all frames together have covariance I, with n_c frames of symbol c, their mean m_c and N frames in all,

    log p(c | f) = m_cᵀ W f − ½ m_cᵀ W m_c + ln(n_c/N) + constant,   W = (I − Σ_c n_c/N m_c m_cᵀ)⁻¹,

the linear discriminant: what ridge regression on the symbols' indicators gives, up to its scale for each symbol. It
takes sums over the frames of each symbol and nothing else; the best path by `targets.ctc.align` gives the next ones.

Symbol 0 is silence, which only pauses can hold. It begins with the quiet stretches of the audio, where these are told,
and the labels share the rest; without them it hardly ever finds its own frames. The first passes see few principal
directions, which tell the broad classes apart and cannot learn a wrong alignment by heart; later ones see more of them,
up to all. Passes go on until hardly a frame changes.

Sources: Fisher, Annals of Eugenics 7, 1936 (the discriminant); Young et al., "The HTK Book", 2002 (flat start and
Viterbi training); Hastie, Tibshirani and Buja, JASA 89, 1994 (discriminant and regression).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank._support.threads import one_blas_thread
from voxrank.errors import DataError, OptionError, UtteranceError
from voxrank.targets.ctc import Alignment, Array, Ids, align, uniform

SILENCE = 0
STAGES = (40, 80, 160, None)
"""Principal directions that are looked at, one stage after another; None for all."""
PASSES = 20
"""In a stage, at most."""
SETTLED = 0.002
"""Share of the frames that may still change when a stage ends."""
SHRINKAGE = 0.01
"""Added to the diagonal of the covariance within symbols, as a share of its mean."""
QUIET = 0.4
"""How loud a quiet frame may be, from the 5th percentile of the levels (0) to the 95th (1)."""
LEAST_QUIET = 5
"""Quiet frames in turn that are silence within an utterance: 0.1 s at 50 Hz."""
SMALLEST = 1e-8
"""Directions of less variance than this share of the largest hold rounding only."""


@dataclass(frozen=True)
class Spoken:
    """An utterance and what is said in it.

    Attributes:
        features: (T, D) frames.
        labels: (L,) symbols in order, from 1.
        pauses: (L + 1,) whether there may be silence before each label, and behind the last.
        quiet: (T,) frames that begin as silence (`quiet_frames`); None: the ends do, each as long as a label.
    """

    features: NDArray[Any]
    labels: Ids
    pauses: NDArray[np.bool_]
    quiet: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class FrameModel:
    """Frames → how well each symbol fits them.

    Attributes:
        centre: (D,) taken from every frame.
        weights: (D, C).
        bias: (C,).
    """

    centre: Array
    weights: Array
    bias: Array

    @classmethod
    def fit(cls, features: Sequence[NDArray[Any]], symbols: Sequence[Ids], n_symbols: int) -> Self:
        """From frames whose symbols are known: (T, D) and (T,) of each utterance."""
        centre, basis = _whitening(features)
        weights, bias = _discriminant([(part - centre) @ basis for part in features], symbols, n_symbols)
        return cls(centre, basis @ weights, bias)

    def scores(self, features: ArrayLike) -> Array:
        """(T, C) log probability of every symbol, up to a constant for each frame."""
        return np.asarray((np.asarray(features, dtype=np.float64) - self.centre) @ self.weights + self.bias)

    def align(self, spoken: Spoken) -> Alignment:
        """Align an utterance, one of those fitted or another one.

        Raises:
            UtteranceError: it has more labels than frames.
        """
        return _align(self.scores(spoken.features), spoken)


@dataclass(frozen=True)
class FlatStart:
    """What came of it.

    Attributes:
        model: of the frames, as last fitted.
        alignments: of each utterance, or why it has none.
        changed: share of the frames whose symbol changed, in each pass.
    """

    model: FrameModel
    alignments: tuple[Alignment | UtteranceError, ...]
    changed: tuple[float, ...]


def flat_start(
    utterances: Sequence[Spoken], n_symbols: int, *, stages: Sequence[int | None] = STAGES, threads: int | None = None
) -> FlatStart:
    """Align utterances with what is said in them, from nothing but their features.

    Args:
        utterances: all features are held in memory: an hour of 512 numbers at 50 Hz takes 370 MB.
        n_symbols: C, silence among them.
        stages: principal directions of each stage.
        threads: utterances aligned at once; by default one for each core.

    Raises:
        DataError: no utterance has as many frames as labels.
        OptionError: symbols that are not among the C.
    """
    usable = [spoken for spoken in utterances if 0 < len(spoken.labels) <= len(spoken.features)]
    if not usable:
        raise DataError(f"none of the {len(utterances)} utterances has labels, and a frame for each; nothing to align")
    lowest, highest = (end(int(end(spoken.labels)) for spoken in usable) for end in (min, max))
    if highest >= n_symbols or lowest <= SILENCE:
        raise OptionError(f"expected labels from 1 to {n_symbols - 1}, got {lowest} to {highest}")
    changed: list[float] = []
    with one_blas_thread(), ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        centre, basis = _whitening([spoken.features for spoken in usable])
        symbols = [_flat(spoken) for spoken in usable]
        model = FrameModel(centre, np.zeros((len(centre), n_symbols)), np.zeros(n_symbols))
        for size in dict.fromkeys(min(stage or basis.shape[1], basis.shape[1]) for stage in stages):
            seen = basis[:, -size:]
            frames = list(pool.map(lambda spoken: (spoken.features - centre) @ seen, usable))  # noqa: B023
            weights, bias, symbols, moved = _settled(frames, usable, symbols, n_symbols, pool)
            model = FrameModel(centre, seen @ weights, bias)
            changed += moved
        alignments = tuple(pool.map(lambda spoken: _align_or_reason(model, spoken), utterances))
    return FlatStart(model, alignments, tuple(changed))


def _settled(
    frames: Sequence[Array], usable: Sequence[Spoken], symbols: list[Ids], n_symbols: int, pool: ThreadPoolExecutor
) -> tuple[Array, Array, list[Ids], list[float]]:
    """One stage: fit and align in turn. The last fit, the symbols it gives, and how many changed in each pass."""
    changed: list[float] = []
    while True:
        weights, bias = _discriminant(frames, symbols, n_symbols)
        found = pool.map(lambda rows, spoken: _align(rows @ weights + bias, spoken), frames, usable)  # noqa: B023
        moved = [a.symbols(s.labels, SILENCE) for a, s in zip(found, usable, strict=True)]
        changed.append(float(np.mean(np.concatenate(moved) != np.concatenate(symbols))))
        symbols = moved
        if len(changed) == PASSES or changed[-1] < SETTLED:
            return weights, bias, symbols, changed


def _align(scores: Array, spoken: Spoken) -> Alignment:
    return align(scores, spoken.labels, blank=SILENCE, repeats_need_blank=False, pauses=spoken.pauses)


def _align_or_reason(model: FrameModel, spoken: Spoken) -> Alignment | UtteranceError:
    try:
        return model.align(spoken)
    except UtteranceError as error:
        return error


def quiet_frames(samples: ArrayLike, n_frames: int) -> NDArray[np.bool_]:
    """Frames in quiet stretches of the audio: (n_frames,).

    Quiet is what lies below `QUIET` of the way from the 5th to the 95th percentile of the frames' levels in dB, for at
    least `LEAST_QUIET` of them in turn (closures of plosives are shorter) or at an end.

    Args:
        samples: (n,) mono audio.
        n_frames: equal parts to cut it into.
    """
    audio = np.asarray(samples, dtype=np.float64)
    ends = np.arange(n_frames + 1) * len(audio) // n_frames
    power = np.add.reduceat(audio**2, ends[:-1]) / np.maximum(np.diff(ends), 1)
    level = np.log10(power + np.finfo(np.float32).tiny)
    low, high = np.percentile(level, [5, 95])
    edges = np.flatnonzero(np.diff(level < low + QUIET * (high - low), prepend=False, append=False))
    quiet = np.zeros(n_frames, dtype=np.bool_)
    for begin, end in edges.reshape(-1, 2):
        quiet[begin:end] = end - begin >= LEAST_QUIET or begin == 0 or end == n_frames
    return quiet


def _flat(spoken: Spoken) -> Ids:
    """(T,) labels of equal length, in the frames that are not silence."""
    if spoken.quiet is not None:
        loud = np.flatnonzero(~spoken.quiet)
        if len(loud) >= len(spoken.labels):
            order = np.full(len(spoken.features), SILENCE, dtype=np.int64)
            order[loud] = spoken.labels[uniform(len(loud), len(spoken.labels))]
            return order
    ends = [SILENCE] * bool(spoken.pauses[0]), [SILENCE] * bool(spoken.pauses[-1])
    order = np.concatenate([ends[0], spoken.labels, ends[1]]).astype(np.int64)
    if len(order) > len(spoken.features):
        order = spoken.labels
    return np.asarray(order[uniform(len(spoken.features), len(order))])


def _whitening(features: Sequence[NDArray[Any]]) -> tuple[Array, Array]:
    """Mean (D,), and the principal directions (D, R) over their standard deviations, the largest last."""
    n = sum(map(len, features))
    centre = np.sum([part.sum(axis=0, dtype=np.float64) for part in features], axis=0) / n
    scatter = np.zeros((len(centre), len(centre)))
    for part in features:
        about = part - centre
        scatter += about.T @ about
    values, vectors = np.linalg.eigh(scatter / n)
    kept = values > SMALLEST * max(values[-1], np.finfo(np.float64).tiny)
    return centre, vectors[:, kept] / np.sqrt(values[kept])


def _discriminant(frames: Sequence[Array], symbols: Sequence[Ids], n_symbols: int) -> tuple[Array, Array]:
    """Weights (p, C) and bias (C,) from white frames and the symbol of each."""
    counts = np.sum([np.bincount(part, minlength=n_symbols) for part in symbols], axis=0) + 1.0
    sums = np.zeros((n_symbols, frames[0].shape[1]))
    for rows, own in zip(frames, symbols, strict=True):
        np.add.at(sums, own, rows)
    means, shares = sums / counts[:, None], counts / counts.sum()  # one frame more of each, at the mean of all
    within = np.eye(sums.shape[1]) - (means.T * shares) @ means
    within[np.diag_indices_from(within)] += SHRINKAGE * np.trace(within) / len(within)
    weights = np.linalg.solve(within, means.T)
    return weights, np.log(shares) - (means.T * weights).sum(axis=0) / 2
