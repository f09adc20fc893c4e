"""Plug-ins: additions of other packages to the registries, found by entry points and imported on first use.

A package declares them in its ``pyproject.toml``::

    [project.entry-points."voxrank.encoders"]
    example = "voxrank_example.bank:load"

Names are read from the metadata of installed packages. A plug-in is imported only when a user requests it. If the
import fails, only that user gets a message, in one line with the name of the plug-in.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from voxrank.errors import RequestError, listed, reason

Kind = Literal["encoders", "scores", "readers"]
"""Kind of plug-in. The group of entry points is ``voxrank.`` and this kind."""
KINDS: tuple[Kind, ...] = get_args(Kind)


class PluginError(RequestError):
    """A plug-in is unusable: its import fails, its type is wrong, or two packages claim its name."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in of a package.

    Attributes:
        kind: "encoders", "scores" or "readers".
        name: name for users.
        package: package that declares it.
        version: version of the package.
    """

    kind: Kind
    name: str
    package: str
    version: str
    _entry: EntryPoint

    @property
    def origin(self) -> str:
        """The package and its version."""
        return f"{self.package} {self.version}".strip()

    def load(self) -> Any:
        """Import the plug-in.

        Raises:
            PluginError: the import fails.
        """
        try:
            return self._entry.load()
        except Exception as error:
            raise PluginError(
                f"the plug-in {self.name!r} of {self.origin} ({self._entry.value}) cannot be imported "
                f"({reason(error)}); mend or uninstall {self.package}"
            ) from error

    def refuse(self, expected: str, got: object) -> PluginError:
        """Return the error for a plug-in of the wrong type."""
        return PluginError(
            f"the plug-in {self.name!r} of {self.origin}: expected {self._entry.value} to be {expected}, "
            f"got {type(got).__name__}"
        )


def plugins(kind: Kind) -> tuple[Plugin, ...]:
    """Return the plug-ins of installed packages by name, without importing them."""
    return _find_plugins(kind, tuple(sys.path))


@lru_cache(maxsize=len(KINDS))
def _find_plugins(kind: Kind, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Return the plug-ins on `path`, the module search path. The search takes about 0.1 ms per package."""
    del path
    unsorted = {_plugin(kind, entry) for entry in entry_points(group=f"voxrank.{kind}")}
    return tuple(sorted(unsorted, key=lambda plugin: (plugin.name, plugin.package)))


def plugin_names(kind: Kind) -> tuple[str, ...]:
    """Return the sorted names of plug-ins, without importing them."""
    return tuple(sorted({plugin.name for plugin in plugins(kind)}))


def find_plugin(kind: Kind, name: str) -> Plugin | None:
    """Return the plug-in with a name, without importing it, or None where there is none.

    Raises:
        PluginError: several packages claim the name.
    """
    claims = [plugin for plugin in plugins(kind) if plugin.name == name]
    if len(claims) > 1:
        raise PluginError(
            f"the name {name!r} is claimed by {len(claims)} plug-ins: {listed(claim.origin for claim in claims)}; "
            "uninstall all but one"
        )
    return claims[0] if claims else None


def _plugin(kind: Kind, entry: EntryPoint) -> Plugin:
    distribution = entry.dist
    package = (distribution.name if distribution is not None else "") or entry.value.partition(":")[0]
    return Plugin(kind, entry.name, package, distribution.version if distribution is not None else "", entry)
