"""An aligner's spec → the aligner, and the candidates that its labels would favour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from voxrank.alignment.base import Aligner, Transcript
from voxrank.alignment.ctc import Ctc
from voxrank.alignment.flat import Flat
from voxrank.alignment.frames import LayerSource
from voxrank.alignment.head import Head
from voxrank.alignment.reference import choose_reference
from voxrank.alignment.uniform import Uniform
from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder
from voxrank.encoders.registry import load_encoder
from voxrank.errors import OptionError, did_you_mean

KINDS = ("flat", "ctc", "head", "uniform")
RELATED = 0.5
"""Cosine between two models' weights from which on one is trained from the other: that of models trained apart is 0."""
TINY = 1e-30
LEAST_WEIGHTS = 64
"""Smaller tensors, such as biases and gains, are alike in all models."""


@dataclass(frozen=True)
class AlignerSpec:
    """What the user named.

    Attributes:
        kind: one of `KINDS`.
        model: a model spec; None where the candidates serve.
        layer: of the model; None where one is to be chosen.
    """

    kind: str
    model: str | None = None
    layer: int | None = None


def parse_aligner(text: str) -> AlignerSpec:
    """Take a spec apart.

    Example:
        >>> parse_aligner("flat:pack:whisper-base@2")
        AlignerSpec(kind='flat', model='pack:whisper-base', layer=2)

    Raises:
        OptionError: it is no aligner's.
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise OptionError(
            f"expected an aligner such as flat, ctc:SPEC or uniform, got {text!r}; {did_you_mean(kind, KINDS)}"
        )
    if kind == "uniform" and rest:
        raise OptionError(f"expected the aligner uniform alone, got {text!r}; it takes no model")
    if kind == "ctc":
        if not rest:
            raise OptionError("expected a checkpoint behind ctc:, such as ctc:facebook/wav2vec2-base-960h, got none")
        return AlignerSpec(kind, rest)
    model, at, layer = rest.rpartition("@")
    if at and layer.isdecimal():
        return AlignerSpec(kind, model, int(layer))
    return AlignerSpec(kind, rest or None)


def load_aligner(
    spec: AlignerSpec,
    candidates: Sequence[str],
    lend: Callable[[str], Encoder],
    transcripts: Sequence[Transcript],
    names: Sequence[str],
    options: EncoderOptions,
    threads: int,
) -> Aligner:
    """The aligner that a spec names.

    Args:
        spec: of the aligner.
        candidates: models that are ranked, whose features serve where the spec names no model.
        lend: loads one of them, or has it still.
        transcripts: of the data, to choose a layer by.
        names: of the units.
        options: for models that are no candidates.
        threads: decoders that run ahead.

    Raises:
        ModelError: there is no such model, or it has no such layer.
        DataError: nothing can be aligned.
    """
    if spec.kind == "uniform":
        return Uniform()
    if spec.kind == "ctc" and spec.model is not None:
        return Ctc(spec.model, options, threads)
    notes: tuple[str, ...] = ()
    if spec.model is not None and spec.model not in candidates:
        encoder = load_encoder(spec.model, options)
        notes = tuple(f"{spec.model}: {line}" for line in encoder.notes)
        candidates, lend = [spec.model], lambda _: encoder
    if spec.layer is not None and spec.model is not None:
        model, layer = spec.model, spec.layer
        count = len(lend(model).layers)
        if layer >= count:
            raise OptionError(f"{model} has layers 0 to {count - 1}, not {layer}; see `voxrank models {model}`")
    else:
        tried = candidates if spec.model is None else [spec.model]
        model, layer = choose_reference(tried, lend, transcripts, names, threads)
    source = LayerSource(lend(model), layer, threads)
    aligner = Flat(source) if spec.kind == "flat" else Head(source)
    aligner.notes = notes
    return aligner


def favoured(aligner: Aligner, candidates: Sequence[str], lend: Callable[[str], Encoder]) -> list[str]:
    """The candidates that an aligner was trained on, or from the same weights as: its labels would favour them."""
    if not aligner.record.trained or aligner.encoder is None:
        return []
    own = aligner.encoder.weights()
    return [spec for spec in candidates if spec == aligner.record.model or related(own, lend(spec).weights())]


def related(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether most weights that two models have in common point the same way: one was trained from the other.

    Names are compared from their ends, since a model with a head calls its encoder's weights by a longer name.
    """
    cosines = []
    for name, weights in other.items():
        match = next((one[full] for full in one if full == name or full.endswith(f".{name}")), None)
        if match is None or match.shape != weights.shape or weights.numel() < LEAST_WEIGHTS or weights.ndim < 2:
            continue
        left, right = (tensor.detach().double().cpu().flatten() for tensor in (match, weights))
        cosines.append(float(left @ right / (left.norm() * right.norm() + TINY)))
    return bool(cosines) and sorted(cosines)[len(cosines) // 2] > RELATED
