"""A hub id or a local directory → configuration, feature extractor and weights, or one line that says why not."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from voxrank.config import EncoderOptions
from voxrank.encoders.base import pick_device
from voxrank.errors import ModelError, OptionError

hub: Any = huggingface_hub  # Any: much of both packages is not annotated
tf: Any = transformers

HUB_TIMEOUT_S = 5.0
AUDIO_INPUTS = ("input_values", "input_features")
"""What transformers calls a waveform or a spectrogram."""

ENCODER_OF_A_WHOLE = {r"^(model\.)?encoder\.": ""}
"""Names of an encoder's weights in a checkpoint that holds more, such as a decoder → in the encoder alone."""

TRAINING_ONLY = ("masked_spec_embed",)
"""Weights that only SpecAugment reads, and that some checkpoints leave out."""

# Modules after the last block, which fine-tuned checkpoints may add: they belong to a head.
HEAD_SETTINGS = ("add_adapter", "use_intermediate_ffn_before_adapter")


@dataclass(frozen=True)
class Checkpoint:
    """Where a model's files are.

    Attributes:
        name: the model as the user named it.
        place: directory or hub id, as transformers takes it.
        offline: True when only files that are here already may be used.
        trusted: True when code that comes with the model may run.
    """

    name: str
    place: str
    offline: bool
    trusted: bool


def find_checkpoint(name: str, options: EncoderOptions) -> Checkpoint:
    """Find a model by directory or hub id.

    Raises:
        ModelError: there is none, or the hub cannot be asked and has not been asked before.
    """
    trusted = name in options.trust_remote_code
    path = Path(name).expanduser() if name.startswith("~/") else Path(name)
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        return Checkpoint(name, str(_check_directory(name, path)), offline=True, trusted=trusted)
    return Checkpoint(name, name, offline=_only_cached(name), trusted=trusted)


def _check_directory(name: str, path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"{name}: there is no such directory; check the path, or give a hub id such as owner/model")
    if not path.is_dir():
        raise ModelError(f"{name} is a file; give the directory that holds config.json and the weights")
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{name} has no config.json; give the directory of a model saved by transformers (save_pretrained)"
        )
    return path


def _only_cached(name: str) -> bool:
    """Ask the hub once, briefly, whether it has the model; True when it cannot be asked but the cache has it."""
    try:
        hub.model_info(name, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: the hub has no such model, or it is private (`hf auth login`); check the name, "
            "or give a local directory"
        ) from error
    except HFValidationError as error:
        raise ModelError(f"{name} is neither a directory nor a hub id such as owner/model") from error
    except Exception as error:
        # The HTTP client, and with it the exception, differs between versions of huggingface_hub.
        if not isinstance(hub.try_to_load_from_cache(name, "config.json"), str):
            raise ModelError(
                f"{name}: there is no such directory, and the hub cannot be reached ({first_line(error)}); "
                "check the name and the network, or give a local directory"
            ) from error
        return True
    return False


def load_config(checkpoint: Checkpoint) -> Any:
    """Read the configuration of the model's encoder."""
    with _reading(checkpoint, "config.json"):
        config = tf.AutoConfig.from_pretrained(
            checkpoint.place, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
        )
    for setting in HEAD_SETTINGS:
        if getattr(config, setting, False):
            setattr(config, setting, False)
    return config


def load_extractor(checkpoint: Checkpoint) -> Any:
    """Read the model's feature extractor."""
    with _reading(checkpoint, "feature extractor (preprocessor_config.json)"):
        extractor = tf.AutoFeatureExtractor.from_pretrained(
            checkpoint.place, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
        )
    if getattr(extractor, "dither", 0.0):
        extractor.dither = 0.0  # random: the same audio must give the same frames
    return extractor


def load_weights(checkpoint: Checkpoint, config: Any) -> Any:
    """Load the model, or the encoder of one that has a decoder, in float32, frozen.

    Only the encoder is built and only its weights are read into memory.

    Raises:
        ModelError: the model takes no audio, its files are damaged, or they lack weights of the encoder.
    """
    shell = _shell(checkpoint, config)
    part = hasattr(config, "encoder_config") or getattr(config, "is_encoder_decoder", False)
    with _reading(checkpoint, "weights"):
        model, info = type(shell).from_pretrained(
            checkpoint.place,
            config=shell.config,
            key_mapping=ENCODER_OF_A_WHOLE if part else None,
            dtype=torch.float32,
            weights_only=True,
            ignore_mismatched_sizes=True,  # `_check_complete` reports them
            output_loading_info=True,
            local_files_only=checkpoint.offline,
        )
    _check_complete(checkpoint, info)
    return model.eval().requires_grad_(requires_grad=False)


def _shell(checkpoint: Checkpoint, config: Any) -> Any:
    """The encoder without its weights, which takes no memory."""
    with _reading(checkpoint, "architecture"), torch.device("meta"):
        inner = getattr(config, "encoder_config", config)
        shell = tf.AutoModel.from_config(inner, trust_remote_code=checkpoint.trusted)
        if getattr(inner, "is_encoder_decoder", False):
            shell = shell.get_encoder()
    if shell.main_input_name not in AUDIO_INPUTS:
        raise ModelError(
            f"{checkpoint.name}: a {type(shell).__name__} takes {shell.main_input_name}, not audio; "
            "name a speech encoder such as facebook/hubert-base-ls960"
        )
    return shell


def _check_complete(checkpoint: Checkpoint, info: dict[str, Any]) -> None:
    """Refuse weights that would be left at random."""
    missing = sorted(key for key in info["missing_keys"] if not key.endswith(TRAINING_ONLY))
    misshapen = sorted(str(key[0]) for key in info["mismatched_keys"])
    for keys, fault in ((missing, "lack"), (misshapen, "have another shape than config.json says for")):
        if keys:
            raise ModelError(
                f"{checkpoint.name}: its weights {fault} {len(keys)} of the encoder's tensors ({keys[0]} …); "
                "the model would be partly random: use the complete checkpoint and its own config.json"
            )


@contextmanager
def _reading(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turn whatever transformers raises on a bad file into one line, and keep its own messages quiet."""
    try:
        with _quiet():
            yield
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            advice = f"the model runs its own code: if you trust its authors, add --trust-remote-code {checkpoint.name}"
        else:
            advice = "the file is missing, damaged or of a kind that transformers does not load: get the model again"
        raise ModelError(f"{checkpoint.name}: cannot read its {what} ({first_line(error)}); {advice}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers; the hub's download bars stay."""
    log = tf.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    hub_bars = not hub.utils.are_progress_bars_disabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    if hub_bars:
        hub.utils.enable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def usable_device(options: EncoderOptions) -> torch.device:
    """The device of the options.

    Raises:
        OptionError: torch does not know it, or cannot compute on it.
    """
    try:
        device = pick_device(options.device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(
            f"device {options.device!r} cannot be used here ({first_line(error)}); use auto, cpu or one torch reports"
        ) from error
    return device


def first_line(error: BaseException, limit: int = 200) -> str:
    """The start of an error's message, on one line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text if len(text) <= limit else text[: limit - 1] + "…"
