"""Functions that find the .nemo file of a repository of the hub, or of a local directory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from voxrank.encoders.checkpoints import NEMO, Checkpoint, hub, reading
from voxrank.errors import ModelError, listed

TRANSFORMERS_WEIGHTS = (".safetensors", ".bin")


def find_nemo(checkpoint: Checkpoint) -> Path | None:
    """Return the .nemo file of a checkpoint that transformers cannot load; it is downloaded if necessary.

    Args:
        checkpoint: a directory, or a repository of the hub.

    Returns:
        The path of the file; None if there is none, or if the checkpoint has the format of transformers.

    Raises:
        ModelError: there are several .nemo files, or the download fails.
    """
    name = choose_nemo(checkpoint.name, checkpoint.files)
    if name is None:
        return None
    folder = Path(checkpoint.location)
    if folder.is_dir():
        return folder / name
    with reading(checkpoint, f"file {name}"):
        return Path(hub.hf_hub_download(checkpoint.location, name, local_files_only=checkpoint.offline))


def choose_nemo(model: str, files: Iterable[str]) -> str | None:
    """Choose the .nemo file among the files of a checkpoint: the only one, or the one with the name of the model.

    Example:
        >>> choose_nemo("nvidia/stt_de", ["README.md", "stt_de.nemo", "old.nemo"])
        'stt_de.nemo'

    Args:
        model: hub id or directory.
        files: names of all files.

    Returns:
        The name of the file; None if there is none, or if the checkpoint has the format of transformers.

    Raises:
        ModelError: there are several, and none has the name of the model.
    """
    names = list(files)
    found = sorted(name for name in names if name.endswith(NEMO))
    if not found or ("config.json" in names and any(name.endswith(TRANSFORMERS_WEIGHTS) for name in names)):
        return None
    own = f"{PurePosixPath(model).name}{NEMO}"
    if len(found) > 1 and own not in found:
        raise ModelError(f"{model} has several .nemo files ({listed(found, 5)}); download one and give its path")
    return own if own in found else found[0]
