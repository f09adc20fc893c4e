"""Utterances → shards: the unit of work that one engine worker takes, inside blocks that can be resampled."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voxrank.config import Seconds
from voxrank.data.utterance import Utterance

MANY_GROUPS = 10
"""For each block: blocks that are filled by chance are then alike enough (by about a third)."""


@dataclass(frozen=True)
class Item:
    """One utterance to encode.

    Attributes:
        utterance: what to decode.
        seconds: how long it is.
        row: its row in `Targets.rows`.
    """

    utterance: Utterance
    seconds: Seconds
    row: int


@dataclass(frozen=True)
class Shard:
    """Utterances of one block, longest first.

    Attributes:
        block: number of the block they belong to.
        items: the utterances.
    """

    block: int
    items: tuple[Item, ...]

    @property
    def seconds(self) -> Seconds:
        """Audio in the shard."""
        return sum(item.seconds for item in self.items)


def plan_shards(items: Sequence[Item], target: str, *, blocks: int, shard_s: Seconds) -> list[Shard]:
    """Deal utterances into blocks by group, and cut each block into shards.

    A group is a speaker, or an utterance where speakers are unknown or are the target themselves; it is never
    divided between blocks. Many groups are dealt by a hash of their name, so that none moves when others are added; of
    few the larger are dealt first, each to the block with the least audio so far.
    The same items give the same shards, whatever their order.

    Args:
        items: the utterances.
        target: the column that is predicted.
        blocks: how many blocks at most (fewer when there are fewer groups).
        shard_s: audio in one shard, about.
    """
    by_speaker = target != "speaker" and len({item.utterance.speaker for item in items} - {None}) > 1
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.utterance.id):
        groups[(by_speaker and item.utterance.speaker) or f"\0{item.utterance.id}"].append(item)
    shards = []
    many = len(groups) >= MANY_GROUPS * blocks
    for block, members in enumerate(_by_hash(groups, blocks) if many else _deal(list(groups.values()), blocks)):
        shards += [Shard(block, part) for part in cut(members, shard_s)]
    return shards


def _by_hash(groups: Mapping[str, list[Item]], blocks: int) -> list[list[Item]]:
    dealt: list[list[Item]] = [[] for _ in range(blocks)]
    for name, group in groups.items():
        dealt[zlib.crc32(name.encode("utf-8", "surrogateescape")) % blocks] += group
    return [members for members in dealt if members]


def _deal(groups: list[list[Item]], blocks: int) -> list[list[Item]]:
    dealt: list[list[Item]] = [[] for _ in range(max(1, min(blocks, len(groups))))]
    loads = [0.0] * len(dealt)
    for group in sorted(groups, key=_seconds, reverse=True):
        lightest = loads.index(min(loads))
        dealt[lightest] += group
        loads[lightest] += _seconds(group)
    return dealt


def _seconds(items: Sequence[Item]) -> Seconds:
    return sum(item.seconds for item in items)


def cut(items: Sequence[Item], shard_s: Seconds) -> list[tuple[Item, ...]]:
    """In parts of about so much audio, longest first: neighbours are of like length, and memory is asked for early."""
    parts: list[list[Item]] = []
    load = shard_s
    for item in sorted(items, key=lambda item: (-item.seconds, item.utterance.id)):
        if load >= shard_s:
            parts.append([])
            load = 0.0
        parts[-1].append(item)
        load += item.seconds
    return [tuple(part) for part in parts]
