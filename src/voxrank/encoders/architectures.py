"""Functions that find the class of a model's encoder from its configuration, and load that encoder with its weights.

The class that config.json names in `architectures` is built without memory and searched for the audio encoder. If the
names of the weights fit, they are read into the encoder alone. Otherwise they are read through the whole class, without
the modules outside the encoder, because some classes rename weights on loading.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from voxrank.encoders.checkpoints import AUDIO_INPUTS, Checkpoint, is_quantised, reading, tf
from voxrank.encoders.finite import check_finite
from voxrank.encoders.plausible import check_stored
from voxrank.encoders.shards import shards_of
from voxrank.errors import ModelError

OUTER_NAMES = {r"^(model\.)?encoder\.": "", r"^(.*\.)?(audio_tower|audio_encoder|audio_model)\.": ""}
"""Pattern of the encoder's weight names in a checkpoint of a larger model → replacement for the encoder alone."""

UNFIT = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, ImportError)
"""Exceptions that a class raises on a configuration that is not meant for it."""

TRAINING_ONLY = ("masked_spec_embed",)
"""Weights that only SpecAugment reads, and that some checkpoints leave out."""


@dataclass(frozen=True)
class Architecture:
    """The class and configuration from which an encoder is built.

    Attributes:
        kind: transformers' class of the encoder.
        config: the configuration of the encoder.
        inner: True when the checkpoint holds the encoder as part of a larger model, such as one with a decoder.
        whole: class and configuration of the larger model, and the path of the encoder in it; None where the encoder
            is the whole model, or is known without the larger class.
    """

    kind: Any
    config: Any
    inner: bool
    whole: tuple[Any, Any, str] | None = None


def find_architecture(checkpoint: Checkpoint, config: Any) -> Architecture:
    """Find what to build: the whole model, or the audio encoder in a larger model.

    Args:
        checkpoint: the model.
        config: its configuration.

    Returns:
        The architecture; no weights are read.

    Raises:
        ModelError: the model takes no audio, or transformers cannot build it.
    """
    return build_shell(checkpoint, config)[1]


def build_shell(checkpoint: Checkpoint, config: Any) -> tuple[Any, Architecture]:
    """Build the encoder without weights.

    Args:
        checkpoint: the model.
        config: its configuration.

    Returns:
        The encoder on the device "meta", where it takes no memory, and its architecture.

    Raises:
        ModelError: the model takes no audio, or transformers cannot build it.
    """
    custom_code = checkpoint.trusted and bool(getattr(config, "auto_map", None))
    named = None if custom_code else named_class(config)
    with reading(checkpoint, "architecture"), torch.device("meta"):  # allocates no memory
        candidate = None
        if named is not None:
            with suppress(*UNFIT):  # the head may need settings that config.json lacks
                candidate = _named_architecture(named, config)
        shell, architecture = candidate or _plain_architecture(checkpoint, config)
    if not takes_audio(shell):
        takes = getattr(shell, "main_input_name", "something unknown")
        raise ModelError(
            f"{checkpoint.name}: {type(shell).__name__} takes {takes}, not audio; "
            "name a speech encoder such as facebook/hubert-base-ls960"
        )
    if Path(checkpoint.location).is_dir() and not is_quantised(config):
        check_stored(checkpoint.name, Path(checkpoint.location), sum(weight.numel() for weight in shell.parameters()))
    return shell, architecture


def named_class(config: Any) -> Any | None:
    """Return the class of transformers that config.json names, or None if transformers has no such class.

    Args:
        config: a model's configuration.
    """
    names = getattr(config, "architectures", None)
    modules = [tf]
    package, _, module = type(config).__module__.rpartition(".")
    if package.startswith("transformers.models.") and module.startswith("configuration_"):
        modules.append(importlib.import_module(f"{package}.{module.replace('configuration_', 'modeling_', 1)}"))
    for name in names if isinstance(names, list | tuple) else ():
        for namespace in modules:
            kind: Any = getattr(namespace, name, None) if isinstance(name, str) else None
            if isinstance(kind, type) and issubclass(kind, tf.PreTrainedModel):
                made_for = getattr(kind, "config_class", None)
                return kind if isinstance(made_for, type) and isinstance(config, made_for) else None
    return None


def takes_audio(model: Any) -> bool:
    """Return whether a module of transformers takes a waveform or a spectrogram.

    Args:
        model: any module.
    """
    modalities = getattr(model, "input_modalities", None)
    return getattr(model, "main_input_name", None) in AUDIO_INPUTS or modalities == "audio" or modalities == ("audio",)


def find_audio_encoder(model: Any) -> tuple[str, Any] | None:
    """Find the module of a model that encodes audio.

    Args:
        model: a model of transformers.

    Returns:
        The path in the model ("" for the model itself) and the module; None if there is none.
    """
    paths = {id(part): path for path, part in model.named_modules()}
    for part in _candidates(model):
        if isinstance(part, tf.PreTrainedModel) and takes_audio(part) and not _is_codec(part) and id(part) in paths:
            return paths[id(part)], part
    return ("", model) if takes_audio(model) else None


def _candidates(model: Any) -> Iterator[Any]:
    """Yield the modules that may be the audio encoder, the most likely first."""
    if isinstance(model, tf.PreTrainedModel):
        yield from (part for part in (model.get_encoder("audio"), model.get_encoder()) if part is not model)
        if model.base_model is not model:
            yield model.base_model
    if not takes_audio(model):
        yield from (part for path, part in model.named_modules() if path)


def _is_codec(module: Any) -> bool:
    """Return whether a module converts audio to codes for a language model; its features are not those of the model."""
    return callable(getattr(module, "decode", None)) and hasattr(module, "quantizer")


def _named_architecture(named: Any, config: Any) -> tuple[Any, Architecture] | None:
    whole = named._from_config(config)  # noqa: SLF001, what AutoModel itself calls
    match = find_audio_encoder(whole)
    if match is None:
        return whole, Architecture(named, config, inner=False)
    path, encoder = match
    if not path:
        return encoder, Architecture(named, encoder.config, inner=False)
    plain = tf.MODEL_MAPPING.get(type(config), None)  # the class that AutoModel builds
    inner = type(encoder) is not plain and type(encoder) not in (plain if isinstance(plain, tuple) else ())
    return encoder, Architecture(type(encoder), encoder.config, inner, (named, config, path))


def _plain_architecture(checkpoint: Checkpoint, config: Any) -> tuple[Any, Architecture]:
    """Build the class that transformers maps the configuration to, if config.json names no known class."""
    inside = getattr(config, "encoder_config", config)  # Parakeet has a separate encoder configuration
    try:
        shell = tf.AutoModel.from_config(inside, trust_remote_code=checkpoint.trusted)
    except ImportError:
        inside = getattr(config, "audio_config", None)  # a package that other parts need is missing
        if inside is None:
            raise
        shell = tf.AutoModel.from_config(inside)
    decoder = bool(getattr(inside, "is_encoder_decoder", False))
    if decoder:
        shell = shell.get_encoder()
    return shell, Architecture(type(shell), shell.config, inner=decoder or inside is not config)


def load_weights(checkpoint: Checkpoint, architecture: Architecture) -> Any:
    """Load the encoder in float32, frozen. Nothing else of the checkpoint is read into memory.

    Args:
        checkpoint: the model.
        architecture: what to build.

    Returns:
        The encoder, in evaluation mode.

    Raises:
        ModelError: the files are damaged, lack weights of the encoder, or hold weights that are not finite.
    """
    names = _outer_names(architecture) if architecture.inner else None
    model, info = _read(checkpoint, architecture.kind, architecture.config, names)
    if _is_incomplete(info) and architecture.whole is not None and architecture.inner:
        whole = _read_whole(checkpoint, *architecture.whole)
        model, info = whole if not _is_incomplete(whole[1]) else (model, info)
    _check_complete(checkpoint, info)
    try:
        check_finite(model, skip=info["missing_keys"])
    except ModelError as error:
        raise ModelError(f"{checkpoint.name}: {error}") from error
    return model.eval().requires_grad_(requires_grad=False)


def load_ctc(checkpoint: Checkpoint, config: Any) -> Any:
    """Load a model with its CTC head in float32, frozen.

    Args:
        checkpoint: the model.
        config: its configuration.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: the model has no such head, or its files are damaged or incomplete.
    """
    kinds = tf.AutoModelForCTC._model_mapping  # noqa: SLF001, what AutoModelForCTC itself asks
    if type(config) not in kinds:
        raise ModelError(
            f"{checkpoint.name}: a {config.model_type} has no CTC head; name a CTC checkpoint such as "
            "facebook/wav2vec2-base-960h"
        )
    return load_weights(checkpoint, Architecture(kinds[type(config)], config, inner=False))


def _outer_names(architecture: Architecture) -> dict[str, str]:
    """Return pattern of the weight names in the whole model → replacement for the encoder alone."""
    if architecture.whole is None:
        return OUTER_NAMES
    *outer, last = architecture.whole[2].split(".")
    optional = "".join(rf"({re.escape(part)}\.)?" for part in dict.fromkeys(["model", *outer]))
    return {rf"^{optional}{re.escape(last)}\.": ""}


def _read(checkpoint: Checkpoint, kind: Any, config: Any, names: dict[str, str] | None) -> tuple[Any, dict[str, Any]]:
    with reading(checkpoint, "weights"), _location(checkpoint, names) as location:
        model, info = kind.from_pretrained(
            location,
            config=config,
            key_mapping=names,
            dtype=torch.float32,
            weights_only=True,
            ignore_mismatched_sizes=True,  # `_check_complete` reports them
            output_loading_info=True,
            local_files_only=checkpoint.offline,
        )
    return model, info


def _location(checkpoint: Checkpoint, names: dict[str, str] | None) -> AbstractContextManager[str]:
    """Return a context with the location of the weights: the shards of the encoder, or the whole checkpoint."""
    return nullcontext(checkpoint.location) if names is None else shards_of(checkpoint, names)


def _read_whole(checkpoint: Checkpoint, kind: Any, config: Any, path: str) -> tuple[Any, dict[str, Any]]:
    """Read the encoder's weights through the class of the whole model, which renames them on loading."""
    model, info = _read(checkpoint, _without_other_modules(kind, path), config, None)
    prefix = f"{path}."
    missing = [key.removeprefix(prefix) for key in info["missing_keys"]]
    return model.get_submodule(path), info | {"missing_keys": missing}


def _without_other_modules(kind: Any, path: str) -> Any:
    """Return a class that builds what `kind` builds, and then drops all modules that are not on the path to `path`."""

    def build(self: Any, config: Any, *args: Any, **options: Any) -> None:
        kind.__init__(self, config, *args, **options)
        parent = self
        for part in path.split("."):
            for name in [name for name in parent._modules if name != part]:
                parent._modules[name] = None
            parent._parameters = {}
            parent = getattr(parent, part)
        self.all_tied_weights_keys = {}

    def nothing(self: Any, *args: Any, **options: Any) -> None:
        """Do nothing, because no tied weights are left."""

    return type(kind.__name__, (kind,), {"__init__": build, "tie_weights": nothing, "__module__": kind.__module__})


def _is_incomplete(info: dict[str, Any]) -> bool:
    return bool(_missing(info) or info["mismatched_keys"])


def _missing(info: dict[str, Any]) -> list[str]:
    return sorted(key for key in info["missing_keys"] if not key.endswith(TRAINING_ONLY))


def _check_complete(checkpoint: Checkpoint, info: dict[str, Any]) -> None:
    """Refuse missing or mismatched weights, which would stay random."""
    misshapen = sorted(str(key[0]) for key in info["mismatched_keys"])
    for keys, fault in ((_missing(info), "lack"), (misshapen, "have another shape than config.json says for")):
        if keys:
            raise ModelError(
                f"{checkpoint.name}: its weights {fault} {len(keys)} of the encoder's tensors ({keys[0]} …); "
                "the model would be partly random: use the complete checkpoint and its own config.json"
            )
