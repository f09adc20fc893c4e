"""Versions of the installed packages that results depend on."""

from functools import cache
from importlib import metadata


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
