"""A cluster of two nodes: the same ranking, audio on one node only, nodes that are lost and nodes that join."""

import gc
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import voxrank
import voxrank.alignment.frames
import voxrank.encoders.pool
import voxrank.engines.base
import voxrank.ranking.rank
from voxrank._support.progress import Progress
from voxrank.config import EncoderOptions, EngineOptions, ExtractionOptions, SequenceOptions
from voxrank.data.read import read_dataset
from voxrank.data.sources import stamp_of
from voxrank.encoders.registry import load_encoder
from voxrank.engines.ray import scheduler, worker_pool
from voxrank.engines.ray.cluster import QUIET
from voxrank.engines.ray.engine import RayEngine
from voxrank.errors import ModelError
from voxrank.testing.encoders import FakeEncoder

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves files of servers to the collector
    pytest.mark.timeout(900),  # three nodes start slowly on a busy machine
]
CPU = EncoderOptions(device="cpu")
WORKERS = ("first", "second")
WAITED_S = 100.0
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


def this_node():
    return ray.get_runtime_context().get_node_id()


def wait_for(is_so):
    end = time.monotonic() + WAITED_S
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@dataclass(frozen=True)
class FileOfSomeNodes:
    """A file that some nodes do not see. Such a node leaves a mark where it looks for it."""

    file: Path
    hidden_on: tuple[str, ...]
    marks: Path

    def open(self):
        self.stamp()
        return self.file.open("rb")

    def stamp(self):
        if this_node() in self.hidden_on:
            (self.marks / this_node()).touch()
            raise FileNotFoundError(2, "No such file or directory", str(self.file))
        return stamp_of(self.file)


class Gathering(FakeEncoder):
    """An encoder that leaves a mark for its node, and waits from its third batch on until two nodes have left one."""

    seen = 0

    def __init__(self, marks):
        super().__init__(seed=3)
        self._marks = marks

    def _forward(self, windows):
        if self._marks is not None:
            (self._marks / this_node()).touch()
            if self.seen >= 2:
                wait_for(lambda: len(list(self._marks.iterdir())) >= 2)
        self.seen += 1
        yield from super()._forward(windows)


def load(on_worker, spec, options):
    """Load a model; a spec with a folder of marks is that of a fake model, which waits on workers."""
    kind, _, marks = spec.partition(":")
    if kind != "py":
        return load_encoder(spec, options)
    if marks == "absent" and on_worker:
        raise ModelError("no such file: model.py")
    encoder = Gathering(Path(marks) if on_worker else None)
    encoder.spec, encoder.budget_samples = spec, 16_000
    return encoder


class Nodes:
    """A cluster of a node for the driver, which has no cores, and of nodes with a core each. All see the same files."""

    def __init__(self):
        self.cluster = Cluster(initialize_head=True, head_node_args=self._options("driver", 0))
        self.added = {}

    def _options(self, name, cpus):
        return {"num_cpus": cpus, "node_name": name, "include_dashboard": False}

    def add(self, name):
        self.added[name] = self.cluster.add_node(**self._options(name, 1))

    def remove(self, name):
        self.cluster.remove_node(self.added.pop(name), allow_graceful=False)

    def id_of(self, name):
        return self.added[name].node_id


class Shared:
    """An engine that stays open for all tests, with its notes."""

    def __init__(self, engine, notes):
        self.runner, self.map, self.notes, self._engine = engine.runner, engine.map, notes, engine

    def __enter__(self):
        self.notes.clear()
        self._engine._workers()._reported.clear()

    def __exit__(self, *error):
        return None


@pytest.fixture(scope="module")
def started():
    """Start a cluster, and connect to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_pool, "START_NOTICE_S", 600.0)  # workers may be slow on a busy machine
        patch.setattr(worker_pool, "ROOM_S", 0.0)
        nodes = Nodes()
        ray.init(address=nodes.cluster.address, **QUIET)
        yield nodes
        ray.shutdown()
        nodes.cluster.shutdown()
    gc.collect()  # the files that Ray leaves, here, where their warnings are ignored


@pytest.fixture(scope="module")
def shared(started):
    started.add("first")
    notes = []
    with RayEngine(EngineOptions("ray", address="auto"), CPU, notes.append, partial(load, True)) as engine:
        yield Shared(engine, notes)


@pytest.fixture
def nodes(started, shared):
    """Return the cluster with the nodes "first" and "second"."""
    for name in {*started.added} - {*WORKERS}:
        started.remove(name)
    for name in WORKERS:
        if name not in started.added:
            started.add(name)
    return started


class Watcher(Progress):
    """A listener that calls a function once, when audio has been processed by so many nodes that leave marks."""

    def __init__(self, call, marks, nodes):
        self._call, self._marks, self._nodes = call, marks, nodes

    def advance(self, seconds):
        if self._call is not None and len(list(self._marks.iterdir())) >= self._nodes:
            self._call()
            self._call = None


@pytest.fixture
def rank(nodes, shared, monkeypatch):
    """Return a function that ranks by the cluster, or by this process."""
    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", partial(load, False))
    local = voxrank.engines.base.engine_of

    def rank(data, models=("logmel", "mfcc"), *, by=None, progress=None, **options):
        monkeypatch.setattr(voxrank.ranking.rank, "engine_of", local if by is None else lambda *_: by)
        extraction = ExtractionOptions(shard_s=0.5, sample=options.pop("sample", "utterance"))
        return voxrank.rank(data, models, encoder=CPU, extraction=extraction, progress=progress, **options)

    return rank


def assert_same(found, expected):
    assert [(m.model, m.layer, m.rank) for m in found.models] == [(m.model, m.layer, m.rank) for m in expected.models]
    for mine, theirs in zip(found.layers, expected.layers, strict=True):
        for name, score in theirs.scores.items():
            assert mine.scores[name].value == pytest.approx(score.value, rel=1e-9, abs=1e-9)


TRANSCRIPTS = {"target": "text", "sequence": SequenceOptions(unit="char"), "sample": "frame"}


@pytest.fixture
def marks(tmp_path):
    """Return the folder of marks of the model "py:FOLDER"."""
    marks = tmp_path / "marks"
    marks.mkdir()
    return marks


def test_classes_are_ranked_as_by_one_process(rank, shared, tones):
    assert_same(rank(tones, by=shared), rank(tones))


@pytest.fixture
def small_parts(monkeypatch):
    """Let the fit read a quarter of the speech, and divide it and the rest into parts of two seconds."""
    monkeypatch.setattr(voxrank.alignment.frames, "FIT_BYTES", 4 * 80 * 100 * 12)
    monkeypatch.setattr(voxrank.alignment.frames, "PART_S", 2.0)


@pytest.mark.parametrize("aligner", ["flat", "head:mfcc"])
def test_transcripts_are_aligned_on_workers_as_by_one_process(rank, shared, spelled, small_parts, aligner):
    options = {**TRANSCRIPTS, "sequence": SequenceOptions(unit="char", aligner=aligner, against=("flat:logmel",))}
    found, expected = rank(spelled, ["logmel"], by=shared, **options), rank(spelled, ["logmel"], **options)
    assert_same(found, expected)
    assert found.options["aligner"] == expected.options["aligner"]
    assert found.sensitivity[0].spearman == pytest.approx(expected.sensitivity[0].spearman)


def test_a_node_lost_while_it_aligns_does_not_change_the_ranking(rank, nodes, shared, spelled, marks, small_parts):
    model = f"py:{marks}"
    progress = Watcher(lambda: nodes.remove("second"), marks, 2)
    found = rank(spelled, [model], by=shared, progress=progress, **TRANSCRIPTS)
    assert_same(found, rank(spelled, [model], **TRANSCRIPTS))
    assert "a worker was lost; another worker repeats its unfinished work" in shared.notes


def test_transcripts_of_audio_that_one_node_does_not_see_are_aligned(rank, nodes, shared, spelled, marks, small_parts):
    data = hidden(read_dataset(spelled, target="text"), (nodes.id_of("second"),), marks)
    options = {name: option for name, option in TRANSCRIPTS.items() if name != "target"}
    found = rank(data, [f"py:{marks}"], by=shared, **options)
    assert_same(found, rank(spelled, [f"py:{marks}"], **TRANSCRIPTS))
    assert not found.skipped
    [note] = shared.notes
    assert note.startswith("node second does not see ")


def hidden(dataset, hidden_on, marks, only=None):
    """Return the data with every utterance, or only one of them, hidden on some nodes."""
    utterances = [
        replace(u, audio=FileOfSomeNodes(u.path.absolute(), hidden_on, marks)) if only in (None, number) else u
        for number, u in enumerate(dataset.utterances)
    ]
    return replace(dataset, utterances=tuple(utterances))


def test_a_node_that_sees_no_audio_is_named_and_the_other_encodes(rank, nodes, shared, tones, marks):
    found = rank(hidden(read_dataset(tones), (nodes.id_of("second"),), marks), [f"py:{marks}"], by=shared)
    assert_same(found, rank(tones, [f"py:{marks}"]))
    assert not found.skipped
    [note] = shared.notes
    assert note.startswith("node second does not see ")
    assert note.endswith("; other nodes encode what it does not see; put the audio in a folder that all nodes share")


def test_a_file_that_one_node_does_not_see_is_encoded_by_the_other(rank, nodes, shared, tones, marks):
    found = rank(hidden(read_dataset(tones), (nodes.id_of("second"),), marks, only=5), by=shared)
    assert_same(found, rank(tones))
    assert not found.skipped


def test_a_model_that_a_node_lacks_ends_the_run_with_the_name_of_the_node(rank, shared, tones):
    with pytest.raises(ModelError, match=r"no such file: model\.py \(on node (first|second)\)"):
        rank(tones, ["py:absent"], by=shared)


def test_audio_that_no_worker_sees_is_listed_with_a_node(rank, nodes, shared, tones, marks):
    data = hidden(read_dataset(tones), tuple(map(nodes.id_of, WORKERS)), marks, only=5)
    found = rank(data, ["logmel"], by=shared)
    [skipped] = found.skipped
    assert skipped.utterance == data.utterances[5].id
    assert skipped.reason.startswith("no such file: ")
    assert skipped.reason.endswith(("(on node first)", "(on node second)"))


@pytest.mark.parametrize(
    ("manifest", "task"),
    [("tones", {}), ("spelled", {"sequence": SequenceOptions(unit="char"), "sample": "frame"})],
)
def test_a_worker_without_room_does_not_hold_up_what_no_worker_sees(
    rank, nodes, shared, marks, monkeypatch, request, manifest, task
):
    pool = shared._engine._workers()
    monkeypatch.setattr(pool, "_workers", 3)  # the cluster has two cores
    dataset = read_dataset(request.getfixturevalue(manifest), target="text" if task else None)
    data = hidden(dataset, tuple(map(nodes.id_of, WORKERS)), marks, only=5)
    found = rank(data, ["logmel"], by=shared, **task)
    assert {skipped.utterance for skipped in found.skipped} == {data.utterances[5].id}
    for worker in [worker for worker in pool.workers if worker.started is not None]:
        pool.remove(worker)


def test_workers_digest_audio_and_models(rank, shared, spelled, kept, monkeypatch):
    """The driver reads no audio and no weights for the cache, in a first run and in a second one."""

    def refuse(*_):
        raise AssertionError("the driver computes a digest")

    options = {**TRANSCRIPTS, "models": ("logmel",), "by": shared, "cache": kept}
    for name in ("cache.store.digest_of_audio", "engines.digests.model_key"):
        monkeypatch.setattr(f"voxrank.{name}", refuse)
    first, again = rank(spelled, **options), rank(spelled, **options)
    assert_same(again, first)
    assert first.cost.cached_s == 0
    assert again.cost.cached_s == pytest.approx(again.data.seconds)


@pytest.mark.parametrize("hand_over_s", [0.0, 300.0])
def test_a_node_lost_in_the_middle_does_not_change_the_ranking(
    rank, nodes, shared, tones, marks, monkeypatch, hand_over_s
):
    monkeypatch.setattr(scheduler, "HAND_OVER_S", hand_over_s)
    model = f"py:{marks}"
    found = rank(tones, [model], by=shared, progress=Watcher(lambda: nodes.remove("second"), marks, 2))
    assert_same(found, rank(tones, [model]))
    assert shared.notes == [f"{model}: a worker was lost; another worker repeats its unfinished work"]


def test_a_node_that_joins_is_used(rank, nodes, shared, tones, marks, monkeypatch):
    monkeypatch.setattr(scheduler, "CHUNK_SHARDS", 1)
    nodes.remove("second")
    found = rank(tones, [f"py:{marks}"], by=shared, progress=Watcher(lambda: nodes.add("third"), marks, 1))
    assert {mark.name for mark in marks.iterdir()} == {nodes.id_of("first"), nodes.id_of("third")}
    assert_same(found, rank(tones, [f"py:{marks}"]))
