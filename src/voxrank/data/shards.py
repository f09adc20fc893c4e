"""A planner of shards: the units of work for engine workers, inside blocks that can be resampled."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from voxrank.config import Seconds
from voxrank.data.utterance import Utterance

MANY_GROUPS = 10
"""Minimum number of groups per block for dealing by hash. Sizes of blocks then differ by about a third."""


@dataclass(frozen=True, slots=True)
class Item:
    """An utterance to encode.

    Attributes:
        utterance: utterance to decode.
        seconds: length of the utterance.
        row: row of the utterance in `Targets.rows`.
    """

    utterance: Utterance
    seconds: Seconds
    row: int

    def to_encode(self) -> Item:
        """Return the item as other processes receive it: with an absolute path, without data that encoders ignore."""
        path = self.utterance.path.absolute()
        return replace(self, utterance=replace(self.utterance, path=path, text=None, segments=None, others=None))


@dataclass(frozen=True, slots=True)
class Shard:
    """Utterances of one block, longest first.

    Attributes:
        block: number of the block.
        items: the utterances.
    """

    block: int
    items: tuple[Item, ...]

    @property
    def seconds(self) -> Seconds:
        """The amount of audio in the shard, in seconds."""
        return sum(item.seconds for item in self.items)


def items_of(shards: Iterable[Shard]) -> Iterator[Item]:
    """Yield the utterances of shards."""
    return (item for shard in shards for item in shard.items)


def plan_shards(items: Sequence[Item], target: str, *, blocks: int, shard_s: Seconds) -> list[Shard]:
    """Deal utterances into blocks by group, and cut each block into shards.

    A group is a speaker, or an utterance where speakers are unknown or are the target. A group is never divided between
    blocks. Many groups are dealt by a hash of their names, so that adding groups moves no other group. Few groups are
    dealt largest first, each to the block with the least audio so far. The order of the items does not matter.

    Args:
        items: the utterances.
        target: column that is predicted.
        blocks: maximum number of blocks (fewer when there are fewer groups).
        shard_s: approximate amount of audio in one shard, in seconds.
    """
    by_speaker = holds_out_speakers(items, target)
    if _n_groups(items, by_speaker=by_speaker) >= MANY_GROUPS * blocks:
        dealt = _by_hash(items, blocks, by_speaker=by_speaker)
    else:
        dealt = _deal(_grouped(items, by_speaker=by_speaker), blocks)
    return [Shard(block, part) for block, members in enumerate(dealt) for part in cut(members, shard_s)]


def holds_out_speakers(items: Sequence[Item], target: str) -> bool:
    """Return whether a group is a speaker; otherwise it is an utterance."""
    return target != "speaker" and len({item.utterance.speaker for item in items} - {None}) > 1


def _group_of(item: Item, *, by_speaker: bool) -> str:
    """Return the name of an item's group: its speaker, or a name that no speaker has."""
    return (by_speaker and item.utterance.speaker) or f"\0{item.utterance.id}"


def _n_groups(items: Sequence[Item], *, by_speaker: bool) -> int:
    if not by_speaker:
        return len(items)
    speakers = [item.utterance.speaker for item in items if item.utterance.speaker]
    return len(set(speakers)) + len(items) - len(speakers)


def _grouped(items: Sequence[Item], *, by_speaker: bool) -> list[list[Item]]:
    """Return the groups in the order of their first ids."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.utterance.id):
        groups[_group_of(item, by_speaker=by_speaker)].append(item)
    return list(groups.values())


def _by_hash(items: Sequence[Item], blocks: int, *, by_speaker: bool) -> list[list[Item]]:
    """Deal items one by one; a list for each group would take more memory than millions of items."""
    dealt: list[list[Item]] = [[] for _ in range(blocks)]
    for item in items:
        name = _group_of(item, by_speaker=by_speaker)
        dealt[zlib.crc32(name.encode("utf-8", "surrogateescape")) % blocks].append(item)
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
    """Cut items into parts of about `shard_s` of audio, longest first.

    Neighbours then have similar lengths, and the highest memory use comes first.
    """
    parts: list[list[Item]] = []
    load = shard_s
    for item in sorted(items, key=lambda item: (-item.seconds, item.utterance.id)):
        if load >= shard_s:
            parts.append([])
            load = 0.0
        parts[-1].append(item)
        load += item.seconds
    return [tuple(part) for part in parts]
