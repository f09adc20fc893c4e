"""Names of models that are known without loading or a request: for completion, and for suggestions after typos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from voxrank._support.plugins import plugin_names

UNTRAINED = ("logmel", "mfcc")
SCHEMES = ("ct2:", "fairseq:", "nemo:", "onnx:", "py:")
"""Schemes that need text after the colon."""
PACK_NAMES = ("whisper-tiny.en", "whisper-base", "ge2e", "openwakeword", "silero-vad", "crepe", "crepe-full")
"""Names of the models of the offline pack (`voxrank_pack`)."""
GROUP_MARK = "@"
"""First character of the name of a group of models (`voxrank.encoders.groups`)."""
ALIKE = 0.85
"""Minimum similarity of a suggested name, high because names of one owner are much alike."""


def model_names() -> tuple[str, ...]:
    """Return all known names: baselines, offline pack, hub cache, catalogue, groups of models, plug-ins."""
    from voxrank.encoders.catalogue import read_catalogue
    from voxrank.encoders.groups import GROUPS

    plugged = (f"{name}:" for name in plugin_names("encoders"))
    pack = (f"pack:{name}" for name in PACK_NAMES)
    public = (model.id for model in read_catalogue() if not model.reason)
    return tuple(dict.fromkeys([*UNTRAINED, *pack, *cached_hub_ids(), *public, *GROUPS, *SCHEMES, *plugged]))


def nearest_model(spec: str) -> str | None:
    """Return the known model or neighbouring folder that the user probably meant, or None."""
    near = get_close_matches(spec, UNTRAINED, n=1) or get_close_matches(
        spec, [*model_names(), *_neighbours(spec)], n=1, cutoff=ALIKE
    )
    bare = get_close_matches(spec, PACK_NAMES, n=1, cutoff=ALIKE)
    suggestion = near[0] if near else f"pack:{bare[0]}" if bare else None
    return None if suggestion == spec else suggestion


def cached_hub_ids() -> tuple[str, ...]:
    """Return the ids of the models in this machine's hub cache, from the names of its folders."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    folder = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    names = sorted(path.name for path in _folders(folder) if path.name.startswith("models--"))
    return tuple(name.removeprefix("models--").replace("--", "/", 1) for name in names)


def _neighbours(spec: str) -> Iterator[str]:
    """Yield the folders beside the named folder, spelled in the same way."""
    parent, slash, _ = spec.rpartition("/")
    for path in _folders(Path(f"{parent}{slash}" or ".")):
        yield f"{parent}{slash}{path.name}"


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.is_dir()]
    return []
