"""Conformer and FastConformer encoders of NVIDIA NeMo, from checkpoint files: ``nemo:FILE`` or a path in .nemo.

The encoder of any model is read: with a CTC or transducer decoder, with both, and pre-trained without labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import ParakeetEncoderConfig

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, pick_device
from voxrank.encoders.checkpoints import Checkpoint, reading
from voxrank.encoders.finite import check_finite
from voxrank.encoders.hidden_states import HiddenStates
from voxrank.encoders.nemo_conformer import ConformerEncoder, frequencies
from voxrank.encoders.nemo_features import STORED, MelFeatures, read_features
from voxrank.encoders.nemo_files import open_nemo
from voxrank.encoders.nemo_settings import Section
from voxrank.encoders.plausible import MAX_COUNT, MAX_LAYERS, MAX_MEL_BINS
from voxrank.errors import ModelError, shortened

OWN = "encoder."
"""Beginning of the names of the encoder's weights."""

RENAMED = (
    (r"^pre_encode\.(pre_encode\.)?", "subsampling."),  # models that mask after the subsampling wrap it
    (r"\.self_attn\.linear_([qkv])\.", r".self_attn.\1_proj."),
    (r"\.self_attn\.linear_out\.", ".self_attn.o_proj."),
    (r"\.self_attn\.linear_pos\.", ".self_attn.relative_k_proj."),
    (r"\.self_attn\.pos_bias_", ".self_attn.bias_"),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
)
"""Patterns in NeMo's names of weights → Parakeet's names."""

UNUSED = r"^(pos_enc\.pe$|out_proj\.|pre_encode\.masking\.)"
"""Names of tensors that no layer depends on: the table of positions, a projection after the last block, and masks."""

COUNTERS = "num_batches_tracked"
"""End of the names of counters, which only training reads."""

CONVERT = "or export the model from NeMo to ONNX (model.export) and name onnx:FILE#PATTERN"
MAX_FACTOR = 64


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load the encoder of a NeMo checkpoint.

    Args:
        rest: path of a .nemo file.
        options: device, precision and windows.

    Returns:
        The encoder; layer 0 is the input of the first Conformer block, after subsampling and scaling.

    Raises:
        ModelError: there is no such file, it is damaged, or its encoder is of an unsupported kind.
        OptionError: the device cannot be used.
    """
    return load_file(rest, Path(rest).expanduser(), options)


def load_file(name: str, path: Path, options: EncoderOptions) -> Encoder:
    """Load the encoder of a NeMo checkpoint.

    Args:
        name: the model as the user named it, for messages.
        path: the .nemo file.
        options: device, precision and windows.

    Raises:
        ModelError: there is no such file, it is damaged, or its encoder is of an unsupported kind.
        OptionError: the device cannot be used.
    """
    device = pick_device(options.device)
    checkpoint = Checkpoint(name, str(path), offline=True, trusted=False)
    with _prefix_errors(name):
        model, features = _read(path)
        with reading(checkpoint, "settings"):
            return HiddenStates(checkpoint, model.to(device), features, options)


@contextmanager
def _prefix_errors(name: str) -> Iterator[None]:
    """Prefix messages that lack the model's name with it."""
    try:
        yield
    except ModelError as error:
        if str(error).startswith(name):
            raise
        raise ModelError(f"{name}: {error}") from error


def _read(path: Path) -> tuple[Any, MelFeatures]:
    with open_nemo(path) as archive:
        config = read_encoder_config(Section.of(archive.config, "encoder"))
        preprocessor = Section.of(archive.config, "preprocessor")
        weights = archive.weights((OWN, STORED))
    features = read_features(preprocessor, weights)
    if features.bands != config.num_mel_bins:
        raise ModelError(
            f"its preprocessor makes {features.bands} bands, and its encoder takes {config.num_mel_bins}; "
            "get the model again"
        )
    return build(config, weights), features


def read_encoder_config(section: Section) -> Any:
    """Read the configuration of the encoder.

    Args:
        section: the section "encoder" of a model's configuration.

    Returns:
        The configuration of `ConformerEncoder`.

    Raises:
        ModelError: a setting is invalid, or of a kind that is not supported.
    """
    section.expect_class(("ConformerEncoder",), f"name a Conformer or FastConformer model, {CONVERT}")
    width = section.whole("d_model", None, 2, MAX_COUNT)
    heads = section.whole("n_heads", 4, 1, MAX_COUNT)
    kernel = section.whole("conv_kernel_size", 31, 1, MAX_COUNT)
    if width % heads or width % 2 or not kernel % 2:
        raise ModelError(
            f"model_config.yaml says d_model = {width}, n_heads = {heads} and conv_kernel_size = {kernel}, expected a "
            "width that is even and a multiple of the heads, and an odd kernel; get the model again"
        )
    bias = section.flag("use_bias", default=True)
    context, style = _attention(section)
    settings: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": section.whole("n_layers", None, 1, MAX_LAYERS),
        "num_attention_heads": heads,
        "intermediate_size": width * section.whole("ff_expansion_factor", 4, 1, MAX_COUNT),
        "attention_bias": bias,
        "convolution_bias": bias,
        "conv_kernel_size": kernel,
        "conv_context": _convolution_context(section, kernel),
        "conv_norm": section.choice("conv_norm_type", "batch_norm", ("batch_norm", "layer_norm"), CONVERT),
        "num_mel_bins": section.whole("feat_in", None, 1, MAX_MEL_BINS),
        "scale_input": section.flag("xscaling", default=True),
        "attention_context": context,
        "attention_style": style,
        "layerdrop": 0.0,
        **_subsampling(section, width),
    }
    return ParakeetEncoderConfig(**settings)


def build(config: Any, stored: Mapping[str, torch.Tensor]) -> Any:
    """Build the encoder from its weights.

    Args:
        config: the configuration of `ConformerEncoder`.
        stored: the tensors of the checkpoint by name.

    Returns:
        The `ConformerEncoder`, in evaluation mode.

    Raises:
        ModelError: tensors are missing, unknown, of another shape, or not finite.
    """
    with torch.device("meta"):  # allocates no memory
        model: Any = ConformerEncoder(config)
    weights = _renamed(stored)
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(COUNTERS)}
    _check_names(weights, expected)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=False, assign=True)
    for name, buffer in list(model.named_buffers()):
        if name.endswith(COUNTERS):
            model.get_submodule(name.rpartition(".")[0]).num_batches_tracked = torch.zeros_like(buffer, device="cpu")
    model.encode_positions.inv_freq = frequencies(config.hidden_size)
    check_finite(model)
    return model.eval()


def _renamed(stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors by Parakeet's names, without those that no layer depends on."""
    weights = {}
    for name, tensor in stored.items():
        own = name.removeprefix(OWN)
        if own == name or own.endswith(COUNTERS) or re.search(UNUSED, own):
            continue
        for pattern, replacement in RENAMED:
            own = re.sub(pattern, replacement, own)
        weights[own] = tensor
    return weights


def _check_names(weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that differ in name or shape from those that the configuration asks for."""
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(weights.keys() - expected.keys())
    misshapen = sorted(name for name in expected.keys() & weights.keys() if weights[name].shape != expected[name].shape)
    for names, fault in (
        (missing, "lack {} of the encoder's tensors"),
        (misshapen, "have another shape than model_config.yaml says for {} of the encoder's tensors"),
        (unknown, "hold {} tensors of parts that model_config.yaml does not name, such as adapters"),
    ):
        if names:
            raise ModelError(
                f"its weights {fault.format(len(names))} ({shortened(names[0], 80)} …); use the complete checkpoint "
                "with its own configuration"
            )


def _subsampling(section: Section, width: int) -> dict[str, Any]:
    if section.get("reduction") and section.whole("reduction_factor", 1, 1, MAX_FACTOR) > 1:
        raise ModelError(f"its encoder reduces the frame rate between its blocks (reduction); name another, {CONVERT}")
    factor = section.whole("subsampling_factor", 4, 1, MAX_FACTOR)
    kind = section.choice("subsampling", "striding", ("striding", "dw_striding"), f"name another model, {CONVERT}")
    if factor < 2 or factor & (factor - 1):
        raise ModelError(
            f"model_config.yaml says subsampling_factor = {factor}, expected a power of 2; name another model"
        )
    channels = section.whole("subsampling_conv_channels", -1, -1, MAX_COUNT)
    return {
        "subsampling": kind,
        "subsampling_factor": factor,
        "subsampling_conv_channels": channels if channels > 0 else width,
        "causal_downsampling": section.flag("causal_downsampling", default=False),
    }


def _convolution_context(section: Section, kernel: int) -> list[int]:
    """Return the frames before and after that the convolutions inside the blocks see."""
    value = section.get("conv_context_size")
    if value is None:
        return [kernel // 2] * 2
    if value == "causal":
        return [kernel - 1, 0]
    context = _pair(value)
    if context is None or min(context) < 0 or sum(context) != kernel - 1:
        raise ModelError(
            "model_config.yaml says an invalid encoder.conv_context_size, expected causal or two numbers whose sum is "
            f"{kernel - 1}; get the model again"
        )
    return context


def _attention(section: Section) -> tuple[list[int], str]:
    """Return the frames before and after that a frame attends to, and how they are counted."""
    known = ("rel_pos", "rel_pos_local_attn")
    model = section.choice("self_attention_model", "rel_pos", known, f"name another model, {CONVERT}")
    value = section.get("att_context_size")
    several = isinstance(value, list) and value and isinstance(value[0], list)
    context = [-1, -1] if not value else _pair(value[0] if several else value)  # the first is NeMo's default
    if context is None or min(context) < -1:
        raise ModelError("model_config.yaml says an invalid encoder.att_context_size, expected two numbers")
    if model == "rel_pos_local_attn":
        if section.whole("global_tokens", 0, 0, MAX_COUNT):
            raise ModelError(f"its encoder attends to global tokens (global_tokens); name another model, {CONVERT}")
        return context, "regular"
    return context, section.choice("att_context_style", "regular", ("regular", "chunked_limited"))


def _pair(value: Any) -> list[int] | None:
    valid = isinstance(value, list) and len(value) == 2 and all(type(x) is int and abs(x) <= MAX_COUNT for x in value)
    return list(value) if valid else None
