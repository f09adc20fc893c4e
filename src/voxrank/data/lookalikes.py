"""Detection of different labels that look the same."""

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
"""Character → the character that it looks like in most fonts: IPA, quotation marks, dashes, Cyrillic."""
SHOWN = 3


def describe_look_alikes(labels: Iterable[str]) -> list[str]:
    """Return a line on different labels that look the same; an empty list where there are none.

    Args:
        labels: the classes.

    Example:
        >>> describe_look_alikes(["g", "\u0261", "a"])
        ["labels that look alike are different classes: 'g' and 'ɡ' (U+0261); give them one spelling if they are one"]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(set(labels)):
        groups[_skeleton(label)].append(label)
    alike = [" and ".join(map(_with_code_points, names)) for names in groups.values() if len(names) > 1]
    if not alike:
        return []
    shown = listed(alike, SHOWN)
    return [f"labels that look alike are different classes: {shown}; give them one spelling if they are one"]


def _skeleton(label: str) -> str:
    """Return a label with invisible characters removed, and spaces and look-alike characters unified."""
    visible = "".join(character for character in label if unicodedata.category(character) != "Cf")
    return " ".join(visible.translate(_ALIKE).split())


def _with_code_points(label: str) -> str:
    """Return a label with the code points of its unusual characters."""
    unusual = [f"U+{ord(character):04X}" for character in label if _is_unusual(character)]
    return f"{label!r} ({', '.join(unusual)})" if unusual else repr(label)


def _is_unusual(character: str) -> bool:
    return ord(character) in _ALIKE or (character != " " and unicodedata.category(character) in ("Cf", "Zs"))
