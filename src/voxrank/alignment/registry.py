"""The registry of aligners, by spec, and the check for candidates that an aligner would favour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from voxrank.alignment.base import Aligner, AlignmentContext, Transcript
from voxrank.encoders.registry import load_encoder
from voxrank.errors import OptionError, did_you_mean

KINDS = ("flat", "ctc", "head", "uniform")
"""Kinds of aligners."""
RELATED = 0.5
"""Minimum cosine between the weights of two models to count as related. It is 0 for models trained separately."""
TINY = 1e-30
LEAST_WEIGHTS = 64
"""Minimum size of a tensor to compare. Smaller tensors, such as biases and gains, are similar in all models."""


@dataclass(frozen=True)
class AlignerSpec:
    """The spec of an aligner.

    Attributes:
        kind: one of `KINDS`.
        model: spec of the model; None to choose among the candidates.
        layer: layer of the model; None to choose one.
    """

    kind: str
    model: str | None = None
    layer: int | None = None


def parse_aligner(text: str) -> AlignerSpec:
    """Parse the spec of an aligner.

    Example:
        >>> parse_aligner("flat:pack:whisper-base@2")
        AlignerSpec(kind='flat', model='pack:whisper-base', layer=2)

    Raises:
        OptionError: the text is not the spec of an aligner.
    """
    kind, _, argument = text.partition(":")
    if kind not in KINDS:
        raise OptionError(
            f"expected an aligner such as flat, ctc:SPEC or uniform, got {text!r}; {did_you_mean(kind, KINDS)}"
        )
    if kind == "uniform" and argument:
        raise OptionError(f"expected the aligner uniform alone, got {text!r}; it takes no model")
    if kind == "ctc":
        if not argument:
            raise OptionError("expected a checkpoint behind ctc:, such as ctc:facebook/wav2vec2-base-960h, got none")
        return AlignerSpec(kind, argument)
    model, at, layer = argument.rpartition("@")
    if at and layer.isdecimal():
        return AlignerSpec(kind, model, int(layer))
    return AlignerSpec(kind, argument or None)


def load_aligner(
    spec: AlignerSpec, transcripts: Sequence[Transcript], names: Sequence[str], context: AlignmentContext
) -> Aligner:
    """Load the aligner that a spec names.

    Args:
        spec: spec of the aligner.
        transcripts: transcripts of the data, to choose a layer.
        names: names of the units.
        context: the candidates, whose features are used where the spec names no model, and the engine.

    Raises:
        ModelError: the model does not exist.
        OptionError: the model has no such layer.
        DataError: no utterance can be aligned.
    """
    # Aligners are imported on first use, so that labels that need none do not wait for numba and transformers.
    if spec.kind == "uniform":
        from voxrank.alignment.uniform import Uniform

        return Uniform()
    if spec.kind == "ctc" and spec.model is not None:
        from voxrank.alignment.ctc import Ctc

        return Ctc(spec.model, context)
    return _load_from_frames(spec, transcripts, names, context)


def _load_from_frames(
    spec: AlignerSpec, transcripts: Sequence[Transcript], names: Sequence[str], context: AlignmentContext
) -> Aligner:
    """Load an aligner that reads the frames of a layer; see `load_aligner`."""
    from voxrank.alignment.flat import Flat
    from voxrank.alignment.frames import LayerSource
    from voxrank.alignment.head import Head
    from voxrank.alignment.reference import choose_reference

    notes: tuple[str, ...] = ()
    if spec.model is None or spec.model in context.layers:
        context = replace(context, lend=lru_cache(maxsize=1)(context.lend))  # a large model is loaded once
    else:
        encoder = load_encoder(spec.model, context.encoding)
        notes = tuple(f"{spec.model}: {line}" for line in encoder.notes)
        context = replace(context, layers={spec.model: encoder.layers}, lend=lambda _: encoder)
    if spec.layer is not None and spec.model is not None:
        model, index = spec.model, spec.layer
        count = len(context.layers[model])
        if index >= count:
            raise OptionError(f"{model} has layers 0 to {count - 1}, not {index}; see `voxrank models {model}`")
    else:
        specs = list(context.layers) if spec.model is None else [spec.model]
        model, index = choose_reference(specs, transcripts, names, context)
    source = LayerSource(model, context.layers[model][index], context.threads)
    aligner = Flat(source, context) if spec.kind == "flat" else Head(source, context)
    aligner.notes = notes
    return aligner


def favoured(aligner: Aligner, context: AlignmentContext) -> list[str]:
    """Return the candidates that the labels of an aligner would favour: its model, and models of related weights."""
    if not aligner.record.trained:
        return []
    weights = aligner.weights()
    return [
        spec
        for spec in context.layers
        if spec == aligner.record.model or related(weights, context.lend(spec).weights())
    ]


def related(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    """Return whether two models are related: the median cosine of their common weights is above `RELATED`.

    One of them was then trained from the other, or both from the same weights. Names of weights are compared from their
    ends, because a model with a head adds a prefix to the names of its encoder's weights.
    """
    cosines = []
    for name, weights in second.items():
        match = next((first[full] for full in first if full == name or full.endswith(f".{name}")), None)
        if match is None or match.shape != weights.shape or weights.numel() < LEAST_WEIGHTS or weights.ndim < 2:
            continue
        left, right = (tensor.detach().double().cpu().flatten() for tensor in (match, weights))
        cosines.append(float(left @ right / (left.norm() * right.norm() + TINY)))
    return bool(cosines) and sorted(cosines)[len(cosines) // 2] > RELATED
