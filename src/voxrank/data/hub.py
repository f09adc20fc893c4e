"""Hugging Face data sets: saved folders, ids of the hub, and objects of the library `datasets`.

Rows are read through Arrow, and nothing is decoded by the library: an audio column's bytes are an audio file, which is
read from the row when it is needed. The row is found again by folder or id, split and number, so that workers of a
cluster can. No code of a data set is ever run: `datasets` 4 and later have no loading scripts.

Source: https://huggingface.co/docs/datasets
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from voxrank.data.arrow import audio_cells, audio_column, canonical, content_of, is_cell, values_of
from voxrank.data.columns import assembled
from voxrank.data.extras import library
from voxrank.data.rows import Request, Row
from voxrank.data.sources import UNCHANGING, Content, HeldAudio, Stamp, as_file, stamp_of
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, UtteranceError, reason

SAVED = "Hugging Face data set (saved folder)"
HUB = "Hugging Face data set (hub)"
OBJECT = "Hugging Face data set"
MARKS = (("dataset_dict.json",), ("state.json", "dataset_info.json"))
"""Files that `save_to_disk` leaves, of several splits or of one."""
SCHEME = "hf://"
ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:#(?P<config>[\w.-]+))?", re.ASCII)
FILES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".gz", ".tar", ".txt", ".parquet", ".wav", ".flac", ".zip")
"""Endings of what is meant as a file, also where there is none."""
HUB_TIMEOUT_S = 5.0
BATCH = 64
"""Rows that are looked at together."""
PLACES = 4
"""Data sets that a process keeps open."""
_SWITCHES = Lock()
"""Held while the hub is asked: what says that there is no network is the process's, not a thread's."""


def is_saved(source: str) -> bool:
    """Whether it is a folder that `save_to_disk` wrote."""
    return any(all((Path(source) / name).is_file() for name in marks) for marks in MARKS)


def is_hub_id(source: str) -> bool:
    """Whether it is ``hf://owner/name``, or an ``owner/name`` that is nothing on this disk."""
    if source.startswith(SCHEME):
        return True
    path = Path(source)
    is_free = not path.exists() and not path.parent.exists() and path.suffix.lower() not in FILES
    return is_free and ID.fullmatch(source) is not None


def read_saved(source: str, request: Request) -> Dataset:
    """Read a folder that `save_to_disk` wrote. Errors as `read_dataset`."""
    datasets = library("datasets", "hub", f"{source}: a Hugging Face data set")
    try:
        found = datasets.load_from_disk(source)
    except Exception as error:
        raise DataError(f"{source}: expected a folder that save_to_disk wrote, got {reason(error)}") from error
    place = _Saved(str(Path(source).absolute()))
    return _read(Path(source), _splits(found), request, SAVED, place)


def read_hub(source: str, request: Request) -> Dataset:
    """Read a data set of the hub, which is downloaded once. Errors as `read_dataset`."""
    datasets = library("datasets", "hub", f"{source}: a data set of the Hugging Face hub")
    named = ID.fullmatch(source.removeprefix(SCHEME))
    if named is None:
        raise DataError(f"expected hf://owner/name, perhaps with @revision or #config, got {source!r}")
    place = _Hub(named["id"], named["config"], named["revision"])
    try:
        found = place.load(datasets)
    except Exception as error:
        raise DataError(
            f"no such file or folder: {source}; nor can it be had as a data set of the Hugging Face hub "
            f"({reason(error)}); check the name and the network"
        ) from error
    return _read(Path(source.removeprefix(SCHEME)), _splits(found), request, HUB, place)


def read_datasets_object(found: Any, request: Request) -> Dataset:
    """Read a `datasets.Dataset` or `DatasetDict`. Errors as `read_dataset`."""
    datasets = library("datasets", "hub", "a Hugging Face data set")
    if isinstance(found, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError("expected a data set with rows that can be asked for, got one that streams; load it whole")
    return _read(Path(type(found).__name__), _splits(found), request, OBJECT, None)


@dataclass(frozen=True)
class _Saved:
    folder: str

    def load(self, datasets: Any) -> Any:
        return datasets.load_from_disk(self.folder)


@dataclass(frozen=True)
class _Hub:
    name: str
    config: str | None
    revision: str | None

    def load(self, datasets: Any) -> Any:
        with _SWITCHES, _asked_once(datasets, self.name):
            return datasets.load_dataset(self.name, self.config, revision=self.revision)


@contextmanager
def _asked_once(datasets: Any, name: str) -> Iterator[None]:
    """Where the hub does not answer, what was downloaded before is looked for at once; the library asks for minutes."""
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    switches: tuple[Any, ...] = ()
    try:
        huggingface_hub.dataset_info(name, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError:
        raise
    except Exception:  # noqa: BLE001  the HTTP client, and with it the exception, differs between versions
        switches = (datasets.config, huggingface_hub.constants)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        switch.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


def _splits(found: Any) -> dict[str | None, Any]:
    """Split → rows, as Arrow."""
    parts = found if isinstance(found, Mapping) else {None: found}
    return {name: part.with_format("arrow") for name, part in parts.items()}


def _file(part: Any) -> Path | None:
    """That holds a split's rows, or the first of several; None where they are in memory."""
    files = part.cache_files
    return Path(files[0]["filename"]).absolute() if files else None


@dataclass(frozen=True)
class _Open:
    """A data set that is open: split → rows, and what its files were when it was opened."""

    parts: Mapping[str | None, Any]
    stamps: dict[Path | None, Stamp]


class _Shelf:
    """Data sets that this process has open, for as long as their files are what they were.

    Threads that ask for one together wait for one of them to open it.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._open: dict[_Saved | _Hub, _Open] = {}

    def part(self, row: ArrowRow) -> Any:
        """The split with a row. Raises what the library raises, and `OSError`."""
        stamp = row.stamp()  # before it is opened: what changes meanwhile is opened anew the next time
        with self._lock:
            found = self._open.pop(row.place, None)
            if found is None or found.stamps.setdefault(row.file, stamp) != stamp:
                found = _open(row, stamp)
            self._open[row.place] = found  # the last one is that which was used last
            if len(self._open) > self._size:
                del self._open[next(iter(self._open))]
            return found.parts[row.split]


def _open(row: ArrowRow, stamp: Stamp) -> _Open:
    parts = _splits(row.place.load(library("datasets", "hub", "a Hugging Face data set")))
    files = [file for file in map(_file, parts.values()) if file is not None]
    return _Open(parts, {**{file: stamp_of(file) for file in files}, row.file: stamp})


_SHELF = _Shelf(PLACES)


@dataclass(frozen=True)
class ArrowRow:
    """Audio in a row of a data set that any process can open.

    Attributes:
        place: of the data set.
        split: of it.
        index: of the row.
        column: with the audio.
        file: that holds the rows, or the first of several.
    """

    place: _Saved | _Hub
    split: str | None
    index: int
    column: str
    file: Path | None

    def open(self) -> BinaryIO:
        """As `AudioSource`."""
        try:
            return as_file(content_of(_SHELF.part(self), self.index, self.column, Path()))
        except (UtteranceError, OSError):
            raise
        except Exception as error:
            raise UtteranceError(f"expected audio, datasets raised {reason(error)}") from error

    def stamp(self) -> Stamp:
        """As `AudioSource`: of the file that holds the rows, or the first of several."""
        return UNCHANGING if self.file is None else stamp_of(self.file)


def _read(
    source: Path, parts: Mapping[str | None, Any], request: Request, form: str, place: _Saved | _Hub | None
) -> Dataset:
    skipped: list[Skipped] = []
    rows: list[Row] = []
    notes: tuple[str, ...] = ()
    for split, part in parts.items():
        column, notes = audio_column(source, part.features)
        rows += _Part(source, split, part, column, place).rows(skipped)
        if request.target == "label" and canonical("label", part.features) == "value":
            request = replace(request, target="value")
    dataset = assembled(source, rows, skipped, request, form)
    return replace(dataset, notes=(*notes, *dataset.notes))


@dataclass(frozen=True)
class _Part:
    """A split."""

    source: Path
    split: str | None
    part: Any
    column: str
    place: _Saved | _Hub | None

    def rows(self, skipped: list[Skipped]) -> Iterator[Row]:
        """All of them; of the audio no more is read than whether it is there."""
        features = self.part.features
        cells = {name: feature for name, feature in features.items() if name != self.column and is_cell(feature)}
        called = {name: canonical(name, features) for name in cells}
        source_of = self._sources()
        index = 0
        for table in self.part.iter(BATCH):
            names, held = audio_cells(table.column(self.column))
            columns = {called[name]: values_of(table.column(name).to_pylist(), one) for name, one in cells.items()}
            for place, name in enumerate(names):
                where = f"{self.split or 'row'}/{index}"
                row = {key: values[place] for key, values in columns.items()}
                row = ({} if self.split is None else {"split": self.split}) | row
                if held[place]:
                    row["path"] = _named(where, name)
                    yield Row(f"row {where}", row, id=where, audio=source_of(index))
                elif name:
                    yield Row(f"row {where}", row | {"path": name}, id=where)
                else:
                    skipped.append(Skipped(where, f"the column {self.column!r} is empty"))
                index += 1

    def _sources(self) -> Any:
        if self.place is not None:
            file = _file(self.part)
            return lambda index: ArrowRow(self.place, self.split, index, self.column, file)
        holder = uuid.uuid4().hex
        return lambda index: HeldAudio(holder, index, self._fetch)

    def _fetch(self, index: int) -> Content:
        return content_of(self.part, index, self.column, self.source.parent)


def _named(where: str, name: str | None) -> str:
    """For people and for files of segments: the row's number, with the audio's own name where it has one."""
    base = Path(name).name if name else ""
    return f"{where}/{base}" if base else f"{where}.wav"
