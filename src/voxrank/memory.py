"""How much memory this process has taken, and how to give some back."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def release_free_memory() -> None:
    """Give pages that the C library's heap holds and nobody uses back to the system, where it can (glibc).

    Sketches outlive many forward passes and come to lie between their large, short-lived activations; without this
    the holes that activations leave make a process grow with the length of its run.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)


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
