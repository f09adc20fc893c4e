"""Splits of a data set: names of training, validation and test data, and the selection of rows.

Test rows are used only if the user names them, or if there are no other rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from voxrank.errors import DataError, did_you_mean, shortened

Part = Literal["train", "validation", "test"]

PART_NAMES: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "trainset", "traindata", "trainval"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development", "devset", "valset"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "testset", "evalset", "devtest"),
}
"""Part → words that mean it, in any letter case."""
_PART_OF: dict[str, Part] = {word: part for part, words in PART_NAMES.items() for word in words}
_WORDS = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
TRAIN = "train"
ALL = "all"
NO_SPLIT = "none"
"""Name for rows with an empty split."""
JOINT = "+"
"""Separator between the names of splits that are used together, as in the library `datasets`."""
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "part", "data_split", "dataset_split", "usage", "phase", "fold")
"""Names of the column with the split, in order of preference. Only "split" may have cells that name no part."""
SHOWN_SPLITS = 6
LEAST_PARTS = 2
"""Minimum number of parts among the folders of files for a note on them."""


def part_of(name: str | None) -> Part | None:
    """Return the part of the data that the name of a split means, or None where it means no part.

    The last word that names a part counts: "train_dev" is a validation part, "dev-train" a training part.

    Args:
        name: name of a split, such as "train.100" or "test-clean".

    Example:
        >>> part_of("train-clean-100"), part_of("Testing"), part_of("fold1")
        ('train', 'test', None)
    """
    words = _WORDS.findall(_CAMEL.sub(" ", name or ""))
    return next((_PART_OF[word.lower()] for word in reversed(words) if word.lower() in _PART_OF), None)


def find_split_column(columns: Sequence[str], cells: Callable[[str], Iterable[object]]) -> str | None:
    """Return the column that holds the splits, or None where there is none.

    A column "split" counts in any letter case. A column with another usual name counts if every cell names a part.

    Args:
        columns: columns of the data.
        cells: returns the cells of a column.
    """
    by_name = {name.strip().lower(): name for name in reversed(columns)}
    first, *others = SPLIT_COLUMNS
    if first in columns or first in by_name:
        return first if first in columns else by_name[first]
    present = [by_name[name] for name in others if name in by_name]
    return next((name for name in present if _names_parts(cells(name))), None)


def _names_parts(cells: Iterable[object]) -> bool:
    names = {str(cell).strip() for cell in cells if cell is not None} - {""}
    return bool(names) and all(part_of(name) for name in names)


def path_notes(paths: Iterable[object]) -> tuple[str, ...]:
    """Return a note if the folders of files mean several parts although no column holds the splits.

    Args:
        paths: names of the audio files.
    """
    folders = Counter(path.replace("\\", "/").rpartition("/")[0] for path in paths if isinstance(path, str))
    counts: Counter[str] = Counter()
    for folder, count in folders.items():
        name = next((name for name in reversed(folder.split("/")) if part_of(name)), None)
        if name is not None:
            counts[name] += count
    if len({part_of(name) for name in counts}) < LEAST_PARTS:
        return ()
    return (f"files lie in folders named after splits ({_counted(list(counts), counts)}): every row is used",)


@dataclass(frozen=True)
class SplitChoice:
    """The selected rows.

    Attributes:
        name: names of the selected splits, joined by "+"; "all" for every row.
        splits: names of the selected splits in lower case; None for every row.
        notes: selected and unused splits, one line each.
    """

    name: str
    splits: frozenset[str] | None
    notes: tuple[str, ...] = ()

    def keeps(self, split: str) -> bool:
        """Return whether the rows of a split are used. The name is in lower case."""
        return self.splits is None or split in self.splits


def choose_splits(source: object, splits: Sequence[str], requested: str | None) -> SplitChoice:
    """Select the rows to use.

    Args:
        source: name of the data set, for messages.
        splits: split of each row, in lower case and stripped; empty where it has none.
        requested: split that the user named, several splits joined by "+", "all", or None for the default.

    Raises:
        DataError: no row has the split that the user named.
    """
    counts = Counter(splits)
    if requested is None:
        return _default_splits(counts)
    name = requested.strip().lower()
    if name == ALL:
        return SplitChoice(ALL, None)
    return _requested_splits(source, counts, name)


def _requested_splits(source: object, counts: Counter[str], requested: str) -> SplitChoice:
    known = {name or NO_SPLIT: name for name in counts}
    if requested in known:
        return SplitChoice(requested, frozenset({known[requested]}))
    names = [name.strip() for name in requested.split(JOINT)]
    if len(names) > 1 and all(name in known for name in names):
        return SplitChoice(JOINT.join(names), frozenset(known[name] for name in names))
    part = _PART_OF.get(requested)
    alike = [name for name in counts if part and part_of(name) == part]
    if alike:
        note = f"no split is called {requested!r}: {_rows_are(alike, counts)} used"
        return SplitChoice(_join_names(alike), frozenset(alike), (note,))
    suggestion = did_you_mean(requested, [*(name for name in counts if name), ALL])
    raise DataError(f"{source}: no row has the split {requested!r}; {suggestion}")


def _default_splits(counts: Counter[str]) -> SplitChoice:
    parts: dict[Part | None, list[str]] = {}
    for name in counts:
        parts.setdefault(part_of(name), []).append(name)
    if TRAIN in counts:
        return SplitChoice(TRAIN, frozenset({TRAIN}))
    if "train" in parts:
        return _choice_of_part(parts["train"], counts)
    if set(parts) <= {None}:
        return SplitChoice(ALL, None, _no_part_notes(counts))
    if set(parts) == {"test"}:
        note = f"every row is of a test split ({_counted(parts['test'], counts)}); keep other data for the final test"
        return SplitChoice(ALL, None, (note,))
    return _choice_of_part(parts.get(None) or parts["validation"], counts)


def _no_part_notes(counts: Counter[str]) -> tuple[str, ...]:
    """Return a note on splits whose names mean no part."""
    if not any(counts):
        return ()
    names = _counted(list(counts), counts)
    return (f"no split is called 'train' or 'test': every row is used ({names}); --split names another choice",)


def _choice_of_part(names: list[str], counts: Counter[str]) -> SplitChoice:
    unused = [name for name in counts if name not in names]
    if not unused:
        return SplitChoice(_join_names(names), frozenset(names))
    note = (
        f"no split is called {TRAIN!r}: {_rows_are(names, counts)} used, and {_counted(unused, counts)} not; "
        f"--split names another choice, --split {ALL} takes every row"
    )
    return SplitChoice(_join_names(names), frozenset(names), (note,))


def _join_names(names: Sequence[str]) -> str:
    return JOINT.join(name or NO_SPLIT for name in names)


def _rows_are(names: Sequence[str], counts: Counter[str]) -> str:
    return f"rows of {_counted(names, counts)} are"


def _counted(names: Sequence[str], counts: Counter[str]) -> str:
    """Return names with the number of rows, such as "'test' (2)"."""
    shown = [f"{repr(shortened(name, 40)) if name else 'no split'} ({counts[name]:,})" for name in names]
    more = len(shown) - SHOWN_SPLITS
    return ", ".join(shown[:SHOWN_SPLITS]) + (f" and {more} more" if more > 0 else "")
