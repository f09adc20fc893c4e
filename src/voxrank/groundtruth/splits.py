"""Divides labelled utterances into training, validation and test parts, by speakers if they are known."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from voxrank.config import TuningOptions
from voxrank.data.shards import Item
from voxrank.data.splits import PART_NAMES, part_of
from voxrank.data.utterance import Dataset
from voxrank.errors import DataError

TRAIN, VALIDATION, TEST = (PART_NAMES[part] for part in ("train", "validation", "test"))
"""Names of the parts in the names of splits, in any case."""


@dataclass(frozen=True)
class Split:
    """The parts of a data set.

    Attributes:
        train, validation, test: the utterances of each, in manifest order.
        by: unit that is never divided between parts: "split" (the manifest's own), "speaker" or "utterance".
        left_out: utterances of classes that are not in the training part.
    """

    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    test: tuple[Item, ...]
    by: str
    left_out: tuple[Item, ...] = ()

    def parts(self) -> dict[str, tuple[Item, ...]]:
        """Return the parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def divide(items: Sequence[Item], dataset: Dataset, options: TuningOptions) -> Split:
    """Divide utterances into parts.

    The manifest's own parts are used if it has a test part; a missing validation part is drawn from the training part.
    Otherwise parts are drawn by speaker, if several are known and the target is not the speaker, and else by utterance.
    Classes are distributed as evenly as this allows.

    Args:
        items: the utterances that can be used.
        dataset: their data set.
        options: shares, number of examples, and the seed of the draw.

    Returns:
        The parts.

    Raises:
        DataError: a part would be empty, or rows belong to other parts.
    """
    groups = _groups(items, dataset.target)
    by = "speaker" if len(set(groups)) < len(items) else "utterance"
    places = np.arange(len(items))
    named = [part_of(item.utterance.split) for item in items]
    if "test" in named:
        by = "split"
        _check_named(items, named)
        test = places[[name == "test" for name in named]]
        validation = places[[name == "validation" for name in named]]
        train = places[[name == "train" for name in named]]
    else:
        train, test = _hold_out(items, groups, places, options.test, options.split_seed)
        validation = places[:0]
    if not len(train):
        raise DataError("expected utterances to train on, got none; name them train in the column 'split'")
    if not len(validation):
        train, validation = _hold_out(items, groups, train, options.validation, options.split_seed + 1)
    return _trained_for(
        [items[i] for i in train], [items[i] for i in validation], [items[i] for i in test], by, options
    )


def _trained_for(train: list[Item], validation: list[Item], test: list[Item], by: str, options: TuningOptions) -> Split:
    """Limit the examples of each class, and remove utterances of classes that are not in the training part."""
    train = some(train, options.examples, options.split_seed)
    known = {item.utterance.label for item in train}
    found = Split(
        tuple(train),
        tuple(item for item in validation if item.utterance.label in known),
        tuple(item for item in test if item.utterance.label in known),
        by,
        tuple(item for item in (*validation, *test) if item.utterance.label not in known),
    )
    for name, part in found.parts().items():
        if not part:
            raise DataError(f"expected a {name} part with classes of the training part, got none; give more data")
    return found


def some(items: Sequence[Item], most: int | None, seed: int) -> list[Item]:
    """Return at most `most` utterances of each class, drawn from all speakers in turn; of transcripts, `most` in all.

    A smaller draw is part of a larger one with the same seed.
    """
    if most is None:
        return list(items)
    order = np.random.default_rng(seed).permutation(len(items))
    taken: Counter[str | None] = Counter()
    of_speaker: Counter[tuple[str | None, str | None]] = Counter()
    turns = []
    for place in order:
        key = (items[place].utterance.label, items[place].utterance.speaker)
        turns.append((of_speaker[key], place))
        of_speaker[key] += 1
    chosen = []
    for _, place in sorted(turns, key=lambda turn: turn[0]):
        label = items[place].utterance.label
        if taken[label] < most:
            taken[label] += 1
            chosen.append(int(place))
    return [items[place] for place in sorted(chosen)]


def _check_named(items: Sequence[Item], named: Sequence[str | None]) -> None:
    others = [item for item, part in zip(items, named, strict=True) if part is None]
    unknown = Counter(item.utterance.split or "nothing" for item in others)
    if unknown:
        listed = ", ".join(f"{name!r} ({count})" for name, count in unknown.most_common(3))
        raise DataError(
            f"expected train, validation or test in the column 'split' of every row, got {listed}; name them so, "
            "or leave them out"
        )


def _groups(items: Sequence[Item], target: str) -> list[str]:
    """Return the unit of each utterance that must not be divided: its speaker, or the utterance itself."""
    known = target != "speaker" and len({item.utterance.speaker for item in items} - {None}) > 1
    return [(known and item.utterance.speaker) or f"\0{item.utterance.id}" for item in items]


def _hold_out(
    items: Sequence[Item], groups: Sequence[str], places: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide some of the utterances into kept and held-out ones; `share` is the approximate share of the latter."""
    own = [groups[place] for place in places]
    labels = [items[place].utterance.label or "" for place in places]
    folds = min(round(1 / min(share, 0.5)), len(set(own)))
    if folds < 2:
        raise DataError(
            f"expected at least two speakers or utterances to hold some out, got {len(set(own))}; "
            "give more, or name the parts in a column 'split' (train, validation, test)"
        )
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about classes with fewer members than folds
        try:
            dealt = list(dealer.split(places, labels, own))
        except ValueError:  # no class has as many members as there are folds
            dealt = list(dealer.split(places, [""] * len(own), own))
    kept, held = min(dealt, key=lambda parts: abs(len(parts[1]) - share * len(places)))
    return places[kept], places[held]
