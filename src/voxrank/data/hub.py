"""Readers of Hugging Face data sets: saved folders, hub ids, and objects of the library `datasets`.

Rows are read through Arrow, and the library decodes nothing: the bytes in an audio column are an audio file, which is
read from the row when it is needed. A row is identified by folder or id, split and number, so that workers of a cluster
can read it. The code of a data set never runs: `datasets` 4 and later have no loading scripts.

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

from voxrank._support.packages import library
from voxrank.data.arrow import audio_cells, audio_column, canonical, content_of, is_cell, values_of
from voxrank.data.columns import assembled
from voxrank.data.rows import Request, Row
from voxrank.data.sources import UNCHANGING, Content, HeldAudio, Stamp, as_file, stamp_of
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, UtteranceError, reason

SAVED = "Hugging Face data set (saved folder)"
HUB = "Hugging Face data set (hub)"
OBJECT = "Hugging Face data set"
MARKS = (("dataset_dict.json",), ("state.json", "dataset_info.json"))
"""Files that `save_to_disk` writes, for several splits or for one."""
SCHEME = "hf://"
ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:#(?P<config>[\w.-]+))?", re.ASCII)
FILES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".gz", ".tar", ".txt", ".parquet", ".wav", ".flac", ".zip")
"""Endings of names that mean a file, even where the file does not exist."""
HUB_TIMEOUT_S = 5.0
BATCH = 64
"""Number of rows that are read together."""
PLACES = 4
"""Maximum number of data sets that a process keeps open."""
_OFFLINE_LOCK = Lock()
"""A lock held during requests to the hub, since the offline switch applies to the whole process."""


def is_saved(source: str) -> bool:
    """Return whether a path is a folder that `save_to_disk` wrote."""
    return any(all((Path(source) / name).is_file() for name in marks) for marks in MARKS)


def is_hub_id(source: str) -> bool:
    """Return whether a name is ``hf://owner/name``, or an ``owner/name`` that does not exist on this disk."""
    if source.startswith(SCHEME):
        return True
    path = Path(source)
    is_free = not path.exists() and not path.parent.exists() and path.suffix.lower() not in FILES
    return is_free and ID.fullmatch(source) is not None


def read_saved(source: str, request: Request) -> Dataset:
    """Read a folder that `save_to_disk` wrote. Errors as `read_dataset`."""
    datasets = library("datasets", "hub", f"{source}: a Hugging Face data set")
    try:
        dataset = datasets.load_from_disk(source)
    except Exception as error:
        raise DataError(f"{source}: expected a folder that save_to_disk wrote, got {reason(error)}") from error
    origin = _SavedFolder(str(Path(source).absolute()))
    return _read(Path(source), _splits(dataset), request, SAVED, origin)


def read_hub(source: str, request: Request) -> Dataset:
    """Read a data set from the hub. It is downloaded once. Errors as `read_dataset`."""
    datasets = library("datasets", "hub", f"{source}: a data set of the Hugging Face hub")
    match = ID.fullmatch(source.removeprefix(SCHEME))
    if match is None:
        raise DataError(f"expected hf://owner/name, perhaps with @revision or #config, got {source!r}")
    origin = _HubDataset(match["id"], match["config"], match["revision"])
    try:
        dataset = origin.load(datasets)
    except Exception as error:
        raise DataError(
            f"no such file or folder: {source}, and the Hugging Face hub gives no data set of this name "
            f"({reason(error)}); check the name and the network"
        ) from error
    return _read(Path(source.removeprefix(SCHEME)), _splits(dataset), request, HUB, origin)


def read_datasets_object(dataset: Any, request: Request) -> Dataset:
    """Read a `datasets.Dataset` or `DatasetDict`. Errors as `read_dataset`."""
    datasets = library("datasets", "hub", "a Hugging Face data set")
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError("expected a data set with numbered rows, got a streaming one; load it without streaming")
    return _read(Path(type(dataset).__name__), _splits(dataset), request, OBJECT, None)


@dataclass(frozen=True)
class _SavedFolder:
    folder: str

    def load(self, datasets: Any) -> Any:
        return datasets.load_from_disk(self.folder)


@dataclass(frozen=True)
class _HubDataset:
    name: str
    config: str | None
    revision: str | None

    def load(self, datasets: Any) -> Any:
        with _OFFLINE_LOCK, _offline_if_unreachable(datasets, self.name):
            return datasets.load_dataset(self.name, self.config, revision=self.revision)


_Origin = _SavedFolder | _HubDataset


@contextmanager
def _offline_if_unreachable(datasets: Any, name: str) -> Iterator[None]:
    """Use an earlier download at once where the hub does not respond. The library itself would retry for minutes."""
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    switches: tuple[Any, ...] = ()
    try:
        huggingface_hub.dataset_info(name, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError:
        raise
    except Exception:  # noqa: BLE001  the HTTP client, and with it the type, differs between versions
        switches = (datasets.config, huggingface_hub.constants)
    previous = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        switch.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for switch, value in zip(switches, previous, strict=True):
            switch.HF_HUB_OFFLINE = value


def _splits(dataset: Any) -> dict[str | None, Any]:
    """Return a mapping from split to rows, as Arrow tables."""
    parts = dataset if isinstance(dataset, Mapping) else {None: dataset}
    return {name: part.with_format("arrow") for name, part in parts.items()}


def _file_of(part: Any) -> Path | None:
    """Return the file with a split's rows, or the first of several files; None where the rows are in memory."""
    files = part.cache_files
    return Path(files[0]["filename"]).absolute() if files else None


@dataclass(frozen=True)
class _OpenDataset:
    """An open data set: split → rows, and the stamp of its files when it was opened."""

    parts: Mapping[str | None, Any]
    stamps: dict[Path | None, Stamp]


class _DatasetCache:
    """A cache of open data sets. A data set is opened again when its files change.

    When several threads request the same data set, one thread opens it and the others wait.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._open: dict[_Origin, _OpenDataset] = {}

    def part(self, row: ArrowRow) -> Any:
        """Return the split with a row. Raises the errors of the library, and `OSError`."""
        stamp = row.stamp()  # taken before opening, so that a later change is noticed
        with self._lock:
            entry = self._open.pop(row.origin, None)
            if entry is None or entry.stamps.setdefault(row.file, stamp) != stamp:
                entry = _open(row, stamp)
            self._open[row.origin] = entry  # the last entry is the most recently used
            if len(self._open) > self._size:
                del self._open[next(iter(self._open))]
            return entry.parts[row.split]


def _open(row: ArrowRow, stamp: Stamp) -> _OpenDataset:
    parts = _splits(row.origin.load(library("datasets", "hub", "a Hugging Face data set")))
    files = [file for file in map(_file_of, parts.values()) if file is not None]
    return _OpenDataset(parts, {**{file: stamp_of(file) for file in files}, row.file: stamp})


_OPEN_DATASETS = _DatasetCache(PLACES)


@dataclass(frozen=True)
class ArrowRow:
    """Audio in a row of a data set, which any process can open.

    Attributes:
        origin: folder or id of the data set.
        split: split of the data set.
        index: index of the row.
        column: column with the audio.
        file: file with the rows, or the first of several files.
    """

    origin: _Origin
    split: str | None
    index: int
    column: str
    file: Path | None

    def open(self) -> BinaryIO:
        """Open the audio as `AudioSource.open` does."""
        try:
            return as_file(content_of(_OPEN_DATASETS.part(self), self.index, self.column, Path()))
        except (UtteranceError, OSError):
            raise
        except Exception as error:
            raise UtteranceError(f"expected audio, datasets raised {reason(error)}") from error

    def stamp(self) -> Stamp:
        """Return the stamp of the file with the rows, or of the first of several files."""
        return UNCHANGING if self.file is None else stamp_of(self.file)


def _read(
    source: Path, parts: Mapping[str | None, Any], request: Request, form: str, origin: _Origin | None
) -> Dataset:
    skipped: list[Skipped] = []
    rows: list[Row] = []
    notes: tuple[str, ...] = ()
    for split, part in parts.items():
        column, notes = audio_column(source, part.features)
        rows += _SplitReader(source, split, part, column, origin).rows(skipped)
        if request.target == "label" and canonical("label", part.features) == "value":
            request = replace(request, target="value")
    dataset = assembled(source, rows, skipped, request, form)
    return replace(dataset, notes=(*notes, *dataset.notes))


@dataclass(frozen=True)
class _SplitReader:
    """A split of a data set."""

    source: Path
    split: str | None
    part: Any
    column: str
    origin: _Origin | None

    def rows(self, skipped: list[Skipped]) -> Iterator[Row]:
        """Yield all rows. Audio is not read; only its presence is checked."""
        features = self.part.features
        cells = {name: feature for name, feature in features.items() if name != self.column and is_cell(feature)}
        renamed = {name: canonical(name, features) for name in cells}
        source_of = self._sources()
        index = 0
        for table in self.part.iter(BATCH):
            names, embedded = audio_cells(table.column(self.column))
            columns = {
                renamed[name]: values_of(table.column(name).to_pylist(), feature) for name, feature in cells.items()
            }
            for position, name in enumerate(names):
                where = f"{self.split or 'row'}/{index}"
                row = {key: values[position] for key, values in columns.items()}
                row = ({} if self.split is None else {"split": self.split}) | row
                if embedded[position]:
                    row["path"] = _audio_name(where, name)
                    yield Row(f"row {where}", row, id=where, audio=source_of(index))
                elif name:
                    yield Row(f"row {where}", row | {"path": name}, id=where)
                else:
                    skipped.append(Skipped(where, f"the column {self.column!r} is empty"))
                index += 1

    def _sources(self) -> Any:
        if self.origin is not None:
            file = _file_of(self.part)
            return lambda index: ArrowRow(self.origin, self.split, index, self.column, file)
        holder = uuid.uuid4().hex
        return lambda index: HeldAudio(holder, index, self._fetch)

    def _fetch(self, index: int) -> Content:
        return content_of(self.part, index, self.column, self.source.parent)


def _audio_name(where: str, name: str | None) -> str:
    """Return a name for people and for segment files: the row's number, and the name of the audio if it has one."""
    base = Path(name).name if name else ""
    return f"{where}/{base}" if base else f"{where}.wav"
