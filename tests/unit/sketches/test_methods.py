"""The methods of multiplying give the same sums, and the fastest one is chosen once for each size."""

import logging

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

import voxrank
from voxrank.cli.common import log_to
from voxrank.errors import OptionError
from voxrank.scores import LogME, SlicedWasserstein
from voxrank.sketches import methods, multiplication, projections
from voxrank.sketches.methods import METHODS, ROUNDS, VARIABLE, MethodChooser, Size, fastest
from voxrank.sketches.multiplication import CHUNK_ROWS, DOUBLE_DIM, SHARE_ROWS, multiply
from voxrank.sketches.projections import STRIP_ROWS, draw_directions, project_all

DIM = DOUBLE_DIM + 44
ROUNDING = 2 * np.sqrt(CHUNK_ROWS) * 2.0**-24
"""Bound of the difference of two sums of that many products in single precision, relative to the sum of sizes.

The error of each is at most √n·u with a probability near 1, u = 2⁻²⁴ (Higham and Mary, SIAM J. Sci. Comput. 41, 2019).
"""


@pytest.fixture(autouse=True)
def _two_threads_and_no_choices(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.delenv(VARIABLE, raising=False)
    for module in (multiplication, projections):
        monkeypatch.setattr(module, "CHOOSER", MethodChooser())


class Clock:
    """A clock that trials advance."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def trial(self, name, *seconds):
        durations = iter([*seconds, *[seconds[-1]] * 100])

        def run():
            self.calls.append(name)
            self.now += next(durations)
            return name

        return run


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("voxrank.sketches.methods.time.perf_counter", lambda: made.now)
    return made


def frames(n, seed=0, mean=3.0):
    drawn = mean + np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return torch.from_numpy(drawn.astype(np.float32))


@pytest.mark.parametrize(
    ("targets", "n"),
    [("none", 2 * SHARE_ROWS), ("values", 2 * SHARE_ROWS), ("classes", CHUNK_ROWS + 700)],
)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_sums_of_double_precision(monkeypatch, method, targets, n):
    monkeypatch.setenv(VARIABLE, method)
    rng = np.random.default_rng(1)
    classes, values = rng.integers(0, 3, n), rng.normal(size=(n, 3))
    y = {"none": None, "classes": classes, "values": values}[targets]
    columns = {"none": np.zeros((n, 0)), "classes": np.eye(3)[classes], "values": values}[targets]
    f = frames(n)

    found = multiply(f, y, 0 if y is None else 3)

    g = f.double().numpy() - found.products.centre
    norms = (g**2).sum(axis=1)
    for sums, left in (
        (found.products.gram, g),
        (found.products.total[None], np.ones((n, 1))),
        (found.products.cubic[None], norms[:, None]),
        (found.cross, columns),
    ):
        assert (np.abs(sums - left.T @ g) <= ROUNDING * (np.abs(left).T @ np.abs(g))).all()
    np.testing.assert_array_equal(found.products.gram, found.products.gram.T)
    assert found.products.n == n
    assert found.products.quartic == pytest.approx(norms @ norms, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_multiplies_very_large_and_infinite_samples(monkeypatch, method):
    monkeypatch.setenv(VARIABLE, method)
    f = frames(2 * SHARE_ROWS, mean=0.0)
    plain, large = multiply(f).products, multiply(f * 2.0**70).products
    np.testing.assert_allclose(large.about_mean().gram, plain.about_mean().gram * 2.0**140, rtol=1e-4, atol=2.0**136)
    f[5, 7] = np.inf
    assert not np.isfinite(multiply(f).products.gram).all()


def test_scores_do_not_depend_on_the_method(monkeypatch):
    n = 4 * SHARE_ROWS
    labels = np.random.default_rng(2).integers(0, 4, n)
    f = frames(n).numpy() + np.eye(4, DIM, dtype=np.float32)[labels]
    values = []
    for method in METHODS:
        monkeypatch.setenv(VARIABLE, method)
        distance = SlicedWasserstein(n_projections=9).fit(f[: n // 2], f[n // 2 :]).score_
        values.append((LogME().fit(f, labels).score_, distance))
    np.testing.assert_allclose(values, [values[0]] * 3, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_projects_alike(monkeypatch, method):
    monkeypatch.setenv(VARIABLE, method)
    f, directions = frames(2 * STRIP_ROWS + 5), draw_directions(DIM, 7, seed=0)
    out = np.empty((7, len(f)), dtype=np.float32)
    project_all(f, directions, out)
    sizes = np.abs(directions) @ np.abs(f.numpy().T)
    assert (np.abs(out - directions.astype(float) @ f.double().numpy().T) <= ROUNDING * sizes).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_threads_of_blas_are_as_before(monkeypatch, method):
    monkeypatch.setenv(VARIABLE, method)
    before = [library["num_threads"] for library in threadpool_info()]
    multiply(frames(2 * SHARE_ROWS))
    project_all(frames(10), draw_directions(DIM, 2, seed=0), np.empty((2, 10), dtype=np.float32))
    assert [library["num_threads"] for library in threadpool_info()] == before


@pytest.mark.parametrize(
    ("seconds", "method"),
    [
        ({"strips": 10, "blas": 9.5, "torch": 12}, "strips"),
        ({"strips": 10, "blas": 7, "torch": 12}, "blas"),
        ({"strips": 10, "blas": 7, "torch": 5}, "torch"),
    ],
)
def test_another_method_than_strips_must_be_clearly_faster(seconds, method):
    assert fastest(seconds) == method


def never():
    raise AssertionError("another method was not needed")


def test_small_work_and_single_threads_take_strips(monkeypatch):
    ways = {"strips": lambda: "done", "torch": never, "blas": never}
    for size, work in ((Size.of("x", 500, 768), methods.LEAST_WORK - 1), (Size("x", 512, 1024, threads=1), 1 << 50)):
        chooser = MethodChooser()
        assert [chooser.run(size, work, ways) for _ in range(20)] == ["done"] * 20
    monkeypatch.setattr(multiplication, "_by_torch", never)
    monkeypatch.setattr(multiplication, "_by_blas", never)
    rng = np.random.default_rng(0)
    for _ in range(2 * ROUNDS):
        assert LogME().fit(rng.normal(size=(5000, 40)), rng.integers(0, 2, 5000)).score_
        assert LogME().fit(frames(400), rng.integers(0, 2, 400)).score_


def test_each_method_is_timed_on_the_work_itself_and_the_fastest_is_logged(clock, caplog):
    chooser, size, work = MethodChooser(), Size.of("Gram matrices", 700, 700), methods.LEAST_WORK
    seconds = {"strips": [9.0, 2.0, 4.0], "torch": [50.0, 3.0], "blas": [1.0]}
    ways = {method: clock.trial(method, *taken) for method, taken in seconds.items()}
    with caplog.at_level(logging.INFO, logger="voxrank"):
        products = [chooser.run(size, work, ways) for _ in range(11)]
    assert clock.calls == products == [name for name in METHODS for _ in range(ROUNDS)] + ["blas"] * 2
    shares = "strips 1.00, torch 1.50, blas 0.50"
    assert caplog.messages == [f"{size}: by blas (times as a share of that of strips: {shares})"]
    assert chooser.run(Size.of("Gram matrices", 300, 300), work, ways) == "strips"


def test_times_are_those_of_a_multiplication(clock):
    """Products of one size may have other numbers of samples."""
    chooser, size, work = MethodChooser(), Size.of("Gram matrices", 700, 700), methods.LEAST_WORK
    times = {"strips": (1, 1.0), "torch": (8, 4.0), "blas": (2, 4.0)}
    for method in METHODS:
        factor, seconds = times[method]
        for _ in range(ROUNDS):
            chooser.run(size, factor * work, {method: clock.trial(method, seconds)})
    assert chooser.run(size, work, {"torch": lambda: "chosen"}) == "chosen"


def test_large_work_is_done_by_each_method_in_turn(monkeypatch):
    monkeypatch.setattr(methods, "LEAST_WORK", 1)
    f = frames(2 * SHARE_ROWS)
    expected = f.double().numpy() - f.double().numpy().mean(axis=0)
    directions, found = draw_directions(DIM, 7, seed=0), np.empty((7, len(f)), dtype=np.float32)
    for _ in range(len(METHODS) * ROUNDS + 1):
        gram = multiply(f).products.about_mean().gram
        np.testing.assert_allclose(gram, expected.T @ expected, rtol=1e-4, atol=0.05)
        project_all(f, directions, found)
        np.testing.assert_allclose(found, directions.astype(float) @ f.double().numpy().T, rtol=1e-4, atol=1e-3)
    for module in (multiplication, projections):
        assert next(iter(module.CHOOSER._methods.values())) in METHODS


def test_the_choice_stands_in_the_log_of_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(methods, "LEAST_WORK", 1)
    monkeypatch.setattr(methods, "fastest", lambda _: "torch")
    with log_to(tmp_path):
        for _ in range(len(METHODS) * ROUNDS):
            multiply(frames(2 * SHARE_ROWS))
    assert "Gram matrices of up to 512 × 512 on 2 threads: by torch (" in (tmp_path / "run.log").read_text()


def test_an_unknown_method_is_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "gpu")
    with pytest.raises(
        OptionError, match="expected VOXRANK_PRODUCTS to be one of auto, strips, torch, blas, got 'gpu'"
    ):
        voxrank.rank(tmp_path / "missing.csv", ["logmel"])
