"""Transcripts → sequences of units, characters or words, with the places where silence may be.

Text is put in Unicode's compatibility form (NFKC) and case-folded, so that one way of writing a character is as good as
another. Words are runs of letters, marks, numbers and apostrophes within; all else parts them. A character is a letter
with the marks that follow it. Silence may be where a word begins and behind the last.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxrank.config import check_choice
from voxrank.errors import UtteranceError

Unit = Literal["char", "word"]

APOSTROPHES = {"'", "\u2019", "\u02bc"}
FIRST = 1
"""Number of the first unit; 0 is silence or blank."""


@dataclass(frozen=True)
class Units:
    """What is said in an utterance.

    Attributes:
        names: (L,) the units in order.
        pauses: (L + 1,) whether there may be silence before each, and behind the last.
    """

    names: tuple[str, ...]
    pauses: NDArray[np.bool_]


@dataclass(frozen=True)
class Inventory:
    """The units that are known, numbered from `FIRST` in their order.

    Attributes:
        names: sorted.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, spelled: Sequence[Units]) -> Inventory:
        """All that occur."""
        return cls(tuple(sorted({name for units in spelled for name in units.names})))

    def numbers(self, units: Units) -> NDArray[np.int64]:
        """(L,) the number of each unit.

        Raises:
            UtteranceError: units that are not known, which are named.
        """
        known = {name: number for number, name in enumerate(self.names, start=FIRST)}
        unknown = Counter(name for name in units.names if name not in known)
        if unknown:
            found = ", ".join(repr(name) for name, _ in unknown.most_common())
            raise UtteranceError(f"expected units among the {len(known)} known ones, got {found}")
        return np.array([known[name] for name in units.names], dtype=np.int64)


def spell(text: str, unit: Unit) -> Units:
    """The units of a transcript.

    Raises:
        OptionError: another unit.
        UtteranceError: nothing in it can be said.
    """
    check_choice("unit", unit, Unit)
    words = _words(text)
    if not words:
        raise UtteranceError(f"expected a transcript with words, got {text!r}")
    spelled = [[word] if unit == "word" else _characters(word) for word in words]
    begins = [place == 0 for parts in spelled for place in range(len(parts))]
    return Units(tuple(name for parts in spelled for name in parts), np.array([*begins, True]))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    plain = "".join("'" if character in APOSTROPHES else character for character in folded)
    runs = ("".join(run) for said, run in groupby(plain, key=_is_said) if said)
    return [word for run in runs if (word := run.strip("'"))]


def _is_said(character: str) -> bool:
    return character == "'" or unicodedata.category(character)[0] in "LMN"


def _characters(word: str) -> list[str]:
    characters: list[str] = []
    for character in word:
        if characters and unicodedata.category(character)[0] == "M":
            characters[-1] += character
        elif character != "'":
            characters.append(character)
    return characters
