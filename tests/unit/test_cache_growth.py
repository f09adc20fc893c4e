"""The cache of many shards: what is written again, the number and size of files, and the limit while it grows."""

from pathlib import Path

import numpy as np
import pytest

import voxrank
from voxrank.cache import entries, files, store
from voxrank.cache.keys import digest_of
from voxrank.cache.store import Cache
from voxrank.config import CacheOptions, EncoderOptions, ExtractionOptions
from voxrank.data.shards import Item, Shard
from voxrank.data.utterance import Utterance
from voxrank.encoders.base import Layer
from voxrank.encoders.registry import load_encoder
from voxrank.engines.ray import worker
from voxrank.extraction.shard import add_means, empty_sketch
from voxrank.targets.labels import Targets

DIM = 4
LAYERS = (Layer(0, "input", DIM, 50.0), Layer(1, "block", DIM, 50.0))
OPTIONS = ExtractionOptions(sample="utterance")
ROW_BYTES = 8 * DIM * len(LAYERS)


@pytest.fixture
def keys(monkeypatch):
    """Give every utterance a key without reading audio; return the ids whose keys were computed."""
    computed = []

    def item_key(cache, item, targets):
        computed.append(item.utterance.id)
        return digest_of(item.utterance.id)

    monkeypatch.setattr(Cache, "item_key", item_key)
    monkeypatch.setattr(Cache, "unchanged", lambda cache, utterance: True)
    return computed


@pytest.fixture
def written(monkeypatch):
    """Return the number of utterances of each file that is written."""
    counts = []
    write = files.write_checked

    def counting(folder, name, stored, kind, about):
        counts.append(len(stored.items))
        return write(folder, name, stored, kind, about)

    monkeypatch.setattr(store, "write_checked", counting)
    return counts


def shards_of(count, *, each=1):
    items = [Item(Utterance(f"u{n:05d}", Path(f"{n}.wav"), label="ab"[n % 2]), 1.0, n) for n in range(count * each)]
    return [Shard(0, tuple(items[begin : begin + each])) for begin in range(0, len(items), each)]


def sketch_of(shard):
    """Return a sketch of a shard whose means are the rows of the utterances."""
    sketch = empty_sketch(LAYERS, len(shard.items), OPTIONS)
    means = {key: np.array([[float(item.row)] * DIM for item in shard.items]) for key in sketch.layers}
    items = [Item(item.utterance, item.seconds, index) for index, item in enumerate(shard.items)]
    add_means(sketch, means, items, OPTIONS)
    return sketch


def model_cache(folder, shards, size_gb=1.0):
    targets = Targets(("a", "b"), np.arange(sum(len(shard.items) for shard in shards)) % 2)
    cache = Cache(CacheOptions(str(folder), size_gb))
    return cache, cache.of_key("key", "model", LAYERS, targets, OPTIONS)


def fill(kept, shards):
    for shard in shards:
        kept.add(shard, sketch_of(shard))
    kept.close()


@pytest.mark.parametrize("count", [64, 512])
def test_an_utterance_is_written_as_often_as_its_entry_grows(tmp_path, keys, written, count):
    shards = shards_of(count)
    cache, kept = model_cache(tmp_path, shards)
    fill(kept, shards)
    assert sum(written) <= count * (2 + np.log(count) / np.log(store.JOINED_AT))
    [holding] = cache.holdings()
    assert (holding.entries, holding.utterances) == (1, count)


def test_entries_are_joined_up_to_a_size(tmp_path, keys, monkeypatch):
    monkeypatch.setattr(store, "JOINED_BYTES", 100 * ROW_BYTES)
    shards = shards_of(200, each=3)
    cache, kept = model_cache(tmp_path, shards)
    fill(kept, shards)
    [holding] = cache.holdings()
    assert holding.utterances == 600
    assert max(len(entry.items) for entry in entries.read_entries(holding.folder)) <= 100
    assert holding.entries <= 15  # six full ones at best


def test_joined_entries_give_back_every_utterance(tmp_path, keys, monkeypatch):
    monkeypatch.setattr(store, "JOINED_BYTES", 40 * ROW_BYTES)
    shards = shards_of(50, each=2)
    fill(model_cache(tmp_path, shards)[1], shards)
    _, again = model_cache(tmp_path, shards)
    held, uncached = again.cover(shards)
    assert not uncached
    rows = {}
    for part, entry in held:
        sums = next(iter(again.load(part, entry).layers.values()))
        total = sums.cross + sums.square[:, None] * sums.centre
        rows |= {item.row: total[index, 0] for index, item in enumerate(part.items)}
    assert rows == pytest.approx({n: float(n) for n in range(100)})


def test_the_cache_stays_within_its_limit_while_it_is_written(tmp_path, keys, monkeypatch):
    shards = shards_of(300)
    limit, sizes, written_bytes = 10_000, [], []
    _, kept = model_cache(tmp_path, shards, limit / 1e9)
    wrote = Cache.wrote

    def watched(cache, size):
        wrote(cache, size)
        written_bytes.append(size)
        sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")))

    monkeypatch.setattr(Cache, "wrote", watched)
    fill(kept, shards)
    assert sum(written_bytes) > 10 * limit
    assert max(sizes) <= limit * (1 + 1 / store.PRUNE_SHARE)


def test_keys_of_utterances_are_computed_once_for_all_models(tmp_path, keys):
    shards = shards_of(20)
    cache, kept = model_cache(tmp_path, shards)
    other = cache.of_key("other", "another", LAYERS, kept._targets, OPTIONS)
    for one in (kept, other):
        assert list(one.digested(shards)) == shards
    assert sorted(keys) == [item.utterance.id for shard in shards for item in shard.items]


def test_source_data_have_keys_of_their_own(tmp_path, keys):
    shards = shards_of(3)
    cache, kept = model_cache(tmp_path, shards)
    source = Targets(("source",), np.zeros(3, dtype=np.int64))
    of_source = cache.of_key("key", "model", LAYERS, source, OPTIONS)
    assert [len(list(one.digested(shards))) for one in (kept, of_source)] == [3, 3]
    assert len(keys) == 6
    assert list(kept.digested(shards)) == shards
    assert len(keys) == 6


def test_a_ranking_from_parts_that_were_joined_is_the_same(tones, tmp_path, monkeypatch):
    options = ExtractionOptions(shard_s=0.3)
    plain = voxrank.rank(tones, ["logmel"], extraction=options)
    monkeypatch.setattr(store, "JOINED_BYTES", 8 * 80 * 8)
    cache = CacheOptions(str(tmp_path / "cache"))
    first = voxrank.rank(tones, ["logmel"], extraction=options, cache=cache)
    again = voxrank.rank(tones, ["logmel"], extraction=options, cache=cache)
    assert again.cost.encode_s == 0
    for one in (first, again):
        assert one.best.scores["logme"].value == pytest.approx(plain.best.scores["logme"].value, rel=1e-9)


def test_a_run_does_not_wait_for_the_disk_at_every_entry(tmp_path, keys, monkeypatch):
    """Readers check the checksum, so that only the description of a folder is synchronised."""
    calls = []
    monkeypatch.setattr("os.fsync", calls.append)
    shards = shards_of(30)
    _, kept = model_cache(tmp_path, shards)
    fill(kept, shards)
    assert len(calls) == 1


def test_workers_keep_the_cache_within_the_limit_of_the_run(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr(worker, "threadpool_limits", lambda count: None)
    monkeypatch.setattr(worker, "keep_heap_small", lambda: None)
    monkeypatch.setattr(worker, "Cache", lambda options, note: opened.append(options) or Cache(options, note))
    targets = Targets(("a", "b"), np.arange(2))
    assignment = worker.Assignment("m", LAYERS, targets, OPTIONS, cache=tmp_path, cache_gb=3.0, key="k")
    worker.Worker(1, tmp_path / "nowhere", EncoderOptions(), load_encoder).assign(assignment)
    assert opened == [CacheOptions(str(tmp_path), 3.0)]
