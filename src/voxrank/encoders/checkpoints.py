"""A hub id or a local directory → configuration, feature extractor and weights, or one line that says why not."""

from __future__ import annotations

import json
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
from voxrank.encoders.plausible import check_config, check_extractor, check_rate, check_stored
from voxrank.errors import ModelError, reason

hub: Any = huggingface_hub  # Any: much of both packages is not annotated
tf: Any = transformers

HUB_TIMEOUT_S = 5.0
AUDIO_INPUTS = ("input_values", "input_features")
"""What transformers calls a waveform or a spectrogram."""

INNER_NAMES = {r"^(model\.)?encoder\.": ""}
"""Names of an encoder's weights in a checkpoint that holds more, such as a decoder → in the encoder alone."""

NO_EXTRACTOR = "Can't load feature extractor"
"""How transformers begins to say that there is no preprocessor_config.json."""

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


@dataclass(frozen=True)
class Architecture:
    """What is built for a model.

    Attributes:
        kind: transformers' class of the encoder.
        config: its configuration.
        inner: True when the checkpoint holds it as part of a model, such as one with a decoder.
    """

    kind: Any
    config: Any
    inner: bool


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
    if (path / "adapter_config.json").exists():  # transformers would fetch the model that it names
        raise ModelError(f"{name} holds adapters of another model; merge them into it, and give the merged model")
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
                f"{name}: there is no such directory, and the hub cannot be reached ({reason(error)}); "
                "check the name and the network, or give a local directory"
            ) from error
        return True
    return False


def load_config(checkpoint: Checkpoint) -> Any:
    """Read the model's configuration.

    Raises:
        ModelError: it cannot be read, or names a model that transformers does not know.
    """
    with reading(checkpoint, "config.json"):
        content, _ = tf.PretrainedConfig.get_config_dict(checkpoint.place, local_files_only=checkpoint.offline)
        check_config(checkpoint.name, content, trusted=checkpoint.trusted)
        config = tf.AutoConfig.from_pretrained(
            checkpoint.place, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
        )
    for setting in HEAD_SETTINGS:
        if getattr(config, setting, False):
            setattr(config, setting, False)
    return config


def read_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the checkpoint's own config.json says.

    Raises:
        ModelError: it cannot be read.
    """
    with reading(checkpoint, "config.json"):
        content, _ = tf.PretrainedConfig.get_config_dict(checkpoint.place, local_files_only=checkpoint.offline)
    said: dict[str, Any] = content
    return said


def find_architecture(checkpoint: Checkpoint, config: Any) -> Architecture:
    """What to build: the model, or the encoder of a model that has more.

    Raises:
        ModelError: it takes no audio, or transformers cannot build it.
    """
    whole = getattr(config, "encoder_config", config)  # Parakeet's is a model of its own
    with reading(checkpoint, "architecture"), torch.device("meta"):  # takes no memory
        shell = tf.AutoModel.from_config(whole, trust_remote_code=checkpoint.trusted)
        if getattr(whole, "is_encoder_decoder", False):
            shell = shell.get_encoder()
    takes = getattr(shell, "main_input_name", "something unknown")
    if takes not in AUDIO_INPUTS:
        raise ModelError(
            f"{checkpoint.name}: {type(shell).__name__} takes {takes}, not audio; "
            "name a speech encoder such as facebook/hubert-base-ls960"
        )
    if Path(checkpoint.place).is_dir():
        check_stored(checkpoint.name, Path(checkpoint.place), sum(weight.numel() for weight in shell.parameters()))
    inner = whole is not config or getattr(whole, "is_encoder_decoder", False)
    return Architecture(type(shell), shell.config, inner=inner)


def load_extractor(checkpoint: Checkpoint, default: Any = None) -> Any:
    """Read the model's feature extractor.

    Args:
        checkpoint: the model.
        default: what to use where the checkpoint has none.

    Raises:
        ModelError: it cannot be read, or there is none and no default.
    """
    try:
        with reading(checkpoint, "feature extractor"):
            content, _ = tf.FeatureExtractionMixin.get_feature_extractor_dict(
                checkpoint.place, local_files_only=checkpoint.offline
            )
            check_extractor(checkpoint.name, content)
            extractor = tf.AutoFeatureExtractor.from_pretrained(
                checkpoint.place, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
            )
    except ModelError as error:
        if NO_EXTRACTOR not in str(error.__cause__):
            raise
        if default is None:
            raise ModelError(
                f"{checkpoint.name} has no preprocessor_config.json, which says how the model takes its audio; "
                "copy it from the model that this one was trained from"
            ) from error
        extractor = default
    if not hasattr(extractor, "sampling_rate"):
        raise ModelError(
            f"{checkpoint.name}: a {type(extractor).__name__} prepares no audio; use the preprocessor_config.json of a "
            "speech encoder"
        )
    check_rate(f"{checkpoint.name}: preprocessor_config.json", extractor.sampling_rate)
    if getattr(extractor, "dither", 0.0):
        extractor.dither = 0.0  # random: the same audio must give the same frames
    return extractor


def load_weights(checkpoint: Checkpoint, architecture: Architecture) -> Any:
    """Load the encoder in float32, frozen. Nothing else of the checkpoint is read into memory.

    Raises:
        ModelError: the files are damaged, or lack weights of the encoder.
    """
    with reading(checkpoint, "weights"):
        model, info = architecture.kind.from_pretrained(
            checkpoint.place,
            config=architecture.config,
            key_mapping=INNER_NAMES if architecture.inner else None,
            dtype=torch.float32,
            weights_only=True,
            ignore_mismatched_sizes=True,  # `_check_complete` reports them
            output_loading_info=True,
            local_files_only=checkpoint.offline,
        )
    _check_complete(checkpoint, info)
    return model.eval().requires_grad_(requires_grad=False)


def load_ctc(checkpoint: Checkpoint, config: Any) -> Any:
    """Load a model with its CTC head in float32, frozen.

    Raises:
        ModelError: it has no such head, or its files are damaged or incomplete.
    """
    kinds = tf.AutoModelForCTC._model_mapping  # noqa: SLF001, what AutoModelForCTC itself asks
    if type(config) not in kinds:
        raise ModelError(
            f"{checkpoint.name}: a {config.model_type} has no CTC head; name a CTC checkpoint such as "
            "facebook/wav2vec2-base-960h"
        )
    return load_weights(checkpoint, Architecture(kinds[type(config)], config, inner=False))


def load_vocabulary(checkpoint: Checkpoint) -> dict[str, int]:
    """Symbol → its number, of the checkpoint's tokenizer.

    Raises:
        ModelError: it cannot be read.
    """
    with reading(checkpoint, "tokenizer"):
        tokenizer = tf.AutoTokenizer.from_pretrained(
            checkpoint.place, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
        )
        vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary


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
def reading(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turn whatever transformers raises on a bad file into one line, and keep its own messages quiet.

    Raises:
        ModelError: `what` cannot be read or made.
    """
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
        raise ModelError(f"{checkpoint.name}: cannot read its {what} ({reason(error)}); {advice}") from error


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


def checkpoint_settings(config: Any, extractor: Any) -> dict[str, str]:
    """A model's configuration and its feature extractor's, as text, without where they were found."""
    content = {
        key: value for key, value in config.to_dict().items() if key not in ("_name_or_path", "torch_dtype", "dtype")
    }
    return {"config": json.dumps(content, sort_keys=True, default=str), "extractor": extractor.to_json_string()}
