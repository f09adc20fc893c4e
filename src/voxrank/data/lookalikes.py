"""Labels that a reader cannot tell apart, and a computer can."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from voxrank.errors import listed

_ALIKE = str.maketrans(
    {
        **dict(zip("ɡːˈʼ’‘‐‑–—−ǝεı", "g:''''-----əɛi", strict=True)),
        **dict(zip("асеорхуіјѕАВЕКМНОРСТХ", "aceopxyijsABEKMHOPCTX", strict=True)),
    }
)
"""Characters that look like others in most fonts: IPA, quotation marks, dashes, Cyrillic."""
SHOWN = 3


def describe_look_alikes(labels: Iterable[str]) -> list[str]:
    """Say which labels look the same and are different classes, in a line; none where there are none.

    Args:
        labels: the classes.

    Example:
        >>> describe_look_alikes(["g", "\u0261", "a"])
        ["labels that look alike are different classes: 'g' and 'ɡ' (U+0261); give them one spelling if they are one"]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(set(labels)):
        groups[_skeleton(label)].append(label)
    alike = [" and ".join(map(_shown, names)) for names in groups.values() if len(names) > 1]
    if not alike:
        return []
    what = listed(alike, SHOWN)
    return [f"labels that look alike are different classes: {what}; give them one spelling if they are one"]


def _skeleton(label: str) -> str:
    """What is seen of a label: no invisible characters, one kind of space, one character for those that look alike."""
    visible = "".join(character for character in label if unicodedata.category(character) != "Cf")
    return " ".join(visible.translate(_ALIKE).split())


def _shown(label: str) -> str:
    """A label with the code points of what is unusual in it."""
    odd = [f"U+{ord(character):04X}" for character in label if _is_odd(character)]
    return f"{label!r} ({', '.join(odd)})" if odd else repr(label)


def _is_odd(character: str) -> bool:
    return ord(character) in _ALIKE or (character != " " and unicodedata.category(character) in ("Cf", "Zs"))
