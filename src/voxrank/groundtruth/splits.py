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
    indices = np.arange(len(items))
    names = [part_of(item.utterance.split) for item in items]
    if "test" in names:
        by = "split"
        _check_part_names(items, names)
        test = indices[[part == "test" for part in names]]
        validation = indices[[part == "validation" for part in names]]
        train = indices[[part == "train" for part in names]]
    else:
        train, test = _hold_out(items, groups, indices, options.test, options.split_seed)
        validation = indices[:0]
    if not len(train):
        raise DataError("expected utterances to train on, got none; name them train in the column 'split'")
    if not len(validation):
        train, validation = _hold_out(items, groups, train, options.validation, options.split_seed + 1)
    return _checked_split(
        [items[i] for i in train], [items[i] for i in validation], [items[i] for i in test], by, options
    )


def _checked_split(
    train: list[Item], validation: list[Item], test: list[Item], by: str, options: TuningOptions
) -> Split:
    """Limit the examples of each class, and remove utterances of classes that are not in the training part."""
    train = draw_examples(train, options.examples, options.split_seed)
    classes = {item.utterance.label for item in train}
    split = Split(
        tuple(train),
        tuple(item for item in validation if item.utterance.label in classes),
        tuple(item for item in test if item.utterance.label in classes),
        by,
        tuple(item for item in (*validation, *test) if item.utterance.label not in classes),
    )
    for name, part in split.parts().items():
        if not part:
            raise DataError(f"expected a {name} part with classes of the training part, got none; give more data")
    return split


def draw_examples(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """Return at most `limit` utterances of each class, drawn from all speakers in turn; of transcripts, `limit` in all.

    A smaller draw is part of a larger one with the same seed.
    """
    if limit is None:
        return list(items)
    order = np.random.default_rng(seed).permutation(len(items))
    class_counts: Counter[str | None] = Counter()
    speaker_counts: Counter[tuple[str | None, str | None]] = Counter()
    turns = []
    for index in order:
        key = (items[index].utterance.label, items[index].utterance.speaker)
        turns.append((speaker_counts[key], index))
        speaker_counts[key] += 1
    chosen = []
    for _, index in sorted(turns, key=lambda turn: turn[0]):
        label = items[index].utterance.label
        if class_counts[label] < limit:
            class_counts[label] += 1
            chosen.append(int(index))
    return [items[index] for index in sorted(chosen)]


def _check_part_names(items: Sequence[Item], names: Sequence[str | None]) -> None:
    unnamed = [item for item, part in zip(items, names, strict=True) if part is None]
    unknown = Counter(item.utterance.split or "nothing" for item in unnamed)
    if unknown:
        listed = ", ".join(f"{name!r} ({count})" for name, count in unknown.most_common(3))
        raise DataError(
            f"expected train, validation or test in the column 'split' of every row, got {listed}; name them so, "
            "or leave them out"
        )


def _groups(items: Sequence[Item], target: str) -> list[str]:
    """Return the unit of each utterance that must not be divided: its speaker, or the utterance itself."""
    by_speaker = target != "speaker" and len({item.utterance.speaker for item in items} - {None}) > 1
    return [(by_speaker and item.utterance.speaker) or f"\0{item.utterance.id}" for item in items]


def _hold_out(
    items: Sequence[Item], groups: Sequence[str], indices: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide these utterances into remaining and held-out ones; `share` is the approximate share of the latter."""
    subset_groups = [groups[index] for index in indices]
    labels = [items[index].utterance.label or "" for index in indices]
    folds = min(round(1 / min(share, 0.5)), len(set(subset_groups)))
    if folds < 2:
        raise DataError(
            f"expected at least two speakers or utterances to hold some out, got {len(set(subset_groups))}; "
            "give more, or name the parts in a column 'split' (train, validation, test)"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about classes with fewer members than folds
        try:
            splits = list(splitter.split(indices, labels, subset_groups))
        except ValueError:  # no class has as many members as there are folds
            splits = list(splitter.split(indices, [""] * len(subset_groups), subset_groups))
    remaining, held_out = min(splits, key=lambda parts: abs(len(parts[1]) - share * len(indices)))
    return indices[remaining], indices[held_out]
