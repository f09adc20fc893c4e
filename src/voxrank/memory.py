"""How much memory this process has taken."""

from __future__ import annotations

import sys


def peak_rss_mb() -> float:
    """Highest resident memory of this process so far, in MB (10⁶ bytes); 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6
