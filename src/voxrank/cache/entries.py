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


def moments_of(one: StoredLayer, places: NDArray[np.int64] | None) -> Moments:
    """Return the moments of a stored layer, with the sums in the order of `places`; None keeps their order."""
    order = slice(None) if places is None else places
    counts = one.counts[order].astype(np.float64)
    return Moments(_products_of(one), one.sums[order], counts, counts.copy(), runs=one.runs)


def _products_of(one: StoredLayer) -> Products:
    if one.centre is None or one.triangle is None or one.cubic is None or one.quartic is None:
        raise ValueError("expected products of the samples")
    total, gram = one.sums.sum(axis=0), whole(one.triangle, len(one.centre))
    return Products(int(one.counts.sum()), one.centre, total, gram, one.cubic, one.quartic)


def together(parts: Sequence[Stored], *, timed: bool) -> Stored:
    """Join the contents of several entries with different utterances."""
    names = parts[0].layers
    return Stored(
        [key for one in parts for key in one.items],
        {name: _joined([one.layers[name] for one in parts], timed=timed) for name in names},
        {key: why for one in parts for key, why in one.skipped.items()},
        sum(one.used_s for one in parts),
        sum(one.encode_s for one in parts),
    )


def _joined(parts: Sequence[StoredLayer], *, timed: bool) -> StoredLayer:
    counts = _joined_rows([one.counts for one in parts], timed=timed)
    if parts[0].triangle is None:
        return StoredLayer(_joined_rows([one.sums for one in parts], timed=timed), counts)
    products = Products.zeros(parts[0].sums.shape[1])
    for one in parts:
        products.merge(_products_of(one))
    moved = [moments_of(one, None).about(products.centre) for one in parts]
    return StoredLayer(
        _joined_rows([one.cross for one in moved], timed=timed),
        counts,
        products.centre,
        upper(products.gram),
        products.cubic,
        products.quartic,
        _joined_runs([one.runs for one in moved if one.runs is not None]),
        _joined_sample(parts, timed=timed),
        _joined_projections([one.projected for one in parts if one.projected is not None]),
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
    for one in parts:
        runs.add(one)
    return runs


def _joined_sample(parts: Sequence[StoredLayer], *, timed: bool) -> Sample | None:
    first = parts[0]
    if first.sample is None:
        return None
    sample, before = Sample.empty(first.sample.size, first.sums.shape[1]), 0
    for one in parts:
        if one.sample is not None:
            sample.merge(one.sample if timed else replace(one.sample, rows=one.sample.rows + before))
        before += len(one.sums)
    return sample


def _joined_projections(parts: Sequence[Quantiles]) -> Quantiles | None:
    if not parts:
        return None
    projected = Quantiles(BLOCK_LIMIT)
    for one in parts:
        projected.merge(one)
    return projected
