"""Detection of the places in tuple items that hold the label, the speaker, the transcript or the file name.

Places have no names, and data sets differ: torchaudio's ``SPEECHCOMMANDS`` gives (waveform, rate, label, speaker, …),
``LIBRISPEECH`` (waveform, rate, transcript, speaker, …) and ``IEMOCAP`` (waveform, rate, file name, label, speaker).
The values of all items distinguish them: file names and other identifiers differ between all items, labels repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from voxrank.config import Hertz
from voxrank.data.audio_files import has_audio_ending
from voxrank.data.cells import plain
from voxrank.errors import DataError, UtteranceError, listed, shortened

Role = Literal["name", "text", "label", "value", "lists", "other"]
"""The type of the values in a place."""

RATES_HZ: tuple[Hertz, Hertz] = (1_000, 768_000)
FEWEST = 2
"""Minimum number of parts of a tuple: audio and a label."""
LEAST_ITEMS = 4
"""Minimum number of items for concluding that differing values are identifiers."""
MOST_LABEL_PLACES = 2
"""Maximum number of places with repeated values after a file name for taking the first of them as the label."""
SHOWN_LABELS = 3


def place_name(position: int) -> str:
    """Return the column name of a place without another name."""
    return f"item{position}"


def by_place(item: Any) -> dict[str, Any]:
    """Return the parts of an item by name, or by place for a tuple.

    Args:
        item: a mapping, a named tuple, or a tuple of audio, optionally its rate, and more.

    Raises:
        UtteranceError: the item has another type.
    """
    if isinstance(item, Mapping):
        return {str(name): part for name, part in item.items()}
    if hasattr(item, "_asdict"):
        return dict(item._asdict())
    if not isinstance(item, tuple | list) or len(item) < FEWEST:
        raise UtteranceError(f"expected a dict, or a tuple of audio, rate and label, got {type(item).__name__}")
    parts: dict[str, Any] = {"audio": item[0]}
    second = plain(item[1])
    if len(item) > FEWEST and not isinstance(item[0], str | Path) and _is_rate(second):
        parts["sample_rate"] = second
    for position, part in enumerate(item[len(parts) :], start=len(parts)):
        if isinstance(part, Mapping):
            parts |= {str(name): inner for name, inner in part.items() if str(name) not in parts}
        else:
            parts[place_name(position)] = part
    return parts


def _is_rate(part: Any) -> bool:
    return isinstance(part, int | float) and not isinstance(part, bool) and RATES_HZ[0] <= part <= RATES_HZ[1]


@dataclass(frozen=True)
class Places:
    """The detected meaning of the places of tuples.

    Attributes:
        names: column of a manifest → column of a place.
        notes: the same in one line, for people.
    """

    names: Mapping[str, str]
    notes: tuple[str, ...] = ()


def find_places(source: object, rows: Sequence[Mapping[str, Any]], target: str | None) -> Places:
    """Detect the places of tuples that hold the label or the transcript, and the speaker.

    Args:
        source: name of the data set, for messages.
        rows: parts of each item from `by_place`, as plain values.
        target: column that the user wants to predict.

    Raises:
        DataError: several places may be the label.
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    places = [name for name in columns if name.startswith("item") and name[4:].isdecimal()]
    if not places:
        return Places({})
    values = {name: [row.get(name) for row in rows] for name in places}
    roles = {name: _role(values[name]) for name in places}
    first = _target_place(source, places, roles, values, target)
    if first is None:
        return Places({})
    kind = "text" if target == "text" or (target is None and roles[first] == "text") else "label"
    kind = "value" if target is None and roles[first] == "value" else kind
    kind = "labels" if roles[first] == "lists" else kind
    names = {kind: first} if kind not in columns else {}
    following = places[places.index(first) + 1 :][:1]
    if following and "speaker" not in columns and (roles[following[0]] == "label" or target == "speaker"):
        names["speaker"] = following[0]
    return Places(names, _notes(names, places, roles, values))


def _role(values: Sequence[Any]) -> Role:
    filled = [value for value in values if value is not None]
    if any(isinstance(value, list) for value in filled):
        return "lists"
    if any(not isinstance(value, str | int | float) for value in filled):
        return "other"
    if any(isinstance(value, float) and not value.is_integer() for value in filled):
        return "value"
    texts = [value for value in filled if isinstance(value, str)]
    n_distinct = len(set(map(str, filled)))
    if n_distinct == 1 and _is_rate(filled[0]):
        return "other"
    if 2 * sum(map(_is_file_name, texts)) > len(filled):
        return "name"
    if len(filled) < LEAST_ITEMS or 2 * n_distinct <= len(filled):
        return "label"
    if 2 * sum(" " in text.strip() for text in texts) > len(filled):
        return "text"
    return "name" if n_distinct == len(filled) and texts else "label"


def _is_file_name(text: str) -> bool:
    return has_audio_ending(text) or "/" in text.strip("/")


def _target_place(
    source: object,
    places: Sequence[str],
    roles: Mapping[str, Role],
    values: Mapping[str, Sequence[Any]],
    target: str | None,
) -> str | None:
    """Return the place with the label or the transcript."""
    if target == "text":
        return next((name for name in places if roles[name] in ("text", "label")), None)
    usable = [name for name in places if roles[name] not in ("name", "other")]
    if not usable or places[0] in usable:
        return usable[0] if usable else None
    labels = [name for name in usable if roles[name] == "label" and len(set(map(str, values[name]))) > 1]
    if len(labels) > MOST_LABEL_PLACES and target in (None, "label"):
        shown = listed(f"{name} ({_examples(values[name])})" for name in labels)
        raise DataError(
            f"{source}: expected one part of the tuples that may be the label, got several: {shown}; "
            "name one as the target, or give dicts"
        )
    return (labels or usable)[0]


def _examples(values: Sequence[Any]) -> str:
    names = list(dict.fromkeys(str(value) for value in values if value is not None))
    more = ", …" if len(names) > SHOWN_LABELS else ""
    return ", ".join(repr(shortened(name, 20)) for name in names[:SHOWN_LABELS]) + more


def _notes(
    names: Mapping[str, str], places: Sequence[str], roles: Mapping[str, Role], values: Mapping[str, Sequence[Any]]
) -> tuple[str, ...]:
    descriptions = [f"{kind} is {name} of the tuples ({_examples(values[name])})" for kind, name in names.items()]
    descriptions += [f"{name} holds names of files or of items" for name in places[:1] if roles[name] == "name"]
    others = [name for name in places if name not in names.values()]
    hint = f"; a target such as {others[-1]!r} names another part" if others else ""
    return (f"{', '.join(descriptions)}{hint}",) if descriptions else ()
