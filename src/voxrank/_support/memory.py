"""How much memory this process has taken, how to give some back, and whether it ran out."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The parameters' numbers in <malloc.h>."""
MAPPED_BYTES = 2 * 2**20
KEPT_BYTES = 256 * 2**20
_mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None


NO_MEMORY = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")
"""Parts of what torch says on the CPU, CUDA (cuBLAS and cuDNN too) and MPS, and onnxruntime, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: of the machine or of the device."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)


def keep_heap_small() -> None:
    """Have the C library (glibc) take blocks of megabytes straight from the system, and give them back when freed.

    By itself it soon takes them from its heap. Sketches, which outlive many forward passes, then come to lie between
    the large, short-lived activations, and the holes make a process grow with the length of its run. What is free at
    the heap's end is kept, up to a bound: given back after every forward pass, it would have to be faulted in again,
    page by page, which was seen to cost a third of the pass.
    """
    if _mallopt is not None:
        _mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        _mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


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
