"""Atomic writing: a file appears complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Give a temporary file beside `path`, which replaces `path` when the block ends and is deleted if it fails.

    Args:
        path: the file to replace.
        sync: whether to wait until the content is on the disk. Without it, the file may be incomplete after a power
            failure, which its reader has to notice.

    Raises:
        OSError: the folder is not writable, or the disk is full; `path` is then unchanged.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if sync:
            with temporary.open("rb+") as file:  # opened again, since the writer may have replaced the file
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text, unchanged, to a file that appears complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
