"""Alignment without an aligner: starts with labels of equal length, then alternates between fitting and aligning.

The frames of each symbol are modelled as normal about the symbol's mean, with one covariance for all. In the basis
where all frames together have covariance I, with n_c frames of symbol c, their mean m_c and N frames in all,

    log p(c | f) = m_cᵀ W f − ½ m_cᵀ W m_c + ln(n_c/N) + constant,   W = (I − Σ_c n_c/N m_c m_cᵀ)⁻¹,

which is the linear discriminant. Up to a scale for each symbol, ridge regression on the symbols' indicators gives the
same. It needs only sums over the frames of each symbol; the best path by `targets.ctc.align` gives the next symbols.

Symbol 0 is silence, which occurs only at pauses. It starts with the quiet parts of the audio if they are given, and the
labels share the rest. Without them, silence rarely converges to the right frames. The first passes use few principal
directions, which distinguish broad classes and cannot overfit a wrong alignment. Later passes use more of them, up to
all. Passes continue until hardly any frame changes.

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
"""Number of principal directions in each stage; None for all."""
PASSES = 20
"""Maximum number of passes in a stage."""
SETTLED = 0.002
"""Share of the frames that may still change when a stage ends."""
SHRINKAGE = 0.01
"""Shrinkage: added to the diagonal of the covariance within symbols, as a share of its mean."""
QUIET = 0.4
"""Maximum level of a quiet frame, on a scale from the 5th percentile of the levels (0) to the 95th (1)."""
LEAST_QUIET = 5
"""Minimum number of consecutive quiet frames of silence within an utterance: 0.1 s at 50 Hz."""
STORED_BYTES = 4
"""Maximum size of stored frames along principal directions, in bytes per value of the features."""
SMALLEST = 1e-8
"""Minimum variance of a direction, as a share of the largest; directions below it hold rounding errors only."""


@dataclass(frozen=True)
class Spoken:
    """The frames of an utterance and its transcript.

    Attributes:
        features: (T, D) frames.
        labels: (L,) symbols in order, from 1.
        pauses: (L + 1,) whether there may be silence before each label, and after the last.
        quiet: (T,) frames that start as silence (`quiet_frames`); None: both ends do, each as long as a label.
    """

    features: NDArray[Any]
    labels: Ids
    pauses: NDArray[np.bool_]
    quiet: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class FrameModel:
    """A model from frames to the log probability of each symbol.

    Attributes:
        centre: (D,) subtracted from every frame.
        weights: (D, C) weights of the discriminant.
        bias: (C,) bias of each symbol.
    """

    centre: Array
    weights: Array
    bias: Array

    @classmethod
    def fit(cls, features: Sequence[NDArray[Any]], symbols: Sequence[Ids], n_symbols: int) -> Self:
        """Fit to frames whose symbols are known: (T, D) and (T,) for each utterance."""
        centre, basis = _whitening(features)
        weights, bias = _discriminant(_symbol_sums(features, centre, symbols, n_symbols) @ basis, symbols)
        return cls(centre, basis @ weights, bias)

    def scores(self, features: ArrayLike) -> Array:
        """Return the log probability (T, C) of every symbol, up to a constant for each frame."""
        return np.asarray((np.asarray(features, dtype=np.float64) - self.centre) @ self.weights + self.bias)

    def align(self, spoken: Spoken) -> Alignment:
        """Align an utterance, which need not be in the training data.

        Raises:
            UtteranceError: the utterance has more labels than frames.
        """
        return _align(self.scores(spoken.features), spoken)


@dataclass(frozen=True)
class FlatStart:
    """The result of a flat start.

    Attributes:
        model: the model of the frames after the last fit.
        alignments: the alignment of each utterance, or the error if it has none.
        changed: share of the frames whose symbol changed, in each pass.
    """

    model: FrameModel
    alignments: tuple[Alignment | UtteranceError, ...]
    changed: tuple[float, ...]


def flat_start(
    utterances: Sequence[Spoken], n_symbols: int, *, stages: Sequence[int | None] = STAGES, threads: int | None = None
) -> FlatStart:
    """Align utterances with their transcripts, from their features alone.

    Args:
        utterances: the utterances; all features are held in memory: an hour of 512 features at 50 Hz takes 370 MB,
            and the flat start up to as much again.
        n_symbols: C, the number of symbols, including silence.
        stages: number of principal directions in each stage.
        threads: number of utterances aligned at once; default: one per core.

    Raises:
        DataError: no utterance has as many frames as labels.
        OptionError: a symbol is outside the C.
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
        symbols = [_uniform_symbols(spoken) for spoken in usable]
        model = FrameModel(centre, np.zeros((len(centre), n_symbols)), np.zeros(n_symbols))
        for size in dict.fromkeys(min(stage or basis.shape[1], basis.shape[1]) for stage in stages):
            frames = _StageFrames(usable, centre, basis[:, -size:], pool)
            model, symbols, changes = _fit_stage(frames, symbols, n_symbols, pool)
            changed += changes
        alignments = tuple(pool.map(lambda spoken: _align_or_reason(model, spoken), utterances))
    return FlatStart(model, alignments, tuple(changed))


class _StageFrames:
    """The frames along the principal directions of a stage.

    They are stored where they take no more memory than the features. Otherwise they are computed for one utterance at a
    time, so that the last stages do not hold the data three times over.

    Args:
        usable: the utterances.
        centre: (D,) mean of all frames.
        directions: (D, p) principal directions.
        pool: threads that project utterances.
    """

    def __init__(self, usable: Sequence[Spoken], centre: Array, directions: Array, pool: ThreadPoolExecutor) -> None:
        self.usable, self._centre, self._directions = usable, centre, directions
        dim, size = directions.shape
        self._stored: list[Array] | None = None
        if size * directions.itemsize <= STORED_BYTES * dim:
            self._stored = list(pool.map(lambda spoken: (spoken.features - centre) @ directions, usable))

    def sums(self, symbols: Sequence[Ids], n_symbols: int) -> Array:
        """Return the sums (C, p) of the frames of each symbol."""
        if self._stored is not None:
            return _symbol_sums(self._stored, np.zeros(self._directions.shape[1]), symbols, n_symbols)
        features = [spoken.features for spoken in self.usable]
        return _symbol_sums(features, self._centre, symbols, n_symbols) @ self._directions

    def aligned(self, weights: Array, bias: Array, pool: ThreadPoolExecutor) -> list[Ids]:
        """Return the symbols of each utterance by a discriminant with weights (p, C) and bias (C,)."""
        model = self.model(weights, bias)

        def align_one(index: int) -> Ids:
            spoken = self.usable[index]
            stored = self._stored
            scores = model.scores(spoken.features) if stored is None else stored[index] @ weights + bias
            return _align(scores, spoken).symbols(spoken.labels, SILENCE)

        return list(pool.map(align_one, range(len(self.usable))))

    def model(self, weights: Array, bias: Array) -> FrameModel:
        """Return the model of the features that a discriminant along these directions is."""
        return FrameModel(self._centre, self._directions @ weights, bias)


def _fit_stage(
    frames: _StageFrames, symbols: list[Ids], n_symbols: int, pool: ThreadPoolExecutor
) -> tuple[FrameModel, list[Ids], list[float]]:
    """Fit and align until a stage ends; return the model, the symbols, and the share of changes in each pass."""
    changed: list[float] = []
    while True:
        weights, bias = _discriminant(frames.sums(symbols, n_symbols), symbols)
        new_symbols = frames.aligned(weights, bias, pool)
        changed.append(float(np.mean(np.concatenate(new_symbols) != np.concatenate(symbols))))
        symbols = new_symbols
        if len(changed) == PASSES or changed[-1] < SETTLED:
            return frames.model(weights, bias), symbols, changed


def _align(scores: Array, spoken: Spoken) -> Alignment:
    return align(scores, spoken.labels, blank=SILENCE, repeats_need_blank=False, pauses=spoken.pauses)


def _align_or_reason(model: FrameModel, spoken: Spoken) -> Alignment | UtteranceError:
    try:
        return model.align(spoken)
    except UtteranceError as error:
        return error


def quiet_frames(samples: ArrayLike, n_frames: int) -> NDArray[np.bool_]:
    """Return which frames lie in quiet parts of the audio, (n_frames,).

    A quiet frame lies below `QUIET` of the way from the 5th to the 95th percentile of the frames' levels in dB. At
    least `LEAST_QUIET` consecutive frames must be quiet (closures of plosives are shorter), except at the ends.

    Args:
        samples: (n,) mono audio.
        n_frames: number of equal parts that the audio is cut into.
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


def _uniform_symbols(spoken: Spoken) -> Ids:
    """Return labels of equal length (T,), placed in the frames that are not silence."""
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
    """Return the mean (D,), and the principal directions (D, R) over their standard deviations, the largest last."""
    n_frames = sum(map(len, features))
    centre = np.sum([part.sum(axis=0, dtype=np.float64) for part in features], axis=0) / n_frames
    scatter = np.zeros((len(centre), len(centre)))
    for part in features:
        deviations = part - centre
        scatter += deviations.T @ deviations
    values, vectors = np.linalg.eigh(scatter / n_frames)
    is_used = values > SMALLEST * max(values[-1], np.finfo(np.float64).tiny)
    return centre, vectors[:, is_used] / np.sqrt(values[is_used])


def _symbol_sums(features: Sequence[NDArray[Any]], centre: Array, symbols: Sequence[Ids], n_symbols: int) -> Array:
    """Return the sums (C, D) of the frames of each symbol, from `centre`."""
    sums = np.zeros((n_symbols, len(centre)))
    for part, frame_symbols in zip(features, symbols, strict=True):
        np.add.at(sums, frame_symbols, part - centre)
    return sums


def _discriminant(sums: Array, symbols: Sequence[Ids]) -> tuple[Array, Array]:
    """Return weights (p, C) and bias (C,) from the sums (C, p) of whitened frames and the symbol of each."""
    counts = np.sum([np.bincount(part, minlength=len(sums)) for part in symbols], axis=0) + 1.0
    means, shares = sums / counts[:, None], counts / counts.sum()  # each symbol has one more frame, at the overall mean
    within = np.eye(sums.shape[1]) - (means.T * shares) @ means
    within[np.diag_indices_from(within)] += SHRINKAGE * np.trace(within) / len(within)
    weights = np.linalg.solve(within, means.T)
    return weights, np.log(shares) - (means.T * weights).sum(axis=0) / 2
