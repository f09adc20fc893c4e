"""The digest of an encoder's code: another forward pass on the same weights gives other frames."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def code_digest(kinds: Iterable[type]) -> str:
    """Return the hex digest of the source files that define these classes."""
    files = set()
    for kind in set(kinds):
        with suppress(OSError, TypeError):  # built-in or interactively defined
            files.add(inspect.getsourcefile(kind))
    digest = hashlib.sha256()
    for file in sorted(filter(None, files)):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()
