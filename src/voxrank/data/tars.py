"""A reader of tar shards in the format of WebDataset, where members with the same key form a sample.

A sample has ``key.wav`` (or another audio file) and optionally ``key.json`` (its fields are columns), ``key.cls`` (a
class) and ``key.txt`` (a transcript). Shards are not unpacked: audio is read from the shard. Names of members are never
used as paths. Other members, including pickles, are not read.

A key ends at the first dot of a member's name, and the members of a sample follow each other. Other samples are
skipped with a reason: those with scattered members, and those with dots in their keys.

Source: https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

from voxrank.data.audio_files import has_audio_ending, walk
from voxrank.data.columns import assembled
from voxrank.data.names import counted, nfc
from voxrank.data.rows import Request, Row
from voxrank.data.sources import FileRegion
from voxrank.data.splits import part_of
from voxrank.data.tar_samples import JSON_KINDS, LABEL_KINDS, TEXT_KINDS, Member, Sample, sort_out
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, UtteranceError, reason, shortened

FORM = "tar shards (WebDataset)"
SUFFIX = ".tar"
MAX_TEXT_BYTES = 1 << 22
"""Maximum size of a JSON, class or transcript member, and of the extended data of a header."""
MAX_SHARDS = 100_000
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
SHOWN_KINDS = 3
SPLITS = re.compile(r"(train|test|dev|valid|validation|val|eval)(?![a-z])", re.IGNORECASE)
"""Split at the beginning of the name of a shard or of its folder."""
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
BLOCK = 512
"""Bytes of a header. A header of zeros ends a tar."""


def is_tar(source: str) -> bool:
    """Return whether a name is a tar, a pattern of tars (``train-{000..003}.tar``), or a folder of tars.

    A folder that also holds folders with audio files, at any depth, is a folder of classes instead.
    """
    path = Path(source)
    if path.is_dir():
        tars = any(path.glob(f"*{SUFFIX}")) or any(path.glob(f"*/*{SUFFIX}"))
        return tars and not any(has_audio_ending(file.name) for file in walk(path) if file.parent != path)
    return source.lower().endswith((SUFFIX, *COMPRESSED))


def read_tars(source: str, request: Request) -> Dataset:
    """Read shards. A damaged shard affects only its own rows. Errors as `read_dataset`."""
    if source.lower().endswith(COMPRESSED):
        raise DataError(
            f"{source}: expected a .tar, got a compressed one, of which no part can be read; unpack it first"
        )
    path = Path(source)
    if any(path.glob("*.jsonl.gz")) and any(path.glob("recording*.tar")):
        raise DataError(f"{source}: Lhotse Shar is not read; write the cuts with cuts.to_file('cuts.jsonl.gz')")
    shards = shard_paths(source)
    skipped: list[Skipped] = []
    kinds: Counter[str] = Counter()
    rows = [row for shard in shards for row in _rows(shard, path, skipped, kinds)]
    dataset = assembled(path, rows, skipped, request, FORM)
    notes = [f"of several members with audio, the first is taken: {counted(kinds, SHOWN_KINDS)}"] if kinds else []
    return replace(dataset, notes=(*dataset.notes, *notes))


def shard_paths(source: str) -> list[Path]:
    """Return all shards of a folder or a pattern, in order.

    Raises:
        DataError: a shard is missing, or there are too many.
    """
    path = Path(source)
    if path.is_dir():
        return sorted([*path.glob(f"*{SUFFIX}"), *path.glob(f"*/*{SUFFIX}")])
    paths = [path] if path.exists() else [Path(name) for name in expanded(source)]
    missing = next((shard for shard in paths if not shard.is_file()), None)
    if missing is not None:
        raise DataError(f"no such shard: {missing}; check the path or the pattern")
    return paths


def expanded(pattern: str) -> list[str]:
    """Expand the braces in a pattern to names.

    Raises:
        DataError: there are too many names.

    Example:
        >>> expanded("{train,test}-{08..10}.tar")[1:4]
        ['train-09.tar', 'train-10.tar', 'test-08.tar']
    """
    pieces = BRACES.split(pattern)  # the texts in braces have odd indices
    counts = [_count(piece) if index % 2 else 1 for index, piece in enumerate(pieces)]
    total = 1
    for count in counts:
        total *= count
    if total > MAX_SHARDS:
        raise DataError(f"{pattern}: expected at most {MAX_SHARDS:,} shards, got {total:,}; name fewer")
    choices = [_choices(piece) if index % 2 else [piece] for index, piece in enumerate(pieces)]
    return ["".join(parts) for parts in product(*choices)]


def _count(inner: str) -> int:
    span = RANGE.fullmatch(inner)
    return max(0, int(span[2]) - int(span[1]) + 1) if span else inner.count(",") + 1


def _choices(inner: str) -> list[str]:
    span = RANGE.fullmatch(inner)
    if span is None:
        return inner.split(",")
    return [f"{number:0{len(span[1])}d}" for number in range(int(span[1]), int(span[2]) + 1)]


def _rows(shard: Path, source: Path, skipped: list[Skipped], kinds: Counter[str]) -> Iterator[Row]:
    name = shard.relative_to(source).as_posix() if shard.is_relative_to(source) and shard != source else shard.name
    split = _split_of(shard.stem) or (_split_of(shard.parent.name) if "/" in name else None)
    with shard.open("rb") as file:
        samples, faults = sort_out(list(_samples(shard, file, name, skipped)))
        skipped += [Skipped(f"{name.removesuffix(SUFFIX)}/{fault.key}", shortened(fault.reason)) for fault in faults]
        for sample in samples:
            utterance = f"{name.removesuffix(SUFFIX)}/{sample.key}"
            try:
                columns, audio = _columns(sample, file), _audio(sample, shard)
            except UtteranceError as error:
                skipped.append(Skipped(utterance, shortened(str(error))))
                continue
            kinds.update([", ".join(member.kind for member in sample.audio)] if len(sample.audio) > 1 else [])
            columns = ({} if split is None else {"split": split}) | columns
            columns["path"] = str(shard.absolute() / f"{sample.key}.{audio[0]}")
            yield Row(f"sample {utterance}", columns, id=utterance, audio=audio[1])


def _split_of(name: str) -> str | None:
    """Return the split at the beginning of the name of a shard or of its folder, or the part that a word means."""
    match = SPLITS.match(name)
    return match[1].lower() if match else part_of(name)


def _samples(shard: Path, file: BinaryIO, name: str, skipped: list[Skipped]) -> Iterator[Sample]:
    sample: Sample | None = None
    size = shard.stat().st_size
    try:
        for key, member in _members(file, name, skipped):
            if sample is None or key != sample.key or member.kind in sample.members:
                if sample is not None:
                    yield sample
                sample = Sample(key)
            if member.offset + member.size > size:
                raise tarfile.ReadError(f"{key}.{member.kind} ends after the end of the shard")
            sample.members[member.kind] = member
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        skipped.append(
            Skipped(
                name, f"expected a whole tar, got a damaged one ({reason(error)}); what lies before the damage is used"
            )
        )
    if sample is not None:
        yield sample


def _members(file: BinaryIO, name: str, skipped: list[Skipped]) -> Iterator[tuple[str, Member]]:
    """Yield plain files with a key, in NFC, and an ending, in order. Links and special files are skipped."""
    with tarfile.TarFile(fileobj=_BoundedFile(file)) as tar:  # type: ignore[arg-type]
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps all of them
            folder, slash, base = info.name.rpartition("/")
            stem, dot, kind = base.partition(".")
            if not stem or not dot or info.isdir():
                continue
            if info.isreg() and not info.issparse():
                yield nfc(f"{folder}{slash}{stem}"), Member(nfc(kind.lower()), info.offset_data, info.size)
            else:
                message = (
                    "expected a plain file in the tar, got a link, a device or a sparse file; write the file itself"
                )
                skipped.append(Skipped(shortened(f"{name}: {info.name}"), message))
        file.seek(tar.offset)
        end = file.read(BLOCK)
    if not end or end.strip(b"\0"):
        raise tarfile.ReadError("a header is damaged" if end else "the mark of its end is missing")


class _BoundedFile:
    """A file that limits each read to a few megabytes, whatever a header claims."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file
        self.name, self.mode = "", "rb"

    def read(self, size: int) -> bytes:
        if size > MAX_TEXT_BYTES:
            raise tarfile.ReadError(f"a header asks for {size:,} bytes")
        return self._file.read(size)


def _audio(sample: Sample, shard: Path) -> tuple[str, FileRegion]:
    """Return the kind and the region of the first audio in a sample."""
    for member in sample.audio:
        return member.kind, FileRegion(shard.absolute(), member.offset, member.size)
    kinds = ", ".join(sample.members)
    raise UtteranceError(f"expected a member with audio, such as {sample.key}.wav, got {kinds}")


def _columns(sample: Sample, file: BinaryIO) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for kind, member in sample.members.items():
        if kind in JSON_KINDS:
            columns = _fields(_text(member, file, sample.key)) | columns
        elif kind in LABEL_KINDS:
            columns["label"] = _text(member, file, sample.key)
        elif kind in TEXT_KINDS:
            columns["text"] = _text(member, file, sample.key)
    return columns


def _text(member: Member, file: BinaryIO, key: str) -> str:
    if member.size > MAX_TEXT_BYTES:
        raise UtteranceError(f"expected at most {MAX_TEXT_BYTES:,} bytes in {key}.{member.kind}, got {member.size:,}")
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8").strip()
    except UnicodeDecodeError:
        raise UtteranceError(f"expected UTF-8 text in {key}.{member.kind}, got other bytes") from None


def _fields(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UtteranceError("expected a JSON object beside the audio, got text that is not JSON") from None
    if not isinstance(content, dict):
        raise UtteranceError(f"expected a JSON object beside the audio, got {type(content).__name__}")
    return {name: None if value != value else value for name, value in content.items()}
