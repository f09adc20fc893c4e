"""Tables of the dependencies: the size of the base, what each extra adds to it, and the licence of each package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def base(result: dict[str, Any]) -> str:
    """Return the size of an installation without extras, in a sentence, and its packages."""
    whole, made = result["base"], result["made"]
    return (
        f"Without extras, {whole['packages']} packages are installed: torch {made['torch']} with what it requires "
        f"takes {_mb(whole['torch_mb'])} MB, and the {len(whole['beside_torch'])} packages beside it take "
        f"{_mb(whole['beside_torch_mb'])} MB.\n"
    )


def extras(result: dict[str, Any]) -> list[list[str]]:
    """Return a row for each extra: its name, and what it adds to the base in MB."""
    return [[f"`{name}`", _mb(size)] for name, size in result["extras_mb"].items()]


def packages(result: dict[str, Any], *, needed: bool) -> list[list[str]]:
    """Return a row for each package.

    Args:
        result: the sizes.
        needed: whether the packages of the base are listed, or those of the extras.
    """
    return [
        [
            one["name"],
            *([] if needed else [", ".join(f"`{extra}`" for extra in one["extras"])]),
            one["version"],
            one["licence"],
            _mb(one["mb"]),
            *([] if needed else [_mb(one["added_mb"])]),
        ]
        for one in result["packages"]
        if needed == (not one["extras"])
    ]


def whole(result: dict[str, Any], table: Callable[[list[str], list[list[str]]], str]) -> str:
    """Return all tables of the dependencies."""
    of_base, of_extras = ["package", "version", "licence", "MB"], ["package", "extra", "version", "licence", "MB"]
    return "\n".join(
        [
            base(result),
            table(of_base, packages(result, needed=True)),
            table(["extra", "MB that it adds"], extras(result)),
            table([*of_extras, "MB with what it requires"], packages(result, needed=False)),
        ]
    )


def _mb(size: float) -> str:
    return f"{size:,.0f}" if size >= 10 else f"{size:.1f}"
