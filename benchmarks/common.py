"""Provenance, storage, timing and child processes, shared by all benchmarks.

Three environment variables move the folders: VOXRANK_DATA (recorded speech), VOXRANK_RESULTS (JSON of the results) and
VOXRANK_MADE (speech, features and models that benchmarks compute once and keep).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_info

ROOT = Path(__file__).parents[1]
RESULTS = Path(os.environ.get("VOXRANK_RESULTS", ROOT / "benchmarks" / "results"))
MADE = Path(os.environ.get("VOXRANK_MADE", ROOT / "benchmarks" / ".made"))
DATA = Path(os.environ.get("VOXRANK_DATA", ROOT.parent / "shared" / "data"))
PACK = ("whisper-tiny.en", "whisper-base", "ge2e", "openwakeword", "silero-vad", "crepe")
INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "sve2")
"""Names in /proc/cpuinfo of instruction sets that matrix products use."""
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
        "voxrank": release(),
        **{name: version(name) for name in ("torch", "transformers", "numpy")},
    }


def machine() -> dict[str, Any]:
    """Return the instruction sets for matrix products, the BLAS libraries, and how busy the machine was."""
    libraries = threadpool_info()
    present = (_cpuinfo("flags") or _cpuinfo("Features")).split()  # of x86, of ARM
    return {
        "instructions": [name for name in INSTRUCTIONS if name in present],
        "blas": [
            " ".join(str(library[key]) for key in ("internal_api", "version", "architecture") if library.get(key))
            + f" on {library['num_threads']} thread{'s' * (library['num_threads'] > 1)}"
            for library in libraries
            if library["user_api"] == "blas"
        ],
        "torch_blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def release() -> str:
    """Return the version of voxrank from its sources, which need not be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _git(*words: str) -> str:
    """Return the output of git, or an empty string without git or a repository."""
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _cpuinfo(key: str) -> str:
    """Return a line of the description of the processor, or an empty string where there is none (not Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def load(name: str) -> dict[str, Any]:
    """Return a stored result, or an empty one."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(name: str, content: dict[str, Any]) -> None:
    """Write a result atomically."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def in_own_process(*words: object, folder: Path | None = None) -> str:
    """Run `python WORDS` in a process of its own, in this folder or the current one; return what it printed."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder).stdout


def alternate(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median seconds of functions that run in turn."""
    return {name: statistics.median(taken) for name, taken in in_turn(work, rounds).items()}


PAUSE_S = 0.05
"""Pause in which threads of the work before stop waiting for more: those of OpenBLAS take a core for 25 ms."""


def in_turn(
    work: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of functions that run in turn, round by round, each after a short pause."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            time.sleep(PAUSE_S)
            started = clock()
            run()
            times[name].append(clock() - started)
    return times
