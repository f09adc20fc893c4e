"""The memory of models in the cache, so that a model whose sketches are all cached need not be loaded.

    FOLDER/models/IDENTITY.json        facts and key of a model (`cache.keys.model_key`)

IDENTITY is a digest of the spec, of the loading options, of the versions of libraries, and of the sizes, times and
places of the files of the model. The key of the sketches themselves depends on the weights alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from voxrank._support.files import write_atomically
from voxrank._support.json_codec import read_object, written
from voxrank._support.packages import version
from voxrank.cache.keys import digest_of
from voxrank.config import EncoderOptions
from voxrank.encoders.base import pick_device
from voxrank.encoders.identity import ModelFacts, stamps_of_model
from voxrank.errors import DataError, OptionError

FOLDER = "models"
SCHEMA = 1
LIBRARIES = ("voxrank", "torch", "transformers", "numpy", "soundfile", "soxr")
"""Libraries whose versions are part of a key, because another version may give other frames."""
MOST = 1000
"""Maximum number of models that are remembered."""


@dataclass(frozen=True)
class Remembered:
    """A model as an earlier run loaded it.

    Attributes:
        model: spec of the model.
        facts: its layers, size and notes.
        key: digest of everything that its frames depend on.
    """

    model: str
    facts: ModelFacts
    key: str


def versions() -> dict[str, str]:
    """Return the versions of the libraries that frames depend on."""
    return {name: version(name) for name in LIBRARIES}


def identity_of(spec: str, options: EncoderOptions) -> str | None:
    """Return the identity of a model; None where it can be known only by loading the model."""
    if options.trust_remote_code:
        return None  # code of a model may read anything
    stamps = stamps_of_model(spec)
    if stamps is None:
        return None
    with suppress(OptionError):
        return digest_of([SCHEMA, spec, asdict(options), pick_device(options.device).type, versions(), stamps])
    return None


def recall(folder: Path, identity: str) -> Remembered | None:
    """Read what is remembered of a model, and update the time of last use; None if it is nothing.

    Args:
        folder: folder of the cache.
        identity: identity of the model.
    """
    path = _path(folder, identity)
    try:
        remembered = read_object(path, SCHEMA, Remembered, "a model")
    except DataError:
        return None
    with suppress(OSError):
        os.utime(path)
    return remembered


def remember(folder: Path, identity: str, remembered: Remembered) -> None:
    """Write what a later run needs of a model.

    Raises:
        OSError: it cannot be written.
    """
    path = _path(folder, identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, written(SCHEMA, asdict(remembered)))


def forget(folder: Path, *, all_models: bool) -> None:
    """Delete what is remembered of all models, or of those that were used least recently, if there are too many."""
    with suppress(OSError):
        paths = sorted((folder / FOLDER).glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in paths if all_models else paths[:-MOST]:
            path.unlink(missing_ok=True)
        if all_models:
            (folder / FOLDER).rmdir()


def _path(folder: Path, identity: str) -> Path:
    return folder / FOLDER / f"{identity}.json"
