"""Classes and timelines of a whole data set, from transcripts and timed segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxrank.config import Seconds
from voxrank.data.utterance import Segment, Utterance
from voxrank.errors import DataError, OptionError, UtteranceError
from voxrank.targets.labels import Targets, Timed
from voxrank.targets.tags import is_silent_label, is_unscored_label
from voxrank.targets.timeline import UNLABELLED, Timeline
from voxrank.targets.units import Speller, Units, spell

SILENCE = "silence"
"""Name of the class of frames outside all segments and units."""
END_TOLERANCE_S: Seconds = 0.05
"""Maximum time by which segments may end after the audio: aligners round to frames."""
OVERLAP_TOLERANCE_S: Seconds = 0.02
"""Maximum overlap of segments from rounding, half a frame at 25 Hz; a CTM rounds starts and durations to 0.01 s."""
FLOAT_ERROR_S: Seconds = 1e-6
"""Maximum floating-point error of times that are added and subtracted."""


@dataclass(frozen=True)
class Spelling:
    """The units of an utterance's transcript.

    Attributes:
        units: the units that are aligned.
        words: the classes, if each is several units that start after a pause; None if the units are the classes.
    """

    units: Units
    words: tuple[str, ...] | None = None


def spelling(utterance: Utterance, unit: str, speller: Speller) -> Spelling:
    """Return the transcript of an utterance in units of the given kind; words are aligned by their characters.

    Raises:
        UtteranceError: there is no transcript, or an error of `units_of`.
    """
    if utterance.text is None:
        raise UtteranceError("expected a transcript, got none")
    units = units_of(utterance, speller)
    return Spelling(units, spell(utterance.text, "word").names if unit == "word" else None)


def units_of(utterance: Utterance, speller: Speller) -> Units:
    """Return the units of an utterance's transcript.

    Raises:
        UtteranceError: the transcript has no spoken units, or its language is unknown.
    """
    try:
        return speller.spell(utterance.text or "", utterance.language)
    except OptionError as error:
        raise UtteranceError(str(error)) from error


def by_words(timeline: Timeline, pauses: NDArray[np.bool_], numbers: NDArray[np.int64]) -> Timeline:
    """Merge a timeline of units into a timeline of words.

    Args:
        timeline: timeline of L units, one stretch each.
        pauses: (L + 1,) whether a word starts at each unit.
        numbers: class ids of the words, in order.
    """
    begins = np.flatnonzero(pauses[:-1])
    ends = np.append(begins[1:], len(timeline.ends)) - 1
    return Timeline(timeline.starts[begins], timeline.ends[ends], numbers)


def segment_timeline(segments: Sequence[Segment], numbers: Mapping[str, int]) -> Timeline:
    """Return the timeline of the labels: `UNLABELLED` for labels that are not scored, no stretch for silence.

    Raises:
        UtteranceError: segments overlap by more than rounding, or there is nothing but silence.
    """
    non_silent = without_overlaps([segment for segment in segments if not is_silent_label(segment.label)])
    if all(is_unscored(segment) for segment in non_silent):
        raise UtteranceError("expected segments with labels, found silence and unknown words only")
    symbols = [UNLABELLED if is_unscored(segment) else numbers[segment.label] for segment in non_silent]
    return Timeline.of([segment.start for segment in non_silent], [segment.end for segment in non_silent], symbols)


def without_overlaps(segments: Sequence[Segment]) -> list[Segment]:
    """Return segments in order of time; if two overlap by rounding, both end in the middle of the overlap.

    Raises:
        UtteranceError: two overlap by more than `OVERLAP_TOLERANCE_S`.
    """
    separate: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: (segment.start, segment.end)):
        left, right = separate[-1] if separate else None, segment
        if left is not None and left.end > right.start:
            if left.end - right.start > OVERLAP_TOLERANCE_S + FLOAT_ERROR_S:
                raise UtteranceError(
                    f"expected segments apart from each other, got {_shown(left)} and {_shown(right)}, which overlap "
                    f"by {left.end - right.start:.3g} s"
                )
            middle = (max(left.start, right.start) + min(left.end, right.end)) / 2
            separate[-1], right = replace(left, end=middle), replace(right, start=middle)
        separate.append(right)
    return separate


def _shown(segment: Segment) -> str:
    return f"{segment.label!r} at {segment.start:g}-{segment.end:g} s"


def labels_of(segments: Sequence[Segment]) -> set[str]:
    """Return the labels that are scored."""
    return {s.label for s in segments if not is_silent_label(s.label) and not is_unscored(s)}


def is_unscored(segment: Segment) -> bool:
    """Return whether a segment is unscored, by the rules for tags in transcripts."""
    return is_unscored_label(segment.label)


def utterance_segments(utterance: Utterance, seconds: Seconds) -> tuple[Segment, ...]:
    """Return the segments within an utterance, in seconds from its beginning.

    Raises:
        UtteranceError: a segment other than silence ends after the audio, by more than rounding.
    """
    if utterance.start == 0 and utterance.end is None:
        limit = seconds + END_TOLERANCE_S + FLOAT_ERROR_S
        late = [s for s in utterance.segments or () if s.end > limit and not is_silent_label(s.label)]
        if late:
            raise UtteranceError(f"expected segments within its {seconds:.3f} s, got {_shown(late[0])}")
    inside = []
    for segment in utterance.segments or ():
        start = max(segment.start - utterance.start, 0.0)
        end = min(segment.end - utterance.start, seconds)
        if end > start:
            inside.append(Segment(segment.label, start, end))
    return tuple(inside)


def behind_the_end(utterance: Utterance, seconds: Seconds) -> int:
    """Return the number of segments, except silence, that begin after the end of a file of `seconds` seconds."""
    if utterance.start or utterance.end is not None:
        return 0
    return sum(1 for s in utterance.segments or () if s.start >= seconds and not is_silent_label(s.label))


def timed_targets(
    timelines: Sequence[Timeline],
    names: Sequence[str],
    silence: float,
    seconds: Seconds,
    versions: Sequence[Sequence[Timeline]] = (),
) -> Targets:
    """Build the targets of frames.

    Args:
        timelines: timeline of each utterance, with class ids.
        names: names of the classes.
        silence: maximum share of the scored frames that may be silence, as a separate class; 1 keeps all of them.
        seconds: total length of the audio.
        versions: alternative timelines of the same utterances, to compare.

    Raises:
        DataError: a single class is left.
    """
    if len(names) < 2:
        shown = ", ".join(map(repr, names)) or "none"
        raise DataError(f"expected at least two units to tell apart, found {shown}; add utterances with others")
    rest_class = len(names) if silence else UNLABELLED
    lengths = [(timeline.ends - timeline.starts, timeline.symbols != UNLABELLED) for timeline in timelines]
    rest_s = max(seconds - sum(float(length.sum()) for length, _ in lengths), 0.0)
    scored_s = sum(float(length[is_scored].sum()) for length, is_scored in lengths)
    rest_share = min(silence / (1 - silence) * scored_s / rest_s, 1.0) if silence < 1 and rest_s else 1.0
    segments = sum(int(is_scored.sum()) for _, is_scored in lengths)
    gaps = sum(timeline.gaps for timeline in timelines)
    gap_share = min(silence / (1 - silence) * segments / gaps, 1.0) if silence < 1 and gaps else 1.0
    timed = Timed(tuple(timelines), rest_class, rest_share, gap_share, tuple(map(tuple, versions)))
    scored_names = (*names, SILENCE) if silence else tuple(names)
    return Targets(scored_names, np.arange(len(scored_names)), timed=timed)
