"""The choice between methods of multiplying large matrices on all cores of a machine.

- `strips`: each core multiplies its own rows, with a single-threaded BLAS. Cores never wait for each other.
- `blas`: NumPy's BLAS multiplies large chunks of rows with all threads.
- `torch`: torch multiplies large chunks of rows with all threads. It brings another BLAS.

Which one is fastest depends on the make of the processor. A process therefore times all of them once for each size of
matrices, on its own data, as soon as it has multiplied so much that the time of this calibration is small beside it.
The results of the methods differ by the rounding of single precision. `VOXRANK_PRODUCTS` names a method for all sizes.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch

from voxrank.config import Seconds, check_choice

logger = logging.getLogger(__name__)

Method = Literal["strips", "blas", "torch"]
Setting = Literal["auto", "strips", "blas", "torch"]
METHODS: tuple[Method, ...] = get_args(Method)
VARIABLE = "VOXRANK_PRODUCTS"
"""Environment variable with the method for all sizes, or "auto"."""
LIMIT_S: Seconds = 0.05
"""Maximum duration of a calibration. A trial that would exceed it, by the trials before, does not begin."""
GAIN = 0.8
"""Maximum time of another method, as a share of that of `strips`, at which it is used.

Repeated runs thus choose the same method, unless two are nearly as fast.
"""
LEAST_WORK = 1 << 36
"""Number of multiplications of one size after which a process calibrates: about half a second on two cores."""
TRIAL_WORK = 1 << 29
"""Number of multiplications of a trial, unless each core then has too few rows: about 5 ms on two cores."""


@dataclass(frozen=True)
class Size:
    """A class of products for which a method is chosen.

    Attributes:
        product: what is multiplied, in the plural, for the log.
        height: upper limit of the first dimension of the result.
        dim: upper limit of the second dimension.
        threads: number of threads.
    """

    product: str
    height: int
    dim: int
    threads: int

    @classmethod
    def of(cls, product: str, height: int, dim: int) -> Size:
        """Return the class of a size: limits are powers of two."""
        return cls(product, _next_power(height), _next_power(dim), torch.get_num_threads())

    def __str__(self) -> str:
        """Describe the class in words."""
        return f"{self.product} of up to {self.height} × {self.dim} on {self.threads} threads"


def _next_power(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


def forced_method() -> Method | None:
    """Return the method that the environment variable names; None to choose the fastest.

    Raises:
        OptionError: there is no such method.
    """
    named = os.environ.get(VARIABLE) or "auto"
    check_choice(VARIABLE, named, Setting)
    return None if named == "auto" else cast("Method", named)


def time_methods(trials: Mapping[Method, Callable[[], Any]], limit_s: Seconds = LIMIT_S) -> dict[Method, Seconds]:
    """Time the methods in turn until the limit is reached, and return the shortest time of each.

    Args:
        trials: a trial product by each method, in the order of their first trials.
        limit_s: maximum duration in seconds.
    """
    seconds: dict[Method, Seconds] = {}
    end = time.perf_counter() + limit_s
    while True:
        for method, trial in trials.items():
            started = time.perf_counter()
            if started + seconds.get(method, max(seconds.values(), default=0.0)) > end:
                return seconds
            trial()
            taken = time.perf_counter() - started
            seconds[method] = min(taken, seconds.get(method, taken))


def fastest(seconds: Mapping[Method, Seconds]) -> Method:
    """Return the fastest method; `strips` if none is clearly faster."""
    best = min(seconds, key=lambda method: seconds[method])
    return best if seconds[best] < GAIN * seconds["strips"] else "strips"


class MethodChooser:
    """Chooses a method for each size of products, and remembers it."""

    def __init__(self) -> None:
        self._work: Counter[Size] = Counter()
        self._methods: dict[Size, Method] = {}

    def choose(self, size: Size, work: int, trials: Mapping[Method, Callable[[], Any]]) -> Method:
        """Return the method for a product.

        Args:
            size: the class of the product.
            work: number of its multiplications.
            trials: a trial by each method, of about `TRIAL_WORK` multiplications.

        Raises:
            OptionError: the environment variable names no method.
        """
        if (forced := forced_method()) is not None:
            return forced
        if size.threads == 1:
            return "strips"
        self._work[size] += work
        if size not in self._methods and self._work[size] >= LEAST_WORK:
            self._methods[size] = self._calibrated(size, trials)
        return self._methods.get(size, "strips")

    @staticmethod
    def _calibrated(size: Size, trials: Mapping[Method, Callable[[], Any]]) -> Method:
        seconds = time_methods(trials)
        method = fastest(seconds)
        times = ", ".join(f"{name} {1000 * taken:.1f} ms" for name, taken in seconds.items())
        logger.info("%s: multiplied by %s (trials: %s)", size, method, times)
        return method


CHOOSER = MethodChooser()
"""The chooser of this process."""
