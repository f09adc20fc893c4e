"""Model SPEC → encoder. A spec is a hub id, a local directory, or ``scheme:rest``."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank.errors import ModelError, RunError, did_you_mean
from voxrank.memory import is_out_of_memory

Loader = Callable[[str, EncoderOptions], Encoder]
"""Takes what follows ``scheme:`` ("" when nothing does) and the options; raises ModelError."""

UNTRAINED = ("logmel", "mfcc")
HUB = "hf"
"""The scheme of a spec without one: a hub id or a local directory that transformers loads."""

# Imported only when asked for, so that a user of one family does not wait for the others.
_LOADERS: dict[str, Loader | str] = {
    HUB: "voxrank.encoders.huggingface:load",
    "ct2": "voxrank.encoders.ct2:load",
    "onnx": "voxrank.encoders.onnx:load",
    "py": "voxrank.encoders.module:load",
    "logmel": "voxrank.encoders.baselines:load_logmel",
    "mfcc": "voxrank.encoders.baselines:load_mfcc",
    "pack": "voxrank.encoders.pack:load",
}


def register_scheme(scheme: str, loader: Loader) -> None:
    """Let specs ``scheme:rest`` load through `loader`.

    Raises:
        ValueError: the scheme is taken.
    """
    if scheme in _LOADERS:
        raise ValueError(f"the scheme {scheme!r} is registered already; choose another name")
    _LOADERS[scheme] = loader


def schemes() -> tuple[str, ...]:
    """The registered schemes, sorted."""
    return tuple(sorted(_LOADERS))


def split_spec(spec: str) -> tuple[str, str]:
    """Scheme and rest of a spec.

    Example:
        >>> split_spec("onnx:model.onnx#*conv*")
        ('onnx', 'model.onnx#*conv*')
        >>> split_spec("facebook/hubert-base-ls960")
        ('hf', 'facebook/hubert-base-ls960')

    Raises:
        ModelError: the spec is empty, or its scheme is unknown.
    """
    if not spec.strip():
        raise ModelError(
            "a model spec is empty; give a hub id, a local directory or scheme:rest (see `voxrank models`)"
        )
    scheme, colon, rest = spec.partition(":")
    if scheme in _LOADERS:
        return scheme, rest
    if colon and "/" not in scheme and len(scheme) > 1:  # one letter is a Windows drive
        raise ModelError(f"unknown model scheme {scheme!r} in {spec!r}; {did_you_mean(scheme, _LOADERS)}")
    return HUB, spec


def load_encoder(spec: str, options: EncoderOptions | None = None) -> Encoder:
    """Load a model, ready to encode.

    Args:
        spec: hub id, local directory or ``scheme:rest``.
        options: device, precision and windows.

    Raises:
        ModelError: unknown or damaged, in one line with what to do.
        RunError: memory ran out.
    """
    scheme, rest = split_spec(spec)
    loader = _LOADERS[scheme]
    if isinstance(loader, str):
        module, _, function = loader.partition(":")
        loader = getattr(import_module(module), function)
    try:
        encoder: Encoder = loader(rest, options or EncoderOptions())
    except (ModelError, MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):  # a ModelError names its cause
            raise RunError(f"{spec}: memory ran out while the model was loaded; take a smaller one") from error
        near = get_close_matches(spec, UNTRAINED, n=1) if scheme == HUB else []
        if near and isinstance(error, ModelError):
            raise ModelError(f"{error}; did you mean {near[0]}?") from error
        raise
    encoder.spec = spec
    return encoder
