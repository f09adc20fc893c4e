"""Selection of the weight files that hold an encoder, in a checkpoint of a larger model that is cut into shards.

The audio tower of a language model lies in a few of its shards. Only these are downloaded and opened.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from voxrank.encoders.checkpoints import Checkpoint, hub

INDEX = "model.safetensors.index.json"
"""File that lists the shard of every weight."""


@contextmanager
def shards_of(checkpoint: Checkpoint, patterns: Iterable[str]) -> Iterator[str]:
    """Yield the location of a checkpoint that holds only the shards with certain weights.

    It is a temporary directory of links to these shards, or the checkpoint's own location if the checkpoint has no
    index of safetensors files, or no file without such weights.

    Args:
        checkpoint: the model.
        patterns: regular expressions that match the beginning of the weights' names.
    """
    index = _file(checkpoint, INDEX)
    names = _names(index)
    kept = {name: file for name, file in names.items() if any(re.match(pattern, name) for pattern in patterns)}
    if index is None or not kept or set(kept.values()) == set(names.values()):
        yield checkpoint.location
        return
    files = {name: _file(checkpoint, name) for name in sorted(set(kept.values()))}
    with tempfile.TemporaryDirectory(prefix="voxrank-shards-") as folder:
        view = Path(folder)
        linked = all(_link(view / name, source) for name, source in files.items())
        (view / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": kept}), encoding="utf-8")
        yield folder if linked else checkpoint.location


def _names(index: Path | None) -> dict[str, str]:
    """Return weight → shard; empty if the index is missing or damaged, which the reader of the weights reports."""
    try:
        content = json.loads(index.read_text(encoding="utf-8")) if index is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not all(isinstance(file, str) and _is_plain(file) for file in names.values()):
        return {}
    return names


def _is_plain(file: str) -> bool:
    """Return whether a name is that of a safetensors file in the same folder."""
    return file.endswith(".safetensors") and Path(file).name == file and "\\" not in file


def _file(checkpoint: Checkpoint, name: str) -> Path | None:
    """Return a file of a checkpoint, which is downloaded if need be; None if it does not exist."""
    folder = Path(checkpoint.location)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    try:
        return Path(hub.hf_hub_download(checkpoint.location, name, local_files_only=checkpoint.offline))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None


def _link(link: Path, source: Path | None) -> bool:
    """Create a link to a shard; return False if the shard is missing, or the file system has no links."""
    if source is None:
        return False
    try:
        link.symlink_to(source.resolve())
    except OSError:
        return False
    return True
