"""Readers of a checkpoint, by hub id or local directory: configuration, feature extractor and vocabulary."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from voxrank.config import EncoderOptions
from voxrank.encoders.advice import advise, is_read_failure
from voxrank.encoders.hub import ask_hub
from voxrank.encoders.plausible import check_config, check_extractor, check_rate
from voxrank.errors import ModelError, reason, shortened

hub: Any = huggingface_hub  # Any: large parts of both packages have no annotations
tf: Any = transformers

AUDIO_INPUTS = ("input_values", "input_features")
"""Names of a waveform or spectrogram input in transformers."""

NO_EXTRACTOR = "Can't load feature extractor"
"""Beginning of transformers' message for a missing preprocessor_config.json."""

NEMO = ".nemo"
"""Ending of the checkpoint files of NVIDIA NeMo."""

QUANTISERS = {
    "bitsandbytes": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "aqlm": "aqlm",
    "hqq": "hqq",
    "eetq": "eetq",
    "torchao": "torchao",
    "compressed-tensors": "compressed-tensors",
}
"""Methods of quantisation → the package that reads their weights."""

# Modules after the last block, which fine-tuned checkpoints may add: they belong to a head.
HEAD_SETTINGS = ("add_adapter", "use_intermediate_ffn_before_adapter")


@dataclass(frozen=True)
class Checkpoint:
    """The location of a model's files.

    Attributes:
        name: the model as the user named it.
        location: directory or hub id for transformers.
        offline: True when only local files may be used.
        trusted: True when code that comes with the model may run.
        files: names of its files, where they are known without a request.
    """

    name: str
    location: str
    offline: bool
    trusted: bool
    files: tuple[str, ...] = ()


def find_checkpoint(name: str, options: EncoderOptions) -> Checkpoint:
    """Find a model by directory or hub id.

    Raises:
        ModelError: there is no such model, or the hub cannot be reached and the model is not in its cache.
    """
    trusted = name in options.trust_remote_code
    path = Path(name).expanduser() if name.startswith("~/") else Path(name)
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        directory = _check_directory(name, path)
        return Checkpoint(name, str(directory), offline=True, trusted=trusted, files=_names(directory))
    offline, files = _query_hub(name)
    return Checkpoint(name, name, offline=offline, trusted=trusted, files=files)


def _names(directory: Path) -> tuple[str, ...]:
    """Return the names of the files in a directory."""
    return tuple(sorted(path.name for path in directory.iterdir() if path.is_file()))


def _check_directory(name: str, path: Path) -> Path:
    if not path.exists():
        raise ModelError(f"{name}: there is no such directory; check the path, or give a hub id such as owner/model")
    if not path.is_dir():
        raise ModelError(f"{name} is a file; give the directory that holds config.json and the weights")
    if (path / "adapter_config.json").exists():  # transformers would fetch the base model
        raise ModelError(_adapters_message(name, path / "adapter_config.json"))
    if not (path / "config.json").is_file() and not any(path.glob(f"*{NEMO}")):
        raise ModelError(
            f"{name} has no config.json; give the directory of a model saved by transformers (save_pretrained)"
        )
    return path


def _adapters_message(name: str, file: Path) -> str:
    """Return the message for a folder of PEFT adapters: their kind, and the model that they belong to."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = {}
    settings = content if isinstance(content, dict) else {}
    kind, base = settings.get("peft_type"), settings.get("base_model_name_or_path")
    kind = f" {shortened(kind, 20)}" if isinstance(kind, str) and kind else ""
    base = shortened(base, 80) if isinstance(base, str) and base else "another model"
    return (
        f"{name} holds{kind} adapters (PEFT) of {base}, not a model; merge them into it (merge_and_unload), save the "
        "merged model and give its directory"
    )


def _query_hub(name: str) -> tuple[bool, tuple[str, ...]]:
    """Query the hub once for the model.

    Returns:
        True if the hub is out of reach but the cache has the model, and the names of the files where they are known.
    """
    answer = ask_hub(name)
    try:
        if isinstance(answer, Exception):
            raise answer
        return False, tuple(sibling.rfilename for sibling in answer.siblings or ())
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: the hub has no such model, or it is private (`hf auth login`); check the name, "
            "or give a local directory"
        ) from error
    except HFValidationError as error:
        raise ModelError(f"{name} is neither a directory nor a hub id such as owner/model") from error
    except Exception as error:
        # The HTTP client, and with it the exception, differs between versions of huggingface_hub.
        if isinstance(hub.try_to_load_from_cache(name, "config.json"), str):
            return True, ()
        files = _cached_nemo(name)
        if not files:
            raise ModelError(
                f"{name}: there is no such directory, and the hub cannot be reached ({reason(error)}); "
                "check the name and the network, or give a local directory"
            ) from error
        return True, files


def _cached_nemo(name: str) -> tuple[str, ...]:
    """Return the names of the .nemo files of a repository in the cache of the hub."""
    try:
        folder = Path(hub.snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return ()
    return tuple(name for name in _names(folder) if name.endswith(NEMO))


def load_config(checkpoint: Checkpoint) -> Any:
    """Read the model's configuration.

    Raises:
        ModelError: the file cannot be read, or names a model that transformers does not know.
    """
    _check_format(checkpoint)
    with reading(checkpoint, "config.json"):
        content, _ = tf.PretrainedConfig.get_config_dict(checkpoint.location, local_files_only=checkpoint.offline)
        check_config(checkpoint.name, content, trusted=checkpoint.trusted)
        _check_known(checkpoint, content)
        _check_quantisation(checkpoint, content)
        config = tf.AutoConfig.from_pretrained(
            checkpoint.location, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
        )
    for setting in HEAD_SETTINGS:
        if getattr(config, setting, False):
            setattr(config, setting, False)
    _return_dicts(config)
    return config


def _check_format(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that only NeMo's loader reads, which takes its encoder alone."""
    if "config.json" not in checkpoint.files and any(name.endswith(NEMO) for name in checkpoint.files):
        raise ModelError(
            f"{checkpoint.name} is a checkpoint of NVIDIA NeMo, of which only the frames of the encoder can be read; "
            "name a model in the format of transformers here"
        )


def _check_known(checkpoint: Checkpoint, content: dict[str, Any]) -> None:
    """Refuse an architecture that the installed transformers does not have, unless the model comes with its code."""
    kind = content.get("model_type")
    if "auto_map" in content or not isinstance(kind, str) or not kind or kind in tf.CONFIG_MAPPING:
        return
    known = [name for name in tf.CONFIG_MAPPING if isinstance(name, str)]
    near = get_close_matches(kind, known, n=1, cutoff=0.9)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise ModelError(
        f"{checkpoint.name}: config.json names the architecture {shortened(kind, 60)!r}, which is unknown to the "
        f"installed transformers {tf.__version__}; install a version that knows it, or name another model{meant}"
    )


def _check_quantisation(checkpoint: Checkpoint, content: dict[str, Any]) -> None:
    """Refuse quantised weights whose package is not installed."""
    quantisation = content.get("quantization_config")
    method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
    package = QUANTISERS.get(method) if isinstance(method, str) else None
    if package is not None and find_spec(package.replace("-", "_")) is None:
        raise ModelError(
            f"{checkpoint.name}: its weights are quantised with {method}, which needs the package {package}: run "
            f"pip install {package}, or give the checkpoint before quantisation"
        )


def is_quantised(config: Any) -> bool:
    """Return whether a checkpoint's weights are stored in fewer bits than its configuration counts.

    Args:
        config: its configuration.
    """
    return getattr(config, "quantization_config", None) is not None


def _return_dicts(config: Any) -> None:
    """Set the model to return named outputs, whatever config.json says; the features are the same."""
    for part in (config, *(part for part in vars(config).values() if isinstance(part, tf.PretrainedConfig))):
        for setting, value in (("return_dict", True), ("torchscript", False)):
            if hasattr(part, setting) and getattr(part, setting) is not value:
                setattr(part, setting, value)


def read_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read the settings in the checkpoint's config.json.

    Raises:
        ModelError: the file cannot be read.
    """
    with reading(checkpoint, "config.json"):
        content, _ = tf.PretrainedConfig.get_config_dict(checkpoint.location, local_files_only=checkpoint.offline)
    settings: dict[str, Any] = content
    return settings


def load_extractor(checkpoint: Checkpoint, default: Any = None) -> Any:
    """Read the model's feature extractor.

    Args:
        checkpoint: the model.
        default: what to use where the checkpoint has none.

    Raises:
        ModelError: the extractor cannot be read, or there is none and no default.
    """
    try:
        with reading(checkpoint, "feature extractor"):
            content, _ = tf.FeatureExtractionMixin.get_feature_extractor_dict(
                checkpoint.location, local_files_only=checkpoint.offline
            )
            check_extractor(checkpoint.name, content)
            extractor = tf.AutoFeatureExtractor.from_pretrained(
                checkpoint.location, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
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
        extractor.dither = 0.0  # dither is random: the same audio must give the same frames
    return extractor


def load_vocabulary(checkpoint: Checkpoint) -> dict[str, int]:
    """Return symbol → number from the checkpoint's tokenizer.

    Raises:
        ModelError: the tokenizer cannot be read.
    """
    with reading(checkpoint, "tokenizer"):
        tokenizer = tf.AutoTokenizer.from_pretrained(
            checkpoint.location, local_files_only=checkpoint.offline, trust_remote_code=checkpoint.trusted
        )
        vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary


@contextmanager
def reading(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Convert any exception of transformers on a bad file to one line, and suppress its messages.

    Raises:
        ModelError: `what` cannot be read or built.
    """
    try:
        with _quiet():
            yield
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        verb = "read" if is_read_failure(error) else "use"
        advice = advise(error, checkpoint.name, what, tf.__version__)
        raise ModelError(f"{checkpoint.name}: cannot {verb} its {what} ({reason(error)}); {advice}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers, but keep the hub's download bars."""
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
    """Return the configurations of a model and its feature extractor as text, without their paths."""
    content = {
        key: value for key, value in config.to_dict().items() if key not in ("_name_or_path", "torch_dtype", "dtype")
    }
    return {"config": json.dumps(content, sort_keys=True, default=str), "extractor": extractor.to_json_string()}
