"""Versions of the installed packages that results depend on."""

from functools import cache
from importlib import metadata


@cache
def version(name: str) -> str:
    """Return the version of an installed package; it is read from disk once.

    Args:
        name: the package, as the index names it.

    Returns:
        Its version.

    Raises:
        PackageNotFoundError: no such package is installed.
    """
    return metadata.version(name)
