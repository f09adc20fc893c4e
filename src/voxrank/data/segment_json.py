"""Segments in JSON: lists, tiers, transcripts with words, alone or by recording."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from voxrank.data.tracks import Track, TrackBuilder, seconds_of, short
from voxrank.errors import UtteranceError, did_you_mean, listed, reason

LABEL_NAMES = ("label", "text", "word", "phone", "name")
DEFAULT_TIERS = ("phones", "phone")
SEGMENTS, WORDS = "segments", "words"
WORD_LISTS = ("words", "word_segments")
"""Keys of a list of words in a transcript (Whisper, WhisperX, Gentle)."""

WORDS_GUESS = "the words of JSON transcripts are read; --tier segments reads their segments"

Tiers = dict[str, Any]
"""Name of a tier → its list of items."""


def parse_json(text: str, tier: str | None, where: str) -> Track | dict[str, Track]:
    """Read the segments of one recording, or of several by name.

    Args:
        text: content of a file.
        tier: that is wanted, where there are several.
        where: name of the file, for messages.

    Raises:
        UtteranceError: the text is no JSON, or holds no segments.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UtteranceError(f"{where} is no JSON that can be read ({reason(error)})") from error
    if not isinstance(content, list | dict):
        raise UtteranceError(f"{where}: expected a list or an object, got {type(content).__name__}")
    tiers = _tiers(content)
    if tiers is not None or isinstance(content, list):
        return _track(tiers or {}, tier, where)
    return {str(name): _recording(part, tier, f"{where}, {name}") for name, part in content.items()}


def track_of(items: Any, where: str) -> Track:
    """Read a list of items, each an object or ``[start, end, label]``.

    Args:
        items: the list.
        where: it stands, for messages.

    Raises:
        UtteranceError: it is no list.
    """
    if not isinstance(items, list):
        raise UtteranceError(f"{where}: expected a list of segments, got {type(items).__name__}")
    track = TrackBuilder()
    for number, item in enumerate(items, start=1):
        with track:
            track.add(*_item(item, f"{where}, segment {number}"))
    return track.build()


def tier_name(names: list[str], wanted: str | None, where: str) -> str:
    """The tier that is read: the one that is wanted, else one named phones, or the only one.

    Raises:
        UtteranceError: there is none of that name, or none that can be told from the others.
    """
    if not names:
        raise UtteranceError(f"expected a tier of intervals in {where}, found none")
    if wanted is not None:
        if wanted not in names:
            raise UtteranceError(f"there is no tier {wanted!r} in {where}; {did_you_mean(wanted, names)}")
        return wanted
    phones = [name for name in names if name.lower().rpartition(" - ")[2] in DEFAULT_TIERS]
    found = phones or names
    if len(found) > 1:
        several = listed(map(repr, found))
        raise UtteranceError(f"expected one tier of intervals in {where}, found {several}; name one with --tier")
    return found[0]


def _recording(part: Any, tier: str | None, where: str) -> Track:
    """Read one of several recordings; what is wrong with it is said where the recording is asked for."""
    track = TrackBuilder()
    with track:
        tiers = _tiers(part) if isinstance(part, list | dict) else None
        return track_of(part, where) if tiers is None else _track(tiers, tier, where)
    return track.build()


def _track(tiers: Tiers, wanted: str | None, where: str) -> Track:
    """Read the tier that is wanted, else words before the sentences that they are part of, else the only tier."""
    names = list(tiers)
    if wanted is None and tiers.keys() == {SEGMENTS, WORDS}:
        return replace(track_of(tiers[WORDS], where), guess=WORDS_GUESS)
    if wanted is not None and names == [SEGMENTS]:  # there is nothing to choose from
        wanted = None
    return track_of(tiers[tier_name(names, wanted, where)], where)


def _tiers(content: list[Any] | dict[str, Any]) -> Tiers | None:
    """Return the tiers of one recording; None where the content is none."""
    if isinstance(content, list):
        return {SEGMENTS: content}
    tiers = content.get("tiers")
    if isinstance(tiers, dict):
        return {str(name): one.get("entries") for name, one in tiers.items() if isinstance(one, dict)}
    if isinstance(tiers, list):
        return {str(one.get("name")): one.get("entries") for one in tiers if isinstance(one, dict)}
    found = {SEGMENTS: content[SEGMENTS]} if SEGMENTS in content else {}
    words = next((content[name] for name in WORD_LISTS if isinstance(content.get(name), list)), None)
    if words is None and isinstance(content.get(SEGMENTS), list):
        words = _nested_words(content[SEGMENTS])
    return (found if words is None else found | {WORDS: words}) or None


def _nested_words(segments: list[Any]) -> list[Any] | None:
    """Return the words within all segments; None where a segment has none."""
    words: list[Any] = []
    for segment in segments:
        inner = segment.get(WORDS) if isinstance(segment, Mapping) else None
        if not isinstance(inner, list):
            return None
        words += inner
    return words or None


def _item(item: Any, where: str) -> tuple[Any, Any, Any, str]:
    """Return start, end, label and where."""
    if isinstance(item, list | tuple) and len(item) == 3:
        return item[0], item[1], item[2], where
    if not isinstance(item, Mapping):
        raise UtteranceError(f"{where}: expected an object, or [start, end, label], got {short(item)}")
    name = next((name for name in LABEL_NAMES if name in item), None)
    if name is None or "start" not in item or not {"end", "duration"} & item.keys():
        raise UtteranceError(f"{where}: expected start, end (or duration) and label, got {listed(map(str, item))}")
    if "end" in item:
        return item["start"], item["end"], item[name], where
    end = seconds_of(item["start"], where) + seconds_of(item["duration"], where)
    return item["start"], end, item[name], where
