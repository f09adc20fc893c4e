import gc
import queue
import threading

import pytest


@pytest.fixture(scope="module")
def device():
    """Return the script as a module."""
    import device

    gc.freeze()  # it collects garbage before each measurement, and need not look at what is imported
    return device


@pytest.mark.parametrize("part", ["sketches", "memory", "throughput", "overlap", "padding", "families"])
def test_every_part_of_the_device_benchmark_runs_on_a_cpu(device, part, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "ROUNDS", 1)
    monkeypatch.setattr(device, "MODELS", ("hubert-base",))

    result = device.run(device.TINY, [part], tmp_path / "device.json", {"commit": "abc"})

    assert "error" not in result[part]
    assert result[part].get("passed", True) is True
    assert result["made"]["commit"] == "abc"
    assert (tmp_path / "device.json").exists()


def test_a_worker_of_the_device_benchmark_times_its_shards(device):
    out = queue.Queue()
    with device.published("hubert-base", device.TINY) as folder:
        device.work_alone(folder, "cpu", device.TINY, 0, 2, threading.Barrier(1), out)

    began, ended = out.get_nowait()
    assert began < ended


def test_a_part_that_fails_is_reported_and_the_others_still_run(device, tmp_path, monkeypatch):
    def fail(device, size):
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(device.PARTS, "padding", fail)
    result = device.run(device.TINY, ["padding", "memory"], tmp_path / "device.json", {})

    assert result["padding"]["error"] == "RuntimeError: no such kernel"
    assert "left_out" in result["memory"]
