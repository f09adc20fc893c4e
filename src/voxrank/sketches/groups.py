"""Sums of samples by group and class: what is needed to leave any group out of the class means.

Groups are speakers or utterances; most have few of the classes, so that only those pairs of group and class are kept
that have samples. Where there are more pairs than `limit`, groups are dealt into ten blocks by their keys, and it is
blocks that can be left out: memory is then bounded by the classes, whatever the number of groups. Which of both it is
depends on the samples alone, not on their order, division or merging.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from voxrank.sketches.products import Array

Ids = NDArray[np.int64]

LIMIT = 1 << 14
"""Pairs of group and class kept apart: 128 MiB of sums at 1,024 dimensions."""
BLOCKS = 10
ROWS = 4096
"""Samples gathered at a time."""


@dataclass
class GroupSums:
    """The sums. `GroupSums.empty` is the neutral element of `merge`.

    Attributes:
        groups: (p,) key of each pair's group, ascending; the number of its block where groups are dealt into blocks.
        classes: (p,) number of its class, ascending within a group.
        sums: (p, D) Σ f.
        counts: (p,) samples.
        dealt: whether groups are dealt into blocks.
        limit: pairs from which on they are.
    """

    groups: Ids
    classes: Ids
    sums: Array
    counts: Array
    dealt: bool = False
    limit: int = LIMIT

    @classmethod
    def empty(cls, dim: int, limit: int = LIMIT) -> Self:
        """Of no samples of `dim` numbers."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, np.empty((0, dim)), np.empty(0), limit=limit)

    def add(self, samples: NDArray[Any], classes: Ids, groups: Ids) -> None:
        """Add samples (n, D), each of a class and a group (n,)."""
        self._take(groups, classes, samples, np.ones(len(samples)))

    def merge(self, other: GroupSums) -> None:
        """Add the samples of `other`."""
        self.dealt |= other.dealt
        self._take(other.groups, other.classes, other.sums, other.counts)

    def blocks_of(self, groups: Ids) -> Ids:
        """What is left out with each of these groups (n,): itself, or its block."""
        return groups % BLOCKS if self.dealt else groups

    def pairs_of(self, block: int) -> slice:
        """Where a group (or block) lies in the arrays."""
        return slice(*(int(np.searchsorted(self.groups, block, side=side)) for side in ("left", "right")))

    def class_sums(self, count: int) -> Array:
        """(count, D) the sum of each class's samples."""
        sums = np.zeros((count, self.sums.shape[1]))
        _add_rows(sums, self.classes, self.sums)
        return sums

    def _take(self, groups: Ids, classes: Ids, sums: NDArray[Any], counts: Array) -> None:
        joined, labels = np.concatenate([self.groups, groups]), np.concatenate([self.classes, classes])
        blocks = self.blocks_of(joined)
        first, place = _distinct(blocks, labels)
        if not self.dealt and len(first) > self.limit:
            self.dealt = True
            self._take(groups, classes, sums, counts)
            return
        total, before = np.zeros((len(first), sums.shape[1])), len(self.groups)
        _add_rows(total, place[:before], self.sums)
        _add_rows(total, place[before:], sums)
        self.groups, self.classes, self.sums = blocks[first], labels[first], total
        self.counts = np.bincount(place, np.concatenate([self.counts, counts])).astype(np.float64, copy=False)


def _distinct(groups: Ids, classes: Ids) -> tuple[Ids, Ids]:
    """Where each pair is first, pairs ascending, and which pair each row is."""
    _, numbers = np.unique(groups, return_inverse=True)
    _, first, place = np.unique(
        numbers * (classes.max(initial=0) + 1) + classes, return_index=True, return_inverse=True
    )
    return first, place


def _add_rows(total: Array, places: Ids, rows: NDArray[Any]) -> None:
    """Add each row to its place, a few thousand at a time."""
    for start in range(0, len(rows), ROWS):
        part = places[start : start + ROWS]
        order = np.argsort(part, kind="stable")
        there, first = np.unique(part[order], return_index=True)
        total[there] += np.add.reduceat(rows[start + order].astype(np.float64, copy=False), first, axis=0)
