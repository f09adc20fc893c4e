"""The settings of an encoder in a fairseq checkpoint, from its configuration in the form of any version of fairseq."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxrank.config import Hertz
from voxrank.encoders.fairseq_files import STANDARD_ADVICE, fields, plain, read_checkpoint
from voxrank.encoders.plausible import MAX_COUNT, MAX_LAYERS, check_rate
from voxrank.errors import ModelError, listed, shortened

Convolution = tuple[int, int, int]
"""Number of channels, kernel and stride of a convolution."""

RATE: Hertz = 16_000
TASK = ("normalize", "sample_rate")
"""Settings that fairseq keeps with the task. Older versions keep them with the model."""

CONVOLUTIONS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
"""fairseq's default for the convolutions of the front end."""
MAX_CONVOLUTIONS = 64
MAX_EXPRESSION = 2_000
"""Maximum length of the text that describes the convolutions, in characters."""

ENCODERS = ("wav2vec2", "hubert", "data2vec_audio")
"""fairseq's names of the encoders that can be read."""

PREFIXES = {
    **dict.fromkeys(ENCODERS, ""),
    "wav2vec_ctc": "w2v_encoder.w2v_model.",
    "hubert_ctc": "w2v_encoder.w2v_model.",
    "wav2vec_seq2seq": "encoder.w2v_model.",
    "hubert_seq2seq": "encoder.w2v_model.",
}
"""fairseq's name of a model → prefix of the encoder's tensors."""

ACTIVATIONS = {"gelu": "gelu", "gelu_accurate": "gelu_new", "gelu_fast": "gelu_new", "relu": "relu", "tanh": "tanh"}
"""fairseq's name of an activation → that of transformers."""

UNSUPPORTED = {"layer_type": "transformer", "quantize_input": False, "conv_pos_batch_norm": False, "adp_num": -1}
"""Settings of parts that transformers' classes lack → the value without such a part."""

WAVLM_FIELD, BEATS_FIELD = "gru_rel_pos", "input_patch_size"
"""Fields of configurations that look like those of fairseq."""

OTHERS = {
    "wav2vec": "wav2vec 1.0 and vq-wav2vec have no transformer blocks; use wav2vec 2.0, or py:MODULE:FACTORY",
    "data2vec_multi": "data2vec 2.0 has blocks of its own; use facebook/data2vec-audio-base, or py:MODULE:FACTORY",
    "wavlm": "name the hub id, such as microsoft/wavlm-base",
    "unispeech_sat": "name the hub id, such as microsoft/unispeech-sat-base",
    "av_hubert": "it takes video; use facebook/hubert-base-ls960, or py:MODULE:FACTORY",
}
"""fairseq's name of a model that cannot be read → what to do instead."""


@dataclass(frozen=True)
class FairseqSettings:
    """The settings of an encoder.

    Attributes:
        encoder: fairseq's name of the encoder, one of `ENCODERS`.
        prefix: beginning of the names of its tensors in the checkpoint.
        rate: sample rate of the audio, in Hz.
        normalise: whether audio is normalised to zero mean and unit variance.
        convolutions: the convolutions of the front end.
        conv_bias: whether they have biases.
        layer_norm: True for a layer norm after every convolution, False for a group norm after the first.
        norm_first: True for blocks that normalise their input, False for blocks that normalise their output.
        layers: number of blocks.
        width: number of features of a frame.
        inner: width of the feed-forward part of a block.
        heads: number of attention heads.
        activation: transformers' name of the activation in the blocks.
        position_kernel: length of the kernel of the positional convolution, in frames.
        position_groups: number of groups of it.
        position_depth: number of such convolutions in sequence.
    """

    encoder: str
    prefix: str
    rate: Hertz
    normalise: bool
    convolutions: tuple[Convolution, ...]
    conv_bias: bool
    layer_norm: bool
    norm_first: bool
    layers: int
    width: int
    inner: int
    heads: int
    activation: str
    position_kernel: int
    position_groups: int
    position_depth: int


def read_settings(content: Mapping[str, Any], folder: Path) -> FairseqSettings:
    """Read the settings of the encoder in a checkpoint. Settings that the configuration lacks have fairseq's defaults.

    Args:
        content: the checkpoint, from `fairseq_files.read_checkpoint`.
        folder: the checkpoint's folder. Some fine-tuned models need the pre-trained file there, for its settings.

    Raises:
        ModelError: the model is of another kind, has parts that transformers lacks, or its settings contradict.
    """
    outer = _configuration(content)
    model, name = _model(outer)
    sections, encoder = outer, name
    if name not in ENCODERS:
        sections = _sections(model.get("w2v_args")) or _pretrained(model, name, folder)
        model, encoder = _model(sections)
        if encoder not in ENCODERS:
            raise ModelError(_other(encoder))
    reader = _Reader(model)
    _check_supported(reader, encoder)
    task = _Reader({key: value for part in (*sections, *outer) for key, value in part.items() if key in TASK})
    check_rate("its configuration", task.get("sample_rate", RATE))
    return _settings(reader, encoder, PREFIXES[name], task)


def _pretrained(model: Mapping[str, Any], name: str, folder: Path) -> list[Mapping[str, Any]]:
    """Return the configuration of the pre-trained checkpoint that a model was tuned from, if it is in the folder."""
    stated = plain(model.get("w2v_path"))
    file = stated.replace("\\", "/").rpartition("/")[2] if isinstance(stated, str) else ""
    try:
        if file and (folder / file).is_file():
            return _configuration(read_checkpoint(folder / file))
    except (ModelError, OSError) as error:  # OSError: the name is too long
        raise ModelError(f"its pre-trained checkpoint {shortened(file, 60)} {error}") from error
    raise ModelError(
        f"is a {name} without w2v_args, the settings of its encoder; put the pre-trained checkpoint "
        f"{shortened(file, 60) or 'of it'} into its folder, or give that checkpoint"
    )


def read_convolutions(text: str) -> tuple[Convolution, ...]:
    """Read fairseq's text for convolutions. It may hold numbers, tuples, lists, sums and multiples of lists.

    Example:
        >>> read_convolutions("[(512, 10, 5)] + [(512, 3, 2)] * 2")
        ((512, 10, 5), (512, 3, 2), (512, 3, 2))

    Raises:
        ModelError: the text is anything else.
    """
    try:
        if len(text) > MAX_EXPRESSION:
            raise ValueError(text)
        convolutions = _list_of(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(
            f"its conv_feature_layers are {shortened(text, 60)!r}, expected 1 to {MAX_CONVOLUTIONS} tuples of "
            f"channels, kernel and stride, each 1 to {MAX_COUNT:,}; get the model again"
        ) from error
    return tuple(convolutions)


def _list_of(node: ast.expr) -> list[Convolution]:
    """Return the value of an expression for a list of convolutions."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        result = _list_of(node.left) + _list_of(node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        values, times = (node.right, node.left) if isinstance(node.left, ast.Constant) else (node.left, node.right)
        result = _list_of(values) * min(_number(times), MAX_CONVOLUTIONS + 1)
    else:
        result = [_convolution(element) for element in getattr(node, "elts", ())]
    if not 1 <= len(result) <= MAX_CONVOLUTIONS:
        raise ValueError(len(result))
    return result


def _convolution(node: ast.expr) -> Convolution:
    channels, kernel, stride = (_number(element) for element in getattr(node, "elts", ()))
    return channels, kernel, stride


def _number(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int and 1 <= node.value <= MAX_COUNT:
        return node.value
    raise ValueError(node)


def _configuration(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _sections(content.get("args")) or _sections(content.get("cfg"))


def _sections(value: Any) -> list[Mapping[str, Any]]:
    """Return the model's and the task's part of a configuration; both are one in the old form, a Namespace."""
    whole = fields(value)
    model = fields(whole.get("model"))
    if model:
        return [model, fields(whole.get("task"))]
    return [whole] if whole else []


def _model(sections: list[Mapping[str, Any]]) -> tuple[Mapping[str, Any], str]:
    """Return the model's part of a configuration, and fairseq's name of the model."""
    model = sections[0]
    name = plain(model.get("_name")) or plain(model.get("arch"))
    if isinstance(name, str) and name in PREFIXES:
        return model, name
    if WAVLM_FIELD in model:
        name = "wavlm"
    elif BEATS_FIELD in model:
        name = "BEATs"
    raise ModelError(_other(name))


def _other(name: Any) -> str:
    """Return the message for a model of another kind."""
    if not isinstance(name, str):
        return f"its configuration names no model of fairseq; {STANDARD_ADVICE}"
    known = next((advice for kind, advice in OTHERS.items() if name == kind or name.startswith(f"{kind}_")), None)
    advice = known or f"expected {listed(PREFIXES)}; {STANDARD_ADVICE}"
    return f"holds a model {shortened(name, 40)!r}, which cannot be read: {advice}"


def _check_supported(reader: _Reader, encoder: str) -> None:
    for name, usual in UNSUPPORTED.items():
        value = reader.get(name, usual)
        if value != usual and value is not None:
            raise ModelError(
                f"its {encoder} has {name} = {shortened(repr(value), 40)}, and transformers has no such encoder; "
                f"{STANDARD_ADVICE}"
            )


def _settings(reader: _Reader, encoder: str, prefix: str, task: _Reader) -> FairseqSettings:
    width = reader.count("encoder_embed_dim", 768)
    heads = reader.count("encoder_attention_heads", 12)
    depth = reader.count("pos_conv_depth", 1, MAX_LAYERS)
    kernel = reader.count("conv_pos", 128)
    groups = reader.count("conv_pos_groups", 16)
    for name, divisor in (("encoder_attention_heads", heads), ("conv_pos_groups", groups)):
        if width % divisor:
            raise ModelError(f"its width {width:,} is no multiple of {name} = {divisor:,}; get the model again")
    return FairseqSettings(
        encoder=encoder,
        prefix=prefix,
        rate=task.get("sample_rate", RATE),
        normalise=task.flag("normalize"),
        convolutions=read_convolutions(reader.text("conv_feature_layers", CONVOLUTIONS)),
        conv_bias=reader.flag("conv_bias"),
        layer_norm=reader.choice("extractor_mode", "default", {"default": False, "layer_norm": True}),
        norm_first=reader.flag("layer_norm_first"),
        layers=reader.count("encoder_layers", 12, MAX_LAYERS),
        width=width,
        inner=reader.count("encoder_ffn_embed_dim", 3_072),
        heads=heads,
        activation=reader.choice("activation_fn", "gelu", ACTIVATIONS),
        position_kernel=max(3, kernel // depth) if depth > 1 else kernel,
        position_groups=groups,
        position_depth=depth,
    )


class _Reader:
    """Reads the fields of a configuration, each with its type and its limits."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def get(self, name: str, default: Any) -> Any:
        """Return a field, or the default if the configuration lacks it."""
        return plain(self._values[name]) if name in self._values else default

    def count(self, name: str, default: int, limit: int = MAX_COUNT) -> int:
        """Return a whole number of 1 to `limit`."""
        value = self.get(name, default)
        if type(value) is int and 1 <= value <= limit:
            return value
        raise self._wrong(name, value, f"a whole number of 1 to {limit:,}")

    def flag(self, name: str) -> bool:
        """Return a field that is true or false; False if it is missing."""
        value = self.get(name, default=False)
        if isinstance(value, bool):
            return value
        raise self._wrong(name, value, "true or false")

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        value = self.get(name, default)
        if isinstance(value, str):
            return value
        raise self._wrong(name, value, "a text")

    def choice(self, name: str, default: str, values: Mapping[str, Any]) -> Any:
        """Return what `values` has for a field."""
        value = self.text(name, default)
        if value in values:
            return values[value]
        raise self._wrong(name, value, " or ".join(values))

    def _wrong(self, name: str, value: Any, expected: str) -> ModelError:
        shown = shortened(repr(value), 40)
        return ModelError(f"its configuration has {name} = {shown}, expected {expected}; get the model again")
