"""Sums of samples by group and class, from which class means without any one group can be computed.

Groups are speakers or utterances. Most have few of the classes, so that only pairs of group and class with samples
are stored. If there are more pairs than `limit`, groups are assigned to ten blocks by their keys, and blocks are left
out instead. The number of classes then limits the memory, whatever the number of groups. Which of the two happens
depends on the samples alone, not on their order, division or merging.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from voxrank.sketches.products import Array

Ids = NDArray[np.int64]

LIMIT = 1 << 14
"""Maximum number of pairs of group and class: 128 MiB of sums at 1,024 dimensions."""
BLOCKS = 10
ROWS = 4096
"""Number of samples processed at a time."""


@dataclass
class GroupSums:
    """Sums of samples by group and class. `GroupSums.empty` is the neutral element of `merge`.

    Attributes:
        groups: (p,) key of each pair's group, ascending; or the number of its block, if groups are assigned to blocks.
        classes: (p,) class of each pair, ascending within a group.
        sums: (p, D) Σ (f − c), with centre c.
        counts: (p,) number of samples of each pair.
        dealt: whether groups are assigned to blocks.
        limit: maximum number of pairs without blocks.
        centre: (D,) c, near the mean of the first samples, so that sums lose no precision to a large mean.
    """

    groups: Ids
    classes: Ids
    sums: Array
    counts: Array
    centre: Array
    dealt: bool = False
    limit: int = LIMIT

    @classmethod
    def empty(cls, dim: int, limit: int = LIMIT) -> Self:
        """Return the sums of no samples with `dim` features."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, np.empty((0, dim)), np.empty(0), np.zeros(dim), limit=limit)

    def add(self, samples: NDArray[Any], classes: Ids, groups: Ids) -> None:
        """Add samples (n, D), with a class and a group for each (n,)."""
        if not len(self.groups) and len(samples):
            self.centre = samples[:ROWS].mean(axis=0, dtype=np.float64)
        self._add_sums(groups, classes, samples, np.ones(len(samples)), origin=self.centre)

    def merge(self, other: GroupSums) -> None:
        """Add the samples of `other`."""
        self.dealt |= other.dealt
        if not len(self.groups):
            self.centre = other.centre
        self._add_sums(other.groups, other.classes, other.about(self.centre).sums, other.counts)

    def about(self, centre: Array) -> GroupSums:
        """Return the sums of the same samples less another centre."""
        return replace(self, sums=self.sums + np.outer(self.counts, self.centre - centre), centre=centre)

    def blocks_of(self, groups: Ids) -> Ids:
        """Return what is left out with each group (n,): the group itself, or its block."""
        return groups % BLOCKS if self.dealt else groups

    def pairs_of(self, block: int) -> slice:
        """Return the slice of the arrays that holds a group (or block)."""
        return slice(*(int(np.searchsorted(self.groups, block, side=side)) for side in ("left", "right")))

    def class_sums(self, count: int) -> Array:
        """Return the sum of each class's samples less the centre, (count, D)."""
        sums = np.zeros((count, self.sums.shape[1]))
        _add_rows(sums, self.classes, self.sums)
        return sums

    def _add_sums(
        self, groups: Ids, classes: Ids, sums: NDArray[Any], counts: Array, origin: Array | float = 0.0
    ) -> None:
        """Add rows of sums, each less `origin`."""
        joined, labels = np.concatenate([self.groups, groups]), np.concatenate([self.classes, classes])
        blocks = self.blocks_of(joined)
        first, pairs = _distinct(blocks, labels)
        if not self.dealt and len(first) > self.limit:
            self.dealt = True
            self._add_sums(groups, classes, sums, counts, origin)
            return
        total, before = np.zeros((len(first), sums.shape[1])), len(self.groups)
        _add_rows(total, pairs[:before], self.sums)
        _add_rows(total, pairs[before:], sums, origin)
        self.groups, self.classes, self.sums = blocks[first], labels[first], total
        self.counts = np.bincount(pairs, np.concatenate([self.counts, counts])).astype(np.float64, copy=False)


def _distinct(groups: Ids, classes: Ids) -> tuple[Ids, Ids]:
    """Return the first row of each distinct pair, in ascending order of pairs, and the pair number of each row."""
    _, numbers = np.unique(groups, return_inverse=True)
    _, first, pairs = np.unique(
        numbers * (classes.max(initial=0) + 1) + classes, return_index=True, return_inverse=True
    )
    return first, pairs


def _add_rows(total: Array, positions: Ids, rows: NDArray[Any], origin: Array | float = 0.0) -> None:
    """Add each row, less `origin`, to its position in `total`, a few thousand rows at a time."""
    for start in range(0, len(rows), ROWS):
        part = positions[start : start + ROWS]
        order = np.argsort(part, kind="stable")
        unique_positions, first = np.unique(part[order], return_index=True)
        total[unique_positions] += np.add.reduceat(
            rows[start + order].astype(np.float64, copy=False) - origin, first, axis=0
        )
