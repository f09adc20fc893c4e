"""Data sets that are Python objects: pandas tables, PyTorch data sets, lists of dicts.

A table has the columns of a manifest, or a column of samples beside one with their rate. An item of a PyTorch data set
is a dict with such keys, or a tuple in the order of torchaudio's ``SPEECHCOMMANDS``: waveform, sample rate, label,
speaker, and what follows as ``item4``, ``item5`` … ; without a rate in the second place, the data set's own
``sample_rate`` holds. Each item is asked for once when labels are read, and again when its audio is needed, one at a
time: nothing is kept.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from voxrank.config import Hertz
from voxrank.data.cells import AUDIO_NAMES, audio_in, plain, rate_of
from voxrank.data.columns import USUAL_NAMES, assembled
from voxrank.data.cuts import read_cut_set
from voxrank.data.hub import read_datasets_object
from voxrank.data.rows import Request, Row
from voxrank.data.sources import Content, HeldAudio, OneAtATime
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, UtteranceError, reason, shortened

PLACES = ("label", "speaker")
"""Of a tuple, behind the waveform and its rate."""
FEWEST = 2
"""Parts of a tuple: audio and a label."""


def read_object(data: Any, request: Request) -> Dataset:
    """Read a pandas DataFrame, a `datasets.Dataset`, a `lhotse.CutSet`, or anything with a length and items.

    Raises:
        DataError: as `read_dataset`; or it is none of these, or has no end.
    """
    for module, names, read in _KINDS:
        if any(isinstance(data, kind) for kind in _loaded(module, names)):
            return read(data, request)
    unnumbered = (bytes, Mapping, *_loaded("torch.utils.data", ("IterableDataset",)))
    if isinstance(data, unnumbered) or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            "expected a path, a table, or a data set with a length and numbered items, got "
            f"{type(data).__name__}; make a list of what it gives"
        )
    return _read_items(data, request)


def _loaded(module: str, names: tuple[str, ...]) -> list[type]:
    """Classes of a library; none where it is not loaded, since there can be no object of it."""
    found = sys.modules.get(module)
    return [getattr(found, name) for name in names if hasattr(found, name)]


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
    text = request.target == "text" or request.target in USUAL_NAMES["text"]

    def cells(index: int) -> dict[str, Any]:
        return _named(get(index), text=text)

    return _assembled(type(data).__name__, len(data), cells, rate, request, "PyTorch data set")


def _named(item: Any, *, text: bool) -> dict[str, Any]:
    """An item's parts by name."""
    if isinstance(item, Mapping):
        return {str(name): part for name, part in item.items()}
    if hasattr(item, "_asdict"):
        return dict(item._asdict())
    if not isinstance(item, tuple | list) or len(item) < FEWEST:
        raise UtteranceError(f"expected a dict, or a tuple of audio, rate and label, got {type(item).__name__}")
    audio, *rest = item
    known = {"audio": audio}
    second = plain(rest[0])
    if len(rest) > 1 and isinstance(second, int | float) and not isinstance(audio, str | Path):
        known["sample_rate"] = second
        rest = rest[1:]
    places = ("text", *PLACES[1:]) if text else PLACES
    first = len(known)
    names = [*places, *(f"item{place}" for place in range(first + len(places), first + len(rest)))]
    return known | dict(zip(names, rest, strict=False))


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
            except Exception as error:  # noqa: BLE001  the data set's own
                why = str(error) if isinstance(error, UtteranceError) else f"the data set raised {reason(error)}"
                skipped.append(Skipped(f"row {index}", shortened(why)))
                continue
            columns = {key: plain(cell) for key, cell in item.items() if key != column}
            if isinstance(content, str):
                yield Row(f"row {index}", columns | {"path": content})
            else:
                columns["path"] = f"{index}.wav"
                yield Row(f"row {index}", columns, id=f"row {index}", audio=HeldAudio(holder, index, fetch))

    return assembled(Path(name), rows(), skipped, request, form)


def _audio_of(item: Mapping[str, Any], rate: Hertz | None) -> tuple[str, Content | str]:
    """The name of the part with the audio, and the audio."""
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
"""Module, classes, reader."""
