"""Plug-ins: what other packages add to the registries, found by their entry points and imported when first needed.

A package names them in its ``pyproject.toml``::

    [project.entry-points."voxrank.encoders"]
    example = "voxrank_example.bank:load"

Names are read from the metadata of installed packages; only what a user asks for is imported. One that cannot be
imported is told in a line that names it, to those who ask for it and to nobody else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from voxrank.errors import RequestError, listed, reason

Kind = Literal["encoders", "scores", "readers"]
"""Of plug-in; the group of entry points is ``voxrank.`` and this."""
KINDS: tuple[Kind, ...] = get_args(Kind)


class PluginError(RequestError):
    """A plug-in cannot be used: it fails to import, is not what its kind is, or two packages claim its name."""


@dataclass(frozen=True)
class Plugin:
    """What a package adds.

    Attributes:
        kind: "encoders", "scores" or "readers".
        name: that users ask for.
        package: that it comes from.
        version: of the package.
    """

    kind: Kind
    name: str
    package: str
    version: str
    _entry: EntryPoint

    @property
    def origin(self) -> str:
        """Package and version."""
        return f"{self.package} {self.version}".strip()

    def load(self) -> Any:
        """Import it.

        Raises:
            PluginError: that fails.
        """
        try:
            return self._entry.load()
        except Exception as error:
            raise PluginError(
                f"the plug-in {self.name!r} of {self.origin} ({self._entry.value}) cannot be imported "
                f"({reason(error)}); mend or uninstall {self.package}"
            ) from error

    def refuse(self, expected: str, got: object) -> PluginError:
        """What to say of a plug-in that is not what its kind is."""
        return PluginError(
            f"the plug-in {self.name!r} of {self.origin}: expected {self._entry.value} to be {expected}, "
            f"got {type(got).__name__}"
        )


def plugins(kind: Kind) -> tuple[Plugin, ...]:
    """Those of installed packages, by name; nothing is imported."""
    return _found(kind, tuple(sys.path))


@lru_cache(maxsize=len(KINDS))
def _found(kind: Kind, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Of what `path`, which is Python's own, leads to now: looking takes about a tenth of a millisecond a package."""
    del path
    found = {_plugin(kind, entry) for entry in entry_points(group=f"voxrank.{kind}")}
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package)))


def plugin_names(kind: Kind) -> tuple[str, ...]:
    """Names that users may ask for, sorted; nothing is imported."""
    return tuple(sorted({plugin.name for plugin in plugins(kind)}))


def find_plugin(kind: Kind, name: str) -> Plugin | None:
    """The plug-in of that name, not yet imported; None where there is none.

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
    about = entry.dist
    package = (about.name if about is not None else "") or entry.value.partition(":")[0]
    return Plugin(kind, entry.name, package, about.version if about is not None else "", entry)
