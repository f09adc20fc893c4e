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
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from voxrank.data.cells import AUDIO_NAMES, RATE_NAMES, audio_in, rate_of
from voxrank.data.columns import assembled
from voxrank.data.extras import library
from voxrank.data.names import name_within
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
        with _asked_once(datasets, self.name):
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


@lru_cache(maxsize=4)
def _opened(place: _Saved | _Hub, split: str | None) -> Any:
    """A split, opened once in each process."""
    return _splits(place.load(library("datasets", "hub", "a Hugging Face data set")))[split]


def _content(part: Any, index: int, column: str, folder: Path) -> Content:
    """The audio of a row."""
    row = part[index]
    rate = rate_of({name: row.column(name)[0].as_py() for name in RATE_NAMES if name in row.column_names})
    content = audio_in(row.column(column)[0].as_py(), rate)
    return folder / name_within(folder, content) if isinstance(content, str) else content


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
            return as_file(_content(_opened(self.place, self.split), self.index, self.column, Path()))
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
        column, notes = _audio_column(source, part.features)
        rows += _Part(source, split, part, column, place).rows(skipped)
        if request.target == "label" and _canonical("label", part.features) == "value":
            request = replace(request, target="value")
    dataset = assembled(source, rows, skipped, request, form)
    return replace(dataset, notes=(*notes, *dataset.notes))


def _audio_column(source: Path, features: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The column with the audio: by its type, else by its name; and what to say of it."""
    found = [name for name, feature in features.items() if type(feature).__name__ == "Audio"]
    if not found:
        found = [name for name in AUDIO_NAMES if name in features]
    if not found:
        raise DataError(f"{source}: expected a column of audio, found: {', '.join(features)}; cast one to Audio")
    column = "audio" if "audio" in found else found[0]
    many = len(found) > 1 and type(features[column]).__name__ == "Audio"
    return column, (f"audio is the column {column!r} (also there: {', '.join(found)})",) if many else ()


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
        cells = {name: feature for name, feature in features.items() if name != self.column and _is_cell(feature)}
        called = {name: _canonical(name, features) for name in cells}
        source_of = self._sources()
        index = 0
        for table in self.part.iter(BATCH):
            names, held = _audio_cells(table.column(self.column))
            columns = {called[name]: _values(table.column(name).to_pylist(), one) for name, one in cells.items()}
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
            files = self.part.cache_files
            file = Path(files[0]["filename"]).absolute() if files else None
            return lambda index: ArrowRow(self.place, self.split, index, self.column, file)
        holder = uuid.uuid4().hex
        return lambda index: HeldAudio(holder, index, self._fetch)

    def _fetch(self, index: int) -> Content:
        return _content(self.part, index, self.column, self.source.parent)


def _named(where: str, name: str | None) -> str:
    """For people and for files of segments: the row's number, with the audio's own name where it has one."""
    base = Path(name).name if name else ""
    return f"{where}/{base}" if base else f"{where}.wav"


def _audio_cells(column: Any) -> tuple[list[str | None], list[bool]]:
    """Of each row, the audio's name, and whether the row holds it."""
    import pyarrow as pa

    names: list[str | None] = []
    held: list[bool] = []
    for chunk in column.chunks:
        fields = {}
        if pa.types.is_struct(chunk.type):  # flattened, an empty row empties its fields
            fields = dict(zip((field.name for field in chunk.type), chunk.flatten(), strict=True))
        if {"bytes", "path"} <= fields.keys():
            names += fields["path"].to_pylist()
            held += fields["bytes"].is_valid().to_pylist()
        elif pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type):
            names += chunk.to_pylist()
            held += [False] * len(chunk)
        else:
            names += [None] * len(chunk)
            held += chunk.is_valid().to_pylist()
    return names, held


def _is_cell(feature: Any) -> bool:
    """Whether a row can hold it: text, a number, a class, or a list of them, but no audio, picture or array."""
    kind = type(feature).__name__
    if kind in ("List", "LargeList", "Sequence"):
        inner = feature.feature
        return isinstance(inner, Mapping) or (_is_cell(inner) and not _is_float(inner))
    return kind == "ClassLabel" or (kind == "Value" and "binary" not in feature.dtype)


def _values(cells: list[Any], feature: Any) -> list[Any]:
    """Classes by their names; the rest as it is."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        return [_class(feature, cell) for cell in cells]
    if kind in ("List", "LargeList", "Sequence") and type(feature.feature).__name__ == "ClassLabel":
        return [None if cell is None else [_class(feature.feature, one) for one in cell] for cell in cells]
    return cells


def _class(feature: Any, number: int | None) -> str | None:
    """None where the number is none of a class, as in test sets without labels."""
    return feature.names[number] if number is not None and 0 <= number < feature.num_classes else None


def _is_float(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith("float")


def _canonical(name: str, features: Mapping[str, Any]) -> str:
    """``labels`` of one class each, as trainers call them, are ``label``; a ``label`` of floats is ``value``."""
    if name == "labels" and "label" not in features and type(features[name]).__name__ in ("ClassLabel", "Value"):
        return "label"
    if name == "label" and "value" not in features and _is_float(features[name]):
        return "value"
    return name
