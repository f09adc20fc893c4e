"""Identities of models, by their files: whether a model is still the one of an earlier run, without loading it.

The files of a model are not read: their sizes, times and places on the disk stand for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from voxrank._support.plugins import find_plugin
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.hub import ask_hub
from voxrank.encoders.known import UNTRAINED
from voxrank.encoders.registry import HUB, split_spec
from voxrank.errors import VoxrankError

MOST_FILES = 1000
"""Maximum number of files in the folder of a model. A folder with more holds other things, too."""
FILE_SCHEMES = ("nemo", "fairseq", "ct2")
"""Schemes whose rest is the path of a file or folder."""


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a model that a run needs before it encodes anything.

    Attributes:
        layers: the layers in order of index.
        parameters: number of weights of the encoder.
        notes: what the user should know about the model as it was loaded, one line each.
    """

    layers: tuple[Layer, ...]
    parameters: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, encoder: Encoder) -> ModelFacts:
        """Return the facts of a loaded model."""
        return cls(encoder.layers, encoder.parameters, encoder.notes)


def stamps_of_model(spec: str) -> list[Any] | None:
    """Return the stamps of all files that a model is made of.

    A plug-in names its files if its function has an attribute ``files``, a function of the text after ``scheme:``. The
    Python files of its package are added.

    Args:
        spec: hub id, local directory, ``scheme:rest``, or path of a file.

    Returns:
        Path, size, times and place on the disk of each file; None where the files are not known or cannot be found.
    """
    try:
        scheme, rest = split_spec(spec)
        files = _files(scheme, rest)
        return None if files is None else sorted(map(_stamp, files))
    except (OSError, VoxrankError):
        return None


def _files(scheme: str, rest: str) -> Sequence[Path] | None:
    if scheme in UNTRAINED:
        return ()
    if scheme == HUB:
        folder = Path(rest).expanduser()
        return _below(folder if folder.is_dir() else _snapshot(rest))
    if scheme in FILE_SCHEMES:
        path = Path(rest).expanduser()
        return _below(path) if path.is_dir() else [path]
    return _files_of_plugin(scheme, rest)


def _files_of_plugin(scheme: str, rest: str) -> Sequence[Path] | None:
    plugin = find_plugin("encoders", scheme)
    if plugin is None:
        return None
    load = plugin.load()
    package = sys.modules.get(getattr(load, "__module__", "").partition(".")[0])
    files, source = getattr(load, "files", None), getattr(package, "__file__", None)
    if not callable(files) or source is None:
        return None
    of_model, path = files(rest), Path(source)
    code = path.parent.rglob("*.py") if path.name == "__init__.py" else [path]
    return None if of_model is None else [*map(Path, of_model), *code]


def _snapshot(name: str) -> Path:
    """Return the folder of the files of a hub id that were downloaded, of the version that the hub has now.

    Raises:
        OSError: there is no such folder.
    """
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    with suppress(HFValidationError):
        if isinstance(found := huggingface_hub.try_to_load_from_cache(name, "config.json"), str):
            answer = ask_hub(name)
            if not isinstance(answer, Exception):  # without the hub, the newest version here is taken
                found = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=answer.sha)
        if isinstance(found, str):
            return Path(found).parent
    raise FileNotFoundError(name)


def _below(folder: Path) -> list[Path] | None:
    """Return all files below a folder; None if there are too many."""
    found = list(islice((path for path in folder.rglob("*") if path.is_file()), MOST_FILES + 1))
    return found if len(found) <= MOST_FILES else None


def _stamp(path: Path) -> list[Any]:
    """Return the stamp of a file. A file that is written anew, in place or not, has another."""
    stat = path.stat()
    return [os.fspath(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
