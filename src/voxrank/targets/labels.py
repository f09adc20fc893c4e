"""Targets from the labels and values of utterances: one target per utterance, which all of its frames share."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxrank.data.utterance import Task, Utterance
from voxrank.errors import DataError, listed
from voxrank.targets.timeline import UNLABELLED, Timeline

SHOWN_NAMES = 3
_ALIKE = str.maketrans(
    {
        **dict(zip("ɡːˈʼ’‘‐‑–—−ǝεı", "g:''''-----əɛi", strict=True)),
        **dict(zip("асеорхуіјѕАВЕКМНОРСТХ", "aceopxyijsABEKMHOPCTX", strict=True)),
    }
)
"""Character → the character that it looks like in most fonts: IPA, quotation marks, dashes, Cyrillic."""


@dataclass(frozen=True)
class Timed:
    """Class intervals of each utterance, for targets of frames.

    Attributes:
        timelines: timeline of each utterance, with class ids; `UNLABELLED` for stretches that are not scored.
        rest: class of the frames outside all stretches, which is silence; or `UNLABELLED`.
        rest_share: share of those frames that is scored.
        gap_share: share of the gaps between segments that is scored, where every segment is one sample.
        versions: alternative timelines of the same utterances, to compare.
    """

    timelines: tuple[Timeline, ...]
    rest: int = UNLABELLED
    rest_share: float = 1.0
    gap_share: float = 1.0
    versions: tuple[tuple[Timeline, ...], ...] = ()

    def of_version(self, version: int) -> tuple[Timeline, ...]:
        """Return the timelines of a version: 0 is that of the ranking, n is alternative n."""
        return (self.timelines, *self.versions)[version]

    def of_rows(self, rows: Sequence[int]) -> Timed:
        """Return the same with the timelines of some utterances only, in the order of these rows."""
        timelines, *versions = (tuple(version[row] for row in rows) for version in (self.timelines, *self.versions))
        return replace(self, timelines=timelines, versions=tuple(versions))


@dataclass(frozen=True)
class Targets:
    """The targets to predict, the same for every candidate.

    Attributes:
        names: class names in order of id, or the names of the values.
        rows: (U,) class ids or (U, T) values, one row per utterance; for label sets, the values are 0 and 1.
        left_out: names of the labels that every utterance has, which carry no information.
        timed: class intervals, if the frames have separate classes; `rows` then holds every class once.
        deviation: standard deviation of the values in their unit, before they were standardised; None for classes.
    """

    names: tuple[str, ...]
    rows: NDArray[Any]
    left_out: tuple[str, ...] = ()
    timed: Timed | None = None
    deviation: float | None = None

    @property
    def count(self) -> int:
        """T, the number of classes or values."""
        return len(self.names)

    @property
    def values(self) -> bool:
        """True if the rows are values rather than class ids."""
        return self.rows.ndim == 2


def utterance_targets(utterances: Sequence[Utterance], task: Task) -> Targets:
    """Build the targets of utterances from the labels that `task` needs.

    Values are standardised (mean 0, standard deviation 1), so that scores do not depend on their unit.

    Raises:
        DataError: a single class is left, or the task does not use utterance labels.
    """
    if task == "classification":
        return _classes([u.label for u in utterances])
    if task == "regression":
        return _values([u.value for u in utterances])
    if task == "multilabel":
        return _label_sets([u.labels or () for u in utterances])
    raise DataError(
        "the manifest has transcripts (text) and voxrank scores labels and values so far; "
        "add a label or value column, or name one with --target"
    )


def class_sizes(targets: Targets) -> NDArray[np.int64] | None:
    """Return how many utterances each class has (T,): segments and scored gaps where frames have labels; else None."""
    if targets.timed is not None:
        symbols = np.concatenate([timeline.symbols for timeline in targets.timed.timelines])
        sizes = np.bincount(symbols[symbols != UNLABELLED], minlength=targets.count)
        if targets.timed.rest != UNLABELLED:
            gaps = sum(timeline.gaps for timeline in targets.timed.timelines)
            sizes[targets.timed.rest] += round(targets.timed.gap_share * gaps)
        return sizes
    return None if targets.values else np.bincount(targets.rows, minlength=targets.count)


def remarks(targets: Targets) -> list[str]:
    """Return remarks for the user, one line each, such as classes that only one utterance shows."""
    lines = [f"{_shown(targets.left_out)} is in every utterance and is left out"] if targets.left_out else []
    lines += describe_look_alikes(targets.names)
    if targets.timed is not None:
        unique_symbols = [np.unique(timeline.symbols) for timeline in targets.timed.timelines]
        scored = [symbols[symbols != UNLABELLED] for symbols in unique_symbols]
        sizes = np.bincount(np.concatenate(scored), minlength=targets.count)
    elif targets.rows.ndim == 1:
        sizes = np.bincount(targets.rows, minlength=targets.count)
    elif np.isin(targets.rows, (0, 1)).all():  # standardised values are never all 0 and 1
        sizes = targets.rows.sum(axis=0).astype(np.int64)
    else:
        return lines
    lone = [name for name, size in zip(targets.names, sizes.tolist(), strict=True) if size == 1]
    if lone:
        lines.append(f"one utterance only in {_shown(lone)}: no other can confirm it; add utterances, or leave it out")
    return lines


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(map(repr, names[:SHOWN_NAMES])) + more


def _classes(labels: list[str | None]) -> Targets:
    names, ids = np.unique([label or "" for label in labels], return_inverse=True)
    if len(names) < 2:
        shown = ", ".join(map(repr, names.tolist())) or "none"
        raise DataError(f"expected at least two classes to tell apart, found {shown}; add utterances of other classes")
    return Targets(tuple(names.tolist()), ids.astype(np.int64))


def _values(values: list[float | None]) -> Targets:
    rows = np.array([[np.nan if value is None else value] for value in values], dtype=np.float64)
    spread = rows.std(axis=0)
    if len(rows) < 2 or not spread.all():
        raise DataError("expected values that differ between utterances, found a single value; nothing to predict")
    return Targets(("value",), (rows - rows.mean(axis=0)) / spread, deviation=float(spread[0]))


def _label_sets(sets: list[tuple[str, ...]]) -> Targets:
    names = sorted({label for labels in sets for label in labels})
    rows = np.array([[name in labels for name in names] for labels in map(set, sets)]).reshape(len(sets), len(names))
    scored = [index for index, column in enumerate(rows.T) if not column.all()]
    if not scored:
        raise DataError("expected labels that some utterances have and others have not, found none; nothing to predict")
    scored_names = tuple(names[index] for index in scored)
    return Targets(scored_names, rows[:, scored].astype(np.float64), tuple(sorted(set(names) - set(scored_names))))


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
    shown = listed(alike, SHOWN_NAMES)
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
