"""Peak memory is that of this process alone."""

import subprocess
import sys

import numpy as np
import pytest

import voxrank.encoders.huggingface
from voxrank._support import memory
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError, RunError

PRINT_PEAK = "from voxrank._support.memory import peak_rss_mb; print(peak_rss_mb())"


PRINT_GROWTH = """
import numpy as np
from voxrank._support.memory import peak_rss_mb
before = peak_rss_mb()
held = np.ones(int(before + 100) * 125_000)
print(peak_rss_mb() - before, held[-1])
"""
"""Code for a separate process: this one may have used much memory already."""


def test_the_peak_grows_with_the_memory_that_is_held():
    done = subprocess.run([sys.executable, "-c", PRINT_GROWTH], capture_output=True, text=True, check=True)
    grown, last = map(float, done.stdout.split())
    assert grown >= 90
    assert last == 1


PRINT_RELEASED = """
from pathlib import Path
from voxrank._support.memory import release_free_memory

def resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS:"))

blocks = [bytearray(b"1" * 100_000) for _ in range(2000)]
kept = blocks[::100] + blocks[-1:]
del blocks
before = resident_mb()
release_free_memory()
print(before - resident_mb())
"""


@pytest.mark.skipif(memory._malloc_trim is None, reason="the C library has no malloc_trim")
def test_free_memory_between_blocks_in_use_is_released():
    done = subprocess.run([sys.executable, "-c", PRINT_RELEASED], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system counts what the parent held too")
def test_the_memory_of_the_parent_process_is_not_counted():
    held = np.ones(50_000_000)
    child = subprocess.run([sys.executable, "-c", PRINT_PEAK], capture_output=True, text=True, check=True)
    assert 1 < float(child.stdout) < held.nbytes / 1e6


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        ModelError("m: cannot read its weights (CUDA out of memory. Tried to allocate 2.00 GiB); get it again"),
    ],
)
def test_a_model_too_large_for_the_memory_ends_the_run_with_that_reason(monkeypatch, error):
    def load(rest, options):
        raise error

    monkeypatch.setattr(voxrank.encoders.huggingface, "load", load)
    with pytest.raises(RunError, match="big/model: memory ran out while the model was loaded"):
        load_encoder("big/model")
