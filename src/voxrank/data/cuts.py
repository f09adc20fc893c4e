"""Readers of Lhotse cuts: JSON files with one cut per line, and `CutSet` objects.

A cut that is a stretch of one audio file is read from the file. Lhotse decodes cuts that are mixed, padded, augmented
or select channels. A cut is skipped if its recording is a command or an address.

Source: https://lhotse.readthedocs.io/en/latest/cuts.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from voxrank._support.packages import library
from voxrank._support.words import in_hours
from voxrank.config import Seconds
from voxrank.data.audio import MAX_NUMBERS, MAX_UTTERANCE_S
from voxrank.data.columns import assembled
from voxrank.data.manifest import first_object, json_rows
from voxrank.data.names import on_disk
from voxrank.data.rows import SEGMENTS, Request, Row
from voxrank.data.segment_json import tier_name
from voxrank.data.sources import UNCHANGING, AudioSource, Content, HeldAudio, Stamp, as_file, stamp_of
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, UtteranceError, reason, shortened

FORM = "Lhotse cuts"
KINDS = ("MonoCut", "MultiCut", "MixedCut", "PaddingCut", "Cut")
SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson")


def is_cuts(source: str) -> bool:
    """Return whether a path is a JSONL file, compressed or not, whose first line is a cut."""
    path = Path(source)
    return source.lower().endswith(SUFFIXES) and path.is_file() and first_object(path).get("type") in KINDS


def read_cuts(source: str, request: Request) -> Dataset:
    """Read a file of cuts line by line. Errors as `read_dataset`."""
    path = Path(source)
    deserialize = library("lhotse.serialization", "lhotse", f"{source}: a file of Lhotse cuts").deserialize_item
    skipped: list[Skipped] = []

    def cuts() -> Iterator[tuple[str, Any]]:
        for line in json_rows(path):
            if isinstance(line, Skipped):
                skipped.append(line)
                continue
            try:
                yield line.where, deserialize(_check_recordings(dict(line.columns), path.parent))
            except Exception as error:  # noqa: BLE001  lhotse raises many types on invalid JSON
                skipped.append(Skipped(f"{path.name}, {line.where}", _skip_reason(error, "a Lhotse cut")))

    return _dataset(path, cuts(), skipped, request)


def read_cut_set(cuts: Any, request: Request) -> Dataset:
    """Read a `lhotse.CutSet` cut by cut. Errors as `read_dataset`."""
    lazy = library("lhotse.lazy", "lhotse", "a CutSet")
    if isinstance(cuts.data, lazy.LazyRepeater) and cuts.data.times is None:
        raise DataError("expected a CutSet that ends, got one that repeats for ever; give it before .repeat()")
    return _dataset(Path("CutSet"), ((f"cut {n}", cut) for n, cut in enumerate(cuts, start=1)), [], request)


def _dataset(source: Path, cuts: Iterable[tuple[str, Any]], skipped: list[Skipped], request: Request) -> Dataset:
    aligned = request.segments is None and (request.target == SEGMENTS or request.tier is not None)
    if aligned and request.target not in (SEGMENTS, None):
        raise DataError(f"{source}: both a column, {request.target!r}, and a tier were named; name one of them")
    request = replace(request, target=SEGMENTS) if aligned else request
    reader = _CutReader(uuid.uuid4().hex, request.tier, aligned=aligned)
    rows = [row for where, cut in cuts for row in reader.rows(where, cut, skipped)]
    return assembled(source, rows, skipped, request, FORM)


def _skip_reason(error: Exception, what: str) -> str:
    """Return the reason for skipping a cut."""
    return shortened(str(error) if isinstance(error, UtteranceError) else f"expected {what}, got {reason(error)}")


def _check_recordings(content: Any, folder: Path | None) -> Any:
    """Check that all recordings of a cut are files, and resolve relative paths against `folder` where the file exists.

    Raises:
        UtteranceError: a recording is a command or an address.
    """
    pending = [content]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.values()
            if {"source", "type", "channels"} <= item.keys():
                _check_source(item, folder)
    return content


def _check_source(source: dict[str, Any], folder: Path | None) -> None:
    kind, address = source["type"], source["source"]
    if kind == "memory" and isinstance(address, bytes):
        return
    if kind != "file" or not isinstance(address, str):
        raise UtteranceError(
            f"expected a recording in a file, got one of the type {shortened(str(kind), 40)!r}, which is not opened; "
            "write it to a file, as cut.save_audio does"
        )
    if "://" in address or address == "-":
        raise UtteranceError(f"expected a recording in a file, got the address {shortened(address, 80)}; download it")
    if folder is not None and "\0" not in address and (file := on_disk((folder / address).absolute())).exists():
        source["source"] = str(file)


@dataclass(frozen=True)
class _CutReader:
    """A converter of cuts to rows.

    Attributes:
        holder: identifier of the audio that cannot be written as JSON.
        tier: tier of the alignments.
        aligned: whether alignments are read.
    """

    holder: str
    tier: str | None
    aligned: bool

    def rows(self, where: str, cut: Any, skipped: list[Skipped]) -> Iterator[Row]:
        """Yield a row for the cut, or a row for each supervision where it has several."""
        try:
            several = len(cut.supervisions) > 1
            parts = cut.trim_to_supervisions(keep_overlapping=False) if several else [cut]
            parts = [(f"{cut.id}/{part.supervisions[0].id}" if several else str(cut.id), part) for part in parts]
        except Exception as error:  # noqa: BLE001  lhotse raises many types
            skipped.append(Skipped(where, _skip_reason(error, "a Lhotse cut")))
            return
        for name, part in parts:
            try:
                yield self._row(name, part)
            except Exception as error:  # noqa: BLE001
                skipped.append(Skipped(name, _skip_reason(error, "a Lhotse cut")))

    def _row(self, name: str, cut: Any) -> Row:
        file = _file_of(cut)
        supervision = cut.supervisions[0] if cut.supervisions else None
        columns: dict[str, Any] = _scalars(getattr(cut, "custom", None)) | _supervision_columns(supervision)
        audio: AudioSource | None = None
        if file is not None:
            columns |= {"path": str(file), "start": float(cut.start), "end": float(cut.end)}
            if not cut.start and abs(cut.duration - cut.recording.duration) * cut.recording.sampling_rate < 0.5:
                columns |= {"start": None, "end": None}
        else:
            audio = self._computed_audio(cut)
            columns |= {"path": f"{name}.wav", "start": None, "end": None}
        if self.aligned and supervision is not None:
            columns[SEGMENTS] = _segments(cut, supervision, self.tier, in_file=file is not None)
        return Row(f"cut {name}", columns, id=name, audio=audio)

    def _computed_audio(self, cut: Any) -> AudioSource:
        content = _check_recordings(cut.to_dict(), None)
        try:
            return CutAudio(json.dumps(content, sort_keys=True))
        except TypeError:  # the audio is in memory
            return HeldAudio(self.holder, id(cut), lambda _: samples_of(cut))


def _file_of(cut: Any) -> Path | None:
    """Return the file that a cut is a stretch of, or None where lhotse has to compute the audio."""
    recording = getattr(cut, "recording", None)
    if recording is None:
        if hasattr(cut, "tracks"):
            return None
        raise UtteranceError("expected a cut with a recording, got one without audio")
    [source, *others] = recording.sources
    if source.type != "file" or others or recording.transforms:
        return None
    channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
    if set(channels) != set(recording.channel_ids):
        return None
    _check_recordings([source.to_dict()], None)
    return Path(str(source.source)).absolute()


def _scalars(custom: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the custom fields that a row can hold: text, numbers and lists of them."""
    return {name: value for name, value in (custom or {}).items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    simple = str | int | float | None
    return isinstance(value, simple) or (isinstance(value, list) and all(isinstance(item, simple) for item in value))


def _supervision_columns(supervision: Any) -> dict[str, Any]:
    if supervision is None:
        return {}
    fields = ("text", "speaker", "language", "gender", "recording_id")
    return _scalars(supervision.custom) | {
        name: value for name in fields if (value := getattr(supervision, name)) is not None
    }


def _segments(cut: Any, supervision: Any, tier: str | None, *, in_file: bool) -> list[list[Any]]:
    """Return an alignment in seconds of the audio. Lhotse counts seconds of the recording."""
    tiers = supervision.alignment or {}
    items = tiers[tier_name(list(tiers), tier, f"the alignment of {supervision.id}")]
    shift = 0.0 if in_file else _shift(cut, supervision.id)
    segments = [_segment_of(item, shift) for item in items]
    return segments if in_file else [segment for segment in segments if segment[1] is None or segment[1] > 0]


def _segment_of(item: Any, shift: Seconds) -> list[Any]:
    """Return start, end and label of an item. The end is None, which is refused later, where a time is not a number."""
    if not (isinstance(item.start, int | float) and isinstance(item.duration, int | float)):
        return [item.start, None, item.symbol]
    start, end = item.start + shift, item.start + shift + item.duration
    return [max(0.0, start) if shift else start, end, item.symbol]


def _shift(cut: Any, supervision_id: str) -> Seconds:
    """Return the offset to add to seconds of the recording to get seconds of the cut."""
    for track in getattr(cut, "tracks", ()):
        if any(supervision.id == supervision_id for supervision in track.cut.supervisions):
            return float(track.offset - track.cut.start)
    return -float(cut.start)


@dataclass(frozen=True)
class CutAudio:
    """Audio of a cut that lhotse computes: mixed, padded, augmented, or with selected channels.

    Attributes:
        cut: the cut as JSON.
    """

    cut: str

    @property
    def file(self) -> Path | None:
        """The first file that the cut uses, or None."""
        return next(iter(self._files()), None)

    def open(self) -> BinaryIO:
        """Open the audio as `AudioSource.open` does."""
        try:
            serialization = library("lhotse.serialization", "lhotse", "a Lhotse cut")
            content = samples_of(serialization.deserialize_item(_check_recordings(json.loads(self.cut), None)))
        except UtteranceError:
            raise
        except Exception as error:
            raise UtteranceError(f"expected audio, lhotse raised {reason(error)}") from error
        return as_file(content)

    def stamp(self) -> Stamp:
        """Return one stamp for all files of the cut."""
        stamps = [stamp_of(path) for path in self._files()]
        sizes, times, inodes = zip(*stamps, strict=True) if stamps else ((), (), ())
        return (sum(sizes), max(times), sum(inodes)) if stamps else UNCHANGING

    def _files(self) -> list[Path]:
        files: dict[Path, None] = {}
        pending = [json.loads(self.cut)]
        while pending:
            item = pending.pop(0)
            if isinstance(item, list):
                pending += item
            elif isinstance(item, dict):
                pending += item.values()
                if item.get("type") == "file":
                    files[Path(str(item.get("source")))] = None
        return list(files)


def samples_of(cut: Any) -> Content:
    """Return the samples of a cut, and its rate in Hz.

    Raises:
        UtteranceError: the cut is too long to be held in memory.
    """
    channels = len(cut.channel) if isinstance(getattr(cut, "channel", None), list) else 1
    if cut.duration > MAX_UTTERANCE_S or cut.duration * cut.sampling_rate * channels > MAX_NUMBERS:
        raise UtteranceError(f"expected a cut of at most {in_hours(MAX_UTTERANCE_S)}, got {cut.duration:.0f} s")
    return cut.load_audio(), cut.sampling_rate
