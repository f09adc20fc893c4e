"""Installed packages: the versions that results depend on, and optional libraries, which extras install."""

from __future__ import annotations

from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from voxrank.errors import DataError


@cache
def version(name: str) -> str:
    """Return the version of an installed package, which is read from disk once.

    Args:
        name: name of the package on the package index.

    Returns:
        The version.

    Raises:
        PackageNotFoundError: the package is not installed.
    """
    return metadata.version(name)


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
