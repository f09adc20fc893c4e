"""Provenance, storage and timing, shared by all benchmarks."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("VOXRANK_DATA", Path(__file__).parents[2] / "shared" / "data"))
PACK = ("whisper-tiny.en", "whisper-base", "ge2e", "openwakeword", "silero-vad", "crepe")
MODELS = (*(f"pack:{name}" for name in PACK), "logmel", "mfcc")


def provenance() -> dict[str, Any]:
    """Return the date, commit, hardware and versions of this run."""
    dirty = _git("status", "--porcelain", "src")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+changes" if dirty else ""),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("voxrank", "torch", "transformers", "numpy")},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # voxrank runs from its sources
        return "not installed"


def _git(*words: str) -> str:
    """Return the output of git, or an empty string without git or a repository."""
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def load(name: str) -> dict[str, Any]:
    """Return a stored result, or an empty one."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(name: str, content: dict[str, Any]) -> None:
    """Write a result atomically."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def alternate(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median seconds of functions that run in turn."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}
