"""Writers of alignment files for other tools: CTM, Praat's TextGrid, and a manifest for `voxrank rank`."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path, PurePath

from voxrank._support.files import replacing, write_atomically
from voxrank._support.packages import require
from voxrank.config import Seconds
from voxrank.data.names import nfc
from voxrank.data.utterance import Segment, Utterance

DECIMALS = 4
"""Number of decimals of times in seconds: a tenth of a millisecond."""
OVERLAP_S: Seconds = 0.02
"""Maximum overlap of utterances in a TextGrid, in seconds. The first utterance then ends where the second starts."""
MAX_NAME_BYTES = 200
"""Maximum length of a name. File systems allow 255 bytes, and extensions and names of temporary files need some."""


@dataclass(frozen=True)
class AlignedUtterance:
    """An utterance with the times of its units.

    Attributes:
        utterance: the utterance.
        seconds: length of the utterance, in seconds.
        tiers: name of the tier → its segments, in seconds of the file.
    """

    utterance: Utterance
    seconds: Seconds
    tiers: Mapping[str, Sequence[Segment]]


def recording_names(recordings: Iterable[Path]) -> dict[Path, str]:
    """Return a name for each audio file. The names are unique, also without regard to case.

    The name is the first of these that is unique and valid:

    1. the file name without its extension,
    2. the file name with its folders (``speaker1__0``),
    3. the path, in which all characters but small letters, digits, hyphens and dots are escaped (``%20``),
    4. a digest of the path.

    Names hold no spaces, because spaces separate the fields of a CTM. `--segments` finds recordings by all of these
    names but the digest.

    Args:
        recordings: all audio files of the data.
    """
    paths = {path: path.absolute() for path in dict.fromkeys(recordings)}
    outer = _common_folder(list(paths.values()))
    inner = {path: PurePath(*whole.parts[len(outer) :]) for path, whole in paths.items()}
    levels = dict.fromkeys(paths, 0)
    while True:
        names = {path: _LEVELS[levels[path]](inner[path]) for path in paths}
        counts = Counter(_comparison_form(name) for name in names.values())
        alike = [
            path for path in paths if counts[_comparison_form(names[path])] > 1 and levels[path] + 1 < len(_LEVELS)
        ]
        if not alike:
            return names
        for path in alike:
            levels[path] += 1


def _common_folder(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the parts of the path of the folder that holds all files."""
    shared = [set(parts) for parts in zip(*(path.parent.parts for path in paths), strict=False)]
    return tuple(next(iter(parts)) for parts in takewhile(lambda parts: len(parts) == 1, shared))


def _stem_name(path: PurePath) -> str:
    return _valid_or_escaped("_".join(path.stem.split()), path)


def _with_folders(path: PurePath) -> str:
    return _valid_or_escaped("_".join("__".join((*path.parent.parts, path.stem)).split()), path)


def _escaped(path: PurePath) -> str:
    text = os.fsencode(path.as_posix())
    name = "".join(chr(byte) if chr(byte) in _UNESCAPED else f"%{byte:02X}" for byte in text)
    return name if len(name) <= MAX_NAME_BYTES else hashlib.sha256(text).hexdigest()


def _valid_or_escaped(name: str, path: PurePath) -> str:
    """Return the name, or the escaped path where the name is invalid for a file or for readers of CTM."""
    is_fit = len(os.fsencode(name)) <= MAX_NAME_BYTES and name.isprintable() and not name.startswith((";", "."))
    return name if is_fit and not _RESERVED & set(name) else _escaped(path)


def _comparison_form(name: str) -> str:
    """Return the form of a name that file systems compare which ignore case and Unicode normalisation."""
    return nfc(nfc(name).casefold())


_LEVELS: tuple[Callable[[PurePath], str], ...] = (_stem_name, _with_folders, _escaped)
_UNESCAPED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
_PART = "~"
"""Mark before the number of an utterance that has a separate TextGrid."""
_RESERVED = frozenset(f"%{_PART}")


def ctm(aligned: Sequence[AlignedUtterance], tier: str, names: Mapping[Path, str]) -> str:
    """Return a CTM: lines of recording, channel, start, duration and label, in order of recording and time.

    Starts and ends are rounded instead of durations, so that adjacent segments still touch.
    """
    lines = [
        (names[item.utterance.path], round(segment.start, DECIMALS), round(segment.end, DECIMALS), segment.label)
        for item in aligned
        for segment in item.tiers[tier]
    ]
    return "".join(
        f"{name} 1 {start:.{DECIMALS}f} {end - start:.{DECIMALS}f} {'_'.join(label.split())}\n"
        for name, start, end, label in sorted(lines)
    )


def textgrid_names(aligned: Sequence[AlignedUtterance], names: Mapping[Path, str]) -> dict[str, list[AlignedUtterance]]:
    """Return the name of each TextGrid, without the extension, with its utterances.

    Utterances of one recording share a TextGrid, unless they overlap in time, because a tier cannot hold overlaps.

    Args:
        aligned: all utterances.
        names: names of the recordings.
    """
    by_recording: dict[Path, list[AlignedUtterance]] = {}
    for item in aligned:
        by_recording.setdefault(item.utterance.path, []).append(item)
    grids: dict[str, list[AlignedUtterance]] = {}
    for path, parts in by_recording.items():
        parts.sort(key=lambda item: item.utterance.start)
        if any(_end(item) > after.utterance.start + OVERLAP_S for item, after in pairwise(parts)):
            grids |= {f"{names[path]}{_PART}{number}": [item] for number, item in enumerate(parts, start=1)}
        else:
            grids[names[path]] = parts
    return grids


def _end(item: AlignedUtterance) -> Seconds:
    return item.utterance.start + item.seconds


def write_textgrids(folder: Path, grids: Mapping[str, Sequence[AlignedUtterance]]) -> None:
    """Write TextGrids with a tier for each kind of unit.

    Args:
        folder: folder for the files, which is created if needed.
        grids: name of each file without the extension → its utterances, in order of time.

    Raises:
        OptionError: the extra `praat` is not installed.
    """
    require("praat", "writing TextGrids")
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier

    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in grids.items():
        end = max(map(_end, parts))
        grid = textgrid.Textgrid(0, end)
        for tier in parts[0].tiers:
            grid.addTier(IntervalTier(tier, _entries([s for item in parts for s in item.tiers[tier]], end), 0, end))
        with replacing(folder / f"{name}.TextGrid") as temporary:
            grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True)


def _entries(segments: Sequence[Segment], end: Seconds) -> list[tuple[Seconds, Seconds, str]]:
    """Return the segments, each cut at the start of the next segment."""
    limits = [*(segment.start for segment in segments[1:]), end]
    bounded = [
        (segment.start, min(segment.end, limit, end), segment.label)
        for segment, limit in zip(segments, limits, strict=True)
    ]
    return [entry for entry in bounded if entry[1] > entry[0]]


def manifest(
    aligned: Sequence[AlignedUtterance], grids: Mapping[str, Sequence[AlignedUtterance]], textgrids: str
) -> str:
    """Return a CSV manifest whose segments are the TextGrids in a folder beside it."""
    grid_of = {item.utterance.id: name for name, parts in grids.items() for item in parts}
    columns = ("path", "segments", "start", "end", "text", "speaker", "language", "split")
    rows = []
    for item in aligned:
        utterance = item.utterance
        rows.append(
            {
                "path": str(utterance.path.absolute()),
                "segments": f"{textgrids}/{grid_of[utterance.id]}.TextGrid",
                "start": utterance.start or None,
                "end": utterance.end,
                "text": utterance.text,
                "speaker": utterance.speaker,
                "language": utterance.language,
                "split": utterance.split,
            }
        )
    used = [name for name in columns if any(row[name] is not None for row in rows)]
    table = io.StringIO()
    writer = csv.DictWriter(table, used, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def save_alignment(
    folder: Path, aligned: Sequence[AlignedUtterance], tier: str, about: str, recordings: Iterable[Path] = ()
) -> None:
    """Write `alignment.ctm` (of one tier), `textgrids/` and `alignment.json` into a folder.

    `manifest.csv` is written too, where all audio is in files.

    Args:
        folder: folder to write into.
        aligned: utterances with their times.
        tier: tier whose units the CTM holds.
        about: content of `alignment.json`.
        recordings: audio files of the data, also those without an alignment, so that names are unique.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = recording_names([*recordings, *(item.utterance.path for item in aligned)])
    grids = textgrid_names(aligned, names)
    write_textgrids(folder / "textgrids", grids)
    write_atomically(folder / "alignment.ctm", ctm(aligned, tier, names))
    if all(item.utterance.audio is None for item in aligned):
        write_atomically(folder / "manifest.csv", manifest(aligned, grids, "textgrids"))
    write_atomically(folder / "alignment.json", about)
