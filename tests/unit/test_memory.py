"""Peak memory is this process's own."""

import subprocess
import sys

import numpy as np
import pytest

from voxrank.memory import peak_rss_mb

PRINT_PEAK = "from voxrank.memory import peak_rss_mb; print(peak_rss_mb())"


def test_peak_grows_with_what_is_held():
    before = peak_rss_mb()
    held = np.ones(int(before + 100) * 125_000)
    assert peak_rss_mb() >= before + 90
    assert held[-1] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system counts what the parent held too")
def test_a_large_parent_is_not_counted():
    held = np.ones(50_000_000)
    child = subprocess.run([sys.executable, "-c", PRINT_PEAK], capture_output=True, text=True, check=True)
    assert 1 < float(child.stdout) < held.nbytes / 1e6
