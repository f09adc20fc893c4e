"""The loader of speech encoders of transformers, from a hub id or a local directory.

A repository or directory may also hold a checkpoint of NVIDIA NeMo. Whisper and AST, whose input has a fixed length,
have their own modules. All others are measured when they are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from voxrank.config import EncoderOptions
from voxrank.encoders.architectures import find_architecture, load_weights
from voxrank.encoders.base import Encoder, pick_device
from voxrank.encoders.checkpoints import Checkpoint, find_checkpoint, load_config, load_extractor, reading
from voxrank.encoders.granite import load_granite_features
from voxrank.encoders.hidden_states import HiddenStates
from voxrank.encoders.nemo_hub import find_nemo
from voxrank.encoders.patches import Clap, SpectrogramTransformer
from voxrank.encoders.towers import as_tower
from voxrank.encoders.whisper import Whisper, load_whisper_extractor
from voxrank.errors import ModelError

__all__ = ["HiddenStates", "load"]


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load an audio encoder of transformers.

    Args:
        rest: hub id or local directory.
        options: device, precision, windows, and which models may run code of their own.

    Returns:
        The encoder.

    Raises:
        ModelError: there is no such model, it is not an audio encoder, or its files are damaged or incomplete.
        OptionError: the device cannot be used.
    """
    device = pick_device(options.device)
    checkpoint = find_checkpoint(rest, options)
    nemo_file = find_nemo(checkpoint)
    if nemo_file is not None:
        from voxrank.encoders.nemo import load_file  # not needed for other models

        return load_file(rest, nemo_file, options)
    config = load_config(checkpoint)
    architecture = find_architecture(checkpoint, config)
    extractor = _load_extractor(checkpoint, config)
    model = load_weights(checkpoint, architecture).to(device)
    with _prefix_errors(checkpoint), reading(checkpoint, "settings"):
        if config.model_type == "whisper":
            return Whisper(model, extractor, options)
        if config.model_type == "audio-spectrogram-transformer":
            return SpectrogramTransformer(model, extractor, options)
        if model.config.model_type == "clap_audio_model":
            return Clap(model, extractor, options)
        return HiddenStates(checkpoint, as_tower(model), extractor, options)


def _load_extractor(checkpoint: Checkpoint, config: Any) -> Any:
    """Read the feature extractor; those of Whisper and Granite Speech have functions of their own."""
    if config.model_type == "whisper":
        return load_whisper_extractor(checkpoint, config)
    if config.model_type.startswith("granite_speech"):
        return load_granite_features(checkpoint) or load_extractor(checkpoint)
    return load_extractor(checkpoint)


@contextmanager
def _prefix_errors(checkpoint: Checkpoint) -> Iterator[None]:
    """Prefix messages that lack the model's name with it."""
    try:
        yield
    except ModelError as error:
        if str(error).startswith(checkpoint.name):
            raise
        raise ModelError(f"{checkpoint.name}: {error}") from error
