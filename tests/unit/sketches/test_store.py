"""Sketches come back from their file bit for bit, or not at all."""

import errno
import json
import os
import struct
from dataclasses import dataclass, field, fields, is_dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

import voxrank.sketches.store
from voxrank.data.utterance import Skipped
from voxrank.encoders.joint import SketchKey
from voxrank.engines.local import ModelSketch
from voxrank.errors import SketchError
from voxrank.extraction.shard import ShardSketch
from voxrank.sketches import store
from voxrank.sketches.blocks import BlockedMoments, PackedMoments
from voxrank.sketches.groups import GroupSums
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Products
from voxrank.sketches.projections import Quantiles
from voxrank.sketches.sample import Sample
from voxrank.sketches.store import load_sketches, register_kind, save_sketches

F64 = st.floats(width=64)


def array(shape, dtype=np.float64):
    return arrays.arrays(dtype, shape)


@st.composite
def moments(draw, sizes=None):
    d, t = sizes or draw(st.tuples(st.integers(1, 4), st.integers(0, 3)))
    products = Products(
        draw(st.integers(0, 2**60)), draw(array(d)), draw(array(d)), draw(array((d, d))), draw(array(d)), draw(F64)
    )
    parts = (products, draw(array((t, d))), draw(array(t)), draw(array(t)), draw(st.none() | array((t, t))))
    return Moments(*parts, target_centre=draw(st.none() | array(t)))


@st.composite
def packed(draw, sizes=None):
    d, t = sizes or draw(st.tuples(st.integers(1, 4), st.integers(0, 3)))
    single = np.float32
    large = draw(array(d * (d + 1) // 2, single)), draw(array(d)), draw(F64), draw(array((t, d), single))
    small = draw(array(t)), draw(array(t)), draw(st.none() | array((t, t)))
    return PackedMoments(draw(st.integers(0, 2**60)), draw(array(d)), *large, *small)


@st.composite
def blocked(draw):
    sizes = draw(st.tuples(st.integers(1, 4), st.integers(0, 3)))
    return BlockedMoments(draw(moments(sizes)), draw(st.dictionaries(st.integers(0, 9), packed(sizes), max_size=3)))


@st.composite
def samples(draw):
    m, d = draw(st.integers(0, 5)), draw(st.integers(0, 3))
    ids = draw(array(m, np.int64)), draw(array(m, np.int64))
    keys, owners = draw(array(m, np.uint64)), draw(array(m, np.uint64))
    return Sample(draw(st.integers(1, 9)), keys, draw(array((m, d), np.float32)), *ids, owners)


@st.composite
def group_sums(draw):
    p, ids = draw(st.integers(0, 4)), np.int64
    parts = draw(array(p, ids)), draw(array(p, ids)), draw(array((p, 2))), draw(array(p)), draw(array(2))
    return GroupSums(*parts, dealt=draw(st.booleans()), limit=draw(st.integers(1, 99)))


@st.composite
def quantiles(draw):
    p, widths = draw(st.integers(1, 3)), draw(st.lists(st.integers(0, 4), max_size=3))
    levels = [draw(array((p, width), np.float32)) for width in widths]
    origin = draw(st.none() | array(p))
    return Quantiles(draw(st.integers(1, 2**17)), levels, draw(st.integers(0, 2**40)), [3] * len(widths), origin)


KINDS = {
    "moments": (moments(), Moments),
    "packed": (packed(), PackedMoments),
    "blocked": (blocked(), BlockedMoments),
    "sample": (samples(), Sample),
    "groups": (group_sums(), GroupSums),
    "quantiles": (quantiles(), Quantiles),
    "layers": (st.dictionaries(st.integers(-2, 30), blocked(), max_size=2), dict[int, BlockedMoments]),
    "named": (st.dictionaries(st.sampled_from(["source", "target"]), moments()), dict[str, Moments]),
}


def bits(value):
    """Return a representation that differs for any two different values of any type."""
    if is_dataclass(value):
        return type(value), [(part.name, bits(getattr(value, part.name))) for part in fields(value)]
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bits(item) for item in value]
    return type(value), struct.pack("<d", value) if isinstance(value, float) and value == value else repr(value)


def some_moments(seed=0, n=30, dim=5):
    rng = np.random.default_rng(seed)
    result = Moments.zeros(dim, 3)
    result.update(torch.from_numpy(rng.normal(size=(n, dim))), rng.integers(0, 3, n))
    return result


def some_blocks(seed=0):
    result = BlockedMoments.zeros(5, 3)
    for block in range(3):
        result.close_block(block, some_moments(seed + block))
    return result


def some_sample(seed=0, size=20):
    rng = np.random.default_rng(seed)
    result = Sample.empty(size, 5)
    features = torch.from_numpy(rng.normal(size=(30, 5)).astype(np.float32))
    result.update(features, rng.integers(0, 2**64, 30, dtype=np.uint64), np.arange(30), 2)
    return result


def some_groups(seed=0):
    rng = np.random.default_rng(seed)
    result = GroupSums.empty(2, limit=25)
    result.add(rng.normal(size=(40, 2)), rng.integers(0, 3, 40), rng.integers(0, 8, 40))
    return result


def some_quantiles(seed=0):
    result = Quantiles(8)
    for part in range(5):
        result.add(np.random.default_rng(seed + part).normal(size=(3, 7)).astype(np.float32))
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_sketch_is_read_back_exactly(folder, kind, data):
    strategy, expected = KINDS[kind]
    sketch = data.draw(strategy)
    save_sketches(folder / kind, sketch, expected)
    assert bits(load_sketches(folder / kind, expected)) == bits(sketch)


@pytest.mark.parametrize(
    ("make", "kind"),
    [(some_moments, Moments), (some_sample, Sample), (some_groups, GroupSums), (some_quantiles, Quantiles)],
)
def test_merging_loaded_sketches_equals_merging_before_they_are_saved(tmp_path, make, kind):
    for seed in (0, 100):
        save_sketches(tmp_path / str(seed), make(seed), kind)
    loaded, other = (load_sketches(tmp_path / str(seed), kind) for seed in (0, 100))
    loaded.merge(other)
    expected = make(0)
    expected.merge(make(100))
    assert bits(loaded) == bits(expected)


def test_blocks_close_in_the_same_way_after_they_are_loaded(tmp_path):
    save_sketches(tmp_path / "b", {0: some_blocks()}, dict[int, BlockedMoments])
    loaded, expected = load_sketches(tmp_path / "b", dict[int, BlockedMoments])[0], some_blocks()
    for sketch in (loaded, expected):
        sketch.close_block(1, some_moments(7))
    assert bits(loaded) == bits(expected)


def test_arrays_are_stored_independently_of_their_memory_layout(tmp_path):
    sketch = some_moments()
    sketch.cross = np.asfortranarray(sketch.cross)
    levels = some_quantiles()
    levels.levels[0] = np.repeat(levels.levels[0], 2, axis=1)[:, ::2]
    save_sketches(tmp_path / "m", sketch, Moments)
    save_sketches(tmp_path / "q", levels, Quantiles)
    np.testing.assert_array_equal(load_sketches(tmp_path / "m", Moments).cross, sketch.cross)
    np.testing.assert_array_equal(load_sketches(tmp_path / "q", Quantiles).levels[0], levels.levels[0])


def test_numbers_of_numpy_are_stored_as_numbers(tmp_path):
    sketch = some_moments()
    sketch.products.n, sketch.products.quartic = np.int64(30), np.float64(0.1)
    save_sketches(tmp_path / "m", sketch, Moments)
    loaded = load_sketches(tmp_path / "m", Moments)
    assert (type(loaded.n), loaded.n) == (int, 30)
    assert (type(loaded.products.quartic), loaded.products.quartic) == (float, 0.1)


@dataclass(frozen=True)
class Note:
    text: str
    model: str | None = None


@dataclass
class Pair:
    layers: dict[int, Moments]
    samples: dict[int, Sample]
    notes: list[Note] = field(default_factory=list)
    seconds: float = 0.0


def test_a_registered_kind_is_stored_with_all_of_its_fields(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_AXES", dict(store._AXES))
    with pytest.raises(TypeError, match=r"expected a registered kind of sketch, got .*Pair"):
        save_sketches(tmp_path / "p", Pair({}, {}), Pair)
    register_kind(Pair)
    pair = Pair({4: some_moments(dim=5), 7: some_moments(dim=3)}, {}, [Note("ä", None), Note("\udc80", "m")], 0.1)
    save_sketches(tmp_path / "p", pair, Pair)
    assert bits(load_sketches(tmp_path / "p", Pair)) == bits(pair)
    with pytest.raises(ValueError, match="Pair is registered already"):
        register_kind(Pair)


def test_a_file_holds_a_shard_or_a_model(tmp_path):
    key, joint, other = SketchKey(4), SketchKey("mean"), SketchKey(4, version=1)
    layers = {key: some_moments(), joint: some_moments(dim=7), other: some_moments()}
    samples, skipped = {key: some_sample(), other: some_sample()}, [Skipped("u", "short")]
    values = Quantiles(8)
    values.add(np.arange(20, dtype=np.float32).reshape(2, 10))
    shard = ShardSketch(layers, samples, {joint: values}, skipped, used_s=0.1, encode_s=0.2)
    model = ModelSketch({key: some_blocks()}, {}, {key: {3: values}}, skipped)
    for sketch in (shard, model):
        save_sketches(tmp_path / "s", sketch, type(sketch))
        assert bits(load_sketches(tmp_path / "s", type(sketch))) == bits(sketch)
    with pytest.raises(SketchError, match=r"does not hold a ShardSketch .*it holds a ModelSketch"):
        load_sketches(tmp_path / "s", ShardSketch)


def test_any_reader_of_safetensors_can_read_sketches(tmp_path):
    from safetensors import safe_open

    save_sketches(tmp_path / "m", {4: some_moments()}, dict[int, Moments])
    with safe_open(tmp_path / "m", framework="np") as file:
        header = json.loads(file.metadata()["voxrank"])
        np.testing.assert_array_equal(file.get_tensor("4.products.gram"), some_moments().gram)
    assert (header["schema"], header["kind"]) == (1, "dict[int, Moments]")
    assert header["content"]["4"]["products"]["quartic"] == some_moments().products.quartic
    assert header["content"]["4"]["target_gram"] is None


def rewritten(path, change):
    """Return the file with a changed header and the same tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["voxrank"])
    change(header, tensors)
    save_file(tensors, path, metadata={"voxrank": json.dumps(header)})


DAMAGE = {
    "its schema is 2, and this version of voxrank reads 1": lambda h, t: h.update(schema=2),
    "its header has no 'schema'": lambda h, t: h.pop("schema"),
    "it holds a dict": lambda h, t: h.update(kind="dict[int, Moments]"),
    "its header has no 'content'": lambda h, t: h.pop("content"),
    "content: 'cross' is missing": lambda h, t: h["content"].pop("cross"),
    "products: this version of voxrank does not know 'more'": lambda h, t: h["content"]["products"].update(more=1),
    "content: expected an object, got null": lambda h, t: h.update(content=None),
    "products.n: expected a whole number, got 1.5": lambda h, t: h["content"]["products"].update(n=1.5),
    "products.n: expected a whole number, got true": lambda h, t: h["content"]["products"].update(n=True),
    'products.quartic: expected a number, got "x"': lambda h, t: h["content"]["products"].update(quartic="x"),
    "cross: expected tensor, got null": lambda h, t: h["content"].update(cross=None),
    "SafetensorError: .*cubic": lambda h, t: t.pop("products.cubic"),
    "cross: expected float64, got float32": lambda h, t: t.update(cross=t["cross"].astype(np.float32)),
    "products.gram: expected shape .D, D. with D = 5.*got .5, 4.": (
        lambda h, t: t.update({"products.gram": t["products.gram"][:, :4].copy()})
    ),
    "cross: expected shape .T, D. with D = 5.*got .3,.": lambda h, t: t.update(cross=t["cross"][:, 0].copy()),
    "square: expected shape .T. with D = 5, .*T = 3.*got .2,.": lambda h, t: t.update(square=t["square"][:2].copy()),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_an_inconsistent_file_is_refused_in_one_line(tmp_path, message):
    save_sketches(tmp_path / "m", some_moments(), Moments)
    rewritten(tmp_path / "m", DAMAGE[message])
    with pytest.raises(SketchError, match=f"m does not hold a Moments .*{message}.*; make the file again") as caught:
        load_sketches(tmp_path / "m", Moments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sketch", "spoil", "message"),
    [
        (some_blocks(), {"blocks.1.triangle": 14}, r"blocks.1.triangle: expected shape \(H\) .*H = 15.* got \(14,\)"),
        (some_blocks(), {"blocks.2.mean": 4}, r"blocks.2.mean: expected shape \(D\) with D = 5.* got \(4,\)"),
        (some_sample(), {"keys": 7}, r"features: expected shape \(m, D\) with m = 7, D = 5, got \(20, 5\)"),
        (some_quantiles(), {"levels.1": 2}, r"levels.1: expected shape \(P, \*\) with L = 3, P = 3, got \(2, \d\)"),
    ],
)
def test_parts_that_disagree_are_refused(tmp_path, sketch, spoil, message):
    def cut(_, tensors):
        tensors.update({name: tensors[name][:size].copy() for name, size in spoil.items()})

    save_sketches(tmp_path / "s", sketch, type(sketch))
    rewritten(tmp_path / "s", cut)
    with pytest.raises(SketchError, match=message):
        load_sketches(tmp_path / "s", type(sketch))


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None)
def test_a_file_cut_anywhere_is_refused(folder, share):
    save_sketches(folder / "whole", some_moments(), Moments)
    content = (folder / "whole").read_bytes()
    (folder / "cut").write_bytes(content[: int(share * len(content))])
    with pytest.raises(SketchError, match=r"cut does not hold a Moments .*; make the file again"):
        load_sketches(folder / "cut", Moments)


def test_foreign_files_are_refused(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "weights", metadata={"format": "pt"})
    save_file({"weight": np.zeros(3)}, tmp_path / "bare")
    save_file({"weight": np.zeros(3)}, tmp_path / "odd", metadata={"voxrank": "[" * 100_000})
    (tmp_path / "text").write_text("path,label\na.wav,x\n" * 9)
    for name in ("weights", "bare", "odd", "text"):
        with pytest.raises(SketchError, match=f"{name} does not hold a Moments .*; make the file again"):
            load_sketches(tmp_path / name, Moments)
    for name in ("missing", "."):
        with pytest.raises(SketchError, match=r"cannot read .*; check the path"):
            load_sketches(tmp_path / name, Moments)


def test_a_pickle_is_never_opened(tmp_path, monkeypatch):
    import pickle

    def refuse(*_, **__):
        raise AssertionError("unpickled")

    pickle_path = tmp_path / "p"
    pickle_path.write_bytes(pickle.dumps(some_moments()))
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    with pytest.raises(SketchError, match="does not hold a Moments"):
        load_sketches(pickle_path, Moments)


def test_a_sketch_that_could_not_be_read_back_is_not_written(tmp_path):
    wrong_dtype, wrong_size = some_moments(), some_moments()
    wrong_dtype.cross = wrong_dtype.cross.astype(np.float32)
    wrong_size.square = wrong_size.square[:2]
    cases = [
        (wrong_dtype, Moments, "cross: expected float64, got float32"),
        (wrong_size, Moments, "square: expected shape"),
        (some_moments(), Sample, "content: this version of voxrank does not know 'cross'"),
        ({"a.b": some_moments()}, dict[str, Moments], "a key with a dot"),
    ]
    for sketch, kind, message in cases:
        with pytest.raises(SketchError, match=f"cannot write .*{message}"):
            save_sketches(tmp_path / "m", sketch, kind)
    assert list(tmp_path.iterdir()) == []


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace", "voxrank.sketches.store.save_file"])
def test_a_failed_write_leaves_the_old_file_and_no_partial_file(tmp_path, monkeypatch, failing):
    save_sketches(tmp_path / "m", some_moments(0), Moments)
    before = (tmp_path / "m").read_bytes()
    monkeypatch.setattr(failing, full)
    with pytest.raises(SketchError, match=r"cannot write .*No space left on device"):
        save_sketches(tmp_path / "m", some_moments(1), Moments)
    assert (tmp_path / "m").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_interrupt_leaves_no_partial_file(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt("stop")

    monkeypatch.setattr(voxrank.sketches.store, "save_file", interrupt)
    with pytest.raises(KeyboardInterrupt, match="stop"):
        save_sketches(tmp_path / "m", some_moments(), Moments)
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_disk_is_refused_in_one_line(tmp_path):
    """The writer is not Python: a limit on the size of files stops it while it writes one."""
    import resource
    import signal

    save_sketches(tmp_path / "m", some_moments(0), Moments)
    before = (tmp_path / "m").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(SketchError, match=r"cannot write .*too large"):
            save_sketches(tmp_path / "m", some_moments(1, dim=200), Moments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "m").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(SketchError, match=r"cannot write .*; check the folder"):
        save_sketches(tmp_path / "no" / "m", some_moments(), Moments)


def test_a_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "other").write_text("")
    save_sketches(tmp_path / "m", some_moments(), Moments)
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "other").stat().st_mode
