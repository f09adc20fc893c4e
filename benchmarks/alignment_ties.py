"""Compare forced alignment with every path on all small problems, and with torchaudio's where its wheel imports.

Log probabilities are −1, −2 and −∞, so that many problems have several best paths
(`tests/helpers/small_alignments.py`). An alignment is optimal if it collapses to the target and its log probability is
the maximum over all paths. A problem without a path must be refused. Speed is compared on one utterance of a minute, in
alternating rounds.

The wheel of torchaudio on PyPI is built for CUDA. It imports beside a torch for the CPU only if the libraries of CUDA
are there, or stand-ins with the same names.

Run: python benchmarks/alignment_ties.py
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests" / "helpers")]

from common import alternate, provenance, save
from long_utterance import problem
from small_alignments import Problems, collapsed, families
from voxrank.errors import UtteranceError
from voxrank.targets.ctc import align

MINUTE = (3000, 900)
"""Number of frames and of labels."""
ROUNDS = 9
FRAMES = (5, 3)
"""Maximum number of frames of problems without, and with, impossible symbols."""
Aligner = Callable[[NDArray[Any], tuple[int, ...]], "list[int] | None"]
"""Returns the symbol of each frame; None if it refuses the problem."""


def main() -> None:
    result = measured(*FRAMES, MINUTE)
    print(result)
    save("alignment-ties", result)


def measured(frames_finite: int, frames_impossible: int, utterance: tuple[int, int]) -> dict[str, Any]:
    """Return the counts and the speed of every aligner.

    Args:
        frames_finite: maximum number of frames of problems whose log probabilities are −1 and −2.
        frames_impossible: maximum number of frames of problems where some are −∞ too.
        utterance: numbers of frames and labels of the utterance to time.
    """
    aligners = {"voxrank": by_voxrank} | torchaudio_aligner()
    made = provenance()
    if "torchaudio" in aligners:
        made["torchaudio"] = version("torchaudio")
    sizes = (frames_finite, frames_impossible)
    return {
        "made": made,
        "frames": sizes,
        "problems": problems_of(families(*sizes)),
        "aligners": {name: outcomes(aligner, families(*sizes)) for name, aligner in aligners.items()},
        "speed": speed(aligners, *utterance),
    }


def by_voxrank(log_probs: NDArray[Any], target: tuple[int, ...]) -> list[int] | None:
    """Align by `voxrank.targets.ctc.align`."""
    try:
        symbols: list[int] = align(log_probs, target).symbols(target, 0).tolist()
    except UtteranceError:
        return None
    return symbols


def torchaudio_aligner() -> dict[str, Aligner]:
    """Return torchaudio's aligner by name; nothing where torchaudio is missing or does not import."""
    try:
        from torchaudio.functional import forced_align
    except (ImportError, OSError):
        return {}

    def by_torchaudio(log_probs: NDArray[Any], target: tuple[int, ...]) -> list[int] | None:
        rows = torch.from_numpy(log_probs).float()[None]
        try:
            symbols, _ = forced_align(rows, torch.tensor([target], dtype=torch.int64), blank=0)
        except (RuntimeError, ValueError):
            return None
        found: list[int] = symbols[0].tolist()
        return found

    return {"torchaudio": by_torchaudio}


def problems_of(all_problems: Iterable[Problems]) -> dict[str, int]:
    """Count the problems: all, those with a path, those with several best paths, and those with a path but no label."""
    counts = Counter({"all": 0, "feasible": 0, "tied": 0, "without_labels": 0})
    for problems in all_problems:
        feasible = problems.best > -np.inf
        counts["all"] += len(feasible)
        counts["feasible"] += int(feasible.sum())
        counts["tied"] += int(problems.tied.sum())
        counts["without_labels"] += 0 if problems.target else int(feasible.sum())
    return dict(counts)


def outcomes(aligner: Aligner, all_problems: Iterable[Problems]) -> dict[str, int]:
    """Count the outcomes of an aligner."""
    counts = Counter(dict.fromkeys(("optimal", "suboptimal", "invalid", "refused", "wrongly refused", "accepted"), 0))
    for problems in all_problems:
        for log_probs, best in zip(problems.log_probs, problems.best, strict=True):
            counts[outcome(aligner(log_probs, problems.target), log_probs, problems.target, float(best))] += 1
    return dict(counts)


def outcome(symbols: list[int] | None, log_probs: NDArray[np.float64], target: tuple[int, ...], best: float) -> str:
    """Return what became of a problem.

    Args:
        symbols: symbol of each frame; None if the problem was refused.
        log_probs: (T, C) log probabilities.
        target: the labels.
        best: log probability of the best path; −∞ where there is none.
    """
    if symbols is None:
        return "refused" if best == -np.inf else "wrongly refused"
    if best == -np.inf:
        return "accepted"
    if collapsed(tuple(symbols)) != target:
        return "invalid"
    return "optimal" if log_probs[np.arange(len(symbols)), symbols].sum() == best else "suboptimal"


def speed(aligners: dict[str, Aligner], n_frames: int, n_labels: int) -> dict[str, Any]:
    """Time the alignment of one utterance; every time is a multiple of voxrank's. Neither aligner uses threads."""
    log_probs, labels = problem(n_frames, n_labels)
    target = tuple(labels.tolist())
    medians = alternate({name: partial(one, log_probs, target) for name, one in aligners.items()}, ROUNDS)
    return {
        "frames": n_frames,
        "labels": n_labels,
        "rounds": ROUNDS,
        "times_voxrank": {name: round(taken / medians["voxrank"], 2) for name, taken in medians.items()},
    }


if __name__ == "__main__":
    main()
