"""The registry of encoders: loads the encoder that a model spec names.

A spec is a hub id, a local directory, ``scheme:rest``, or the path of a file whose ending shows its scheme.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from voxrank._support.memory import is_out_of_memory
from voxrank._support.plugins import find_plugin, plugin_names
from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank.encoders.known import nearest_model
from voxrank.errors import ModelError, RunError, VoxrankError, did_you_mean, reason

Loader = Callable[[str, EncoderOptions], Encoder]
"""A function that takes the text after ``scheme:`` ("" if there is none) and the options, and raises ModelError."""

HUB = "hf"
"""The scheme of a spec without one: a hub id or a local directory that transformers loads."""

ENDINGS = {".nemo": "nemo", ".pt": "fairseq"}
"""Ending of a path without a scheme → the scheme that reads such files."""

# Loaders are imported on first use, so that a user of one family does not wait for the others.
_LOADERS: dict[str, Loader | str] = {
    HUB: "voxrank.encoders.huggingface:load",
    "ct2": "voxrank.encoders.ct2:load",
    "fairseq": "voxrank.encoders.fairseq:load",
    "onnx": "voxrank.encoders.onnx:load",
    "py": "voxrank.encoders.module:load",
    "nemo": "voxrank.encoders.nemo:load",
    "logmel": "voxrank.encoders.baselines:load_logmel",
    "mfcc": "voxrank.encoders.baselines:load_mfcc",
}


def register_scheme(scheme: str, loader: Loader) -> None:
    """Register `loader` for specs of the form ``scheme:rest``.

    Raises:
        ValueError: the scheme is already registered.
    """
    if scheme in _LOADERS:
        raise ValueError(f"the scheme {scheme!r} is registered already; choose another name")
    _LOADERS[scheme] = loader


def schemes() -> tuple[str, ...]:
    """Return the registered schemes and those of plug-ins, sorted; no plug-in is imported."""
    return tuple(sorted({*_LOADERS, *plugin_names("encoders")}))


def split_spec(spec: str) -> tuple[str, str]:
    """Split a spec into its scheme and the rest.

    Example:
        >>> split_spec("onnx:model.onnx#*conv*")
        ('onnx', 'model.onnx#*conv*')
        >>> split_spec("facebook/hubert-base-ls960")
        ('hf', 'facebook/hubert-base-ls960')
        >>> split_spec("models/stt_de_conformer.nemo")
        ('nemo', 'models/stt_de_conformer.nemo')

    Raises:
        ModelError: the spec is empty, or its scheme is unknown.
        PluginError: several plug-ins claim the scheme.
    """
    if not spec.strip():
        raise ModelError(
            "a model spec is empty; give a hub id, a local directory or scheme:rest (see `voxrank models`)"
        )
    scheme, colon, rest = spec.partition(":")
    if scheme in _LOADERS:
        return scheme, rest
    if "/" not in scheme and len(scheme) > 1 and "\\" not in scheme:  # a single letter is a Windows drive
        if find_plugin("encoders", scheme) is not None:
            return scheme, rest
        if colon:
            raise ModelError(f"unknown model scheme {scheme!r} in {spec!r}; {did_you_mean(scheme, schemes())}")
    ending = ENDINGS.get(Path(spec).suffix)
    return HUB if ending is None or Path(spec).is_dir() else ending, spec


def load_encoder(spec: str, options: EncoderOptions | None = None) -> Encoder:
    """Load a model, ready to encode.

    Args:
        spec: hub id, local directory, ``scheme:rest``, or path of a file such as model.pt.
        options: device, precision and windows.

    Raises:
        ModelError: the model is unknown or damaged; the message is one line and says what to do.
        PluginError: a plug-in cannot be used.
        RunError: memory ran out.
    """
    scheme, rest = split_spec(spec)
    loader, origin = _loader(scheme)
    try:
        encoder: Encoder = loader(rest, options or EncoderOptions())
    except (ModelError, MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):  # a ModelError keeps its cause
            raise RunError(f"{spec}: memory ran out while the model was loaded; name a smaller model") from error
        near = nearest_model(spec) if scheme == HUB and isinstance(error, ModelError) else None
        if near is not None and "did you mean" not in str(error):
            raise ModelError(f"{error}; did you mean {near}?") from error
        raise
    encoder.spec = spec
    encoder.origin = origin
    return encoder


def _loader(scheme: str) -> tuple[Loader, str]:
    """Return the loader of a known scheme, and the package that provides it; "" for a registered scheme."""
    known = _LOADERS.get(scheme)
    if known is None:
        return _plugin_loader(scheme)
    if isinstance(known, str):
        module, _, function = known.partition(":")
        known = cast("Loader", getattr(import_module(module), function))
    return known, ""


def _plugin_loader(scheme: str) -> tuple[Loader, str]:
    plugin = find_plugin("encoders", scheme)
    if plugin is None:  # the package was uninstalled in the meantime
        raise ModelError(f"unknown model scheme {scheme!r}; {did_you_mean(scheme, schemes())}")
    load = plugin.load()
    if not callable(load):
        raise plugin.refuse("a function of (rest, options)", load)

    def loader(rest: str, options: EncoderOptions) -> Encoder:
        try:
            encoder = load(rest, options)
        except (VoxrankError, MemoryError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{plugin.origin} cannot load {scheme}:{rest} ({reason(error)})") from error
        if not isinstance(encoder, Encoder):
            raise plugin.refuse("a function that returns a voxrank.encoders.base.Encoder", encoder)
        return encoder

    return loader, plugin.origin
