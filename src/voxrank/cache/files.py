"""Files of the cache: written whole, with a checksum in their name, and read only while it is right."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from voxrank._support.files import write_atomically
from voxrank.cache.keys import checksum_of
from voxrank.errors import SketchError
from voxrank.sketches.store import load_sketches, save_sketches

SUFFIX = ".safetensors"

T = TypeVar("T")


def write_checked(folder: Path, name: str, content: T, kind: type[T], about: Mapping[str, Any]) -> Path:
    """Write what is kept under a name, into a folder that says what it is for.

    Args:
        folder: made if need be.
        name: digest of what the content was made of.
        content: what is kept.
        kind: what it is.
        about: for people, in about.json.

    Returns:
        The file.

    Raises:
        OSError, SketchError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = folder / "about.json"
    if not description.exists():
        write_atomically(description, json.dumps(about, indent=2) + "\n")
    part = folder / f".{name}-{os.getpid()}-{time.monotonic_ns()}"
    save_sketches(part, content, kind)
    path = folder / f"{name}-{checksum_of(part)}{SUFFIX}"
    part.replace(path)
    return path


def read_checked(path: Path, kind: type[T]) -> T:
    """Read what `write_checked` wrote, and note that it was used.

    Raises:
        OSError, SketchError: it cannot be read, or is not what its name says.
    """
    if not path.name.endswith(f"-{checksum_of(path)}{SUFFIX}"):
        raise SketchError(f"{path} is not what was written; delete it")
    content = load_sketches(path, kind)
    with suppress(OSError):
        os.utime(path)
    return content
