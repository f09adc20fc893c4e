"""The entries of the cache: files with the sketches of some utterances in one model, named by their content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from voxrank.cache.files import SUFFIX
from voxrank.config import Seconds
from voxrank.sketches.blocks import upper, whole
from voxrank.sketches.moments import Moments, Runs
from voxrank.sketches.products import Array, Products
from voxrank.sketches.projections import BLOCK_LIMIT, Quantiles
from voxrank.sketches.sample import Sample
from voxrank.sketches.store import HEADER, register_kind


@dataclass
class StoredLayer:
    """The stored sketch of a layer.

    Where each sample is the mean of an utterance, the sums are the samples themselves, and all fields after `counts`
    are None.

    Attributes:
        sums: (R, D) sums of each utterance, or of each class where frames have labels; the centre is subtracted.
        counts: (R,) number of samples in each sum.
        centre: (D,) vector that is subtracted from every sample.
        triangle: (D(D+1)/2,) triangle of the products of the samples.
        cubic, quartic: sums of third and fourth order of the samples.
        runs: sums over runs of the samples.
        sample: a bounded sample; None also where no samples are kept.
        projected: samples along fixed directions; None also where no projections are kept.
    """

    sums: Array
    counts: NDArray[np.int64]
    centre: Array | None = None
    triangle: Array | None = None
    cubic: Array | None = None
    quartic: float | None = None
    runs: Runs | None = None
    sample: Sample | None = None
    projected: Quantiles | None = None


@dataclass
class Stored:
    """The content of an entry.

    Attributes:
        items: keys of its utterances.
        layers: name of a layer → its stored sketch.
        skipped: key of an utterance in `items` that the model cannot use → reason.
        used_s: amount of audio in the sums, in seconds.
        encode_s: time of forward passes, in seconds.
    """

    items: list[str]
    layers: dict[str, StoredLayer]
    skipped: dict[str, str] = field(default_factory=dict)
    used_s: Seconds = 0.0
    encode_s: Seconds = 0.0


register_kind(StoredLayer, sums="RD", counts="R", centre="D", triangle="H", cubic="D")
register_kind(Stored)


@dataclass(frozen=True)
class Entry:
    """An entry: a file of the cache.

    Attributes:
        path: path of the file.
        items: keys of its utterances.
    """

    path: Path
    items: frozenset[str]


def read_entries(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a folder whose header can be read."""
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        with suppress(OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
            with safe_open(path, framework="np") as file:
                content = json.loads((file.metadata() or {})[HEADER])["content"]
            yield Entry(path, frozenset(map(str, content["items"])))


def moments_of(layer: StoredLayer, rows: NDArray[np.int64] | None) -> Moments:
    """Return the moments of a stored layer, with the sums in the order of `rows`; None keeps their order."""
    order = slice(None) if rows is None else rows
    counts = layer.counts[order].astype(np.float64)
    return Moments(_products_of(layer), layer.sums[order], counts, counts.copy(), runs=layer.runs)


def _products_of(layer: StoredLayer) -> Products:
    if layer.centre is None or layer.triangle is None or layer.cubic is None or layer.quartic is None:
        raise ValueError("expected products of the samples")
    total, gram = layer.sums.sum(axis=0), whole(layer.triangle, len(layer.centre))
    return Products(int(layer.counts.sum()), layer.centre, total, gram, layer.cubic, layer.quartic)


def together(parts: Sequence[Stored], *, timed: bool) -> Stored:
    """Join the contents of several entries with different utterances."""
    names = parts[0].layers
    return Stored(
        [key for part in parts for key in part.items],
        {name: _joined([part.layers[name] for part in parts], timed=timed) for name in names},
        {key: why for part in parts for key, why in part.skipped.items()},
        sum(part.used_s for part in parts),
        sum(part.encode_s for part in parts),
    )


def _joined(parts: Sequence[StoredLayer], *, timed: bool) -> StoredLayer:
    counts = _joined_rows([part.counts for part in parts], timed=timed)
    if parts[0].triangle is None:
        return StoredLayer(_joined_rows([part.sums for part in parts], timed=timed), counts)
    products = Products.zeros(parts[0].sums.shape[1])
    for part in parts:
        products.merge(_products_of(part))
    moved = [moments_of(part, None).about(products.centre) for part in parts]
    return StoredLayer(
        _joined_rows([moments.cross for moments in moved], timed=timed),
        counts,
        products.centre,
        upper(products.gram),
        products.cubic,
        products.quartic,
        _joined_runs([moments.runs for moments in moved if moments.runs is not None]),
        _joined_sample(parts, timed=timed),
        _joined_projections([part.projected for part in parts if part.projected is not None]),
    )


def _joined_rows(rows: list[NDArray[Any]], *, timed: bool) -> NDArray[Any]:
    """Return the rows added up by class where frames have labels; otherwise concatenated by utterance."""
    joined: NDArray[Any] = np.sum(rows, axis=0) if timed else np.concatenate(rows)
    return joined


def _joined_runs(parts: Sequence[Runs]) -> Runs | None:
    """Return the sums of all runs, about the same centre."""
    if not parts:
        return None
    runs = Runs.zeros(len(parts[0].total))
    for part in parts:
        runs.add(part)
    return runs


def _joined_sample(parts: Sequence[StoredLayer], *, timed: bool) -> Sample | None:
    first = parts[0]
    if first.sample is None:
        return None
    sample, before = Sample.empty(first.sample.size, first.sums.shape[1]), 0
    for part in parts:
        if part.sample is not None:
            sample.merge(part.sample if timed else replace(part.sample, rows=part.sample.rows + before))
        before += len(part.sums)
    return sample


def _joined_projections(parts: Sequence[Quantiles]) -> Quantiles | None:
    if not parts:
        return None
    projected = Quantiles(BLOCK_LIMIT)
    for part in parts:
        projected.merge(part)
    return projected
