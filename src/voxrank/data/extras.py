"""Libraries that some formats need, and which extra brings them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from voxrank.errors import DataError


def library(name: str, extra: str, what: str) -> Any:
    """A module that a user can do without, imported when it is first needed.

    Args:
        name: of the module.
        extra: of voxrank, that brings it.
        what: needs it.

    Raises:
        DataError: it is not installed.
    """
    if find_spec(name.partition(".")[0]) is None:
        raise DataError(f"{what} needs the extra {extra}; run: pip install 'voxrank[{extra}]'")
    return import_module(name)
