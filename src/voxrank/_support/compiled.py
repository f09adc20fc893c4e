"""Compiles loops that no array operation can express, with numba, which is imported here alone (extra `align`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from voxrank._support.packages import ALIGNMENT, require

require("align", ALIGNMENT)

import numba  # noqa: E402, after the check

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function with numba, and cache it on disk if there is a folder for it."""
    try:
        return cast("Function", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder for the cache
        return cast("Function", numba.njit(nogil=True)(function))
