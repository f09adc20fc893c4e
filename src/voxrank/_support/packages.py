"""Installed packages: the versions that results depend on, and optional libraries, which extras install."""

from __future__ import annotations

from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from voxrank.errors import DataError, OptionError

PACKAGES = {
    "align": ("numba",),
    "mlflow": ("mlflow",),
    "onnx": ("onnx", "onnxruntime"),
    "page": ("altair", "vl_convert"),
    "parquet": ("pandas", "pyarrow"),
    "phone": ("espeakng_loader",),
    "plot": ("matplotlib",),
    "praat": ("praatio",),
    "ray": ("ray",),
    "table": ("pandas",),
    "validate": ("accelerate", "jiwer", "matplotlib", "peft", "sklearn"),
}
"""Extra of voxrank → its packages, by their import names."""
ALIGNMENT = "alignment of transcripts"
"""Feature of the extra `align`, for messages."""


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


def is_installed(extra: str, packages: tuple[str, ...] = ()) -> bool:
    """Return whether the packages of an extra are installed; none of them is imported.

    Args:
        extra: extra of voxrank.
        packages: the packages to look for; empty for all packages of the extra.
    """
    return all(find_spec(name) is not None for name in packages or PACKAGES[extra])


def missing_extra(what: str, extra: str) -> str:
    """Return the message about a missing extra.

    Example:
        >>> missing_extra("plot()", "plot")
        "plot() needs the extra plot; run: pip install 'voxrank[plot]'"
    """
    return f"{what} needs the extra {extra}; run: pip install 'voxrank[{extra}]'"


def require(extra: str, what: str) -> None:
    """Check that the packages of an extra are installed; none of them is imported.

    Args:
        extra: extra of voxrank.
        what: feature that needs the extra, for the message.

    Raises:
        OptionError: a package of the extra is not installed.
    """
    if not is_installed(extra):
        raise OptionError(missing_extra(what, extra))


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
        raise DataError(missing_extra(what, extra))
    return import_module(name)
