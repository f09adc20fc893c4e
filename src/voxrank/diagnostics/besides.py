"""How much layers know of other columns of the data: speaker, gender, channel or any other.

A linear head (ridge regression on one-hot cells, with a free mean) is fitted on a bounded sample of the layer and tells
the cell of samples that were left out, whole groups at a time. A group is a speaker, so that what is known of a voice
does not pass for what is known of its gender; an utterance where a column names speakers itself (each of its cells is
of one speaker), or speakers are not known. Samples of one utterance never predict each other. Cells of a single group
are left out, since no other could confirm them.

With X = U diag(s) Vᵀ the m samples about their mean and Y their cells, a head of ridge t fits HY,

    H = 11ᵀ/m + U diag(s²/(s² + t)) Uᵀ,

and one fitted without the samples of a group G gives those Ŷ_G = Y_G − (I − H_GG)⁻¹(Y − HY)_G, exactly, so that one
decomposition serves all columns and all groups. t is the one of nine whose held-out squared error is least. A sample is
taken for the cell k with the greatest (ŷ_k − p_k)/p_k, p the shares of the cells outside of its group: how much more
likely than by its share alone, so that neither a common cell nor one that its group has much of is preferred. What is
told is the mean over cells of the share that is taken rightly, which is 1/K for a layer that knows nothing.

Sources: Allen's PRESS, Technometrics 16, 1974; Alain and Bengio, "Understanding intermediate layers using linear
classifier probes", arXiv 1610.01644.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxrank.data.utterance import Dataset
from voxrank.results.details import Knowledge
from voxrank.sketches.products import Array
from voxrank.sketches.sample import Keys, Sample, utterance_key

Ids = NDArray[np.int64]

RIDGES = 10.0 ** np.arange(-7, 2)
"""t over the largest s²."""


@dataclass(frozen=True)
class Column:
    """A column of the data.

    Attributes:
        name: its name.
        keys: (U,) of the utterances, ascending.
        cells: (U,) number of each one's cell; −1 where it has none.
        groups: (U,) number of what is left out with it.
    """

    name: str
    keys: Keys
    cells: Ids
    groups: Ids

    @classmethod
    def of(cls, dataset: Dataset, name: str) -> Column:
        """A column of a data set.

        Raises:
            DataError: there is no such column.
        """
        keys = np.array([utterance_key(one.id) for one in dataset.utterances], dtype=np.uint64)
        order = np.argsort(keys)
        given = np.array([cell is not None for cell in dataset.cells(name)])
        cells = _numbers([cell or "" for cell in dataset.cells(name)])
        speakers = _numbers([one.speaker or f"\0{one.id}" for one in dataset.utterances])
        pairs = np.unique(np.stack([cells, speakers])[:, given], axis=1)
        names_speakers = pairs.shape[1] == len(np.unique(pairs[0]))
        groups = np.arange(len(keys)) if names_speakers else speakers
        return cls(name, keys[order], np.where(given, cells, -1)[order], groups[order])

    def of_samples(self, sample: Sample) -> tuple[Ids, Ids]:
        """(m,) the cell and the group of each sample."""
        places = np.searchsorted(self.keys, sample.utterances)
        return self.cells[places], self.groups[places]


def _numbers(names: Sequence[str]) -> Ids:
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def known_besides(model: str, layer: int | str, sample: Sample, columns: Sequence[Column]) -> Iterator[Knowledge]:
    """What a layer knows of each column; nothing of those of which fewer than two cells can be confirmed."""
    heads: dict[bytes, Heads] = {}
    for column in columns:
        cells, groups = column.of_samples(sample)
        usable = confirmed(cells, groups)
        names, numbers, counts = np.unique(cells[usable], return_inverse=True, return_counts=True)
        if len(names) < 2:
            continue
        key = usable.tobytes()
        if key not in heads:
            heads[key] = Heads.of(sample.features[usable])
        right = heads[key].told(numbers, groups[usable]) == numbers
        recalls = np.bincount(numbers, right) / counts
        yield Knowledge(column.name, model, layer, float(recalls.mean()), 1 / len(names), len(names), len(numbers))


def confirmed(cells: Ids, groups: Ids) -> NDArray[np.bool_]:
    """Which samples (m,) have a cell that a sample of another group has, too."""
    pairs = np.unique(np.stack([cells, groups]), axis=1)[0]
    known, several = np.unique(pairs, return_counts=True)
    return np.isin(cells, known[(several > 1) & (known >= 0)])


@dataclass(frozen=True)
class Heads:
    """Linear heads on some samples.

    Attributes:
        directions: (m, r) U.
        strengths: (r,) s².
    """

    directions: Array
    strengths: Array

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Heads:
        """On features (m, D)."""
        x = features.astype(np.float64)
        x -= x.mean(axis=0)
        tall = len(x) > x.shape[1]
        values, vectors = np.linalg.eigh(x.T @ x if tall else x @ x.T)
        kept = values > max(x.shape) * np.finfo(np.float32).eps * max(values[-1], 0.0)
        values, vectors = values[kept], vectors[:, kept]
        return cls(x @ vectors / np.sqrt(values) if tall else vectors, values)

    def told(self, cells: Ids, groups: Ids) -> Ids:
        """The cell (m,) that each sample is given by heads that did not see its group.

        Args:
            cells: (m,) numbers from 0.
            groups: (m,) at least two different ones.
        """
        targets = np.eye(int(cells.max()) + 1)[cells]
        shares = Heads(self.directions[:, :0], self.strengths[:0]).held_out(targets, groups, 1.0)
        if not len(self.strengths):
            return _greatest(np.zeros_like(shares))
        made = [self.held_out(targets, groups, float(t * self.strengths[-1])) for t in RIDGES]
        errors = [float(((one - targets) ** 2).sum()) for one in made]
        return _greatest(made[int(np.argmin(errors))] / shares)

    def held_out(self, targets: Array, groups: Ids, ridge: float) -> Array:
        """(m, K) what heads of this ridge say of targets (m, K) of groups that they did not see."""
        u, m = self.directions, len(targets)
        kept = self.strengths / (self.strengths + ridge)
        rest = targets - targets.mean(axis=0) - (u * kept) @ (u.T @ targets)
        factor = np.column_stack([np.full(m, m**-0.5), u * np.sqrt(kept)])
        found = np.empty_like(targets)
        for places in _alike(groups):
            found[places] = targets[places] - _without_own(factor[places], rest[places])
        return found


def _without_own(factor: Array, rest: Array) -> Array:
    """(I − AAᵀ)⁻¹ B for each of several groups; where A has fewer columns than rows, B + A(I − AᵀA)⁻¹AᵀB.

    Args:
        factor: (g, n, r) A, with AAᵀ = H_GG of each group.
        rest: (g, n, K) B.
    """
    n, r = factor.shape[1:]
    turned = factor.swapaxes(1, 2)
    if n <= r:
        return np.asarray(np.linalg.solve(np.eye(n) - factor @ turned, rest))
    return np.asarray(rest + factor @ np.linalg.solve(np.eye(r) - turned @ factor, turned @ rest))


def _greatest(votes: Array) -> Ids:
    chosen: Ids = votes.argmax(axis=1)
    return chosen


def _alike(groups: Ids) -> Iterator[Ids]:
    """Places of the samples of each group, groups of the same size together: (g, n) each."""
    order = np.argsort(groups, kind="stable")
    _, first, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    for size in np.unique(sizes):
        yield order[first[sizes == size][:, None] + np.arange(size)]
