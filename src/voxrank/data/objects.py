"""Readers of data sets that are Python objects: pandas tables, PyTorch data sets, lists of dicts.

A table has the columns of a manifest, or a column of samples and a column with their rate. An item of a PyTorch data
set is a dict with such keys, or a tuple of a waveform, its sample rate and more. `voxrank.data.tuples` names the other
places. Without a rate in the second place, the attribute ``sample_rate`` of the data set applies. Each item is loaded
once for its labels and again for its audio. Items are loaded one at a time, and none is kept.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxrank.config import Hertz
from voxrank.data.cells import AUDIO_NAMES, audio_in, plain, rate_of
from voxrank.data.columns import USUAL_NAMES, assembled
from voxrank.data.cuts import read_cut_set
from voxrank.data.hub import read_datasets_object
from voxrank.data.rows import Request, Row
from voxrank.data.sources import Content, HeldAudio, OneAtATime
from voxrank.data.tuples import Places, by_place, find_places
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, UtteranceError, reason, shortened


def read_object(data: Any, request: Request) -> Dataset:
    """Read a pandas DataFrame, a `datasets.Dataset`, a `lhotse.CutSet`, or anything with a length and items.

    Raises:
        DataError: as `read_dataset`, or the object has another type or no end.
    """
    for module, names, read in _KINDS:
        if any(isinstance(data, kind) for kind in _loaded_classes(module, names)):
            return read(data, request)
    unnumbered = (bytes, Mapping, *_loaded_classes("torch.utils.data", ("IterableDataset",)))
    if isinstance(data, unnumbered) or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            "expected a path, a table, or a data set with a length and numbered items, got "
            f"{type(data).__name__}; convert it to a list"
        )
    return _read_items(data, request)


def _loaded_classes(module: str, names: tuple[str, ...]) -> list[type]:
    """Return classes of a library; an empty list where it is not imported, since no object can be of its classes."""
    library = sys.modules.get(module)
    return [getattr(library, name) for name in names if hasattr(library, name)]


def _read_table(table: Any, request: Request) -> Dataset:
    if not table.columns.is_unique:
        raise DataError("DataFrame: expected different column names, got one more than once; rename it")
    columns = {str(name): table[name].array for name in table.columns}

    def cells(index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in columns.items()}

    return _assembled("DataFrame", len(table), cells, None, request, "pandas table")


def _read_items(data: Any, request: Request) -> Dataset:
    rate = rate_of({"sample_rate": getattr(data, "sample_rate", None) or getattr(data, "sampling_rate", None)})
    get = OneAtATime(data.__getitem__)

    def cells(index: int) -> dict[str, Any]:
        return by_place(get(index))

    return _assembled(type(data).__name__, len(data), cells, rate, request, "PyTorch data set")


def _assembled(
    name: str,
    count: int,
    cells: Callable[[int], Mapping[str, Any]],
    rate: Hertz | None,
    request: Request,
    form: str,
) -> Dataset:
    holder = uuid.uuid4().hex
    skipped: list[Skipped] = []

    def fetch(index: int) -> Content:
        content = _audio_of(cells(index), rate)[1]
        return Path(content) if isinstance(content, str) else content

    def rows() -> Iterator[Row]:
        for index in range(count):
            try:
                item = cells(index)
                column, content = _audio_of(item, rate)
            except Exception as error:  # noqa: BLE001  the data set may raise any type
                message = str(error) if isinstance(error, UtteranceError) else f"the data set raised {reason(error)}"
                skipped.append(Skipped(f"row {index}", shortened(message)))
                continue
            columns = {key: plain(cell) for key, cell in item.items() if key != column}
            if isinstance(content, str):
                yield Row(f"row {index}", columns | {"path": content})
            else:
                columns["path"] = f"{index}.wav"
                yield Row(f"row {index}", columns, id=f"row {index}", audio=HeldAudio(holder, index, fetch))

    all_rows = list(rows())
    target = "text" if request.target in ("text", *USUAL_NAMES["text"]) else request.target
    places = find_places(name, [row.columns for row in all_rows], target) if request.labelled else Places({})
    if places.names:
        all_rows = [replace(row, columns=_with_names(row.columns, places)) for row in all_rows]
    dataset = assembled(Path(name), all_rows, skipped, request, form)
    return replace(dataset, notes=(*places.notes, *dataset.notes))


def _with_names(columns: Mapping[str, Any], places: Places) -> dict[str, Any]:
    return {**columns, **{name: columns.get(column) for name, column in places.names.items()}}


def _audio_of(item: Mapping[str, Any], rate: Hertz | None) -> tuple[str, Content | str]:
    """Return the name of the part with the audio, and the audio."""
    column = next((name for name in AUDIO_NAMES if name in item), None)
    if column is None:
        raise UtteranceError(
            f"expected audio in one of {', '.join(AUDIO_NAMES[:3])} or path, found: {', '.join(map(str, item))}"
        )
    return column, audio_in(item[column], rate_of(item) or rate)


_KINDS: tuple[tuple[str, tuple[str, ...], Callable[[Any, Request], Dataset]], ...] = (
    ("pandas", ("DataFrame",), _read_table),
    ("datasets", ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict"), read_datasets_object),
    ("lhotse", ("CutSet",), read_cut_set),
)
"""Module, names of classes, and reader."""
