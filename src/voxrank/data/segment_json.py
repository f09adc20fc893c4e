"""A reader of segments in JSON: lists, tiers, transcripts with words, for one recording or by recording."""

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
"""Keys of the list of words in a transcript (Whisper, WhisperX, Gentle)."""

WORDS_GUESS = "the words of JSON transcripts are read; --tier segments reads their segments"

Tiers = dict[str, Any]
"""Name of a tier → list of its items."""


def parse_json(text: str, tier: str | None, where: str) -> Track | dict[str, Track]:
    """Read the segments of one recording, or of several recordings by name.

    Args:
        text: content of a file.
        tier: tier to read, where there are several.
        where: name of the file, for messages.

    Raises:
        UtteranceError: the text is not JSON, or holds no segments.
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
        where: place of the list, for messages.

    Raises:
        UtteranceError: `items` is not a list.
    """
    if not isinstance(items, list):
        raise UtteranceError(f"{where}: expected a list of segments, got {type(items).__name__}")
    track = TrackBuilder()
    for number, item in enumerate(items, start=1):
        with track:
            track.add(*_item(item, f"{where}, segment {number}"))
    return track.build()


def tier_name(names: list[str], tier: str | None, where: str) -> str:
    """Return the name of the tier to read: the wanted tier, else "phones", else the only tier.

    Raises:
        UtteranceError: the wanted tier does not exist, or there are several tiers and none is the default.
    """
    if not names:
        raise UtteranceError(f"expected a tier of intervals in {where}, found none")
    if tier is not None:
        if tier not in names:
            raise UtteranceError(f"there is no tier {tier!r} in {where}; {did_you_mean(tier, names)}")
        return tier
    phones = [name for name in names if name.lower().rpartition(" - ")[2] in DEFAULT_TIERS]
    candidates = phones or names
    if len(candidates) > 1:
        several = listed(map(repr, candidates))
        raise UtteranceError(f"expected one tier of intervals in {where}, found {several}; name one with --tier")
    return candidates[0]


def _recording(part: Any, tier: str | None, where: str) -> Track:
    """Read one of several recordings. An error in it is raised only when the recording is used."""
    track = TrackBuilder()
    with track:
        tiers = _tiers(part) if isinstance(part, list | dict) else None
        return track_of(part, where) if tiers is None else _track(tiers, tier, where)
    return track.build()


def _track(tiers: Tiers, tier: str | None, where: str) -> Track:
    """Read the wanted tier, else the words rather than the sentences that contain them, else the only tier."""
    names = list(tiers)
    if tier is None and tiers.keys() == {SEGMENTS, WORDS}:
        return replace(track_of(tiers[WORDS], where), guess=WORDS_GUESS)
    if tier is not None and names == [SEGMENTS]:  # there is only one tier
        tier = None
    return track_of(tiers[tier_name(names, tier, where)], where)


def _tiers(content: list[Any] | dict[str, Any]) -> Tiers | None:
    """Return the tiers of one recording, or None where the content is not one recording."""
    if isinstance(content, list):
        return {SEGMENTS: content}
    tiers = content.get("tiers")
    if isinstance(tiers, dict):
        return {str(name): tier.get("entries") for name, tier in tiers.items() if isinstance(tier, dict)}
    if isinstance(tiers, list):
        return {str(tier.get("name")): tier.get("entries") for tier in tiers if isinstance(tier, dict)}
    found_tiers = {SEGMENTS: content[SEGMENTS]} if SEGMENTS in content else {}
    words = next((content[name] for name in WORD_LISTS if isinstance(content.get(name), list)), None)
    if words is None and isinstance(content.get(SEGMENTS), list):
        words = _nested_words(content[SEGMENTS])
    return (found_tiers if words is None else found_tiers | {WORDS: words}) or None


def _nested_words(segments: list[Any]) -> list[Any] | None:
    """Return the words in all segments, or None where a segment has none."""
    words: list[Any] = []
    for segment in segments:
        segment_words = segment.get(WORDS) if isinstance(segment, Mapping) else None
        if not isinstance(segment_words, list):
            return None
        words += segment_words
    return words or None


def _item(item: Any, where: str) -> tuple[Any, Any, Any, str]:
    """Return start, end, label and place of an item."""
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
