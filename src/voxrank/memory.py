"""How much memory this process has taken, and room for arrays that live long."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

STATUS = Path("/proc/self/status")
Number = TypeVar("Number", bound=np.generic)


def outside_heap(size: int, dtype: type[Number]) -> NDArray[Number]:
    """Zeros in pages of their own.

    A sketch outlives many forward passes. On the heap it would sit between their large, short-lived activations, and
    the holes that are left when those go make the process grow with the length of the run.
    """
    if size == 0:
        return np.zeros(0, dtype)
    return np.frombuffer(mmap.mmap(-1, size * np.dtype(dtype).itemsize), dtype=dtype)


def peak_rss_mb() -> float:
    """Highest resident memory of this process so far, in MB (10⁶ bytes); 0 where the system does not tell."""
    return _linux_peak_mb() or _posix_peak_mb()


def _linux_peak_mb() -> float:
    """From the kernel's own account of this program: getrusage also counts what the parent held when it forked."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), 0.0)


def _posix_peak_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6
