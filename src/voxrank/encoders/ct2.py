"""The encoder of CTranslate2's Whisper checkpoints (faster-whisper): ``ct2:DIR``.

A file's weights are loaded into transformers' Whisper, so that only the storage differs from a checkpoint on the hub.

Source: CTranslate2's `WhisperSpec` and its converter define the names.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from voxrank.config import EncoderOptions
from voxrank.encoders.base import pick_device
from voxrank.encoders.checkpoints import tf
from voxrank.encoders.ct2_format import Buffer, Variable, Variables, read_variables
from voxrank.encoders.finite import check_finite
from voxrank.encoders.plausible import MAX_LAYERS, MAX_MEL_BINS
from voxrank.encoders.whisper import Whisper
from voxrank.errors import ModelError, reason

Model = TypeVar("Model", bound=PreTrainedModel)

HEAD_DIM = 64
"""Width of an attention head in every published Whisper, for files that do not store the number of heads."""

# Names within a block: transformers → CTranslate2.
_NORMS = {"self_attn_layer_norm": "self_attention/layer_norm", "final_layer_norm": "ffn/layer_norm"}
_LINEAR = {"self_attn.out_proj": "self_attention/linear_1", "fc1": "ffn/linear_0", "fc2": "ffn/linear_1"}
_CROSS_NORMS = {"encoder_attn_layer_norm": "attention/layer_norm"}
_CROSS_LINEAR = {"encoder_attn.q_proj": "attention/linear_0", "encoder_attn.out_proj": "attention/linear_2"}


def load(rest: str, options: EncoderOptions) -> Whisper:
    """Load the encoder of a CTranslate2 Whisper checkpoint.

    Args:
        rest: directory that contains model.bin, or the file itself.
        options: device, precision and windows.

    Raises:
        ModelError: there is no such file, it is damaged, or it holds another kind of model.
        OptionError: the device cannot be used.
    """
    path = Path(rest)
    path = path / "model.bin" if path.is_dir() else path
    if path.is_fifo():  # reading would block
        raise ModelError(f"ct2:{rest}: {path} is a pipe; give the directory that holds model.bin")
    try:
        with path.open("rb") as file:
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise ModelError(
            f"ct2:{rest}: cannot read {path} ({reason(error)}); give the directory that holds model.bin"
        ) from error
    try:
        return encoder_from_buffer(buffer, options)
    except ModelError as error:
        raise ModelError(f"ct2:{rest}: {error}") from error


def encoder_from_buffer(buffer: Buffer, options: EncoderOptions) -> Whisper:
    """Load the encoder of a Whisper model from the bytes of a model.bin.

    Raises:
        ModelError: the bytes are damaged, or hold another kind of model.
        OptionError: the device cannot be used.
    """
    device = pick_device(options.device)
    encoder: Any = encoder_from_variables(read_variables(buffer))
    extractor = tf.WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
    return Whisper(encoder.to(device), extractor, options)


def encoder_from_variables(variables: Variables) -> WhisperEncoder:
    """Build a Whisper encoder of transformers with a file's weights in float32, frozen. The decoder is not read.

    Raises:
        ModelError: variables are missing or do not fit together.
    """
    return _build(WhisperEncoder, _config(variables), _side(variables, "encoder"))


def model_from_variables(variables: Variables) -> WhisperModel:
    """Build a Whisper model of transformers, encoder and decoder, with a file's weights in float32, frozen.

    Raises:
        ModelError: variables are missing or do not fit together.
    """
    weights = {f"encoder.{name}": weight for name, weight in _side(variables, "encoder").items()}
    weights |= {f"decoder.{name}": weight for name, weight in _side(variables, "decoder").items()}
    weights["decoder.embed_tokens.weight"] = _weight(variables, "decoder/embeddings/weight")
    return _build(WhisperModel, _config(variables, with_decoder=True), weights)


def _build(kind: type[Model], config: Any, weights: dict[str, torch.Tensor]) -> Model:
    try:
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced
            module: Any = kind(config)
        module.load_state_dict(weights, assign=True)
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
        raise ModelError(
            f"the variables of model.bin do not make a Whisper ({' '.join(str(error).split())})"
        ) from error
    check_finite(module)
    frozen: Model = module.eval().requires_grad_(requires_grad=False)
    return frozen


def _config(variables: Variables, *, with_decoder: bool = False) -> Any:
    """Return the configuration of the model, from the shapes of its weights."""
    d_model, mel_bins, _ = _shape(variables, "encoder/conv1/weight", 3)
    if mel_bins > MAX_MEL_BINS:
        raise ModelError(f"model.bin takes {mel_bins:,} mel bins, and no Whisper has more than {MAX_MEL_BINS:,}")
    shape = {
        "d_model": d_model,
        "num_mel_bins": mel_bins,
        "max_source_positions": _shape(variables, "encoder/position_encodings/encodings", 2)[0],
        **_side_config(variables, "encoder", d_model),
    }
    if with_decoder:
        shape |= {
            "vocab_size": _shape(variables, "decoder/embeddings/weight", 2)[0],
            "max_target_positions": _shape(variables, "decoder/position_encodings/encodings", 2)[0],
            **_side_config(variables, "decoder", d_model),
        }
    return tf.WhisperConfig(**shape, pad_token_id=None, bos_token_id=None, eos_token_id=None)


def _side_config(variables: Variables, side: str, d_model: int) -> dict[str, int]:
    stored = variables.get(f"{side}/num_heads")
    count = float(stored.float32().item()) if stored is not None and stored.shape == () else d_model // HEAD_DIM
    if not (1 <= count <= d_model) or count % 1 or d_model % count:
        raise ModelError(f"model.bin gives the {side} {count:g} attention heads for width {d_model}; get it again")
    heads = int(count)
    return {
        f"{side}_attention_heads": heads,
        f"{side}_layers": _blocks(variables, side),
        f"{side}_ffn_dim": _shape(variables, f"{side}/layer_0/ffn/linear_0/weight", 2)[0],
    }


def _blocks(variables: Variables, side: str) -> int:
    count = 0
    while f"{side}/layer_{count}/self_attention/linear_0/weight" in variables:
        count += 1
    if count > MAX_LAYERS:
        raise ModelError(f"model.bin holds {count:,} blocks, and no Whisper has more than {MAX_LAYERS}")
    return count


def _shape(variables: Variables, name: str, rank: int) -> tuple[int, ...]:
    shape = _variable(variables, name).shape
    if len(shape) != rank or 0 in shape:
        raise ModelError(f"model.bin gives {name!r} shape {shape}, not {rank} sizes above 0; get it again")
    return shape


def _side(variables: Variables, side: str) -> dict[str, torch.Tensor]:
    """Return name in transformers → weight for the encoder or the decoder, without the decoder's embeddings."""
    weights = {"embed_positions.weight": _weight(variables, f"{side}/position_encodings/encodings")}
    weights |= _norm(variables, f"{side}/layer_norm", "layer_norm")
    if side == "encoder":
        weights |= _linear(variables, "encoder/conv1", "conv1") | _linear(variables, "encoder/conv2", "conv2")
    for block in range(_blocks(variables, side)):
        weights |= _block(variables, f"{side}/layer_{block}/", f"layers.{block}.", cross=side == "decoder")
    return weights


def _block(variables: Variables, source: str, target: str, *, cross: bool) -> dict[str, torch.Tensor]:
    norms = _NORMS | _CROSS_NORMS if cross else _NORMS
    linear = _LINEAR | _CROSS_LINEAR if cross else _LINEAR
    weights = _fused(variables, f"{source}self_attention/linear_0", f"{target}self_attn.", "qkv")
    if cross:
        weights |= _fused(variables, f"{source}attention/linear_1", f"{target}encoder_attn.", "kv")
    for name, stored in norms.items():
        weights |= _norm(variables, source + stored, target + name)
    for name, stored in linear.items():
        weights |= _linear(variables, source + stored, target + name)
    return weights


def _linear(variables: Variables, source: str, target: str) -> dict[str, torch.Tensor]:
    return {f"{target}.{kind}": _weight(variables, f"{source}/{kind}") for kind in ("weight", "bias")}


def _norm(variables: Variables, source: str, target: str) -> dict[str, torch.Tensor]:
    return {
        f"{target}.weight": _weight(variables, f"{source}/gamma"),
        f"{target}.bias": _weight(variables, f"{source}/beta"),
    }


def _fused(variables: Variables, source: str, target: str, parts: str) -> dict[str, torch.Tensor]:
    """Split projections that the file stores as one. Whisper's keys have no bias: the file holds zeros for it."""
    weights = {}
    for kind in ("weight", "bias"):
        whole = _weight(variables, f"{source}/{kind}")
        for part, weight in zip(parts, whole.tensor_split(len(parts)), strict=True):
            weights[f"{target}{part}_proj.{kind}"] = weight
    del weights[f"{target}k_proj.bias"]
    return weights


def _weight(variables: Variables, name: str) -> torch.Tensor:
    """Return a variable's values; integers are divided by their scale, one per row or one for all."""
    variable = _variable(variables, name)
    values = variable.float32()
    if variable.type_name.startswith("int"):
        scale = _variable(variables, f"{name}_scale").float32().reshape(-1, *[1] * (values.ndim - 1))
        if (scale.size != 1 and scale.shape[:1] != values.shape[:1]) or not scale.all():
            raise ModelError(
                f"model.bin scales {name!r}, of shape {variable.shape}, by {scale.size} numbers; get it again"
            )
        values = values / scale
    return torch.from_numpy(values)


def _variable(variables: Variables, name: str) -> Variable:
    if name not in variables:
        raise ModelError(f"model.bin lacks {name!r}; it is incomplete: get it again")
    return variables[name]
