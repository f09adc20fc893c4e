"""The code that frames follow from, as a digest: another forward pass of the same weights differs."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def code_digest(kinds: Iterable[type]) -> str:
    """Hex digest of the source files that these classes are defined in."""
    files = set()
    for kind in set(kinds):
        with suppress(OSError, TypeError):  # made by a builder, or in a session
            files.add(inspect.getsourcefile(kind))
    digest = hashlib.sha256()
    for file in sorted(filter(None, files)):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()
