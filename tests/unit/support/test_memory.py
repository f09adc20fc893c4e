"""Peak memory is that of this process alone."""

import subprocess
import sys

import numpy as np
import pytest

import voxrank.encoders.huggingface
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
