"""Members of a tar → samples, and why some cannot be told from their neighbours.

A key is the name of a member up to its first dot, and the members of a sample stand beside each other: so WebDataset
writes and reads them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from voxrank.data.endings import audio_suffixes
from voxrank.errors import listed

LABEL_KINDS, TEXT_KINDS, JSON_KINDS = ("cls", "cls2", "class"), ("txt", "text", "transcript"), ("json", "jsn")
DATA_KINDS = (*LABEL_KINDS, *TEXT_KINDS, *JSON_KINDS)
SHOWN_MEMBERS = 6


@dataclass(frozen=True)
class Member:
    """A file in a tar.

    Attributes:
        kind: its name behind the first dot, in lower case.
        offset: of its first byte.
        size: bytes.
    """

    kind: str
    offset: int
    size: int

    @property
    def is_audio(self) -> bool:
        """Whether its ending is one of audio files."""
        return f".{self.kind.rpartition('.')[2]}" in audio_suffixes()

    @property
    def prefix(self) -> str:
        """What stands between the first dot of its name and the last; empty where these are one."""
        return self.kind.rpartition(".")[0]


@dataclass
class Sample:
    """Members of one key that stand beside each other."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def audio(self) -> list[Member]:
        """The members with audio."""
        return [member for member in self.members.values() if member.is_audio]

    @property
    def names(self) -> list[str]:
        """Names of the members."""
        return [f"{self.key}.{kind}" for kind in self.members]


@dataclass(frozen=True)
class Fault:
    """A sample that cannot be used.

    Attributes:
        key: of the sample.
        reason: a line.
    """

    key: str
    reason: str


def sort_out(samples: Sequence[Sample]) -> tuple[list[Sample], list[Fault]]:
    """Tell the samples of a shard that can be used from those that its writer stored in a way that cannot be read.

    Args:
        samples: all of the shard, in order.
    """
    apart = _lying_apart(samples)
    usable: list[Sample] = []
    faults = [Fault(key, _apart(parts)) for key, parts in apart.items()]
    for sample in samples:
        if sample.key in apart:
            continue
        dotted = _dotted_keys(sample)
        faults += [Fault(f"{sample.key}.{prefix}", _dots(sample, prefix)) for prefix in dotted]
        kept = {kind: member for kind, member in sample.members.items() if member.prefix not in dotted}
        if not dotted or any(member.is_audio for member in kept.values()):
            usable.append(replace(sample, members=kept))
    return usable, faults


def _lying_apart(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Key → its parts, where other samples stand between them and no more than one of them has audio.

    Where several have audio, they are samples of one key.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        places[sample.key].append(place)
    return {
        key: [samples[place] for place in found]
        for key, found in places.items()
        if found[-1] - found[0] >= len(found) and sum(bool(samples[place].audio) for place in found) <= 1
    }


def _apart(parts: Sequence[Sample]) -> str:
    names = ", and then ".join(listed(part.names, SHOWN_MEMBERS) for part in parts[:SHOWN_MEMBERS])
    return (
        f"the members of this sample lie apart in the tar, with other samples between them: {names}; write the members "
        "of a sample beside each other, as tar --sort=name does"
    )


def _dotted_keys(sample: Sample) -> list[str]:
    """What keys with dots have behind the first dot: ``001`` of ``a.001.wav`` and ``a.001.txt``.

    A label or a transcript of its own, or nothing but such audio, tells it from ``a.left.wav`` beside ``a.json``.
    """
    prefixes = list(dict.fromkeys(member.prefix for member in sample.audio if member.prefix))
    described = [prefix for prefix in prefixes if any(f"{prefix}.{kind}" in sample.members for kind in DATA_KINDS)]
    has_plain = any(
        not member.prefix and (member.is_audio or kind in DATA_KINDS) for kind, member in sample.members.items()
    )
    return described or (prefixes if len(prefixes) > 1 and not has_plain else [])


def _dots(sample: Sample, prefix: str) -> str:
    names = [f"{sample.key}.{kind}" for kind, member in sample.members.items() if member.prefix == prefix]
    return (
        f"its key has dots, and WebDataset ends a key at the first dot: {listed(names, SHOWN_MEMBERS)} would be "
        f"members of the sample {sample.key!r}; write other characters for the dots in keys"
    )
