"""Memory of this process: its peak, how to release memory, and detection of errors from lack of memory."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of the parameters in <malloc.h>."""
MAPPED_BYTES = 16 * 2**20
"""Size of blocks from which on they come directly from the system, with a page fault for each 4 KiB at every use.

Whisper base took 28.0 s with 4 MiB, 24.0 s with 16 MiB and 22.7 s with 32 MiB, in 815, 846 and 860 to 920 MB.
"""
KEPT_BYTES = 256 * 2**20
PRIMITIVES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
"""Maximum number of primitives that oneDNN stores; by default 1,024. The environment of the user has precedence."""
_mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


NO_MEMORY = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")
"""Parts of messages of torch on the CPU, CUDA (including cuBLAS, cuDNN) and MPS, and of onnxruntime, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on the machine or on the device."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)


def keep_heap_small() -> None:
    """Make the C library (glibc) allocate large blocks directly from the system, and return them when freed.

    By default, glibc soon allocates such blocks on its heap. Sketches, which live through many forward passes, then lie
    between large, short-lived activations. The resulting holes make a process grow with the length of its run. Free
    memory at the end of the heap is kept, up to a limit. Returning it after every forward pass would cause page faults,
    which took a third of the pass in a measurement.

    oneDNN compiles a primitive for each operator and shape, and stores it. Batches of speech rarely have the same shape
    twice, so that most stored primitives are never used again. Their number is limited, unless torch has run before.
    """
    for name, value in PRIMITIVES.items():
        os.environ.setdefault(name, value)
    if _mallopt is not None:
        _mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        _mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def release_free_memory() -> None:
    """Return free memory of the heap to the system (glibc), including holes between blocks that are in use.

    It is for the ends of phases: loading, alignment, the passes of a model. The memory that one phase freed in small
    blocks would otherwise add to the peak of the next, because threads and libraries allocate from other heaps.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)


def peak_rss_mb() -> float:
    """Return the peak resident memory of this process in MB (10⁶ bytes), or 0 where the system does not report it."""
    return _linux_peak_mb() or _posix_peak_mb()


def _linux_peak_mb() -> float:
    """Return the peak from /proc. getrusage would also count the memory of the parent at the time of the fork."""
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
