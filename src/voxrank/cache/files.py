"""Files of the cache. They are written atomically with a checksum in their name, which readers verify."""

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
    """Write content under a name into a folder, with a description of the folder.

    Args:
        folder: folder of the file, which is created if needed.
        name: digest of everything that the content depends on.
        content: the content.
        kind: class of the content.
        about: description for people, in about.json.

    Returns:
        The path of the file.

    Raises:
        OSError, SketchError: the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = folder / "about.json"
    if not description.exists():
        write_atomically(description, json.dumps(about, indent=2) + "\n")
    part = folder / f".{name}-{os.getpid()}-{time.monotonic_ns()}"
    save_sketches(part, content, kind, sync=False)  # the checksum shows what a power failure left incomplete
    path = folder / f"{name}-{checksum_of(part)}{SUFFIX}"
    part.replace(path)
    return path


def read_checked(path: Path, kind: type[T]) -> T:
    """Read a file that `write_checked` wrote, and update its time of last use.

    Raises:
        OSError, SketchError: the file cannot be read, or does not match the checksum in its name.
    """
    if not path.name.endswith(f"-{checksum_of(path)}{SUFFIX}"):
        raise SketchError(f"{path} differs from what was written; delete it")
    content = load_sketches(path, kind)
    with suppress(OSError):
        os.utime(path)
    return content
