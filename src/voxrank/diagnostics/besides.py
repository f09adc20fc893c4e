"""Probing of layers for other columns of the data: speaker, gender, channel or any other.

A linear head (ridge regression on one-hot cells, with a free mean) is fitted on a bounded sample of the layer. It
predicts the cell of held-out samples, a whole group at a time. A group is a speaker, so that a head for gender cannot
succeed by recognising voices. A group is an utterance where each cell of the column belongs to one speaker, or where
speakers are unknown. Samples of one utterance never predict each other. Cells that occur in a single group are left
out, because no other group holds them.

Let X = U diag(s) Vᵀ be the m samples about their mean, and Y their cells. A head of ridge t fits HY,

    H = 11ᵀ/m + U diag(s²/(s² + t)) Uᵀ.

A head fitted without the samples of a group G predicts for them exactly

    Ŷ_G = Y_G − (I − H_GG)⁻¹(Y − HY)_G,

so that one decomposition serves all columns and all groups. Of nine values, t is the one with the least squared error
on held-out samples. A sample is assigned to the cell k with the greatest (ŷ_k − p_k)/p_k, where p_k is the share of
cell k outside the sample's group. The division by p_k removes the preference for common cells, and for the cells of the
sample's group. The accuracy is the mean over cells of the share that is assigned correctly. Guessing gives 1/K.

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
from voxrank.sketches.eigen import eigh
from voxrank.sketches.products import Array
from voxrank.sketches.sample import Keys, Sample, utterance_key

Ids = NDArray[np.int64]

RIDGES = 10.0 ** np.arange(-7, 2)
"""Ridges t that are tried, relative to the largest s²."""


@dataclass(frozen=True)
class Column:
    """A column of the data.

    Attributes:
        name: name of the column.
        keys: (U,) keys of the utterances, ascending.
        cells: (U,) number of each utterance's cell; −1 where it is empty.
        groups: (U,) number of the group that is held out with each utterance.
    """

    name: str
    keys: Keys
    cells: Ids
    groups: Ids

    @classmethod
    def of(cls, dataset: Dataset, name: str) -> Column:
        """Read a column of a data set.

        Raises:
            DataError: there is no such column.
        """
        keys = np.array([utterance_key(utterance.id) for utterance in dataset.utterances], dtype=np.uint64)
        order = np.argsort(keys)
        present = np.array([cell is not None for cell in dataset.cells(name)])
        cells = _encode([cell or "" for cell in dataset.cells(name)])
        speakers = _encode([utterance.speaker or f"\0{utterance.id}" for utterance in dataset.utterances])
        pairs = np.unique(np.stack([cells, speakers])[:, present], axis=1)
        names_speakers = pairs.shape[1] == len(np.unique(pairs[0]))
        groups = np.arange(len(keys)) if names_speakers else speakers
        return cls(name, keys[order], np.where(present, cells, -1)[order], groups[order])

    def of_samples(self, sample: Sample) -> tuple[Ids, Ids]:
        """Return the cell and the group of each sample, (m,) each."""
        indices = np.searchsorted(self.keys, sample.utterances)
        return self.cells[indices], self.groups[indices]


def _encode(names: Sequence[str]) -> Ids:
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def probe_columns(model: str, layer: int | str, sample: Sample, columns: Sequence[Column]) -> Iterator[Knowledge]:
    """Yield the held-out accuracy of a layer for each column that has at least two cells in several groups."""
    heads: dict[bytes, Heads] = {}
    for column in columns:
        cells, groups = column.of_samples(sample)
        usable = in_several_groups(cells, groups)
        names, numbers, counts = np.unique(cells[usable], return_inverse=True, return_counts=True)
        if len(names) < 2:
            continue
        key = usable.tobytes()
        if key not in heads:
            heads[key] = Heads.of(sample.features[usable])
        correct = heads[key].predict(numbers, groups[usable]) == numbers
        recalls = np.bincount(numbers, correct) / counts
        yield Knowledge(column.name, model, layer, float(recalls.mean()), 1 / len(names), len(names), len(numbers))


def in_several_groups(cells: Ids, groups: Ids) -> NDArray[np.bool_]:
    """Return which samples (m,) have a cell that also occurs in another group."""
    pairs = np.unique(np.stack([cells, groups]), axis=1)[0]
    cell_numbers, n_groups = np.unique(pairs, return_counts=True)
    return np.isin(cells, cell_numbers[(n_groups > 1) & (cell_numbers >= 0)])


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
        """Decompose features (m, D)."""
        x = features.astype(np.float64)
        x -= x.mean(axis=0)
        tall = len(x) > x.shape[1]
        values, vectors = eigh(x.T @ x if tall else x @ x.T)
        positive = values > max(x.shape) * np.finfo(np.float32).eps * max(values[-1], 0.0)
        values, vectors = values[positive], vectors[:, positive]
        return cls(x @ vectors / np.sqrt(values) if tall else vectors, values)

    def predict(self, cells: Ids, groups: Ids) -> Ids:
        """Return the cell (m,) that heads fitted without a sample's group predict for each sample.

        Args:
            cells: (m,) numbers from 0.
            groups: (m,) numbers of at least two groups.
        """
        targets = np.eye(int(cells.max()) + 1)[cells]
        shares = Heads(self.directions[:, :0], self.strengths[:0]).held_out(targets, groups, 1.0)
        if not len(self.strengths):
            return _argmax(np.zeros_like(shares))
        predictions = [self.held_out(targets, groups, float(t * self.strengths[-1])) for t in RIDGES]
        errors = [float(((prediction - targets) ** 2).sum()) for prediction in predictions]
        return _argmax(predictions[int(np.argmin(errors))] / shares)

    def held_out(self, targets: Array, groups: Ids, ridge: float) -> Array:
        """Return the held-out predictions (m, K) of targets (m, K) by heads of this ridge."""
        u, m = self.directions, len(targets)
        shrinkage = self.strengths / (self.strengths + ridge)
        residuals = targets - targets.mean(axis=0) - (u * shrinkage) @ (u.T @ targets)
        factor = np.column_stack([np.full(m, m**-0.5), u * np.sqrt(shrinkage)])
        predictions = np.empty_like(targets)
        for indices in _groups_by_size(groups):
            predictions[indices] = targets[indices] - _solve_groups(factor[indices], residuals[indices])
        return predictions


def _solve_groups(factor: Array, residuals: Array) -> Array:
    """Compute (I − AAᵀ)⁻¹ B for each group; where A has fewer columns than rows, as B + A(I − AᵀA)⁻¹AᵀB.

    Args:
        factor: (g, n, r) A, with AAᵀ = H_GG of each group.
        residuals: (g, n, K) B.
    """
    n, r = factor.shape[1:]
    transposed = factor.swapaxes(1, 2)
    if n <= r:
        return np.asarray(np.linalg.solve(np.eye(n) - factor @ transposed, residuals))
    return np.asarray(residuals + factor @ np.linalg.solve(np.eye(r) - transposed @ factor, transposed @ residuals))


def _argmax(votes: Array) -> Ids:
    chosen: Ids = votes.argmax(axis=1)
    return chosen


def _groups_by_size(groups: Ids) -> Iterator[Ids]:
    """Yield the indices of the samples of all groups of the same size, (g, n) for each size."""
    order = np.argsort(groups, kind="stable")
    _, first, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    for size in np.unique(sizes):
        yield order[first[sizes == size][:, None] + np.arange(size)]
