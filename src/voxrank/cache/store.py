"""The cache of sketches on disk.

An entry holds the sketches of some utterances in one model. Its sums are separate for each utterance, so that they
serve any label, also one that is added later. Where a sample is the mean of an utterance, an entry holds the means, and
the other sketches are computed again from them.

The key of an entry depends on

- the bytes of the audio, with offsets and ids,
- weights and settings of the model,
- the options of extraction,
- the labels, where frames have labels,
- the versions of the libraries that compute.

Paths and times of files are not part of the key.

    FOLDER/models/IDENTITY.json                      what is remembered of a model (`cache.models`)
    FOLDER/v6/MODEL/about.json                       description of the folder, for people
    FOLDER/v6/MODEL/ITEMS-CHECKSUM.safetensors       an entry (`voxrank.sketches.store`)

ITEMS is a digest of the utterances, CHECKSUM a digest of the file. A file that does not match its checksum is deleted
and written again. Files are written atomically. Two runs may use one folder at the same time, because the same content
gives the same file. A run writes an entry for each shard, and joins several entries of a block that are about equal in
size, up to a limit, so that neither the number of files nor the bytes that are written again grow too large. The cache
is pruned while a model is written as well as after it. If the cache cannot be written, the user receives a note once,
and the run continues without it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxrank._support.threads import prefetch
from voxrank.cache.entries import Entry, Stored, StoredLayer, moments_of, read_entries, together
from voxrank.cache.files import SUFFIX, read_checked, write_checked
from voxrank.cache.keys import (
    AudioDigest,
    AudioLocation,
    classes_of,
    digest_of,
    layer_name,
    timeline_parts,
)
from voxrank.cache.models import Remembered, forget, identity_of, recall, remember, versions
from voxrank.config import CacheOptions, EncoderOptions, ExtractionOptions, Seconds
from voxrank.data.shards import Item, Shard
from voxrank.data.sources import UNCHANGING, digest_of_audio, stamp_of
from voxrank.data.utterance import Skipped, Utterance
from voxrank.encoders.identity import ModelFacts
from voxrank.encoders.joint import SketchedLayer, keys_of, sketch_key
from voxrank.errors import OptionError, SketchError, UtteranceError, reason
from voxrank.extraction.shard import ShardSketch, add_means, empty_sketch, is_by_utterance
from voxrank.sketches.blocks import upper
from voxrank.sketches.store import load_sketches
from voxrank.targets.labels import Targets

logger = logging.getLogger(__name__)

SCHEMA = 6
"""Version of the entries and of their keys. Entries of another version are never read."""
JOINED_AT = 8
"""Number of entries of a block, of about the same number of utterances, at which they are joined."""
JOINED_BYTES = 1 << 28
"""Maximum size of the sums of utterances in an entry that was joined, in bytes. A join holds them in memory."""
PRUNE_SHARE = 64
"""The cache is pruned whenever a process has written 1/PRUNE_SHARE of its maximum size."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Holding:
    """All entries of one model with one set of options.

    Attributes:
        folder: folder of the entries.
        about: description of the model and options.
        entries: number of entries.
        utterances: number of utterances in the entries.
        size: size in bytes.
        used: time of the last use of an entry, in seconds since the epoch.
    """

    folder: Path
    about: dict[str, Any]
    entries: int
    utterances: int
    size: int
    used: float


def default_folder() -> Path:
    """Return the default folder of the cache: `VOXRANK_CACHE`, or else voxrank in the user's cache folder."""
    if named := os.environ.get("VOXRANK_CACHE"):
        return Path(named)
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "voxrank" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxrank"


class Cache:
    """The cache: entries of all models in one folder.

    Args:
        options: the folder and its maximum size.
        note: receives a note, once, on each kind of failure that does not end the run.

    Attributes:
        folder: folder of the cache.
        root: folder of the entries of this version.
        size_gb: maximum size, in GB.
    """

    def __init__(self, options: CacheOptions, note: Note = logger.warning) -> None:
        self.folder = Path(options.folder) if options.folder is not None else default_folder()
        self.root = self.folder / f"v{SCHEMA}"
        self.size_gb = options.size_gb
        self._limit = options.size_gb * 1e9
        self._note = note
        self._sent_notes: set[str] = set()
        self._digests: dict[AudioLocation, AudioDigest | None] = {}
        self._models: dict[tuple[str, EncoderOptions], str | None] = {}
        self._identities: dict[tuple[str, EncoderOptions], str | None] = {}
        self._facts: dict[tuple[str, EncoderOptions], ModelFacts] = {}
        self._item_keys: list[tuple[Targets, dict[str, str | None]]] = []
        self._unpruned = 0
        if self.folder.exists() and not self.folder.is_dir():
            raise OptionError(
                f"expected a folder for the cache, got a file: {self.folder}; choose another with --cache"
            )

    def knows_model(self, spec: str, options: EncoderOptions) -> bool:
        """Return whether the key of a model is known."""
        return (spec, options) in self._models

    def known_key(self, spec: str, options: EncoderOptions) -> str | None:
        """Return the key of a model that is known; None where the model does not expose its weights."""
        return self._models[spec, options]

    def adopt_model(self, spec: str, options: EncoderOptions, key: str | None) -> None:
        """Adopt the key of a model, which may come from another process, and remember the model for later runs."""
        self._models[spec, options] = key
        identity, facts = self._identities.get((spec, options)), self._facts.get((spec, options))
        if key is None or identity is None or facts is None or identity != identity_of(spec, options):
            return
        try:
            remember(self.folder, identity, Remembered(spec, facts, key))
        except OSError as error:
            self.note_unwritable(error)

    def recall_model(self, spec: str, options: EncoderOptions) -> ModelFacts | None:
        """Return the facts of a model as an earlier run loaded it; None if its files or the versions are others."""
        identity = self._identities[spec, options] = identity_of(spec, options)
        remembered = None if identity is None else recall(self.folder, identity)
        if remembered is None:
            return None
        self._models[spec, options] = remembered.key
        return remembered.facts

    def learn_model(self, spec: str, options: EncoderOptions, facts: ModelFacts) -> None:
        """Learn the facts of a model that was loaded, which are remembered when its key is known."""
        self._facts[spec, options] = facts

    def of_key(
        self,
        known: str | None,
        spec: str,
        layers: Sequence[SketchedLayer],
        targets: Targets,
        options: ExtractionOptions,
    ) -> ModelCache | None:
        """Return the cache of one model with these options; None where the model does not expose its weights.

        Args:
            known: key of the model, which another process may have computed.
            spec: spec of the model.
            layers: layers to sketch.
            targets: targets of all utterances.
            options: options of the extraction.
        """
        if known is None:
            self.note_once(f"{spec} does not give its weights, so it is not cached and is encoded in every run")
            return None
        about = {
            "model": spec,
            "layers": [layer_name(layer) for layer in layers],
            "sample": options.sample,
            "made": versions(),
        }
        extracted = {} if is_by_utterance(targets, options) else _extracted(options)
        key = digest_of(
            {"schema": SCHEMA, "known": known, "dims": [layer.dim for layer in layers], "classes": classes_of(targets)}
            | {**{k: v for k, v in about.items() if k != "model"}, **extracted}
        )
        return ModelCache(self, self.root / key, about, spec, layers, targets, options)

    def digests(self, items: Iterable[Item]) -> dict[AudioLocation, AudioDigest]:
        """Return the known digests of the audio files of these utterances, without audio that objects hold."""
        known = {item.utterance.location: self._digests.get(item.utterance.location) for item in items}
        return {location: digest for location, digest in known.items() if digest and digest.stamp != UNCHANGING}

    def undigested(self, items: Iterable[Item]) -> list[Item]:
        """Return an utterance of each audio file whose digest is unknown, without audio that objects hold."""
        first: dict[AudioLocation, Item] = {}
        for item in items:
            location = item.utterance.location
            if location not in self._digests and (isinstance(location, Path) or location.file is not None):
                first.setdefault(location, item)
        return list(first.values())

    def adopt(self, digests: Mapping[AudioLocation, AudioDigest]) -> None:
        """Adopt digests of audio that a task computed."""
        self._digests.update(digests)

    def take_over(self, digests: Mapping[AudioLocation, AudioDigest]) -> None:
        """Adopt digests of audio from another process, where the files here have the same size and time."""
        for location, digest in digests.items():
            with suppress(OSError, UtteranceError):
                stamp = stamp_of(location)
                if stamp[:2] == digest.stamp[:2]:  # the inode differs from machine to machine
                    self._digests[location] = AudioDigest(digest.content, stamp)

    def item_key(self, item: Item, targets: Targets | None = None) -> str | None:
        """Return the key of an utterance: a digest of its audio, offsets, id and timelines.

        The key is None where the audio cannot be read.
        """
        utterance = item.utterance
        digest = self._audio_digest(utterance.location)
        if digest is None:
            return None
        timed = None if targets is None else targets.timed
        versions = () if timed is None else (timed.timelines, *timed.versions)
        labels = [[part.tobytes().hex() for part in timeline_parts(timelines[item.row])] for timelines in versions]
        return digest_of([digest.content, utterance.id, utterance.start, utterance.end, labels])

    def item_keys(self, targets: Targets) -> dict[str, str | None]:
        """Return the known keys of the utterances with these targets, by id, which all models of a run share."""
        known = next((keys for others, keys in self._item_keys if others is targets), None)
        if known is None:
            known = {}
            self._item_keys = [*self._item_keys[-1:], (targets, known)]  # those of the data, and of the source data
        return known

    def wrote(self, size: int) -> None:
        """Count bytes that were written, and prune the cache when there are many."""
        self._unpruned += size
        if self._unpruned > self._limit / PRUNE_SHARE:
            self.prune()

    def unchanged(self, utterance: Utterance) -> bool:
        """Return whether the audio file is unchanged since its digest was computed."""
        known = self._digests.get(utterance.location)
        with suppress(OSError, UtteranceError):
            return known is not None and known.stamp == stamp_of(utterance.location)
        return False

    def note_once(self, text: str) -> None:
        """Send a note to the user, once for each text."""
        if text not in self._sent_notes:
            self._sent_notes.add(text)
            self._note(text)

    def note_unwritable(self, error: Exception) -> None:
        """Send a note, once, that the cache cannot be written."""
        self.note_once(f"the cache cannot be written; the run goes on without it ({reason(error)})")

    def holdings(self) -> list[Holding]:
        """Return the holdings of the cache, most recently used first."""
        holdings = []
        for folder in _folders(self.root):
            paths = list(folder.glob(f"*{SUFFIX}"))
            items = frozenset().union(*(entry.items for entry in read_entries(folder)))
            used = max(map(_last_use, paths), default=0.0)
            holdings.append(
                Holding(folder, _read_description(folder), len(paths), len(items), sum(map(_size, paths)), used)
            )
        return sorted(holdings, key=lambda holding: -holding.used)

    def prune(self, limit: float | None = None) -> tuple[int, int]:
        """Evict the least recently used entries until the size is within the limit, and delete temporary files.

        Entries of other versions of the cache, which are never read, count and are evicted like all others.

        Args:
            limit: maximum size in bytes; None for the limit of the options.

        Returns:
            Number of files and bytes that were deleted.
        """
        self._unpruned = 0
        limit = self._limit if limit is None else limit
        folders = [folder for root in _roots(self.folder) for folder in _folders(root)]
        paths = [path for folder in folders for path in folder.glob(f"*{SUFFIX}")]
        ages = sorted(((_last_use(path), _size(path), path) for path in paths), key=lambda entry: entry[:2])
        total, count, freed = sum(size for _, size, _ in ages), 0, 0
        for _, size, path in ages:
            if total <= limit:
                break
            with suppress(OSError):
                path.unlink()
                total, count, freed = total - size, count + 1, freed + size
        for folder in folders:
            _delete_leftovers(folder)
        forget(self.folder, all_models=total == 0)
        return count, freed

    def _audio_digest(self, location: AudioLocation) -> AudioDigest | None:
        if location not in self._digests:
            self._digests[location] = audio_digest(location)
        return self._digests[location]


def audio_digest(location: AudioLocation) -> AudioDigest | None:
    """Return the digest of audio; None where it cannot be read."""
    with suppress(OSError, UtteranceError):
        stamp = stamp_of(location)
        return AudioDigest(digest_of_audio(location), stamp)
    return None


class ModelCache:
    """The entries of one model, for one run.

    Args:
        cache: the cache of all models.
        folder: folder of the entries.
        about: description of the model and options.
        spec: spec of the model in this run.
        layers: layers to sketch.
        targets: targets of all utterances.
        options: options of the extraction.

    Attributes:
        folder: folder of the entries.
        found_s: amount of audio whose sketches were cached, in seconds.
    """

    def __init__(
        self,
        cache: Cache,
        folder: Path,
        about: Mapping[str, Any],
        spec: str,
        layers: Sequence[SketchedLayer],
        targets: Targets,
        options: ExtractionOptions,
    ) -> None:
        self._cache, self.folder, self._about, self._spec = cache, folder, about, spec
        self._layers, self._targets, self._options = layers, targets, options
        self._means = is_by_utterance(targets, options)
        self._block_entries: dict[int, list[Entry]] = {}
        self._keys = cache.item_keys(targets)
        self._most_items = _most_items(layers, targets)
        self._writable = True
        self.found_s: Seconds = 0.0

    @property
    def has_entries(self) -> bool:
        """True if there are entries of the model, which may hold some of the utterances."""
        return any(self.folder.glob(f"*{SUFFIX}"))

    def cover(self, shards: Sequence[Shard]) -> tuple[list[tuple[Shard, Entry]], list[Shard]]:
        """Divide shards into the cached part and the part to encode.

        Returns:
            Parts of blocks with the entry that holds them, and the shards with all other utterances, both in order of
            block.
        """
        known = sorted(read_entries(self.folder), key=lambda entry: -len(entry.items))
        if not known:
            return [], list(shards)
        held: list[tuple[Shard, Entry]] = []
        uncached: list[Shard] = []
        for block, block_shards in _by_block(shards).items():
            items_by_key = {
                key: item for shard in block_shards for item in shard.items if (key := self._key(item)) is not None
            }
            for entry in known:
                cached_keys = entry.items & items_by_key.keys()
                if cached_keys and (self._means or cached_keys == entry.items):
                    held.append((Shard(block, tuple(items_by_key.pop(key) for key in sorted(cached_keys))), entry))
                    if cached_keys == entry.items:
                        self._track(block, entry)
            left = {item.utterance.id for item in items_by_key.values()}
            for shard in block_shards:
                items = tuple(i for i in shard.items if self._key(i) is None or i.utterance.id in left)
                if items:
                    uncached.append(replace(shard, items=items))
        return held, uncached

    def relabel(self, targets: Targets) -> None:
        """Take other targets of the same classes, for the shards that follow."""
        self._targets = targets

    def digested(self, shards: Iterable[Shard]) -> Iterator[Shard]:
        """Yield shards. The digests of their audio are computed in a thread, before it is decoded."""
        with closing(prefetch(shards, self._digest, threads=1, ahead=1)) as ready:
            for shard, _ in ready:
                yield shard

    def _digest(self, shard: Shard) -> None:
        for item in shard.items:
            self._key(item)

    def load(self, shard: Shard, entry: Entry) -> ShardSketch | None:
        """Load the sketch of these utterances from an entry; None where the entry is damaged."""
        try:
            sketch = self._restored(shard, read_checked(entry.path, Stored))
        except (SketchError, OSError, KeyError, ValueError) as error:
            if entry.path.exists():
                self._cache.note_once(f"the cache held a damaged file, which is computed again ({reason(error)})")
            with suppress(OSError):
                entry.path.unlink(missing_ok=True)
            self._block_entries[shard.block] = [
                other for other in self._block_entries.get(shard.block, []) if other != entry
            ]
            return None
        self.found_s += shard.seconds
        return sketch

    def add(self, shard: Shard, sketch: ShardSketch) -> None:
        """Store the sketch of a shard, without utterances whose audio could not be read, which may be repaired."""
        unread = {skip.utterance for skip in sketch.skipped if skip.model is None}
        readable = [index for index, item in enumerate(shard.items) if item.utterance.id not in unread]
        known = [index for index in readable if self._is_known(shard.items[index])]
        if not known or not self._writable or (len(known) < len(readable) and not self._means):
            return  # products of samples cannot be separated by utterance
        timed = self._targets.timed is not None
        items = [str(self._key(shard.items[index])) for index in known]
        ids = {shard.items[index].utterance.id: key for index, key in zip(known, items, strict=True)}
        stored = Stored(
            items,
            {layer_name(layer): self._stored(layer, sketch, known, timed=timed) for layer in self._layers},
            {ids[skip.utterance]: skip.reason for skip in sketch.skipped if skip.utterance in ids},
            sketch.used_s,
            sketch.encode_s,
        )
        self._write(shard.block, stored)
        self._join_equals(shard.block)

    def _join_equals(self, block: int) -> None:
        """Join the entries of a block of about the same size as the last one, if there are many.

        An utterance is thus written again as often as its entry grows, not once for every few shards after it.
        """
        entries = self._block_entries.get(block, [])
        equals = [entry for entry in entries if _level(entry) == _level(entries[-1])]
        if len(equals) >= JOINED_AT:
            joined = {entry.path for entry in equals}
            self._block_entries[block] = [entry for entry in entries if entry.path not in joined]
            self._join(block, equals)

    def _join(self, block: int, entries: Sequence[Entry]) -> None:
        """Join entries of a block into as few files as the maximum size allows."""
        for group in _packed(entries, self._most_items):
            if len(group) > 1 and self._writable:
                self._join_group(block, group)
            else:
                self._track(block, group[0])

    def _join_group(self, block: int, entries: Sequence[Entry]) -> None:
        """Join entries of a block into one file; entries that overlap or vanished stay as they are."""
        try:
            stored = [load_sketches(entry.path, Stored) for entry in entries]
        except SketchError:
            return
        seen = [key for part in stored for key in part.items]
        if len(set(seen)) < len(seen):
            return  # another run's entries overlap with these
        path = self._write(block, together(stored, timed=self._targets.timed is not None))
        for entry in entries:
            if path is not None and entry.path != path:
                with suppress(OSError):
                    entry.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Join the entries of every block, and prune the cache, after all shards."""
        for block, entries in list(self._block_entries.items()):
            self._block_entries[block] = []
            self._join(block, list(dict.fromkeys(entries)))
        self._cache.prune()

    def _is_known(self, item: Item) -> bool:
        """Return whether the encoded audio is the audio whose digest was computed."""
        return self._key(item) is not None and self._cache.unchanged(item.utterance)

    def _key(self, item: Item) -> str | None:
        if item.utterance.id not in self._keys:
            self._keys[item.utterance.id] = self._cache.item_key(item, self._targets)
        return self._keys[item.utterance.id]

    def _stored(self, layer: SketchedLayer, sketch: ShardSketch, indices: list[int], *, timed: bool) -> StoredLayer:
        key = sketch_key(layer)
        moments = sketch.layers[key]
        rows = slice(None) if timed else indices
        sums, counts = moments.cross[rows], moments.square[rows].astype(np.int64)
        if self._means:
            return StoredLayer(sums + counts[:, None] * moments.centre, counts)
        sample = sketch.samples.get(key)
        if sample is not None and not timed:
            new_rows = np.full(len(moments.square), -1)
            new_rows[indices] = np.arange(len(indices))
            sample = replace(sample, rows=new_rows[sample.rows])
        return StoredLayer(
            sums,
            counts,
            moments.centre,
            upper(moments.gram),
            moments.products.cubic,
            moments.products.quartic,
            moments.runs,
            sample,
            sketch.projections.get(key),
        )

    def _restored(self, shard: Shard, stored: Stored) -> ShardSketch:
        """Return the sketch of the shard's utterances, in their order."""
        position_of = {key: position for position, key in enumerate(stored.items)}
        keys = [str(self._key(item)) for item in shard.items]
        positions = np.array([position_of[key] for key in keys], dtype=np.int64)
        timed = self._targets.timed is not None
        sketch = empty_sketch(self._layers, self._targets.count if timed else len(keys), self._options)
        stored_layers = {key: stored.layers[layer_name(layer)] for key, layer in keys_of(self._layers).items()}
        if self._means:
            used = np.flatnonzero(next(iter(stored_layers.values())).counts[positions])
            items = [replace(shard.items[index], row=int(index)) for index in used]
            add_means(
                sketch,
                {key: stored_layer.sums[positions[used]] for key, stored_layer in stored_layers.items()},
                items,
                self._options,
            )
        else:
            for key, stored_layer in stored_layers.items():
                sketch.layers[key] = moments_of(stored_layer, None if timed else positions)
                if key in sketch.samples and stored_layer.sample is not None:
                    rows = stored_layer.sample.rows if timed else np.argsort(positions)[stored_layer.sample.rows]
                    sketch.samples[key] = replace(stored_layer.sample, rows=rows)
                if key in sketch.projections and stored_layer.projected is not None:
                    sketch.projections[key] = stored_layer.projected
        for item, item_key in zip(shard.items, keys, strict=True):
            if item_key in stored.skipped:
                sketch.skipped.append(Skipped(item.utterance.id, stored.skipped[item_key], self._spec))
            else:
                sketch.used_s += item.seconds
        if stored.used_s > 0:
            sketch.before_s = stored.encode_s * sketch.used_s / stored.used_s
        return sketch

    def _write(self, block: int, stored: Stored) -> Path | None:
        """Write an entry, and return its path; None where it cannot be written."""
        try:
            path = write_checked(self.folder, digest_of(sorted(stored.items)), stored, Stored, self._about)
        except (OSError, SketchError) as error:
            self._writable = False
            self._cache.note_unwritable(error)
            return None
        self._track(block, Entry(path, frozenset(stored.items)))
        self._cache.wrote(_size(path))
        return path

    def _track(self, block: int, entry: Entry) -> None:
        """Remember an entry that may be joined with others, unless it is too large to be joined with its equals."""
        if 2 * len(entry.items) <= self._most_items:
            self._block_entries.setdefault(block, []).append(entry)


def _extracted(options: ExtractionOptions) -> dict[str, Any]:
    """Return the options that sums of frames depend on, and what is kept beside them."""
    return {"segment_s": options.segment_s, "kept": options.kept_samples, "projections": options.projections}


def _most_items(layers: Sequence[SketchedLayer], targets: Targets) -> int:
    """Return the maximum number of utterances in an entry. Sums of classes do not grow with it."""
    row_bytes = 0 if targets.timed is not None else 8 * sum(layer.dim for layer in layers)
    return max(1, JOINED_BYTES // row_bytes) if row_bytes else sys.maxsize


def _level(entry: Entry) -> int:
    """Return the level of an entry: it grows by one where `JOINED_AT` entries are joined."""
    return round(math.log(max(1, len(entry.items)), JOINED_AT))


def _packed(entries: Sequence[Entry], most_items: int) -> list[list[Entry]]:
    """Divide entries into groups of at most so many utterances, the smallest entries first."""
    groups: list[list[Entry]] = []
    load = most_items
    for entry in sorted(entries, key=lambda entry: len(entry.items)):
        if load + len(entry.items) > most_items or not groups:
            groups.append([])
            load = 0
        groups[-1].append(entry)
        load += len(entry.items)
    return groups


def _roots(folder: Path) -> list[Path]:
    """Return the folders of all versions of the cache."""
    return [root for root in _folders(folder) if root.name[:1] == "v" and root.name[1:].isdecimal()]


def _folders(root: Path) -> list[Path]:
    with suppress(OSError):
        return [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.is_symlink()]
    return []


def _read_description(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _last_use(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _delete_leftovers(folder: Path) -> None:
    """Delete temporary files of killed runs that are over an hour old, and the folder if it has no entries."""
    for path in folder.glob(".*"):
        if time.time() - _last_use(path) > 3600:
            with suppress(OSError):
                path.unlink()
    if not any(folder.glob(f"*{SUFFIX}")) and not any(folder.glob(".*")):
        shutil.rmtree(folder, ignore_errors=True)


def _by_block(shards: Iterable[Shard]) -> dict[int, list[Shard]]:
    by_block: dict[int, list[Shard]] = {}
    for shard in shards:
        by_block.setdefault(shard.block, []).append(shard)
    return dict(sorted(by_block.items()))
