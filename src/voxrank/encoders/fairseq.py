"""The encoder of fairseq's checkpoints of wav2vec 2.0, HuBERT and data2vec: ``fairseq:FILE``, or ``FILE.pt``.

A file's weights are loaded into transformers' classes, so that the frames are those of the converted checkpoint. The
heads of pre-training and of fine-tuning are left out.

Source: the models of fairseq 0.12.2 define the names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.base import pick_device
from voxrank.encoders.checkpoints import Checkpoint, reading, tf
from voxrank.encoders.fairseq_files import STANDARD_ADVICE, read_checkpoint
from voxrank.encoders.fairseq_settings import FairseqSettings, read_settings
from voxrank.encoders.finite import check_finite
from voxrank.encoders.hidden_states import HiddenStates
from voxrank.errors import ModelError, listed, shortened

_BLOCK = r"encoder\.layers\.(\d+)\."
_TO_BLOCK = r"encoder.layers.\1."
_POSITION = "encoder.pos_conv_embed."
RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in {
        r"feature_extractor\.conv_layers\.(\d+)\.0\.(weight|bias)": r"feature_extractor.conv_layers.\1.conv.\2",
        r"feature_extractor\.conv_layers\.(\d+)\.2(?:\.1)?\.(weight|bias)": (
            r"feature_extractor.conv_layers.\1.layer_norm.\2"
        ),
        r"layer_norm\.(weight|bias)": r"feature_projection.layer_norm.\1",
        r"post_extract_proj\.(weight|bias)": r"feature_projection.projection.\1",
        r"mask_emb": "masked_spec_embed",
        r"encoder\.pos_conv\.0\.weight_g": f"{_POSITION}conv.parametrizations.weight.original0",
        r"encoder\.pos_conv\.0\.weight_v": f"{_POSITION}conv.parametrizations.weight.original1",
        r"encoder\.pos_conv\.0\.(bias|parametrizations\.weight\.original[01])": rf"{_POSITION}conv.\1",
        r"encoder\.pos_conv\.(\d+)\.0\.(weight|bias)": rf"{_POSITION}layers.\1.conv.\2",
        rf"{_BLOCK}self_attn\.((?:q|k|v|out)_proj\.(?:weight|bias))": rf"{_TO_BLOCK}attention.\2",
        rf"{_BLOCK}self_attn_layer_norm\.(weight|bias)": rf"{_TO_BLOCK}layer_norm.\2",
        rf"{_BLOCK}fc1\.(weight|bias)": rf"{_TO_BLOCK}feed_forward.intermediate_dense.\2",
        rf"{_BLOCK}fc2\.(weight|bias)": rf"{_TO_BLOCK}feed_forward.output_dense.\2",
        rf"{_BLOCK}final_layer_norm\.(weight|bias)": rf"{_TO_BLOCK}final_layer_norm.\2",
        r"encoder\.layer_norm\.(weight|bias)": r"encoder.layer_norm.\1",
    }.items()
)
"""Patterns of an encoder's names in fairseq, after the prefix → its names in transformers."""

HEADS = re.compile(r"(quantizer|project_q|final_proj|target_glu)\..*|label_embs_concat|_ema")
"""Names of what only pre-training reads, after the prefix."""

TUNED_HEADS = re.compile(r"(w2v_encoder\.proj|encoder\.proj|decoder)\..*")
"""Names of what a fine-tuned model has after its encoder."""

PROJECTION = "feature_projection.projection"


def load(rest: str, options: EncoderOptions) -> HiddenStates:
    """Load the encoder of a fairseq checkpoint.

    Args:
        rest: path of the file.
        options: device, precision and windows.

    Raises:
        ModelError: there is no such file, it is damaged, or it holds another kind of model.
        OptionError: the device cannot be used.
    """
    device = pick_device(options.device)
    name = rest or "fairseq"
    checkpoint = Checkpoint(name, rest, offline=True, trusted=False)
    try:
        with reading(checkpoint, "settings"):
            model, extractor = build_encoder(_find(rest))
            return HiddenStates(checkpoint, model.to(device), extractor, options)
    except ModelError as error:
        if str(error).startswith(name):
            raise
        raise ModelError(f"{name}: {error}") from error


def _find(rest: str) -> Path:
    path = Path(rest).expanduser()
    if not path.is_file():  # reading a pipe would block
        what = "is no regular file" if path.exists() else "there is no such file"
        raise ModelError(f"{what}; give the .pt file of a fairseq checkpoint")
    return path


def build_encoder(path: Path) -> tuple[Any, Any]:
    """Build the model of transformers with the weights of a fairseq checkpoint, in float32, and its feature extractor.

    Args:
        path: the file.

    Returns:
        The model, frozen, and the extractor.

    Raises:
        ModelError: the file is damaged, or holds another kind of model.
    """
    content = read_checkpoint(path)
    settings = read_settings(content, path.parent)
    weights = _rename(content["model"], settings.prefix)
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced
        model = _shell(settings, masked="masked_spec_embed" in weights)
    _fill(model, weights, path.stat().st_size)
    check_finite(model)
    extractor = tf.Wav2Vec2FeatureExtractor(
        sampling_rate=settings.rate, do_normalize=settings.normalise, return_attention_mask=settings.layer_norm
    )
    return model.eval().requires_grad_(requires_grad=False), extractor


def _shell(settings: FairseqSettings, *, masked: bool) -> Any:
    """Return the model of transformers without weights."""
    family = _family(settings)
    channels, kernels, strides = zip(*settings.convolutions, strict=True)
    shape = {
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": settings.inner,
        "hidden_act": settings.activation,
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": settings.conv_bias,
        "num_conv_pos_embedding_groups": settings.position_groups,
    }
    if family == "Data2VecAudio":
        shape |= {
            "num_conv_pos_embeddings": settings.position_depth,
            "conv_pos_kernel_size": settings.position_kernel,
        }
    else:
        shape |= {
            "num_conv_pos_embeddings": settings.position_kernel,
            "feat_extract_norm": "layer" if settings.layer_norm else "group",
            "do_stable_layer_norm": settings.norm_first,
        }
    if not masked:
        shape |= {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    return getattr(tf, f"{family}Model")(getattr(tf, f"{family}Config")(**shape))


def _family(settings: FairseqSettings) -> str:
    """Return transformers' name of the family: data2vec differs by several positional convolutions in sequence."""
    if settings.position_depth == 1:
        return "Hubert" if settings.encoder == "hubert" else "Wav2Vec2"
    if settings.norm_first or not settings.layer_norm:
        raise ModelError(
            f"its {settings.encoder} has pos_conv_depth = {settings.position_depth}, which transformers has only with "
            f"extractor_mode = layer_norm and layer_norm_first = false; {STANDARD_ADVICE}"
        )
    return "Data2VecAudio"


def _rename(stored: Mapping[Any, Any], prefix: str) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors by their names in transformers.

    Raises:
        ModelError: a tensor belongs neither to the encoder nor to a known head.
    """
    weights: dict[str, torch.Tensor] = {}
    unknown = []
    for key, value in stored.items():
        name = str(key)
        inner = name.removeprefix(prefix) if name.startswith(prefix) else ""
        renamed = _renamed(inner)
        if renamed is not None and isinstance(value, torch.Tensor):
            weights[renamed] = value
        elif not HEADS.fullmatch(inner) and not (prefix and TUNED_HEADS.fullmatch(name)):
            unknown.append(name)
    if unknown:
        raise ModelError(
            f"holds {len(unknown)} tensors that its kind of model does not have: {listed(sorted(unknown), 3)}; "
            f"{STANDARD_ADVICE}"
        )
    return weights


def _renamed(name: str) -> str | None:
    for pattern, replacement in RULES:
        match = pattern.fullmatch(name)
        if match:
            return match.expand(replacement)
    return None


def _fill(model: Any, weights: dict[str, torch.Tensor], n_bytes: int) -> None:
    """Replace the weights of a model without memory.

    Raises:
        ModelError: weights are missing, left over, of another shape or type, or larger than the file.
    """
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    added = _unprojected(weights, shapes)
    missing = [name for name in shapes if name not in weights and name not in added]
    left_over = [name for name in weights if name not in shapes]
    for names, fault in ((missing, "lacks"), (left_over, "holds other than")):
        if names:
            raise ModelError(
                f"{fault} the tensors that its configuration describes: {listed(names, 3)}; get the model again"
            )
    for name, weight in weights.items():
        _check_tensor(name, weight, shapes[name])
    if sum(weight.numel() * weight.element_size() for weight in weights.values()) > n_bytes:
        raise ModelError("its tensors overlap: together they are larger than the file; get the model again")
    for name in added:
        weights[name] = torch.eye(shapes[name][0]) if len(shapes[name]) > 1 else torch.zeros(shapes[name])
    filled = {name: weights[name].detach().to(torch.float32, copy=True).contiguous() for name in shapes}
    model.load_state_dict(filled, assign=True)


def _unprojected(weights: dict[str, torch.Tensor], shapes: dict[str, torch.Size]) -> list[str]:
    """Return the names of the projection, if fairseq has none: then both widths are equal, and it changes nothing."""
    names = [f"{PROJECTION}.weight", f"{PROJECTION}.bias"]
    rows, columns = shapes[names[0]]
    return names if rows == columns and not any(name in weights for name in names) else []


def _check_tensor(name: str, tensor: torch.Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise ModelError(
            f"its {name} has shape {shortened(str(tuple(tensor.shape)), 60)}, and its configuration says "
            f"{tuple(shape)}; get the model again"
        )
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise ModelError(f"its {name} holds {tensor.dtype}, expected floating-point numbers; get the model again")
