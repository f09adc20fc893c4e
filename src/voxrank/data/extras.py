"""An importer of optional libraries, which some formats need and extras install."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from voxrank.errors import DataError


def library(name: str, extra: str, what: str) -> Any:
    """Import an optional module when it is first needed.

    Args:
        name: name of the module.
        extra: extra of voxrank that installs the module.
        what: feature that needs the module, for the message.

    Raises:
        DataError: the module is not installed.
    """
    if find_spec(name.partition(".")[0]) is None:
        raise DataError(f"{what} needs the extra {extra}; run: pip install 'voxrank[{extra}]'")
    return import_module(name)
