"""Names of models that can be known without loading or asking anything: for completion, and for what was misspelt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from voxrank._support.plugins import plugin_names

UNTRAINED = ("logmel", "mfcc")
SCHEMES = ("ct2:", "onnx:", "py:")
"""That something must follow."""
PACK_NAMES = ("whisper-tiny.en", "whisper-base", "ge2e", "openwakeword", "silero-vad", "crepe", "crepe-full")
"""Of the offline pack (`voxrank.encoders.pack`)."""
POPULAR = (
    *(f"openai/whisper-{size}" for size in ("tiny", "base", "small", "medium", "large-v2", "large-v3")),
    *(f"openai/whisper-{size}.en" for size in ("tiny", "base", "small", "medium")),
    "openai/whisper-large-v3-turbo",
    "facebook/hubert-base-ls960",
    "facebook/hubert-large-ll60k",
    "facebook/wav2vec2-base",
    "facebook/wav2vec2-base-960h",
    "facebook/wav2vec2-large-960h",
    "facebook/wav2vec2-large-xlsr-53",
    "facebook/wav2vec2-xls-r-300m",
    "facebook/w2v-bert-2.0",
    "facebook/data2vec-audio-base",
    "facebook/mms-300m",
    "microsoft/wavlm-base",
    "microsoft/wavlm-base-plus",
    "microsoft/wavlm-large",
    "microsoft/unispeech-sat-base",
)
"""Speech encoders of the hub that are asked for most."""
ALIKE = 0.85
"""How alike a name must be to be meant: names of one owner have much in common."""


def model_names() -> tuple[str, ...]:
    """All that are known: baselines, the offline pack, the hub's that lie in its cache or are popular, plug-ins."""
    plugged = (f"{name}:" for name in plugin_names("encoders"))
    pack = (f"pack:{name}" for name in PACK_NAMES)
    return tuple(dict.fromkeys([*UNTRAINED, *pack, *cached_hub_ids(), *POPULAR, *SCHEMES, *plugged]))


def nearest_model(spec: str) -> str | None:
    """The name that was probably meant: of a model that is known, or of a folder beside the place that was named."""
    near = get_close_matches(spec, UNTRAINED, n=1) or get_close_matches(
        spec, [*model_names(), *_neighbours(spec)], n=1, cutoff=ALIKE
    )
    bare = get_close_matches(spec, PACK_NAMES, n=1, cutoff=ALIKE)
    found = near[0] if near else f"pack:{bare[0]}" if bare else None
    return None if found == spec else found


def cached_hub_ids() -> tuple[str, ...]:
    """Models in the hub's cache on this machine, by the names of its folders."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    place = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    names = sorted(path.name for path in _folders(place) if path.name.startswith("models--"))
    return tuple(name.removeprefix("models--").replace("--", "/", 1) for name in names)


def _neighbours(spec: str) -> Iterator[str]:
    """Folders beside the one that was named, in the same spelling."""
    parent, slash, _ = spec.rpartition("/")
    for path in _folders(Path(f"{parent}{slash}" or ".")):
        yield f"{parent}{slash}{path.name}"


def _folders(place: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in place.iterdir() if path.is_dir()]
    return []
