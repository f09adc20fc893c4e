"""The choice between methods of multiplying large matrices on all cores of a machine.

- `strips`: each core multiplies its own rows, with a single-threaded BLAS. Cores never wait for each other.
- `torch`: torch multiplies large chunks of rows with all threads. It brings another BLAS.
- `blas`: NumPy's BLAS multiplies large chunks of rows with all threads.

Eigendecompositions (`sketches.eigen`) are chosen alike: on one thread, on all threads of BLAS, or by torch.

Which one is fastest depends on the make of the processor. A process therefore does its first products of each size by
one method after the other, and stays with the fastest: this takes no work besides its own. The results of the methods
differ by the rounding of single precision. `VOXRANK_PRODUCTS` names a method for all sizes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, cast, get_args

import torch

from voxrank.config import Seconds, check_choice

logger = logging.getLogger(__name__)

Method = Literal["strips", "torch", "blas"]
Setting = Literal["auto", "strips", "torch", "blas"]
METHODS: tuple[Method, ...] = get_args(Method)
"""The methods in the order in which they are timed. BLAS is last: its threads slow what follows within 25 ms."""
Result = TypeVar("Result")
VARIABLE = "VOXRANK_PRODUCTS"
"""Environment variable with the method for all sizes, or "auto"."""
GAIN = 0.9
"""Maximum time of another method, as a share of that of `strips`, at which it is used.

Repeated runs thus choose the same method, unless two are nearly as fast.
"""
LEAST_WORK = 1 << 28
"""Minimum number of multiplications of a product for which the choice matters: about 3 ms on two cores."""
ROUNDS = 3
"""Number of products of one size that are timed by each method; the first may be slow, as the method starts."""


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


def fastest(seconds: Mapping[Method, Seconds]) -> Method:
    """Return the fastest method; `strips` if none is clearly faster."""
    best = min(seconds, key=lambda method: seconds[method])
    return best if seconds[best] < GAIN * seconds["strips"] else "strips"


class MethodChooser:
    """Chooses a method for each size of products, and remembers it."""

    def __init__(self) -> None:
        self._seconds: dict[Size, dict[Method, list[Seconds]]] = {}
        self._methods: dict[Size, Method] = {}

    def run(self, size: Size, work: int, ways: Mapping[Method, Callable[[], Result]]) -> Result:
        """Return a product, by the fastest method or one that is to be timed.

        Args:
            size: the class of the product.
            work: number of its multiplications.
            ways: a function for each method that returns the product.

        Raises:
            OptionError: the environment variable names no method.
        """
        if (forced := forced_method()) is not None:
            return ways[forced]()
        if size.threads == 1 or work < LEAST_WORK:
            return ways["strips"]()
        if size in self._methods:
            return ways[self._methods[size]]()
        seconds = self._seconds.setdefault(size, {method: [] for method in METHODS})
        method = next(method for method in METHODS if len(seconds[method]) < ROUNDS)
        started = time.perf_counter()
        product = ways[method]()
        seconds[method].append((time.perf_counter() - started) / work)
        if all(len(taken) == ROUNDS for taken in seconds.values()):
            self._methods[size] = _choose(size, {method: min(taken) for method, taken in seconds.items()})
        return product


def _choose(size: Size, seconds: Mapping[Method, Seconds]) -> Method:
    """Choose the method from the seconds of a multiplication, and log the choice."""
    method = fastest(seconds)
    ratios = ", ".join(f"{name} {taken / seconds['strips']:.2f}" for name, taken in seconds.items())
    logger.info("%s: by %s (times as a share of that of strips: %s)", size, method, ratios)
    return method


CHOOSER = MethodChooser()
"""The chooser of this process."""
