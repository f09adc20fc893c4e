"""An importer of moved modules: their old names work for one release, with a warning."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "voxrank.details": "voxrank.results.details",
    "voxrank.encoders.pack": "voxrank_pack",
    "voxrank.finetune": "voxrank.integrations.finetune",
    "voxrank.finetune.script": "voxrank.integrations.finetune.script",
    "voxrank.tracking": "voxrank.integrations.mlflow",
}
"""Old name → new name."""


class MovedModules:
    """A finder and loader of modules by their old names."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return a spec for an old name, and None for every other name."""
        return ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python create an empty module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module with the new name in the place of the empty one.

        Args:
            module: the empty module, under its old name.
        """
        name = module.__name__
        warnings.warn(f"{name} has moved to {MOVED[name]}; import it from there", DeprecationWarning, stacklevel=2)
        sys.modules[name] = import_module(MOVED[name])


def install() -> None:
    """Make the old names importable. They are looked up before the path, which would load a second copy."""
    sys.meta_path.insert(0, MovedModules())
