"""Every engine gives the sketch of the local one, reports the same progress and ends with the same errors."""

import gc
from dataclasses import replace

import numpy as np
import pytest

from voxrank.alignment.preparation import prepare
from voxrank.cache.store import Cache
from voxrank.config import CacheOptions, EncoderOptions, EngineOptions, ExtractionOptions, SequenceOptions
from voxrank.data.read import read_dataset
from voxrank.encoders.joint import JointLayer, LayerVersion
from voxrank.engines.base import engine_of
from voxrank.engines.local import LocalEngine, sketch_model
from voxrank.engines.ray import scheduler, worker_pool
from voxrank.engines.ray.cluster import Cluster
from voxrank.engines.ray.engine import RayEngine
from voxrank.errors import ModelError, OptionError, RunError
from voxrank.sketches.sample import utterance_key

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves files of servers to the collector
SAMPLES = ("utterance", "segment", "effective", "frame")
CPU = EncoderOptions(device="cpu")


def options_for(sample="utterance"):
    return ExtractionOptions(sample=sample, shard_s=0.5, kept_samples=16, projections=4)


@pytest.fixture(scope="module")
def local(load):
    with LocalEngine(CPU) as engine:
        yield engine


@pytest.fixture(scope="module")
def notes():
    return []


@pytest.fixture(scope="module")
def ray(load, notes):
    two = EngineOptions("ray", workers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_pool, "START_NOTICE_S", 600.0)  # workers may be slow on a busy machine
        with Cluster(two), RayEngine(two, EncoderOptions(), notes.append, load) as engine:
            yield engine
    gc.collect()  # the files that Ray leaves, here, where their warnings are ignored


@pytest.fixture(params=["local", "ray"])
def engine(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def sketch(load):
    """Return a function that sketches data with an engine and returns the sketch and the reported seconds."""

    def sketch(engine, prepared, spec="fake", cache=None, sample="utterance", layers=None):
        runner = engine.runner(spec, lambda: load(spec, CPU))
        reported = []
        layers = layers or load("fake", CPU).layers
        made = runner.sketch(prepared.shards, prepared.targets, layers, options_for(sample), reported.append, cache)
        return made, sum(reported)

    return sketch


@pytest.fixture
def prepared(tones):
    return prepared_of(tones)


def prepared_of(manifest, sample="utterance"):
    return prepare(read_dataset(manifest), options_for(sample), SequenceOptions())


def assert_same(found, expected):
    for layer, theirs in expected.layers.items():
        mine = found.layers[layer]
        left, right = mine.total.centred(), theirs.total.centred()
        assert left.n == right.n
        for name in ("centre", "cross", "target_total", "square"):
            np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(left.gram, right.gram, rtol=1e-9, atol=1e-9)
        assert mine.blocks.keys() == theirs.blocks.keys()
        for block, packed in theirs.blocks.items():
            np.testing.assert_allclose(mine.blocks[block].triangle, packed.triangle, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(found.samples[layer].keys, expected.samples[layer].keys)
        np.testing.assert_array_equal(found.samples[layer].rows, expected.samples[layer].rows)
        np.testing.assert_array_equal(found.samples[layer].utterances, expected.samples[layer].utterances)
        for block, values in expected.projections[layer].items():
            (mine_sorted, _), (theirs_sorted, _) = found.projections[layer][block].weighted(), values.weighted()
            np.testing.assert_allclose(mine_sorted, theirs_sorted, rtol=1e-5, atol=1e-6)
    assert sorted(found.skipped, key=str) == sorted(expected.skipped, key=str)
    assert found.used_s == pytest.approx(expected.used_s)


def expected_of(load, prepared, spec="fake", sample="utterance", layers=None):
    encoder = load(spec, CPU)
    layers = layers or encoder.layers
    return sketch_model(lambda: encoder, prepared.shards, prepared.targets, layers, options_for(sample), lambda _: None)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_sketch_equals_that_of_one_process(engine, load, prepared, sketch, sample):
    found, reported = sketch(engine, prepared, sample=sample)
    assert_same(found, expected_of(load, prepared, sample=sample))
    assert reported == pytest.approx(sum(item.seconds for item in prepared.items))
    assert found.encode_s > 0
    assert found.speed == found.used_s / found.encode_s
    owners = {utterance_key(item.utterance.id) for item in prepared.items}
    for kept in found.samples.values():
        assert owners.issuperset(kept.utterances.tolist())


def test_the_sketch_with_labels_of_frames_equals_that_of_one_process(engine, load, spelled, sketch):
    prepared = prepare(read_dataset(spelled, target="segments"), options_for("frame"), SequenceOptions())
    found, _ = sketch(engine, prepared, sample="frame")
    assert_same(found, expected_of(load, prepared, sample="frame"))


def test_layers_under_alternative_labels_are_sketched_beside_the_others(engine, local, load, spelled, tmp_path, sketch):
    prepared = prepare(read_dataset(spelled, target="segments"), options_for("frame"), SequenceOptions())
    timed = prepared.targets.timed
    moved = tuple(timeline.jittered(np.random.default_rng(1), 0.02) for timeline in timed.timelines)
    prepared = replace(prepared, targets=replace(prepared.targets, timed=replace(timed, versions=(moved,))))
    own = load("fake", CPU).layers
    plain = [own[1], JointLayer.of("mean", own, "fake")]
    layers = [*plain, *(LayerVersion(layer, 1) for layer in plain)]
    expected, cache = expected_of(load, prepared, sample="frame", layers=layers), CacheOptions(str(tmp_path / "kept"))
    assert len(expected.layers) == 4
    for by in (engine, local):
        found, _ = sketch(by, prepared, cache=Cache(cache), sample="frame", layers=layers)
        assert_same(found, expected)
    assert found.encode_s == 0


def test_utterances_that_a_model_cannot_use_are_listed(engine, load, prepared, sketch):
    found, reported = sketch(engine, prepared, "choosy")
    assert found.skipped
    assert_same(found, expected_of(load, prepared, "choosy"))
    assert reported == pytest.approx(sum(item.seconds for item in prepared.items))


@pytest.mark.parametrize("sample", ["utterance", "frame"])
def test_sketches_cached_by_one_engine_are_reused_by_every_engine(engine, local, load, tones, tmp_path, sketch, sample):
    prepared, cache = prepared_of(tones, sample), CacheOptions(str(tmp_path / "kept"))
    first, _ = sketch(engine, prepared, cache=Cache(cache), sample=sample)
    assert first.cached_s == 0
    for again_by in (engine, local):
        again, reported = sketch(again_by, prepared, cache=Cache(cache), sample=sample)
        assert again.encode_s == 0
        assert again.speed == pytest.approx(first.speed)  # the time of the first run
        assert again.cached_s == pytest.approx(sum(item.seconds for item in prepared.items))
        assert reported == pytest.approx(again.cached_s)  # summed in another order
        assert_same(again, expected_of(load, prepared, sample=sample))


def test_shards_that_are_not_in_the_cache_are_encoded(engine, local, load, prepared, tmp_path, sketch):
    cache = CacheOptions(str(tmp_path / "kept"))
    every = prepared.shards
    half = type(prepared)(prepared.items, (), prepared.targets, every[::2])
    sketch(local, half, cache=Cache(cache))
    found, reported = sketch(engine, prepared, cache=Cache(cache))
    assert_same(found, expected_of(load, prepared))
    assert found.cached_s == pytest.approx(sum(shard.seconds for shard in every[::2]))
    assert reported == pytest.approx(sum(shard.seconds for shard in every))


def test_an_error_is_the_same_wherever_the_model_is_loaded(engine, prepared, sketch):
    with pytest.raises(ModelError, match="no such model; name another"):
        sketch(engine, prepared, "missing")


def test_no_shards_give_an_empty_sketch(engine, prepared, sketch):
    found, reported = sketch(engine, type(prepared)([], (), prepared.targets, []))
    assert found.used_s == reported == 0


def test_an_unexpected_error_on_a_worker_is_a_run_error(ray, prepared, sketch):
    with pytest.raises(RunError, match=r"the work failed on a worker \(KeyError: 'no such tensor'\)"):
        sketch(ray, prepared, "broken")


@pytest.mark.parametrize("after", [0, 5])
def test_a_worker_killed_during_a_shard_does_not_change_the_sketch(
    ray, load, prepared, sketch, tmp_path, notes, capfd, after
):
    spec = f"kills:{after}:{tmp_path / 'killed'}"
    notes.clear()
    found, reported = sketch(ray, prepared, spec)
    assert (tmp_path / "killed").exists()
    assert_same(found, expected_of(load, prepared))
    assert reported == pytest.approx(sum(item.seconds for item in prepared.items))
    assert notes == [f"{spec}: a worker was lost; another worker repeats its unfinished work"]
    assert capfd.readouterr().out == ""


def test_audio_that_ends_several_workers_ends_the_run(ray, prepared, sketch, monkeypatch):
    monkeypatch.setattr(scheduler, "ATTEMPTS", 2)
    with pytest.raises(RunError, match="deadly: 2 workers were lost on the same audio, which begins with"):
        sketch(ray, prepared, "deadly")


@pytest.mark.filterwarnings("ignore:`free` is a deprecated API")
def test_a_sketch_lost_with_its_machine_is_computed_again(ray, load, prepared, sketch, monkeypatch):
    from ray._private.internal_api import free

    finish, lost = scheduler.Scheduler._finish, []

    def losing(self, job, lines):
        if job.returns_sketch and not lost:
            lost.append(job)
            free([job.sketch])
        finish(self, job, lines)

    monkeypatch.setattr(scheduler.Scheduler, "_finish", losing)
    found, reported = sketch(ray, prepared)
    assert lost
    assert_same(found, expected_of(load, prepared))
    assert reported == pytest.approx(sum(item.seconds for item in prepared.items))


def test_sketches_are_merged_in_a_tree(ray, load, prepared, sketch, monkeypatch):
    parts, chunks = [], []
    finish = scheduler.Scheduler._finish

    def noting(self, job, lines):
        finish(self, job, lines)
        if job.returns_sketch:
            parts.append(self._parts[-1])
        else:
            chunks.append(job.shards)

    monkeypatch.setattr(scheduler.Scheduler, "_finish", noting)
    monkeypatch.setattr(scheduler, "HAND_OVER_S", 0.0)
    every = list(range(len(prepared.shards)))
    assert_same(sketch(ray, prepared)[0], expected_of(load, prepared))
    leaves = [part for part in parts if part.level == 0]
    assert len(parts) == 2 * len(leaves) - 1 > 7
    assert sorted(number for leaf in leaves for number in leaf.shards) == every == sorted(parts[-1].shards)
    assert max(part.level for part in parts) < len(leaves) - 1
    sizes = [len(chunk) for chunk in chunks]
    assert max(sizes) > min(sizes) == 1  # large chunks first, single shards at the end


def test_a_worker_uses_the_cores_assigned_to_it(ray, prepared, sketch, tmp_path):
    sketch(ray, prepared, f"told:{tmp_path / 'told'}")
    assert (tmp_path / "told").read_text() == "1 cpu"


def test_audio_that_vanishes_during_the_run_is_listed_with_the_node(ray, load, prepared, sketch, notes):
    notes.clear()
    gone = prepared.items[0].utterance
    gone.path.unlink()
    found, _ = sketch(ray, prepared)
    [skipped] = found.skipped
    assert skipped.utterance == gone.id
    assert skipped.reason.startswith("no such file")
    assert skipped.reason.endswith("(on node 127.0.0.1)")
    expected = expected_of(load, prepared)
    expected.skipped = found.skipped
    assert_same(found, expected)
    assert notes == []


def test_a_worker_too_large_for_the_cluster_is_refused(ray, load):
    big = EngineOptions("ray", cpus_per_worker=64)
    with pytest.raises(OptionError, match="expected room for a worker of 64 CPUs and 0 GPUs in a cluster of 2 and 0"):
        RayEngine(big, EncoderOptions(), print, load).runner("fake", print)
    halves = EngineOptions("ray", gpus_per_worker=0.5)
    with pytest.raises(OptionError, match=r"expected room for a worker of 1 CPUs and 0\.5 GPUs"):
        RayEngine(halves, EncoderOptions(), print, load).runner("fake", print)


@pytest.mark.parametrize(("gpus", "share", "cpus", "workers"), [(2, 0.5, 8, 4), (2, 0.3, 8, 6), (4, None, 3, 3)])
def test_workers_share_gpus(monkeypatch, load, gpus, share, cpus, workers):
    node = {"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}}
    monkeypatch.setattr("ray.nodes", lambda: [node, {"Alive": False, "Resources": {"CPU": 64.0}}])
    options = EngineOptions("ray", gpus_per_worker=share)
    assert worker_pool.WorkerPool(options, EncoderOptions(), load, print, own=True).size == workers
    assert worker_pool.WorkerPool(options, EncoderOptions(device="cpu"), load, print, own=True).size == (
        cpus if share is None else workers
    )


def test_a_worker_fits_into_one_node(monkeypatch, load):
    nodes = [{"Alive": True, "Resources": {"CPU": 3.0}}, {"Alive": True, "Resources": {"CPU": 3.0, "memory": 1e9}}]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    options = EngineOptions("ray", cpus_per_worker=2)
    assert worker_pool.WorkerPool(options, EncoderOptions(), load, print, own=True).size == 2


def test_a_note_is_shown_when_no_worker_starts(ray, monkeypatch):
    reported = []
    options = EngineOptions("ray", workers=1, cpus_per_worker=64)
    waiting = worker_pool.WorkerPool(options, EncoderOptions(), print, reported.append, own=False)
    monkeypatch.setattr(worker_pool, "START_NOTICE_S", 0.0)
    waiting.start_workers(1)
    assert waiting.ready_results([], 0.01) == []
    waiting.stop_all()
    assert len(reported) == 1
    assert reported[0].startswith("no worker has started yet; the cluster has ")


def test_workers_that_cannot_be_started_end_the_run(ray, monkeypatch):
    class Broken:
        def __init__(self, *_):
            raise OSError("no such package")

        def node(self):
            """Return nothing, because no worker starts."""

    def start(pool):
        while True:
            pool.start_workers(1)
            pool.ready_results([], 0.5)

    monkeypatch.setattr(worker_pool, "Worker", Broken)
    pool = worker_pool.WorkerPool(EngineOptions("ray", workers=1), EncoderOptions(), print, print, own=False)
    pool._cpus = 0  # those of the cluster are in use
    with pytest.raises(RunError, match=r"3 workers could not be started .*; voxrank must be installed on all nodes"):
        start(pool)


def test_addresses_and_devices_that_ray_cannot_use_are_refused():
    with pytest.raises(
        OptionError, match=r"this machine is part of, got 'ray://head:10001'; run voxrank on one of its"
    ):
        engine_of(EngineOptions("ray", address="ray://head:10001"), EncoderOptions(), print)
    with pytest.raises(OptionError, match="write --device cuda instead of cuda:1"):
        engine_of(EngineOptions("ray"), EncoderOptions(device="cuda:1"), print)


def test_options_of_workers_need_ray():
    for options in ({"workers": 2}, {"address": "auto"}, {"gpus_per_worker": 0.5}, {"cpus_per_worker": 2}):
        with pytest.raises(OptionError, match="are for --engine ray; add it"):
            EngineOptions(**options)
    with pytest.raises(OptionError, match="expected engine to be one of local, ray, got 'spark'"):
        EngineOptions("spark")
    with pytest.raises(OptionError, match="expected gpus-per-worker to be a finite number from 0 to 1, got 2"):
        EngineOptions("ray", gpus_per_worker=2)


def test_an_error_names_the_extra_when_ray_is_missing(monkeypatch):
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"--engine ray needs the extra ray; run: pip install 'voxrank\[ray\]'"):
        engine_of(EngineOptions("ray"), EncoderOptions(), print)
