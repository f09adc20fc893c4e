"""Alignments as files that other tools read: CTM, Praat's TextGrid, and a manifest that `voxrank rank` takes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from praatio import textgrid
from praatio.data_classes.interval_tier import IntervalTier

from voxrank.config import Seconds
from voxrank.data.utterance import Segment, Utterance
from voxrank.files import replacing, write_atomically

DECIMALS = 4
"""Of the seconds: a tenth of a millisecond."""


@dataclass(frozen=True)
class AlignedUtterance:
    """An utterance with its times.

    Attributes:
        utterance: which.
        seconds: how long it is.
        tiers: name → what is heard when, in seconds of the file.
    """

    utterance: Utterance
    seconds: Seconds
    tiers: Mapping[str, Sequence[Segment]]


def recording_names(utterances: Sequence[Utterance]) -> dict[Path, str]:
    """A name for each audio file: its own without the ending, with its folders where two are named alike.

    Names hold no spaces, which part the fields of a CTM.
    """
    paths = list(dict.fromkeys(utterance.path for utterance in utterances))
    stems = [path.stem for path in paths]
    names: dict[Path, str] = {}
    for path, stem in zip(paths, stems, strict=True):
        name = stem if stems.count(stem) == 1 else "__".join((*path.parts[1:-1], path.name))
        names[path] = "_".join(name.split())
    return names


def ctm(aligned: Sequence[AlignedUtterance], tier: str, names: Mapping[Path, str]) -> str:
    """Lines of recording, channel, start, duration and label, in order of recording and time."""
    lines = [
        (names[one.utterance.path], segment.start, segment.end - segment.start, "_".join(segment.label.split()))
        for one in aligned
        for segment in one.tiers[tier]
    ]
    return "".join(
        f"{name} 1 {start:.{DECIMALS}f} {length:.{DECIMALS}f} {label}\n" for name, start, length, label in sorted(lines)
    )


def write_textgrids(folder: Path, aligned: Sequence[AlignedUtterance], names: Mapping[Path, str]) -> None:
    """A TextGrid for each recording, with a tier for each kind of unit; utterances of one recording share it."""
    folder.mkdir(parents=True, exist_ok=True)
    by_recording: dict[Path, list[AlignedUtterance]] = {}
    for one in aligned:
        by_recording.setdefault(one.utterance.path, []).append(one)
    for path, parts in by_recording.items():
        parts.sort(key=lambda one: one.utterance.start)
        end = max(one.utterance.start + one.seconds for one in parts)
        grid = textgrid.Textgrid(0, end)
        for tier in parts[0].tiers:
            entries = [(s.start, min(s.end, end), s.label) for one in parts for s in one.tiers[tier]]
            grid.addTier(IntervalTier(tier, entries, 0, end))
        with replacing(folder / f"{names[path]}.TextGrid") as temporary:
            grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True)


def manifest(aligned: Sequence[AlignedUtterance], names: Mapping[Path, str], textgrids: str) -> str:
    """A CSV manifest whose segments are the TextGrids in a folder beside it."""
    columns = ("path", "segments", "start", "end", "text", "speaker", "language", "split")
    rows = []
    for one in aligned:
        own = one.utterance
        rows.append(
            {
                "path": str(own.path.absolute()),
                "segments": f"{textgrids}/{names[own.path]}.TextGrid",
                "start": own.start or None,
                "end": own.end,
                "text": own.text,
                "speaker": own.speaker,
                "language": own.language,
                "split": own.split,
            }
        )
    kept = [name for name in columns if any(row[name] is not None for row in rows)]
    table = io.StringIO()
    writer = csv.DictWriter(table, kept, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def save_alignment(folder: Path, aligned: Sequence[AlignedUtterance], tier: str, about: str) -> None:
    """Write `alignment.ctm` (of one tier), `textgrids/` and `alignment.json` into a folder.

    Beside them `manifest.csv`, where all audio is in files that it can name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = recording_names([one.utterance for one in aligned])
    write_textgrids(folder / "textgrids", aligned, names)
    write_atomically(folder / "alignment.ctm", ctm(aligned, tier, names))
    if all(one.utterance.audio is None for one in aligned):
        write_atomically(folder / "manifest.csv", manifest(aligned, names, "textgrids"))
    write_atomically(folder / "alignment.json", about)
