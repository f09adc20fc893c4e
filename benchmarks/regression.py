"""Compare the cost of scores with that of other work in the same process, and fail if a ratio exceeds its limit.

The cases are small, so that CI can run them for each change. A ratio of two measurements in one process depends
little on the machine and its load. The limits are about twice the ratios that were measured, on one thread, when they
were set: 2.2 and 0.26 for LogME, 1.5 and 0.09 for the sliced distance.

Run: OMP_NUM_THREADS=1 python benchmarks/regression.py
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import scores
from voxrank._support.memory import keep_heap_small

N, DIM, CLASSES, PROJECTIONS = 20_000, 256, 20, 50
ROUNDS = 5


@dataclass(frozen=True)
class Limit:
    """The largest ratio that is accepted.

    Attributes:
        case: the score that is timed.
        key: key of its result: "products", the cost in matrix products, or "slower", the cost as a share of the
            published algorithm.
        largest: the largest accepted ratio.
    """

    case: str
    key: str
    largest: float


LIMITS = (
    Limit("logme", "products", 5.0),
    Limit("logme", "slower", 0.6),
    Limit("sliced", "products", 3.5),
    Limit("sliced", "slower", 0.25),
)


def measure() -> dict[str, dict[str, float]]:
    """Return the ratios of each score."""
    scores.ROUNDS = scores.REFERENCE_ROUNDS = ROUNDS
    rows = {"logme": scores.logme(N, DIM, CLASSES), "sliced": scores.sliced(N, DIM, PROJECTIONS)}
    return {name: ratios(row["seconds"], row["than"]) for name, row in rows.items()}


def ratios(seconds: dict[str, float], reference: str) -> dict[str, float]:
    """Return the cost of a score in products, and as a share of the reference."""
    return {
        "products": seconds["score, auto"] / max(min(seconds["numpy"], seconds["torch"]), 1e-4),
        "slower": seconds["score, auto"] / max(seconds[reference], 1e-4),
    }


def exceeded(found: dict[str, dict[str, float]]) -> list[str]:
    """Return a line for each ratio that is above its limit."""
    return [
        f"{limit.case}: expected {limit.key} of at most {limit.largest:g}, got {found[limit.case][limit.key]:.2f}"
        for limit in LIMITS
        if found[limit.case][limit.key] > limit.largest
    ]


def main() -> None:
    """Measure, print every ratio, and exit with 1 if a limit is exceeded."""
    keep_heap_small()
    found = measure()
    for name, row in found.items():
        print(name, ", ".join(f"{key} {value:.2f}" for key, value in row.items()))
    if lines := exceeded(found):
        sys.exit("\n".join(lines))


if __name__ == "__main__":
    main()
