"""Samples of a tar shard, and the faults of samples that are ambiguous.

As in WebDataset, a key is the name of a member up to its first dot, and the members of a sample follow each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from voxrank.data.audio_files import audio_suffixes
from voxrank.errors import listed

LABEL_KINDS, TEXT_KINDS, JSON_KINDS = ("cls", "cls2", "class"), ("txt", "text", "transcript"), ("json", "jsn")
DATA_KINDS = (*LABEL_KINDS, *TEXT_KINDS, *JSON_KINDS)
SHOWN_MEMBERS = 6


@dataclass(frozen=True)
class Member:
    """A file in a tar.

    Attributes:
        kind: name after the first dot, in lower case.
        offset: offset of the first byte.
        size: size in bytes.
    """

    kind: str
    offset: int
    size: int

    @property
    def is_audio(self) -> bool:
        """True if the member has the ending of an audio file."""
        return f".{self.kind.rpartition('.')[2]}" in audio_suffixes()

    @property
    def prefix(self) -> str:
        """The text between the first and the last dot of the name; empty where there is only one dot."""
        return self.kind.rpartition(".")[0]


@dataclass
class Sample:
    """Consecutive members with the same key."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def audio(self) -> list[Member]:
        """The members with audio."""
        return [member for member in self.members.values() if member.is_audio]

    @property
    def names(self) -> list[str]:
        """The names of the members."""
        return [f"{self.key}.{kind}" for kind in self.members]


@dataclass(frozen=True)
class Fault:
    """An unusable sample.

    Attributes:
        key: key of the sample.
        reason: reason in one line.
    """

    key: str
    reason: str


def sort_out(samples: Sequence[Sample]) -> tuple[list[Sample], list[Fault]]:
    """Separate the usable samples of a shard from those that were stored in an unreadable way.

    Args:
        samples: all samples of the shard, in order.
    """
    scattered = _scattered_parts(samples)
    usable: list[Sample] = []
    faults = [Fault(key, _scattered_reason(parts)) for key, parts in scattered.items()]
    for sample in samples:
        if sample.key in scattered:
            continue
        dotted = _dotted_keys(sample)
        faults += [Fault(f"{sample.key}.{prefix}", _dotted_reason(sample, prefix)) for prefix in dotted]
        members = {kind: member for kind, member in sample.members.items() if member.prefix not in dotted}
        if not dotted or any(member.is_audio for member in members.values()):
            usable.append(replace(sample, members=members))
    return usable, faults


def _scattered_parts(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Return a mapping from key to its parts, where other samples lie between them and at most one part has audio.

    If several parts have audio, they are separate samples with the same key.
    """
    positions_by_key: dict[str, list[int]] = defaultdict(list)
    for position, sample in enumerate(samples):
        positions_by_key[sample.key].append(position)
    return {
        key: [samples[position] for position in positions]
        for key, positions in positions_by_key.items()
        if positions[-1] - positions[0] >= len(positions)
        and sum(bool(samples[position].audio) for position in positions) <= 1
    }


def _scattered_reason(parts: Sequence[Sample]) -> str:
    names = ", and then ".join(listed(part.names, SHOWN_MEMBERS) for part in parts[:SHOWN_MEMBERS])
    return (
        f"the members of this sample lie apart in the tar, with other samples between them: {names}; write the members "
        "of a sample beside each other, as tar --sort=name does"
    )


def _dotted_keys(sample: Sample) -> list[str]:
    """Return the parts of keys after their first dot: ``001`` for ``a.001.wav`` and ``a.001.txt``.

    Such a key has a label or a transcript, or the sample holds only such audio. ``a.left.wav`` beside ``a.json`` has no
    such key.
    """
    prefixes = list(dict.fromkeys(member.prefix for member in sample.audio if member.prefix))
    described = [prefix for prefix in prefixes if any(f"{prefix}.{kind}" in sample.members for kind in DATA_KINDS)]
    has_plain = any(
        not member.prefix and (member.is_audio or kind in DATA_KINDS) for kind, member in sample.members.items()
    )
    return described or (prefixes if len(prefixes) > 1 and not has_plain else [])


def _dotted_reason(sample: Sample, prefix: str) -> str:
    names = [f"{sample.key}.{kind}" for kind, member in sample.members.items() if member.prefix == prefix]
    return (
        f"its key has dots, and WebDataset ends a key at the first dot: {listed(names, SHOWN_MEMBERS)} would be "
        f"members of the sample {sample.key!r}; replace the dots in keys by other characters"
    )
